/**
 * Sends what the user does to the handlers that the markup names.
 *
 *     dc-click="add" dc-submit="save" dc-input="search" dc-change="pick"
 *     dc-payload='{"by":1}'   merged into the payload
 *     dc-debounce="300"       sends once nothing happened for 300 ms, or on blur, or before a submit
 *     dc-throttle="300"       sends at most every 300 ms; the last input or change is not dropped
 *     dc-reset                on a form: resets it once the event was handled
 *     dc-reset="text title"   the same, for the text fields of these names only
 *
 * The payload of `dc-submit` is the form's fields (a repeated name is a list), of `dc-input` and
 * `dc-change` it is `{name, value}`, with `checked` for check boxes and radio buttons.
 *
 * Listeners are at the document, so patched-in elements need none. The view is the nearest
 * `[dc-view]`. While an event waits for its answer its element has the attribute `dc-waiting`: an
 * attribute of its own, because a class would get in the way of the server's class patches. A
 * form that waits is not submitted again.
 */

import * as dom from './dom';
import { resetText } from './forms';
import type { Page } from './page';
import type { Payload } from './protocol';

const KINDS = ['click', 'submit', 'input', 'change'] as const;
type Kind = (typeof KINDS)[number];

interface Delayed {
  timer: number;
  send: (() => void) | null;
}

export function listen(page: Page): void {
  const delayed = new Map<Element, Delayed>();
  const waiting = new Map<Element, number>();

  const flush = (element: Element): void => {
    const entry = delayed.get(element);
    if (!entry) return;
    clearTimeout(entry.timer);
    delayed.delete(element);
    entry.send?.();
  };

  const send = (kind: Kind, element: Element, handler: string, event: Event): void => {
    const owner = dom.closest(element, '[dc-view]');
    const view = owner && page.view(owner);
    if (!view) return;
    setWaiting(element, 1);
    page
      .event(view, handler, payloadOf(kind, element, event))
      .then(
        () => {
          const names = kind === 'submit' ? dom.getAttribute(element, 'dc-reset') : null;
          if (names === '') resetForm(element as HTMLFormElement);
          else if (names) resetText(element, names.split(' '));
        },
        (error) => console.warn(`domcast: ${error.message}`),
      )
      .finally(() => setWaiting(element, -1));
  };

  const setWaiting = (element: Element, by: number): void => {
    const count = (waiting.get(element) ?? 0) + by;
    if (count > 0) {
      waiting.set(element, count);
      dom.setAttribute(element, 'dc-waiting', '');
    } else {
      waiting.delete(element);
      dom.removeAttribute(element, 'dc-waiting');
    }
  };

  const handle = (kind: Kind, event: Event): void => {
    const target = event.target as Node;
    const element = dom.isElement(target) ? dom.closest(target, `[dc-${kind}]`) : null;
    const handler = element && dom.getAttribute(element, `dc-${kind}`);
    if (!handler || !dom.closest(element, '[dc-view]')) return;
    // A submitted form must not leave the page; nor a link that only carries a click.
    if (kind === 'submit' || (kind === 'click' && dom.isHtml(element, 'a') && dom.getAttribute(element, 'href')?.[0] === '#')) event.preventDefault();
    if (kind === 'submit') {
      if (waiting.has(element)) return;
      for (const pending of [...delayed.keys()]) flush(pending);
    }
    const now = (): void => send(kind, element, handler, event);
    const debounce = Number(dom.getAttribute(element, 'dc-debounce'));
    const throttle = Number(dom.getAttribute(element, 'dc-throttle'));
    const entry = delayed.get(element);
    if (debounce > 0) {
      clearTimeout(entry?.timer);
      delayed.set(element, { timer: setTimeout(flush, debounce, element), send: now });
    } else if (throttle > 0) {
      if (!entry) {
        now();
        delayed.set(element, { timer: setTimeout(flush, throttle, element), send: null });
      } else if (kind === 'input' || kind === 'change') {
        entry.send = now;
      }
    } else {
      now();
    }
  };

  for (const kind of KINDS) dom.listen(kind, (event) => handle(kind, event));
  dom.listen('focusout', ({ target }) => {
    for (const [element, { send }] of [...delayed]) if (send && dom.contains(element, target as Node)) flush(element);
  });
}

const resetForm = dom.method<HTMLFormElement, [], void>(HTMLFormElement, 'reset');

function payloadOf(kind: Kind, element: Element, event: Event): Payload {
  const fields = new Map<string, unknown>();
  if (kind === 'submit') {
    for (const [name, entry] of new FormData(element as HTMLFormElement, (event as SubmitEvent).submitter)) {
      const value = typeof entry === 'string' ? entry : entry.name;
      const old = fields.get(name);
      fields.set(name, old === undefined ? value : Array.isArray(old) ? [...old, value] : [old, value]);
    }
  } else if (kind !== 'click') {
    const field = event.target as Omit<HTMLInputElement, 'type'> & Omit<HTMLSelectElement, 'type'> & { type: string };
    fields.set('name', field.name ?? '');
    fields.set('value', field.type === 'select-multiple' ? [...field.selectedOptions].map((option) => option.value) : (field.value ?? field.textContent));
    if (field.type === 'checkbox' || field.type === 'radio') fields.set('checked', field.checked);
  }
  // `fromEntries` and spread define properties, so a field named `__proto__` is only a field.
  return { ...Object.fromEntries(fields), ...extra(element) };
}

function extra(element: Element): Payload {
  const text = dom.getAttribute(element, 'dc-payload');
  if (text === null) return {};
  try {
    return JSON.parse(text) as Payload;
  } catch {
    console.error(`domcast: dc-payload is not JSON: ${text}`);
    return {};
  }
}
