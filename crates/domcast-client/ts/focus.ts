/**
 * Keeps the focus and the caret across changes that would lose them.
 */

import * as dom from './dom';

const getSelection = dom.method<Document, [], Selection | null>(Document, 'getSelection');

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
    if (caret) writeCaret(active as Field, caret);
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
  accessorsOf(field).setValue(field, value);
  if (!caret) return;
  const shared = Math.min(old.length, value.length);
  let head = 0;
  while (head < shared && old[head] === value[head]) head++;
  let tail = 0;
  while (tail < shared - head && old[old.length - 1 - tail] === value[value.length - 1 - tail]) tail++;
  const follow = (at: number): number => (at >= old.length - tail ? at + value.length - old.length : Math.min(at, Math.max(head, value.length - tail)));
  writeCaret(field, { start: follow(caret.start), end: follow(caret.end), direction: caret.direction });
}

const accessors = <F extends Field>(from: { prototype: F }) => ({
  value: dom.getter(from as { prototype: Field }, 'value'),
  setValue: dom.setter(from as { prototype: Field }, 'value'),
  start: dom.getter(from as { prototype: Field }, 'selectionStart'),
  end: dom.getter(from as { prototype: Field }, 'selectionEnd'),
  direction: dom.getter(from as { prototype: Field }, 'selectionDirection'),
  select: dom.method<Field, [number, number, Caret['direction']], void>(from as { prototype: Field }, 'setSelectionRange'),
});

const input = accessors(HTMLInputElement);
const area = accessors(HTMLTextAreaElement);

/** How to reach what is in a field, whatever names its form shadows. */
const accessorsOf = (field: Field): typeof input => (dom.isHtml(field, 'input') ? input : area);

export const getValue = (field: Field): string => accessorsOf(field).value(field);

/** The selection inside a field; `null` for everything that has none (a checkbox, an e-mail field, a div). */
function readCaret(element: Element): Caret | null {
  if (!dom.isHtml(element, 'input') && !dom.isHtml(element, 'textarea')) return null;
  const field = element as Field;
  const { start, end, direction } = accessorsOf(field);
  const at = start(field);
  return at === null ? null : { start: at, end: end(field)!, direction: direction(field) as Caret['direction'] };
}

function writeCaret(field: Field, { start, end, direction }: Caret): void {
  try {
    accessorsOf(field).select(field, start, end, direction);
  } catch {
    // The field changed its type and has no caret any more.
  }
}
