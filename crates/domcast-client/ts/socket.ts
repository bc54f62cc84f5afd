/**
 * The connection: opens it, keeps it open, notices when it is dead, and comes back.
 *
 * It knows nothing of views. A ping goes out every 20 s, and when the page is shown again or the
 * network returns; if nothing at all arrives for 10 s after one, or after connecting, the connection counts as lost.
 * It comes back after a random delay between 0 and min(15 s, spread x 2^attempts) ("full jitter":
 * Brooker, "Exponential Backoff And Jitter", 2015). The server names the spread, 0.5 s for a few clients and 8 s for many, so that
 * when it was restarted it meets less than a quarter of them in its first second, however long it was away, and all within 15 s.
 * A page that just loaded, or was given up for its silence, comes alone: 0.5 s. The network's return, or the user's, ends the wait.
 * The attempts are counted anew once `settled` is called, not merely once a connection opens.
 *
 * A transport that twice brought nothing, or died within 5 s, gives way to the next: WebSocket, server-sent events, long
 * polling, and from there to the first. On one of the latter two a WebSocket is tried beside it, after 30 s and then ever
 * more rarely; once a frame came through, and no event waits for its answer, the connection moves there. The `hello` on it
 * names what was reached, so the move loses and repeats nothing.
 */

import * as dom from './dom';
import { CLOSE_LOST, CLOSE_MOVED, CLOSE_OTHER_VERSION, CLOSE_SILENT, CLOSE_TOO_LARGE, isRetry, isStop, type ClientFrame, type ServerFrame } from './protocol';
import { http, webSocket, type Transport } from './transport';

const PING_EVERY_MS = 20_000;
const PONG_WITHIN_MS = 10_000;
const SPREAD_MS = 8_000;
const ALONE_MS = 500;
const MAX_DELAY_MS = 15_000;
/** The attempts that the delay is reckoned with, at least, where the server cannot take us now: the longest one. */
const RETRY_ATTEMPTS = 6;
const PROVEN_AFTER_MS = 5_000;
const HEAL_AFTER_MS = 30_000;
const MAX_HEAL_MS = 600_000;
const ACK_EVERY_FRAMES = 16;
const ACK_EVERY_CHARACTERS = 20_000;
const RELOADED_KEY = 'domcast:reloaded';
const RELOAD_AT_MOST_EVERY_MS = 60_000;

const KINDS = ['ws', 'sse', 'poll'] as const;

export interface Listener {
  opened(): void;
  received(frame: ServerFrame): void;
  closed(code: number): void;
  /** Whether nothing is under way that a change of the connection would lose. */
  isQuiet(): boolean;
}

export class Socket {
  readonly #url: string;
  readonly #listener: Listener;
  #transport: Transport | null = null;
  /** The transport in use or tried next, and how often it has failed in a row. */
  #kind = 0;
  #strikes = 0;
  #settledAt = Infinity;
  /** A page that has never been settled looks for what no other page has lost. */
  #spreadMs = ALONE_MS;
  #attempts = 0;
  #retry: number | undefined;
  #ping: number | undefined;
  #pong: number | undefined;
  #heal: number | undefined;
  #healMs = HEAL_AFTER_MS;
  #stopped = false;
  #nFrames = 0;
  #nAcknowledged = 0;
  #nCharacters = 0;

  /** `url` is the folder of the transports, with its slash. */
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
    this.#nFrames = this.#nAcknowledged = this.#nCharacters = 0;
    const transport: Transport = (this.#kind ? http : webSocket)(
      this.#url,
      {
        opened: () => {
          if (transport === this.#transport) this.#opened();
        },
        frame: (text, numbered) => {
          if (transport === this.#transport) this.#read(text, numbered);
        },
        closed: (code) => {
          if (transport === this.#transport) this.#lost(code);
        },
      },
      KINDS[this.#kind]!,
    );
    this.#transport = transport;
    this.#expectFrame();
  }

  /** Sends a frame. Returns `false`, and sends nothing, while there is no connection. */
  send(frame: ClientFrame): boolean {
    return this.#transport?.send(frame) ?? false;
  }

  /** Says that the server accepted us: the next loss is a first one. */
  settled(spreadMs = SPREAD_MS): void {
    this.#attempts = 0;
    this.#spreadMs = spreadMs;
    if (this.#settledAt < Infinity) return;
    this.#settledAt = Date.now();
    if (this.#kind) this.#scheduleHeal();
  }

  /** Finds out now whether the connection lives, or tries at once to get one. */
  check(): void {
    if (this.#stopped) return;
    if (this.#retry === undefined) return this.#sendPing();
    // Another network may let through what the last one did not.
    this.#kind = 0;
    this.connect();
  }

  /** Drops the connection and opens another at once. */
  reopen(): void {
    if (this.#transport) {
      this.#drop();
      this.#listener.closed(CLOSE_MOVED);
    }
    this.connect();
  }

  #opened(): void {
    this.#schedulePing();
    this.#listener.opened();
  }

  #read(text: string, numbered: boolean): void {
    clearTimeout(this.#pong);
    this.#pong = undefined;
    let frame: ServerFrame;
    try {
      frame = JSON.parse(text) as ServerFrame;
      if (!Array.isArray(frame)) throw new SyntaxError('not an array');
    } catch (error) {
      console.error('domcast: not a frame', error);
      return this.#lost(CLOSE_LOST);
    }
    if (frame[0] === 'bye') return this.#lost(frame[1], frame[2]);
    const transport = this.#transport;
    if (frame[0] !== 'ping') this.#listener.received(frame);
    if (transport !== this.#transport) return;
    if (numbered) this.#nFrames++;
    this.#nCharacters += text.length;
    if (frame[0] === 'ping' || this.#nFrames - this.#nAcknowledged >= ACK_EVERY_FRAMES || this.#nCharacters > ACK_EVERY_CHARACTERS) {
      this.send(['ack', (this.#nAcknowledged = this.#nFrames)]);
      this.#nCharacters = 0;
    }
  }

  #schedulePing(): void {
    clearTimeout(this.#ping);
    this.#ping = setTimeout(() => this.#sendPing(), PING_EVERY_MS);
  }

  #sendPing(): void {
    if (!this.send(['ping'])) return;
    this.#expectFrame();
    this.#schedulePing();
  }

  #expectFrame(): void {
    this.#pong ??= setTimeout(() => this.#lost(CLOSE_LOST), PONG_WITHIN_MS);
  }

  #lost(code: number, stayAwayMs = 0): void {
    if (!this.#transport) return;
    this.#drop();
    this.#listener.closed(code);
    if (code === CLOSE_OTHER_VERSION) return this.#reload();
    if (isStop(code)) return this.#stop(code);
    if (isRetry(code)) this.#attempts = Math.max(this.#attempts, RETRY_ATTEMPTS);
    this.#judge(code);
    const spread = code === CLOSE_SILENT ? ALONE_MS : this.#spreadMs;
    const jittered = Math.random() * Math.min(MAX_DELAY_MS, spread * 2 ** this.#attempts++);
    this.#retry = setTimeout(() => this.connect(), stayAwayMs || jittered);
  }

  #drop(): void {
    this.#transport?.close();
    this.#transport = null;
    for (const timer of [this.#ping, this.#pong, this.#heal]) clearTimeout(timer);
    this.#pong = undefined;
  }

  /** Counts how the transport fared; what the server itself said is no fault of it. */
  #judge(code: number): void {
    const isProven = Date.now() - this.#settledAt > PROVEN_AFTER_MS;
    this.#settledAt = Infinity;
    if (isProven || code > CLOSE_TOO_LARGE) this.#strikes = 0;
    else if (++this.#strikes > 1) {
      this.#kind = (this.#kind + 1) % KINDS.length;
      this.#strikes = 0;
    }
  }

  /** Tries a WebSocket beside the present transport, and moves there if it brings a frame. */
  #scheduleHeal(): void {
    this.#heal = setTimeout(() => {
      this.#scheduleHeal();
      const probe = webSocket(this.#url, {
        opened: () => probe.send(['ping']),
        frame: () => {
          probe.close();
          if (!this.#kind || !this.#listener.isQuiet()) return;
          this.#drop();
          this.#kind = 0;
          this.#settledAt = Infinity;
          this.connect();
        },
        closed: () => {},
      });
    }, this.#healMs);
    this.#healMs = Math.min(MAX_HEAL_MS, this.#healMs * 2);
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
