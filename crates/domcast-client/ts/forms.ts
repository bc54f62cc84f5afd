/**
 * What the user typed, chose or checked.
 *
 * A control follows the server until the user makes it differ. So before a change touches a
 * control, `note` remembers whether its live state is the default that the markup gives it;
 * after the whole patch list `settle` lets a control that was at its default follow the new
 * default, and puts back what the user had in one that was not. `dc-force` on a control makes the
 * server win. Nothing is set in a field while an input method composes in it.
 */

import { openByServer } from './create';
import * as dom from './dom';
import { getValue, setValueKeepingCaret } from './focus';

type Settle = (force: boolean) => void;

/** The attributes that the state of a control follows, by the control's name. */
const STATEFUL = new Map<string, RegExp>([
  ['input', /^(value|checked|type|multiple|min|max|step|name)$/],
  ['select', /^(multiple|size)$/],
  ['option', /^(selected|disabled)$/],
  ['optgroup', /^disabled$/],
]);

export class FormState {
  #noted = new Map<Element, Settle>();
  #placed = new Set<HTMLInputElement>();
  #open = new Set<Element>();

  /** Call before attribute `attribute` of `node` changes, or (without it) its children or text. */
  note(node: Node, attribute?: string): void {
    if (/^(open|name)$/.test(attribute!) && dom.isHtml(node, 'details')) {
      // An open one without a name is closed by the name that it gets.
      for (const each of [node, ...inRootOf(node, OPEN_OF_NAME)]) if (dom.hasAttribute(each, 'open')) this.#open.add(each);
    }
    if (attribute !== undefined && !(dom.isElement(node) && STATEFUL.get(dom.localName(node))?.test(attribute))) return;
    const control = controlOf(node);
    if (!control || this.#noted.has(control)) return;
    if (dom.isHtml(control, 'select')) this.#noted.set(control, noteSelect(control as HTMLSelectElement));
    else if (dom.isHtml(control, 'textarea')) this.#noted.set(control, noteText(control as HTMLTextAreaElement));
    else if (attribute !== undefined) this.#noteInput(control as HTMLInputElement);
  }

  /** Call when nodes have another place: of the checked radios of a group the last in the page wins, not the last to come. */
  placed(node: Node): void {
    if (!dom.isElement(node)) return;
    for (const radio of [node, ...dom.querySelectorAll(node, CHECKED_RADIO)]) {
      // SVG has elements of that name too.
      if (dom.isHtml(radio, 'input') && dom.matches(radio, CHECKED_RADIO)) this.#placed.add(radio as HTMLInputElement);
    }
  }

  /** Call when nodes are made, once they have a place. */
  made(node: Node): void {
    this.placed(node);
    if (!dom.isElement(node)) return;
    for (const each of [node, ...dom.querySelectorAll(node, 'details[name]')]) if (openByServer.has(each)) this.#open.add(each);
  }

  /** Call once the changes are made. */
  settle(): void {
    // Each settles those of its name.
    for (const each of this.#open) settleDetails(each, this.#open);
    this.#open.clear();
    if (this.#placed.size > 0) settleRadios(this.#placed);
    this.#placed.clear();
    for (const [control, settle] of this.#noted) {
      if (control !== composing) settle(dom.hasAttribute(control, 'dc-force'));
      else if (dom.hasAttribute(control, 'dc-force')) afterComposition = () => settle(true);
    }
    this.#noted.clear();
  }

  #noteInput(input: HTMLInputElement): void {
    const type = inputType(input);
    if (type === 'file') return;
    // One radio's state is its whole group's: checking one unchecks the others.
    const group = type === 'radio' ? radiosWith(input) : [input];
    const live = group.map(checked);
    // Of those that the markup checks the last one is, in a page.
    const last = group.filter(defaultChecked).pop();
    const chosen = group.filter(checked).pop();
    // One that has just come is nobody's choice.
    const isUsers = chosen !== last && !this.#placed.has(chosen!);
    group.forEach((each, idx) => {
      // It may be about to get another type.
      const settleText = noteText(each);
      this.#noted.set(each, (force) => {
        settleText(force);
        const wanted = isUsers && !force ? live[idx]! : defaultChecked(each);
        if (checked(each) !== wanted) setChecked(each, wanted);
      });
    });
  }
}

/** Gives the text fields of these names in `form` the values of the markup. */
export function resetText(form: Element, names: readonly string[]): void {
  for (const field of dom.querySelectorAll(form, 'input, textarea')) {
    if (!names.includes(dom.getAttribute(field, 'name') ?? '')) continue;
    setValueKeepingCaret(field as HTMLInputElement, markupValue(field as HTMLInputElement));
  }
}

let composing: Element | null = null;
let afterComposition: (() => void) | null = null;
dom.listen('compositionstart', ({ target }) => void (composing = target as Element), true);
dom.listen(
  'compositionend',
  () => {
    composing = null;
    afterComposition?.();
    afterComposition = null;
  },
  true,
);

/** The control whose state depends on `node`. */
function controlOf(node: Node): Element | null {
  if (!dom.isElement(node) || dom.namespaceURI(node) !== dom.HTML) return null;
  switch (dom.localName(node)) {
    case 'input':
    case 'textarea':
    case 'select':
      return node;
    default:
      // Options may stand at any depth: `<select><div><option>`.
      return dom.closest(node, 'select');
  }
}

const inputType = dom.getter(HTMLInputElement, 'type');
const checked = dom.getter(HTMLInputElement, 'checked');
const setChecked = dom.setter(HTMLInputElement, 'checked');
const defaultChecked = dom.getter(HTMLInputElement, 'defaultChecked');
const inputForm = dom.getter(HTMLInputElement, 'form');
const areaDefault = dom.getter(HTMLTextAreaElement, 'defaultValue');
const options = dom.getter(HTMLSelectElement, 'options');
const multiple = dom.getter(HTMLSelectElement, 'multiple');
const displaySize = dom.getter(HTMLSelectElement, 'size');
const selected = dom.getter(HTMLOptionElement, 'selected');
const setSelected = dom.setter(HTMLOptionElement, 'selected');
const defaultSelected = dom.getter(HTMLOptionElement, 'defaultSelected');
const inputDefault = dom.getter(HTMLInputElement, 'value');

function noteText(field: HTMLInputElement | HTMLTextAreaElement): Settle {
  const isUsers = getValue(field) !== markupValue(field);
  return (force) => {
    if (isUsers && !force) return;
    const wanted = markupValue(field);
    if (getValue(field) !== wanted) setValueKeepingCaret(field, wanted);
  };
}

/** The value that a fresh parse of the markup would show: a range without a value shows 50. */
function markupValue(field: HTMLInputElement | HTMLTextAreaElement): string {
  if (dom.isHtml(field, 'textarea')) return areaDefault(field as HTMLTextAreaElement).replace(/\r\n?/g, '\n');
  const probe = dom.createElement(document, 'input') as HTMLInputElement;
  for (const name of ['min', 'max', 'step', 'multiple', 'type', 'value']) {
    const value = dom.getAttribute(field, name);
    if (value !== null) dom.setAttribute(probe, name, value);
  }
  return inputDefault(probe);
}

function radiosWith(input: HTMLInputElement): HTMLInputElement[] {
  const name = dom.getAttribute(input, 'name');
  if (!name) return [input];
  const radios = inRootOf(input, 'input[type=radio i]');
  const group = (radios as HTMLInputElement[]).filter((each) => dom.getAttribute(each, 'name') === name && inputForm(each) === inputForm(input));
  return group.includes(input) ? group : [input];
}

/** What `selector` finds in the tree that `node` is in, be it a document, a shadow, a template or a detached element. */
function inRootOf(node: Node, selector: string): Element[] {
  const top = dom.getRootNode(node) as Node & ParentNode;
  const type = dom.nodeType(top);
  const query = type === dom.ELEMENT ? dom.querySelectorAll : type === dom.DOCUMENT ? dom.queryDocument : dom.queryFragment;
  return [...query(top, selector)].filter((each) => dom.namespaceURI(each) === dom.HTML);
}

const OPEN_OF_NAME = 'details[open][name]';
const CHECKED_RADIO = 'input[type=radio i][checked]';

/** Of the details with the name of `one`, opens the first that the server's tree has open, unless the user chose another. */
function settleDetails(one: Element, wanted: Set<Element>): void {
  const name = dom.getAttribute(one, 'name');
  const group = inRootOf(one, 'details[name]').filter((each) => dom.getAttribute(each, 'name') === name);
  const isOpen = (each: Element): boolean => dom.hasAttribute(each, 'open');
  const isUsers = !group.filter(isOpen).every((each) => openByServer.has(each));
  const first = group.find((each) => openByServer.has(each) && (isOpen(each) || wanted.has(each)));
  if (first && !isUsers) dom.setAttribute(first, 'open', openByServer.get(first)!);
  group.forEach((each) => wanted.delete(each));
}

/** Of the groups that a radio came into, those in which the markup checks more than one, each once. */
function settleRadios(placed: ReadonlySet<HTMLInputElement>): void {
  const [first] = placed;
  const names = new Map<string, number>();
  for (const radio of inRootOf(first!, CHECKED_RADIO)) {
    const name = dom.getAttribute(radio, 'name') ?? '';
    names.set(name, (names.get(name) ?? 0) + 1);
  }
  const settled = new Set<HTMLInputElement>();
  for (const radio of placed) {
    if (settled.has(radio) || names.get(dom.getAttribute(radio, 'name') ?? '')! < 2) continue;
    const group = radiosWith(radio);
    group.forEach((each) => settled.add(each));
    const last = group.filter(defaultChecked).pop();
    // A radio that is checked against the markup is the user's choice.
    const isUsers = !group.filter(checked).every(defaultChecked);
    if (last && !checked(last) && !isUsers) setChecked(last, true);
  }
}

function noteSelect(select: HTMLSelectElement): Settle {
  const before = [...options(select)];
  const live = before.map(selected);
  const defaults = defaultChoice(select);
  const isUsers = before.some((option, idx) => live[idx] !== defaults.has(option));
  return (force) => {
    const now = [...options(select)];
    const wanted = defaultChoice(select);
    if (isUsers && !force) {
      const chosen = before.filter((option, idx) => live[idx] && now.includes(option));
      if (multiple(select)) {
        before.forEach((option, idx) => (live[idx] ? wanted.add(option) : wanted.delete(option)));
      } else if (chosen.length) {
        wanted.clear();
        wanted.add(chosen[0]!);
      }
    }
    for (const option of now) if (selected(option) !== wanted.has(option)) setSelected(option, wanted.has(option));
  };
}

/** Not `:disabled`, which every option of a disabled select is. */
const DISABLED_OPTION = '[disabled], optgroup[disabled] option';

/** The options that a fresh parse of the markup would select. */
function defaultChoice(select: HTMLSelectElement): Set<HTMLOptionElement> {
  const all = [...options(select)];
  const marked = all.filter(defaultSelected);
  if (multiple(select)) return new Set(marked);
  const only = marked.pop() ?? (displaySize(select) <= 1 ? all.find((option) => !dom.matches(option, DISABLED_OPTION)) : undefined);
  return new Set(only ? [only] : []);
}
