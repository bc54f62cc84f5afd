/**
 * Runs a patch list: a program, in order, on a tree.
 *
 * It stops at the first patch that cannot be followed and says so by throwing; the tree is then
 * good for nothing but a snapshot. Focus, caret and what the user typed are put back at the end
 * either way.
 */

import * as dom from './dom';
import { leftOutValue } from './guard';
import { attributeName } from './create';
import { holdFocus } from './focus';
import { build, type Tree } from './nodes';
import { arrange } from './order';
import { Unfollowable, type Content, type Ids, type Patch, type Token } from './protocol';

export function run(tree: Tree, patches: readonly Patch[]): void {
  const giveBackFocus = holdFocus(tree.document);
  const shapes: (readonly Token[])[] = [];
  try {
    for (const patch of patches) step(tree, patch, shapes);
  } finally {
    tree.forms.settle();
    giveBackFocus();
  }
}

function step(tree: Tree, patch: Patch, shapes: (readonly Token[])[]): void {
  switch (patch[0]) {
    case 'i': {
      const [, id, before, ...content] = patch;
      const parent = tree.parent(id);
      return insert(tree, id, parent, tree.child(parent, before), expand(content, shapes));
    }
    case 's':
      return void shapes.push(patch.slice(1) as Token[]);
    case 'o': {
      const [, id, ...content] = patch;
      const parent = tree.parent(id);
      tree.clear(parent);
      return insert(tree, id, parent, null, expand(content, shapes));
    }
    case 'c':
      return tree.clear(tree.parent(patch[1]));
    case 'r':
      for (const id of list(tree, patch.slice(1) as Ids[])) remove(tree, id);
      return;
    case 'm':
      return move(tree, patch[1], list(tree, patch.slice(2) as Ids[]));
    case 'p':
      return order(tree, patch[1], list(tree, patch.slice(2) as Ids[]));
    case 't':
      return dom.setData(tree.text(patch[1]), string(patch[2]));
    case 'x': {
      const [, id, at, length, text] = patch;
      const node = tree.text(id);
      checkSplice(dom.data(node), at, length);
      return dom.replaceData(node, at, length, string(text));
    }
    case 'a':
      return tree.setAttribute(tree.element(patch[1]), attributeName(patch[2]), string(patch[3]));
    case 'y':
      return spliceAttribute(tree, patch);
    case 'd':
      return tree.setAttribute(tree.element(patch[1]), attributeName(patch[2]), null);
    case 'n':
      if (tree.size !== patch[1]) throw new Unfollowable(`the server counts ${patch[1]} nodes, the page ${tree.size}`);
      return tree.renumber();
    default:
      throw new Unfollowable(`unknown patch \`${String(patch[0])}\``);
  }
}

function insert(tree: Tree, id: number, parent: Node, before: Node | null, tokens: readonly string[]): void {
  const depth = tree.depth(tree.node(id)) + 1;
  for (const top of build(tree.document, tokens, tree.guard, depth, (node) => tree.add(node))) {
    dom.insertBefore(parent, top, before);
    tree.forms.made(top);
  }
}

/** Writes the instances of shapes in `content` out as tokens. */
function expand(content: Content, shapes: readonly (readonly Token[])[]): string[] {
  const tokens: string[] = [];
  for (let idx = 0; idx < content.length; idx++) {
    const entry = content[idx]!;
    if (typeof entry === 'string') {
      tokens.push(entry);
      continue;
    }
    const shape = shapes[entry];
    if (!shape) throw new Unfollowable(`no shape ${entry}`);
    const count = content[++idx];
    if (typeof count !== 'number') throw new Unfollowable('a shape without a count');
    for (let nth = 0; nth < count; nth++) {
      let nOpen = 0;
      let isValue = false;
      for (const token of shape) {
        const text = token === 0 ? string(content[++idx]) : token;
        // A hole is the value of an attribute, or a text node of its own.
        tokens.push(token === 0 && !isValue ? `=${text}` : text);
        if (!isValue && token !== 0) nOpen += Number(token[0] === '<') - Number(token[0] === '/');
        isValue = !isValue && token !== 0 && token[0] === '@';
      }
      for (; nOpen > 0; nOpen--) tokens.push('/');
    }
  }
  return tokens;
}

/** Writes runs of ids out. */
function list(tree: Tree, entries: readonly Ids[]): number[] {
  const ids: number[] = [];
  for (const entry of entries) {
    const [first, step, count] = typeof entry === 'number' ? [entry, 0, 1] : entry;
    if (!(count <= tree.size)) throw new Unfollowable('a run is longer than the tree');
    for (let nth = 0; nth < count; nth++) ids.push(first + nth * step);
  }
  return ids;
}

function remove(tree: Tree, id: number): void {
  const node = tree.node(id);
  if (node === tree.root) throw new Unfollowable('the root cannot be removed');
  tree.forms.note(dom.parentOf(node)!);
  tree.drop(node);
  dom.removeChild(dom.parentNode(node)!, node);
}

function move(tree: Tree, beforeId: number, ids: readonly number[]): void {
  if (ids.length === 0) return;
  const first = tree.node(ids[0]!);
  if (first === tree.root) throw new Unfollowable('the root cannot be moved');
  const parent = dom.parentNode(first)!;
  const nodes = ids.map((id) => tree.child(parent, id)!);
  const before = tree.child(parent, beforeId);
  if (nodes.includes(before!) || nodes.includes(null!)) throw new Unfollowable('a node cannot move before itself');
  tree.forms.note(parent);
  for (const node of nodes) {
    dom.move(parent, node, before);
    tree.forms.placed(node);
  }
}

function order(tree: Tree, id: number, ids: readonly number[]): void {
  const parent = tree.parent(id);
  const wanted = ids.map((child) => tree.child(parent, child)!);
  const nChildren = dom.childrenOf(parent).filter((child) => tree.id(child) !== undefined).length;
  if (wanted.includes(null!) || new Set(wanted).size !== nChildren || wanted.length !== nChildren) throw new Unfollowable(`an order of ${wanted.length} for ${nChildren} children`);
  arrange(parent, wanted, tree.document);
  for (const node of wanted) tree.forms.placed(node);
}

function spliceAttribute(tree: Tree, [, id, written, at, length, text]: Extract<Patch, readonly ['y', ...unknown[]]>): void {
  const element = tree.element(id);
  const name = attributeName(written);
  const old = dom.getAttributeNS(element, name.namespace, name.local) ?? leftOutValue(element, name.qualified);
  if (old === null) throw new Unfollowable(`no attribute \`${written}\` to splice`);
  checkSplice(old, at, length);
  tree.setAttribute(element, name, old.slice(0, at) + string(text) + old.slice(at + length));
}

function checkSplice(text: string, at: number, length: number): void {
  if (!(at >= 0 && length >= 0 && at + length <= text.length)) throw new Unfollowable(`a splice of ${length} at ${at} in ${text.length} units`);
}

function string(value: unknown): string {
  if (typeof value !== 'string') throw new Unfollowable('a text is missing');
  return value;
}
