/**
 * The ways to carry frames: a WebSocket; where none gets through, server-sent events; where those are held back, long
 * polling. Each carries the same frames, in order and once.
 *
 * Over HTTP the first post holds `hello`, and its answer names the session. Answers are read as they come and asked for anew
 * where they end, with the number of the last frame as `Last-Event-ID`. Posts go one after the other; one without an answer is repeated once.
 */

import type { ClientFrame } from './protocol';

export interface Carrier {
  opened(): void;
  /** A frame, as text. `numbered` frames are those that are acknowledged. */
  frame(text: string, numbered: boolean): void;
  closed(code: number): void;
}

export interface Transport {
  /** Returns `false` if the frame was certainly not sent. */
  send(frame: ClientFrame): boolean;
  /** Ends it without a further call of the carrier. */
  close(): void;
}

/** Bytes of one post are bounded (64 KiB); a character has at most three. */
const POST_CHARACTERS = 20_000;

export function webSocket(url: string, carrier: Carrier): Transport {
  const socket = new WebSocket(`${url.replace('http', 'ws')}ws`);
  socket.onopen = () => carrier.opened();
  socket.onmessage = ({ data }) => carrier.frame(String(data), true);
  socket.onclose = ({ code }) => carrier.closed(code);
  return {
    send: (frame) => socket.readyState === WebSocket.OPEN && (socket.send(JSON.stringify(frame)), true),
    close: () => {
      // `close` waits for the other side, who may never answer: we are done with it already.
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    },
  };
}

/** `kind` is `sse` or `poll`; they differ in how long the server's answers go on. */
export function http(url: string, carrier: Carrier, kind: string): Transport {
  const abort = new AbortController();
  const { signal } = abort;
  const outbox: string[] = [];
  let session = '';
  let last = 0;
  let nHeard = 0;
  let posting = false;

  /** Makes a request and reads its events. */
  const ask = async (init: RequestInit): Promise<void> => {
    const { body, ok } = await fetch(url + kind + session, { ...init, signal });
    const reader = body?.pipeThrough(new TextDecoderStream()).getReader();
    const before = nHeard;
    let text = '';
    for (let read = await reader?.read(); read && !read.done; read = await reader!.read()) {
      const events = (text + read.value).split('\n\n');
      text = events.pop()!;
      for (const event of events) {
        const [, id, data] = /^(?:id:(\d+)\n)?data:(.*)$/.exec(event) ?? [];
        // What has arrived already is sent again if the server could not know.
        if (!data || signal.aborted || +id! <= last) continue;
        nHeard++;
        if (id) last = +id;
        const [, name] = /^\["session".+"(.+)"/.exec(data) ?? [];
        if (name) {
          session = `/${name}`;
          post();
        } else carrier.frame(data, !!id);
      }
    }
    if (!ok && nHeard === before) throw new Error();
  };

  const takeBatch = (): string => {
    let batch = outbox.shift()!;
    while (outbox[0] && batch.length + outbox[0].length < POST_CHARACTERS) batch += `\n${outbox.shift()}`;
    return batch;
  };

  const lost = (): void => carrier.closed(1006);

  const post = (): void => {
    if (posting || !session || !outbox[0]) return;
    posting = true;
    const init = { method: 'POST', body: takeBatch() };
    // What got no answer may have arrived: on the same session it is said again, and no event is handled twice.
    ask(init)
      .catch(() => ask(init))
      .then(() => {
        posting = false;
        post();
      }, lost);
  };

  /** Reads for as long as answers bring something; one that brings nothing is asked for once more. */
  const read = async (): Promise<void> => {
    await ask({ method: 'POST', body: takeBatch() }).catch(() => {});
    for (let strikes = 0; session && strikes < 2; ) {
      const before = nHeard;
      await ask({ headers: { 'last-event-id': String(last) } }).catch(() => {});
      strikes = nHeard > before ? 0 : strikes + 1;
    }
    lost();
  };

  queueMicrotask(() => {
    carrier.opened();
    void read();
  });
  return {
    send: (frame) => {
      outbox.push(JSON.stringify(frame));
      post();
      return true;
    },
    close: () => {
      abort.abort();
      if (session) fetch(url + kind + session, { method: 'DELETE', keepalive: true }).catch(() => {});
    },
  };
}
