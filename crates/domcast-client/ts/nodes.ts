/**
 * The tree: which node has which id.
 *
 * Ids are given in document order at mount, and then by patches as they create nodes, so browser
 * and server count alike without an id in the HTML. Nodes that somebody else put into the page
 * have no id. Invariants: the root has id 0; both maps hold the same pairs; an id is dropped with
 * the subtree that its node is removed with.
 */

import * as dom from './dom';
import { attributeName, createElement, disarm, elementName, isArmedScript, removeAttribute, setAttribute, type Name } from './create';
import { FormState } from './forms';
import type { Guard } from './guard';
import { Unfollowable } from './protocol';

/**
 * How deep a patch may build, counted from the root: text in the deepest element that a parser makes
 * of a document. A parser stops there; `createElement` would not, and 3,000 levels crash a tab.
 */
export const MAX_DEPTH = 514;

export class Tree {
  readonly root: Node;
  readonly guard: Guard;
  readonly document: Document;
  readonly forms = new FormState();
  next = 1;
  #nodes = new Map<number, Node>();
  #ids = new WeakMap<Node, number>();

  /** Starts with the root alone; `number` names the rest. */
  constructor(root: Node, guard: Guard = {}) {
    this.root = root;
    this.guard = guard;
    this.document = dom.ownerDocument(root) ?? (root as Document);
    this.#set(0, root);
  }

  /** How many nodes have an id, the root included. */
  get size(): number {
    return this.#nodes.size;
  }

  /**
   * Gives `nodes`, in document order, the ids of `runs` (first id, count, first id, count, …; none:
   * 1, 2, 3 …) and forgets all others. Returns `false` if the runs do not cover the nodes; the
   * tree then waits for a snapshot.
   */
  number(nodes: readonly Node[], runs: readonly number[], next?: number): boolean {
    const ids = expandRuns(runs.length ? runs : [1, nodes.length], nodes.length);
    if (!ids) return false;
    this.#nodes.clear();
    this.#ids = new WeakMap();
    this.#set(0, this.root);
    nodes.forEach((node, idx) => this.#set(ids[idx]!, node));
    this.next = next ?? nodes.length + 1;
    return this.#nodes.size === nodes.length + 1;
  }

  /** The node with this id, which must still be inside the root. */
  node(id: number): Node {
    const node = this.#nodes.get(id);
    if (!node) throw new Unfollowable(`no node has id ${id}`);
    this.depth(node);
    return node;
  }

  /** The node with this id if it is an element and not the root. */
  element(id: number): Element {
    const node = this.node(id);
    if (node === this.root || !dom.isElement(node)) throw new Unfollowable(`node ${id} is no element of the content`);
    return this.#disarmed(node) as Element;
  }

  /** The text node or comment with this id. */
  text(id: number): CharacterData {
    const node = this.node(id);
    const type = dom.nodeType(node);
    if (type !== dom.TEXT && type !== dom.COMMENT) throw new Unfollowable(`node ${id} has no text`);
    const parent = dom.parentNode(node)!;
    if (parent !== this.root) this.#disarmed(parent);
    this.forms.note(parent);
    return node as CharacterData;
  }

  /** What holds the children of the node with this id, about to be changed. */
  parent(id: number): Node {
    const node = this.node(id);
    const type = dom.nodeType(node);
    if (type !== dom.ELEMENT && type !== dom.DOCUMENT && node !== this.root) throw new Unfollowable(`node ${id} has no children`);
    this.forms.note(node);
    return dom.container(node === this.root ? node : this.#disarmed(node));
  }

  /** The child of `parent` with this id; `null` for 0. */
  child(parent: Node, id: number): Node | null {
    if (id === 0) return null;
    const node = this.#nodes.get(id);
    if (!node || dom.parentNode(node) !== parent) throw new Unfollowable(`node ${id} is not a child of the parent named`);
    return node;
  }

  id(node: Node): number | undefined {
    return this.#ids.get(node);
  }

  /** How far below the root `node` is; throws if it is not. */
  depth(node: Node): number {
    let depth = 0;
    for (let at: Node | null = node; at !== this.root; at = dom.parentOf(at), depth++) {
      if (at === null) throw new Unfollowable('the page took a node away');
    }
    return depth;
  }

  /** Gives the next id to a new node. */
  add(node: Node): void {
    this.#set(this.next++, node);
  }

  /** Forgets `node` and all below it. */
  drop(node: Node): void {
    this.#forget(node);
    dom.walk(node, (below) => this.#forget(below));
  }

  /** Removes all children of `parent`, foreign ones too: the server's tree is empty there. */
  clear(parent: Node): void {
    for (let child = dom.firstChild(parent); child; child = dom.firstChild(parent)) {
      this.drop(child);
      dom.removeChild(parent, child);
    }
  }

  /** Gives the ids 0, 1, 2 … to the nodes in the order of their ids. */
  renumber(): void {
    const ids = [...this.#nodes.keys()].sort((a, b) => a - b);
    const nodes = ids.map((id) => this.#nodes.get(id)!);
    this.#nodes.clear();
    nodes.forEach((node, id) => this.#set(id, node));
    this.next = nodes.length;
  }

  /** Sets an attribute, or removes it (`null`), as patches and snapshots do. */
  setAttribute(element: Element, name: Name, value: string | null): void {
    if (name.namespace === null) this.forms.note(element, name.local);
    const given = name.local === 'type' && dom.isHtml(element, 'input') ? dom.getAttribute(element, 'value') : undefined;
    if (value === null) removeAttribute(element, name);
    else setAttribute(element, name, value, this.guard);
    // An input whose value was set, by a user or here, writes what it shows into `value` as it becomes a checkbox.
    if (given !== undefined) this.setAttribute(element, attributeName('value'), given);
  }

  #set(id: number, node: Node): void {
    this.#nodes.set(id, node);
    this.#ids.set(node, id);
  }

  #forget(node: Node): void {
    const id = this.#ids.get(node);
    if (id === undefined) return;
    this.#ids.delete(node);
    this.#nodes.delete(id);
  }

  /** `node`, or what takes its place if changing it might run a script. */
  #disarmed(node: Node): Node {
    if (this.guard.scripts || !isArmedScript(node)) return node;
    const id = this.#ids.get(node);
    const copy = disarm(node);
    this.#ids.delete(node);
    if (id !== undefined) this.#set(id, copy);
    return copy;
  }
}

/** The ids of `runs`; `null` if they are not `count` ids. */
export function expandRuns(runs: readonly number[], count: number): number[] | null {
  const ids: number[] = [];
  for (let idx = 0; idx < runs.length; idx += 2) {
    const first = runs[idx]!;
    const length = runs[idx + 1] ?? -1;
    const ends = ids.length + length;
    if (!(first > 0 && length >= 0 && ends <= count)) return null;
    for (let id = first; ids.length < ends; id++) ids.push(id);
  }
  return ids.length === count ? ids : null;
}

/** A checksum of the content and its nodes in document order, read in one walk. */
export function survey(root: Node): { nodes: Node[]; checksum: number } {
  const nodes: Node[] = [];
  let hash = 2166136261;
  const unit = (value: number): void => {
    hash = Math.imul(hash ^ value, 16777619);
  };
  dom.walk(root, (node, depth) => {
    nodes.push(node);
    unit(dom.nodeType(node));
    unit(depth);
    if (!dom.isElement(node)) return;
    const name = dom.localName(node);
    for (let idx = 0; idx < name.length; idx++) unit(name.charCodeAt(idx));
  });
  return { nodes, checksum: hash >>> 0 };
}

/**
 * Makes the nodes of a token list. `made` hears of each in the order of creation, which is
 * document order; `depth` is the depth of the nodes at the top.
 */
export function build(
  document: Document,
  tokens: readonly string[],
  guard: Guard,
  depth: number,
  made: (node: Node) => void,
): Node[] {
  const tops: Node[] = [];
  const open: Element[] = [];
  let opened: Element | null = null;
  const attributes: [written: string, value: string][] = [];

  const place = (node: Node): void => {
    const parent = open[open.length - 1];
    if (parent) dom.insertBefore(dom.container(parent), node, null);
    else tops.push(node);
  };
  // A parser puts an element into its parent with its attributes: a select would choose an option
  // that is about to become disabled.
  const placeOpened = (): void => {
    if (!opened) return;
    // What an input shows depends on their order: `max`, `min`, `multiple` and `step` before `type`, and `value` last, as in the alphabet.
    if (dom.isHtml(opened, 'input')) attributes.sort();
    for (const [written, value] of attributes.splice(0)) setAttribute(opened, attributeName(written), value, guard);
    place(opened);
    open.push(opened);
    opened = null;
  };
  const admit = (node: Node): Node => {
    if (depth + open.length > MAX_DEPTH) throw new Unfollowable(`nodes nest deeper than ${MAX_DEPTH}`);
    made(node);
    return node;
  };
  const text = (value: string | undefined): string => {
    if (typeof value !== 'string') throw new Unfollowable('a token is missing');
    return value;
  };

  for (let idx = 0; idx < tokens.length; idx++) {
    const token = tokens[idx]!;
    const rest = String(token).slice(1);
    const kind = String(token)[0];
    if (kind !== '@') placeOpened();
    switch (kind) {
      case '<':
        opened = createElement(document, elementName(rest), guard.scripts ?? false);
        admit(opened);
        break;
      case '@':
        if (!opened) throw new Unfollowable('an attribute without a tag');
        attributes.push([rest, text(tokens[++idx])]);
        break;
      case '=':
        place(admit(dom.createTextNode(document, rest)));
        break;
      case '!':
        place(admit(dom.createComment(document, rest)));
        break;
      case '?':
        place(admit(dom.implementation(document).createDocumentType(rest, text(tokens[++idx]), text(tokens[++idx]))));
        break;
      case '/':
        if (!open.pop()) throw new Unfollowable('a close without an open element');
        break;
      default:
        throw new Unfollowable(`unknown token \`${token}\``);
    }
  }
  placeOpened();
  return tops;
}
