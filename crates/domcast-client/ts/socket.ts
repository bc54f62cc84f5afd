/**
 * The connection: opens it, keeps it open, notices when it is dead, and comes back.
 *
 * It knows nothing of views. A ping goes out every 20 s, and when the page is shown again or the
 * network returns; if nothing at all arrives for 10 s after one, the connection counts as lost.
 * It comes back after a random delay between 0 and min(30 s, 0.5 s x 2^attempts) ("full jitter":
 * Brooker, "Exponential Backoff And Jitter", 2015), so that a restarted server is not overrun.
 * The attempts are counted anew once `settled` is called, not merely once a connection opens.
 */

import * as dom from './dom';
import { CLOSE_MALFORMED, CLOSE_OTHER_VERSION, CLOSE_TOO_LARGE, type ClientFrame, type ServerFrame } from './protocol';

const PING_EVERY_MS = 20_000;
const PONG_WITHIN_MS = 10_000;
const DELAY_MS = 500;
const MAX_DELAY_MS = 30_000;
const RELOADED_KEY = 'domcast:reloaded';
const RELOAD_AT_MOST_EVERY_MS = 60_000;

export interface Listener {
  opened(): void;
  received(frame: ServerFrame): void;
  closed(code: number): void;
}

export class Socket {
  readonly #url: string;
  readonly #listener: Listener;
  #socket: WebSocket | null = null;
  #attempts = 0;
  #retry: number | undefined;
  #ping: number | undefined;
  #pong: number | undefined;
  #stopped = false;

  constructor(url: string, listener: Listener) {
    this.#url = url;
    this.#listener = listener;
    for (const type of ['online', 'pageshow']) addEventListener(type, () => this.check());
    dom.listen('visibilitychange', () => {
      if (dom.visibilityState(document) === 'visible') this.check();
    });
  }

  connect(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#stopped = false;
    const socket = (this.#socket = new WebSocket(this.#url));
    socket.onopen = () => {
      this.#schedulePing();
      this.#listener.opened();
    };
    socket.onmessage = ({ data }) => {
      clearTimeout(this.#pong);
      this.#pong = undefined;
      this.#read(data);
    };
    socket.onclose = ({ code }) => this.#lost(code);
  }

  /** Sends a frame. Returns `false`, and sends nothing, while there is no connection. */
  send(frame: ClientFrame): boolean {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  /** Says that the server accepted us: the next loss is a first one. */
  settled(): void {
    this.#attempts = 0;
  }

  /** Finds out now whether the connection lives, or tries at once to get one. */
  check(): void {
    if (this.#stopped) return;
    if (this.#retry !== undefined) this.connect();
    else this.#sendPing();
  }

  /** Drops the connection and opens another at once. */
  reopen(): void {
    this.#lost(1000);
    this.connect();
  }

  #read(data: unknown): void {
    let frame: ServerFrame;
    try {
      frame = JSON.parse(String(data)) as ServerFrame;
      if (!Array.isArray(frame)) throw new SyntaxError('not an array');
    } catch (error) {
      console.error('domcast: not a frame', error);
      return this.#lost(CLOSE_MALFORMED - 1);
    }
    this.#listener.received(frame);
  }

  #schedulePing(): void {
    clearTimeout(this.#ping);
    this.#ping = setTimeout(() => this.#sendPing(), PING_EVERY_MS);
  }

  #sendPing(): void {
    if (!this.send(['ping'])) return;
    this.#pong ??= setTimeout(() => this.#lost(1006), PONG_WITHIN_MS);
    this.#schedulePing();
  }

  #lost(code: number): void {
    const socket = this.#socket;
    if (!socket) return;
    // `close` waits for the other side, who may never answer: we are done with it already.
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    this.#socket = null;
    clearTimeout(this.#ping);
    clearTimeout(this.#pong);
    this.#pong = undefined;
    this.#listener.closed(code);
    if (code === CLOSE_OTHER_VERSION) return this.#reload();
    if (code === CLOSE_TOO_LARGE || code === CLOSE_MALFORMED) return this.#stop(code);
    const delay = Math.random() * Math.min(MAX_DELAY_MS, DELAY_MS * 2 ** this.#attempts++);
    this.#retry = setTimeout(() => this.connect(), delay);
  }

  /** Another protocol version: a newer page knows it. A server that never agrees must not keep the page reloading. */
  #reload(): void {
    let last = Infinity;
    try {
      last = Number(sessionStorage.getItem(RELOADED_KEY));
      sessionStorage.setItem(RELOADED_KEY, String(Date.now()));
    } catch {
      // No storage, no way to know: do not reload.
    }
    if (Date.now() - last > RELOAD_AT_MOST_EVERY_MS) location.reload();
    else this.#stop(CLOSE_OTHER_VERSION);
  }

  #stop(code: number): void {
    this.#stopped = true;
    console.error(`domcast: the server closed with ${code}; the page is no longer live`);
  }
}
