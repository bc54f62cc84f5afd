/**
 * What an application says is wrong with a form, shown at its fields as the browser shows what it finds wrong itself. A script of
 * its own beside the client's, for pages whose forms go to an application:
 *
 *     <script src="/_domcast/errors.js" defer></script>
 *
 * `errors` of `dc:refused` has a text, or a list of them, for the name of each field in question; what has no field of its name is
 * shown at the first one that takes it. It is shown until the user clicks or types anything: the form can be sent again as it is. No
 * node and no attribute changes, so there is nothing that a patch could meet.
 */

import * as dom from './dom';

type Control = HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement | HTMLButtonElement;

const of = <C extends Control>(from: { prototype: C }) => ({
  willValidate: dom.getter<Control, 'willValidate'>(from as { prototype: Control }, 'willValidate'),
  set: dom.method<Control, [string], void>(from as { prototype: Control }, 'setCustomValidity'),
  report: dom.method<Control, [], boolean>(from as { prototype: Control }, 'reportValidity'),
});
type Kind = ReturnType<typeof of>;
const KINDS = new Map([
  ['input', of(HTMLInputElement)],
  ['select', of(HTMLSelectElement)],
  ['textarea', of(HTMLTextAreaElement)],
  ['button', of(HTMLButtonElement)],
]);
const elements = dom.getter<HTMLFormElement, 'elements'>(HTMLFormElement, 'elements');

/** What has an error of ours: of one form at a time. */
const shown: [Control, Kind][] = [];

/** In which order the forms were sent: that of their answers. */
const sent = new WeakMap<object, number>();
let nSent = 0;

for (const kind of ['input', 'change', 'click'] as const) dom.listen(kind, hideErrors);
// A form without a button is sent by this key alone, if its fields have no errors.
dom.listen('keydown', ({ key }) => key === 'Enter' && hideErrors());
dom.listen(
  'submit',
  ({ target }) => {
    // One that waits already is not sent.
    if (!dom.hasAttribute(target as Element, 'dc-waiting')) sent.set(target!, ++nSent);
  },
  true,
);
dom.listen('dc:refused' as 'click', (event) => {
  const { handler, errors } = (event as Event as CustomEvent).detail;
  if (errors === undefined) return;
  // The form is the one that waits for its answer, of equal ones the one that waits longest: each does so once.
  const waiting = [...dom.querySelectorAll(event.target as Element, 'form[dc-waiting]')].filter((form) => dom.getAttribute(form, 'dc-submit') === handler);
  const [form] = waiting.sort((a, b) => (sent.get(a) ?? 0) - (sent.get(b) ?? 0));
  if (form) showErrors(form as HTMLFormElement, errors);
});

/** Shows what is wrong with a form, in place of what was shown before. */
function showErrors(form: HTMLFormElement, errors: unknown): void {
  hideErrors();
  const byName = new Map(Object.entries(typeof errors === 'object' && errors ? errors : { '': errors }).map(([name, what]) => [name, text(what)]));
  const fields = controls(form);
  const named = fields.filter(([control]) => byName.has(nameOf(control)));
  const names = new Set(named.map(([control]) => nameOf(control)));
  const others = [...byName].filter(([name]) => !names.has(name)).map(([, what]) => what);
  if (others.length && fields[0]) {
    const [first] = fields;
    const own = byName.get(nameOf(first[0])) ?? '';
    byName.set(nameOf(first[0]), [own, ...others].filter(Boolean).join(' '));
    if (!named.includes(first)) named.unshift(first);
  }
  // One of a group of radio buttons says it for all.
  const told = new Set<string>();
  for (const [control, kind] of named) {
    const name = nameOf(control);
    if (told.has(name)) continue;
    kind.set(control, byName.get(name)!);
    shown.push([control, kind]);
    told.add(name);
  }
  named[0]?.[1].report(named[0][0]);
}

/** Takes back what was shown. */
function hideErrors(): void {
  for (const [control, kind] of shown.splice(0)) kind.set(control, '');
}

function controls(form: HTMLFormElement): [Control, Kind][] {
  const found: [Control, Kind][] = [];
  for (const element of elements(form)) {
    const kind = KINDS.get(dom.localName(element));
    if (kind?.willValidate(element as Control)) found.push([element as Control, kind]);
  }
  return found;
}

function nameOf(control: Element): string {
  return dom.getAttribute(control, 'name') ?? '';
}

/** The text of an error: of one text, of a list, or of `{message}`. */
function text(what: unknown): string {
  if (Array.isArray(what)) return what.map(text).join(' ');
  if (typeof what === 'object' && what) return text((what as { message?: unknown }).message);
  return what === undefined || what === null ? '' : String(what);
}
