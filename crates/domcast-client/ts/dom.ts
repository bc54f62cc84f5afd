/**
 * The DOM, through prototype methods kept at start.
 *
 * A page's own markup can shadow every property of a form (`<form><input name=childNodes>`) and
 * of `document` (`<img name=body>`), so nothing here or elsewhere in the client reads a property
 * of a node of the page: it calls the prototype's getter instead.
 *
 * A `template` element's children live in its `content`; `container` hides the difference.
 */

export const HTML = 'http://www.w3.org/1999/xhtml';
export const SVG = 'http://www.w3.org/2000/svg';
export const MATHML = 'http://www.w3.org/1998/Math/MathML';

export const ELEMENT = 1;
export const TEXT = 3;
export const COMMENT = 8;
export const DOCUMENT = 9;
export const DOCTYPE = 10;

const bindCall = Function.prototype.bind.bind(Function.prototype.call) as (method: unknown) => unknown;

/** A class of the DOM. */
interface Class<N> {
  prototype: N;
}

const descriptor = (from: Class<object>, name: string): PropertyDescriptor => Object.getOwnPropertyDescriptor(from.prototype, name)!;

/** The getter of a property, as a function of the object. */
export function getter<N extends object, K extends keyof N & string>(from: Class<N>, name: K): (target: N) => N[K] {
  return bindCall(descriptor(from, name).get) as (target: N) => N[K];
}

/** The setter of a property, as a function of the object and the value. */
export function setter<N extends object, K extends keyof N & string>(from: Class<N>, name: K): (target: N, value: N[K]) => void {
  return bindCall(descriptor(from, name).set) as (target: N, value: N[K]) => void;
}

/** A method, as a function of the object and the arguments. */
export function method<N extends object, A extends unknown[], R>(from: Class<N>, name: { [K in keyof N]: N[K] extends (...args: A) => R ? K : never }[keyof N] & string): (target: N, ...args: A) => R {
  return bindCall(from.prototype[name]) as (target: N, ...args: A) => R;
}

const node = Node;
export const nodeType = getter(node, 'nodeType');
export const firstChild = getter(node, 'firstChild');
export const nextSibling = getter(node, 'nextSibling');
export const parentNode = getter(node, 'parentNode');
export const ownerDocument = getter(node, 'ownerDocument');
export const isConnected = getter(node, 'isConnected');
export const getRootNode = method<Node, [], Node>(node, 'getRootNode');
export const contains = method<Node, [Node | null], boolean>(node, 'contains');
export const insertBefore = method<Node, [Node, Node | null], Node>(node, 'insertBefore');
export const removeChild = method<Node, [Node], Node>(node, 'removeChild');
export const replaceChild = method<Node, [Node, Node], Node>(node, 'replaceChild');
export const cloneNode = method<Node, [boolean], Node>(node, 'cloneNode');

const element = Element;
export const localName = getter(element, 'localName');
export const namespaceURI = getter(element, 'namespaceURI');
export const attributes = getter(element, 'attributes');
export const getAttribute = method<Element, [string], string | null>(element, 'getAttribute');
export const hasAttribute = method<Element, [string], boolean>(element, 'hasAttribute');
export const getAttributeNS = method<Element, [string | null, string], string | null>(element, 'getAttributeNS');
export const getAttributeNodeNS = method<Element, [string | null, string], Attr | null>(element, 'getAttributeNodeNS');
export const setAttribute = method<Element, [string, string], void>(element, 'setAttribute');
export const setAttributeNS = method<Element, [string | null, string, string], void>(element, 'setAttributeNS');
export const setAttributeNode = method<Element, [Attr], Attr | null>(element, 'setAttributeNode');
export const removeAttribute = method<Element, [string], void>(element, 'removeAttribute');
export const removeAttributeNS = method<Element, [string | null, string], void>(element, 'removeAttributeNS');
export const matches = method<Element, [string], boolean>(element, 'matches');
export const closest = method<Element, [string], Element | null>(element, 'closest');
export const querySelectorAll = method<ParentNode, [string], NodeListOf<Element>>(element, 'querySelectorAll');
export const setInnerHTML = setter(element, 'innerHTML');

const doc = Document;
export const createElement = method<Document, [string], Element>(doc, 'createElement');
export const createElementNS = method<Document, [string, string], Element>(doc, 'createElementNS');
export const createTextNode = method<Document, [string], Text>(doc, 'createTextNode');
export const createComment = method<Document, [string], Comment>(doc, 'createComment');
export const implementation = getter(doc, 'implementation');
export const activeElement = getter(doc, 'activeElement');
export const body = getter(doc, 'body');
export const documentElement = getter(doc, 'documentElement');

export const queryDocument = method<ParentNode, [string], NodeListOf<Element>>(doc, 'querySelectorAll');

export const queryFragment = method<ParentNode, [string], NodeListOf<Element>>(DocumentFragment, 'querySelectorAll');

export const data = getter(CharacterData, 'data');
export const setData = setter(CharacterData, 'data');
export const replaceData = method<CharacterData, [number, number, string], void>(CharacterData, 'replaceData');

export const templateContent = getter(HTMLTemplateElement, 'content');
export const dispatchEvent = method<EventTarget, [Event], boolean>(EventTarget, 'dispatchEvent');
const addListener = method<EventTarget, [string, (event: Event) => void, boolean], void>(EventTarget, 'addEventListener');
export const readyState = getter(doc, 'readyState');
export const visibilityState = getter(doc, 'visibilityState');
export const focus = method<HTMLElement, [FocusOptions], void>(HTMLElement, 'focus');

/** Listens at the document; `capture` hears events that do not bubble, and before the page does. */
export function listen<K extends keyof DocumentEventMap>(type: K, heard: (event: DocumentEventMap[K]) => void, capture = false): void {
  addListener(document, type, heard as (event: Event) => void, capture);
}

export const isElement = (target: Node): target is Element => nodeType(target) === ELEMENT;

/** Whether `target` is an element of this local name in the HTML namespace. */
export function isHtml(target: Node, name: string): target is HTMLElement {
  return isElement(target) && localName(target) === name && namespaceURI(target) === HTML;
}

/** Whose element a template's content is; filled by `container`, read by `parentOf`. */
const hosts = new WeakMap<Node, Element>();

/** The node that holds the children of `target`: its content if it is a template, else itself. */
export function container(target: Node): Node {
  if (!isHtml(target, 'template')) return target;
  const content = templateContent(target as HTMLTemplateElement);
  hosts.set(content, target);
  return content;
}

/** The parent in the sense of PROTOCOL.md: the template itself for a child of its content. */
export function parentOf(target: Node): Node | null {
  const parent = parentNode(target);
  return parent && (hosts.get(parent) ?? parent);
}

export function childrenOf(parent: Node): Node[] {
  const children: Node[] = [];
  for (let child = firstChild(parent); child; child = nextSibling(child)) children.push(child);
  return children;
}

/** Visits what is below `top` in document order, templates' contents included; a child of `top` has depth 1. */
export function walk(top: Node, visit: (node: Node, depth: number) => void): void {
  const later: (Node | null)[] = [];
  let next: Node | null = firstChild(container(top));
  for (;;) {
    while (next === null) {
      if (later.length === 0) return;
      next = later.pop()!;
    }
    visit(next, later.length + 1);
    const child = firstChild(container(next));
    if (child === null) {
      next = nextSibling(next);
    } else {
      later.push(nextSibling(next));
      next = child;
    }
  }
}

type Movable = Node & { moveBefore?: (moved: Node, before: Node | null) => void };

/**
 * Puts `moved` before `before` (or last) in `parent`.
 *
 * Only `moveBefore` keeps focus, selection, scroll and a frame's document. It refuses a node that
 * comes from elsewhere, and not every browser has it.
 */
export function move(parent: Node, moved: Node, before: Node | null): void {
  const moveBefore = moveMethod(parent);
  if (moveBefore) {
    try {
      return void Reflect.apply(moveBefore, parent, [moved, before]);
    } catch {
      // Not both connected to one document: an ordinary insertion.
    }
  }
  insertBefore(parent, moved, before);
}

function moveMethod(parent: Node): Movable['moveBefore'] {
  const type = nodeType(parent);
  return ((type === ELEMENT ? element : type === DOCUMENT ? doc : DocumentFragment).prototype as Movable).moveBefore;
}
