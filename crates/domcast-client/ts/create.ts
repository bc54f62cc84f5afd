/**
 * Makes elements and sets attributes, exactly as a parser would have, and inert by default.
 *
 * Two things stand between `createElement` and a parser's result. Some names that a parser makes
 * are refused by the DOM (`<div =x>`, `<svg><a:b>`): such a node is parsed out of a tiny piece of
 * HTML. And what HTML would leave inert, the DOM would run: a script made by `createElement`.
 * Unless the view allows scripts, a script is a clone of one that a fragment parser made, which
 * the browser counts as already started for ever. Attributes are held to `guard.ts`.
 */

import * as dom from './dom';
import { isForbidden, keepLeftOut, type Guard } from './guard';
import { Unfollowable } from './protocol';

/** A name as it is written after `<` or `@`, taken apart. */
export interface Name {
  readonly namespace: string | null;
  readonly local: string;
  /** With its prefix, as `setAttributeNS` wants it. */
  readonly qualified: string;
}

type Namespaces = ReadonlyMap<string, string | null>;

/** By prefix; without one the name has that of `''`. */
const ATTRIBUTE_NAMESPACES: Namespaces = new Map([
  ['', null],
  ['-', null],
  ['xlink', 'http://www.w3.org/1999/xlink'],
  ['xml', 'http://www.w3.org/XML/1998/namespace'],
  ['xmlns', 'http://www.w3.org/2000/xmlns/'],
]);

const ELEMENT_NAMESPACES: Namespaces = new Map([
  ['', dom.HTML],
  ['html', dom.HTML],
  ['svg', dom.SVG],
  ['math', dom.MATHML],
]);

function takeApart(written: string, namespaces: Namespaces): { prefix: string; namespace: string | null; local: string } {
  const space = written.indexOf(' ');
  // A name that begins with a space has an empty prefix, which is none of the list's.
  const prefix = space === 0 ? ' ' : written.slice(0, Math.max(space, 0));
  const namespace = namespaces.get(prefix);
  if (namespace === undefined) throw new Unfollowable(`unknown namespace in name \`${written}\``);
  return { prefix, namespace, local: written.slice(space + 1) };
}

export function elementName(written: string): Name {
  const { namespace, local } = takeApart(written, ELEMENT_NAMESPACES);
  return { namespace, local, qualified: local };
}

export function attributeName(written: string): Name {
  const { prefix, namespace, local } = takeApart(written, ATTRIBUTE_NAMESPACES);
  // The parser gives `xmlns` itself no prefix: https://html.spec.whatwg.org/#adjust-foreign-attributes
  const bare = namespace === null || (prefix === 'xmlns' && local === 'xmlns');
  return { namespace, local, qualified: bare ? local : `${prefix}:${local}` };
}

export function createElement(document: Document, name: Name, scripts: boolean): Element {
  const { namespace, local } = name;
  if (local === 'script' && !scripts && namespace !== dom.MATHML) return inertScript(namespace);
  // `createElementNS` takes a colon for the end of a prefix; a parser does not.
  if (namespace === dom.HTML || !local.includes(':')) {
    try {
      const made = namespace === dom.HTML ? dom.createElement(document, local) : dom.createElementNS(document, namespace!, local);
      if (dom.localName(made) === local) return made;
    } catch {
      // A name that only a parser can make.
    }
  }
  const piece = parse(wrap(namespace) + `<${local}>`);
  const made = piece && namespace !== dom.HTML ? dom.firstChild(piece) : piece;
  if (!made || !dom.isElement(made) || dom.localName(made) !== local) throw new Unfollowable(`no element can be named \`${local}\``);
  return made;
}

const wrap = (namespace: string | null): string => (namespace === dom.SVG ? '<svg>' : namespace === dom.MATHML ? '<math>' : '');

const pieces = new Map<string, Node>();

/** Makes a script element that never runs, whatever is done to it later. */
function inertScript(namespace: string | null): Element {
  const html = wrap(namespace) + '<script></script>';
  let made = pieces.get(html);
  if (!made) {
    const piece = parse(html)!;
    made = namespace === dom.SVG ? dom.firstChild(piece)! : piece;
    pieces.set(html, made);
  }
  const script = dom.cloneNode(made, false) as Element;
  inert.add(script);
  return script;
}

const inert = new WeakSet<Node>();

/** Whether a change to `node` or to its children might run a script. */
export function isArmedScript(node: Node): node is Element {
  return dom.isElement(node) && dom.localName(node) === 'script' && dom.namespaceURI(node) !== dom.MATHML && !inert.has(node);
}

/** Puts an inert script in the place of a script of the page, and returns it. */
export function disarm(script: Element): Element {
  const copy = inertScript(dom.namespaceURI(script));
  for (const { namespaceURI: namespace, localName: local, name: qualified, value } of [...dom.attributes(script)]) {
    writeAttribute(copy, { namespace, local, qualified }, value);
  }
  for (let child = dom.firstChild(script); child; child = dom.firstChild(script)) dom.insertBefore(copy, child, null);
  const parent = dom.parentNode(script);
  if (parent) dom.replaceChild(parent, copy, script);
  return copy;
}

let warned = false;

/** Sets an attribute, or leaves it out if the guard forbids it. */
export function setAttribute(element: Element, name: Name, value: string, guard: Guard): void {
  const isLeftOut = isForbidden(guard, element, name.local, value);
  keepLeftOut(element, name.qualified, isLeftOut ? value : null);
  if (isLeftOut) {
    if (!warned) console.warn(`domcast: \`${name.local}\` was left out; see dc-scripts and dc-schemes for what may be pushed`);
    warned = true;
    dom.removeAttributeNS(element, name.namespace, name.local);
    return;
  }
  if (isOpen(name)) openByServer.set(element, value);
  writeAttribute(element, name, value);
}

export function removeAttribute(element: Element, name: Name): void {
  if (isOpen(name)) openByServer.delete(element);
  keepLeftOut(element, name.qualified, null);
  dom.removeAttributeNS(element, name.namespace, name.local);
}

/**
 * The elements that the server's tree has with `open`, and its value, which is lost when the browser closes one. A `details` that the user opens gets the
 * attribute too, so the page alone cannot tell a snapshot whose it is.
 */
export const openByServer = new WeakMap<Element, string>();

const isOpen = (name: Name): boolean => name.namespace === null && name.local === 'open';

function writeAttribute(element: Element, name: Name, value: string): void {
  try {
    write(element, name, trustedValue(element, name, value));
  } catch {
    // A name that only a parser can make.
    writeParsed(element, name, value);
  }
}

function write(element: Element, { namespace, local, qualified }: Name, value: string): void {
  if (namespace === null) dom.setAttribute(element, local, value);
  else dom.setAttributeNS(element, namespace, qualified, value);
}

const setAttrValue = dom.setter(Attr, 'value');

function writeParsed(element: Element, { local }: Name, value: string): void {
  const piece = parse(`<p ${local}>`);
  const parsed = piece && [...dom.attributes(piece as Element)].find((attribute) => attribute.localName === local);
  if (!parsed) return console.warn(`domcast: no attribute can be named \`${local}\``);
  const attribute = dom.cloneNode(parsed, false) as Attr;
  setAttrValue(attribute, value);
  dom.setAttributeNode(element, attribute);
}

interface Policy {
  createHTML(text: string): string;
  createScript(text: string): string;
  createScriptURL(text: string): string;
}

interface TrustedTypes {
  createPolicy(name: string, rules: Policy): Policy;
  getAttributeType(element: string, attribute: string, elementNamespace?: string | null, attributeNamespace?: string | null): string | null;
}

// One policy, known to this module only: it passes the pieces of HTML made here, and attribute
// values that come from the server that also made the page. A handler gets here only if the view
// runs scripts, and a script's `src` is set on scripts that never run.
const trustedTypes = (globalThis as { trustedTypes?: TrustedTypes }).trustedTypes;
const same = (text: string): string => text;
const policy = ((): Policy => {
  const rules: Policy = { createHTML: same, createScript: same, createScriptURL: same };
  try {
    return trustedTypes?.createPolicy('domcast', rules) ?? rules;
  } catch {
    return rules;
  }
})();

// Asked before, not after a refusal: a refusal is reported to the page's owner.
function trustedValue(element: Element, { namespace, local }: Name, value: string): string {
  if (!trustedTypes || !/^(on|src|href|data|code)/.test(local)) return value;
  switch (trustedTypes.getAttributeType(dom.localName(element), local, dom.namespaceURI(element), namespace)) {
    case 'TrustedHTML':
      return policy.createHTML(value);
    case 'TrustedScript':
      return policy.createScript(value);
    case 'TrustedScriptURL':
      return policy.createScriptURL(value);
    default:
      return value;
  }
}

/** The first node of the parsed piece: inert, in a template's document. */
function parse(html: string): Node | null {
  const template = dom.createElement(document, 'template') as HTMLTemplateElement;
  dom.setInnerHTML(template, policy.createHTML(html));
  return dom.firstChild(dom.templateContent(template));
}
