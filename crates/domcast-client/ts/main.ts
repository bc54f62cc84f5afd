/**
 * The script of a page: mounts every `[dc-view]` once the page is parsed, and keeps it live.
 *
 *     <script src="/_domcast/client.js" defer></script>
 *
 * The connection goes to `ws` beside this script, wherever it is served from, else to `sse` or `poll` there. A page may use
 *
 *     domcast.mount(element)                     an element with `dc-view` that came later
 *     domcast.unmount(element)                   leaves it as it is
 *     domcast.event(element, handler, payload)   a promise of the reply, kept once the event was handled
 *     domcast.on(topic, listener)                calls `listener(data)` with each message; returns how to stop
 */

import * as dom from './dom';
import { listen } from './events';
import { Page, type Listener } from './page';
import type { Payload } from './protocol';

const script = dom.getter(Document, 'currentScript')(document);
const url = new URL(script ? '.' : '/_domcast/', (script as HTMLScriptElement | null)?.src || location.href);

const page = new Page(url.href);

const api = {
  mount: (element: Element): void => page.mount(element),
  unmount: (element: Element): void => page.unmount(element),
  event: (element: Element, handler: string, payload: Payload = {}): Promise<unknown> => {
    const owner = dom.closest(element, '[dc-view]');
    const view = owner && page.view(owner);
    return view ? page.event(view, handler, payload) : Promise.reject(new Error('the element is in no mounted view'));
  },
  on: (topic: string, listener: Listener): (() => void) => page.on(topic, listener),
};

export type Domcast = typeof api;

Object.defineProperty(globalThis, 'domcast', { value: Object.freeze(api), configurable: true });

const start = (): void => {
  listen(page);
  page.mount(...dom.queryDocument(document, '[dc-view]'));
};

if (dom.readyState(document) === 'loading') dom.listen('DOMContentLoaded', start);
else start();
