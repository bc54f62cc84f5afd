/**
 * Keeps the focus and the caret across changes that would lose them.
 */

import * as dom from './dom';

const getSelection = dom.method<Document, [], Selection | null>(Document.prototype, 'getSelection');

type Field = HTMLInputElement | HTMLTextAreaElement;

interface Caret {
  start: number;
  end: number;
  direction: 'forward' | 'backward' | 'none';
}

/** Remembers what has the focus; the function returned gives it back if it was lost. */
export function holdFocus(document: Document): () => void {
  const active = dom.activeElement(document);
  if (!active || active === dom.body(document)) return () => {};
  const caret = readCaret(active);
  const selection = caret ? null : getSelection(document);
  const marks = selection && ([selection.anchorNode, selection.anchorOffset, selection.focusNode, selection.focusOffset] as const);
  return () => {
    if (dom.activeElement(document) === active || !dom.isConnected(active)) return;
    dom.focus(active as HTMLElement, { preventScroll: true });
    if (caret) writeCaret(active, caret);
    if (!selection || !marks?.[0] || !marks[2] || !dom.isConnected(marks[0]) || !dom.isConnected(marks[2])) return;
    try {
      selection.setBaseAndExtent(marks[0], marks[1], marks[2], marks[3]);
    } catch {
      // The text became shorter than the offset.
    }
  };
}

/** Gives a field another value; a caret in it stays at the text it was at. */
export function setValueKeepingCaret(field: Field, value: string): void {
  const old = getValue(field);
  const caret = dom.activeElement(dom.ownerDocument(field)!) === field ? readCaret(field) : null;
  setValue(field, value);
  if (!caret) return;
  const shared = Math.min(old.length, value.length);
  let head = 0;
  while (head < shared && old[head] === value[head]) head++;
  let tail = 0;
  while (tail < shared - head && old[old.length - 1 - tail] === value[value.length - 1 - tail]) tail++;
  const follow = (at: number): number => (at >= old.length - tail ? at + value.length - old.length : Math.min(at, Math.max(head, value.length - tail)));
  writeCaret(field, { start: follow(caret.start), end: follow(caret.end), direction: caret.direction });
}

const input = {
  value: dom.getter(HTMLInputElement.prototype, 'value'),
  setValue: dom.setter(HTMLInputElement.prototype, 'value'),
  start: dom.getter(HTMLInputElement.prototype, 'selectionStart'),
  end: dom.getter(HTMLInputElement.prototype, 'selectionEnd'),
  direction: dom.getter(HTMLInputElement.prototype, 'selectionDirection'),
  select: dom.method<HTMLInputElement, [number, number, Caret['direction']], void>(HTMLInputElement.prototype, 'setSelectionRange'),
};

const area = {
  value: dom.getter(HTMLTextAreaElement.prototype, 'value'),
  setValue: dom.setter(HTMLTextAreaElement.prototype, 'value'),
  start: dom.getter(HTMLTextAreaElement.prototype, 'selectionStart'),
  end: dom.getter(HTMLTextAreaElement.prototype, 'selectionEnd'),
  direction: dom.getter(HTMLTextAreaElement.prototype, 'selectionDirection'),
  select: dom.method<HTMLTextAreaElement, [number, number, Caret['direction']], void>(HTMLTextAreaElement.prototype, 'setSelectionRange'),
};

const isInput = (element: Element): element is HTMLInputElement => dom.isHtml(element, 'input');

export const getValue = (field: Field): string => (isInput(field) ? input.value(field) : area.value(field as HTMLTextAreaElement));

const setValue = (field: Field, value: string): void => (isInput(field) ? input.setValue(field, value) : area.setValue(field as HTMLTextAreaElement, value));

/** The selection inside a field; `null` for everything that has none (a checkbox, an e-mail field, a div). */
function readCaret(element: Element): Caret | null {
  const read = <F extends Field>(field: F, from: { start(field: F): number | null; end(field: F): number | null; direction(field: F): string | null }): Caret | null => {
    const start = from.start(field);
    return start === null ? null : { start, end: from.end(field)!, direction: from.direction(field) as Caret['direction'] };
  };
  if (isInput(element)) return read(element, input);
  return dom.isHtml(element, 'textarea') ? read(element as HTMLTextAreaElement, area) : null;
}

function writeCaret(element: Element, { start, end, direction }: Caret): void {
  try {
    if (isInput(element)) input.select(element, start, end, direction);
    else area.select(element as HTMLTextAreaElement, start, end, direction);
  } catch {
    // The field changed its type and has no caret any more.
  }
}
