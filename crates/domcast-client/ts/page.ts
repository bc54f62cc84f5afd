/**
 * All views of a page on one connection: says hello, hands frames to views, and events to the server.
 *
 * An event that was never written to a connection waits for the next one. An event that was
 * written and not answered when the connection went away may or may not have been handled, so it
 * is never sent again: its promise fails and `dc:lost` tells the page.
 *
 * DOM events on a view's element, bubbling, besides those of a view: `dc:connected`,
 * `dc:disconnected` (detail: the close code), `dc:refused` and `dc:lost` (detail: `{handler,
 * payload, message, errors}`; `errors` is what an application says is wrong with the payload).
 */

import { showFault } from './overlay';
import { PROTOCOL_VERSION, type Payload, type ServerFrame } from './protocol';
import { Socket } from './socket';
import { View } from './view';
import * as dom from './dom';

/** Events kept while there is no connection; the page is told of any more at once. */
const MAX_WAITING = 100;

export type Listener = (data: unknown) => void;

interface SentEvent {
  readonly view: View;
  readonly handler: string;
  readonly payload: Payload;
  resolve(reply: unknown): void;
  reject(error: Error): void;
}

export class Page {
  readonly #socket: Socket;
  readonly #views = new Map<Element, View>();
  /** The views named in `hello` and not yet answered, in that order. */
  #greeted: View[] = [];
  #waiting: SentEvent[] = [];
  #sent = new Map<number, SentEvent>();
  readonly #listeners = new Map<string, Set<Listener>>();
  #nEvents = 0;
  #started = false;

  constructor(url: string) {
    this.#socket = new Socket(url, {
      opened: () => this.#hello(),
      received: (frame) => this.#received(frame),
      closed: (code) => this.#closed(code),
      isQuiet: () => this.#sent.size === 0,
    });
  }

  /** Mounts an element with `dc-view` and keeps it live. Mounting it twice does nothing. */
  mount(...elements: Element[]): void {
    const before = this.#views.size;
    for (const element of elements) {
      if (dom.getAttribute(element, 'dc-view') && !this.#views.has(element)) this.#views.set(element, new View(element));
    }
    if (this.#views.size === before) return;
    if (this.#started) this.#socket.reopen();
    else this.#socket.connect();
    this.#started = true;
  }

  /** Leaves the element as it is, for good. */
  unmount(element: Element): void {
    this.#views.get(element)?.offline();
    this.#views.delete(element);
  }

  view(element: Element): View | undefined {
    return this.#views.get(element);
  }

  /** Calls `listener` with the data of every message of a topic that the server sends; returns how to stop that. */
  on(topic: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(topic) ?? new Set();
    this.#listeners.set(topic, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /** Calls a handler of the view. The promise is kept, with its reply, once it was handled and its changes are shown. */
  event(view: View, handler: string, payload: Payload): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const event: SentEvent = { view, handler, payload, resolve, reject };
      if (this.#waiting.length >= MAX_WAITING) return fail(event, 'lost', 'too many events wait');
      this.#waiting.push(event);
      this.#flush();
    });
  }

  #hello(): void {
    this.#greeted = [...this.#views.values()];
    this.#nEvents = 0;
    // The numbers of another connection mean nothing on this one.
    for (const view of this.#greeted) view.document = null;
    this.#socket.send(['hello', PROTOCOL_VERSION, this.#greeted.map((view) => view.greeting)]);
    for (const view of this.#greeted) view.emit('connected');
  }

  #received(frame: ServerFrame): void {
    switch (frame[0]) {
      case 'mounted': {
        this.#socket.settled(frame[4]);
        this.#answered(frame[1])?.mounted(frame[2], frame[3]);
        return this.#flush();
      }
      case 'unknown':
        console.error(`domcast: the server knows no view \`${frame[1]}\``);
        return void this.#answered(frame[1]);
      case 'denied':
        console.error(`domcast: the server does not let this page see \`${frame[1]}\``);
        return this.#answered(frame[1])?.revoked();
      case 'revoked':
        return this.#with(frame[1], (view) => view.revoked());
      case 'token':
        return this.#with(frame[1], (view) => view.renewed(frame[2]));
      case 'p':
        return this.#each(frame[1], (view) => view.update(frame[2], frame[3], frame[4]));
      case 'snapshot':
        return this.#each(frame[1], (view) => view.snapshot(frame[2], frame[3], frame[4], frame[5]));
      case 'ack':
        return this.#settle(frame[1])?.resolve(frame[2]);
      case 'refused': {
        const event = this.#settle(frame[1]);
        return event && fail(event, 'refused', `${frame[2]} (${frame[3]})`, frame[4]);
      }
      case 'message':
        return void this.#listeners.get(frame[1])?.forEach((listener) => {
          // A listener that throws is the page's own matter: it is reported, and the others are called.
          queueMicrotask(() => listener(frame[2]));
        });
      case 'fault':
        return showFault(frame[1], frame[2]);
    }
  }

  #answered(name: string): View | undefined {
    const idx = this.#greeted.findIndex((view) => view.name === name);
    return idx < 0 ? undefined : this.#greeted.splice(idx, 1)[0];
  }

  #each(document: number, take: (view: View) => boolean): void {
    for (const view of this.#views.values()) {
      if (view.document === document && !take(view)) this.#socket.send(['resync', document]);
    }
  }

  #with(document: number, take: (view: View) => void): void {
    for (const view of this.#views.values()) if (view.document === document) take(view);
  }

  #settle(n: number): SentEvent | undefined {
    const event = this.#sent.get(n);
    this.#sent.delete(n);
    return event;
  }

  #flush(): void {
    this.#waiting = this.#waiting.filter((event) => {
      const { view, handler, payload } = event;
      if (view.document === null || !this.#socket.send(['event', this.#nEvents + 1, view.document, handler, payload])) return true;
      this.#sent.set(++this.#nEvents, event);
      return false;
    });
  }

  #closed(code: number): void {
    for (const view of this.#views.values()) {
      view.offline();
      view.emit('disconnected', code);
    }
    const sent = this.#sent;
    this.#sent = new Map();
    for (const event of sent.values()) fail(event, 'lost', 'the connection ended before the answer came');
  }
}

function fail(event: SentEvent, name: 'lost' | 'refused', message: string, errors?: unknown): void {
  const { view, handler, payload } = event;
  view.emit(name, { handler, payload, message, errors });
  event.reject(new Error(`event \`${handler}\` ${name}: ${message}`));
}
