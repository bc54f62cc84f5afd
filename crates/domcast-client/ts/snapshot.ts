/**
 * Turns what a root contains into a snapshot's content, keeping the nodes that it can.
 *
 * The snapshot is first built beside the page, in a document without a window, so nothing in it
 * loads or runs. Then level by level each new child looks for an old one: by key (`dc-key`,
 * `data-key`, `id`), else the next one of the same kind and name. A pair keeps the old node, with
 * the new one's attributes, text and id; an old node without a partner goes, foreign ones too.
 */

import * as dom from './dom';
import { leftOutValue } from './guard';
import { isArmedScript, openByServer } from './create';
import { holdFocus } from './focus';
import { build, type Tree } from './nodes';
import { arrange } from './order';
import { Unfollowable } from './protocol';

export function morph(tree: Tree, tokens: readonly string[], ids: readonly number[], next?: number): void {
  const giveBackFocus = holdFocus(tree.document);
  const beside = dom.implementation(tree.document).createHTMLDocument('');
  const built: Node[] = [];
  const tops = build(beside, tokens, tree.guard, 1, (node) => built.push(node));
  const kept = new Map<Node, Node>();
  try {
    // Parents first: a kept parent's new children are looked at before they can be moved with it.
    const pairs: [old: Node, children: Node[]][] = [[tree.root, tops]];
    for (let pair = pairs.pop(); pair; pair = pairs.pop()) {
      for (const [old, made] of morphChildren(tree, dom.container(pair[0]), pair[1])) {
        kept.set(made, old);
        if (dom.isElement(old)) pairs.push([old, dom.childrenOf(dom.container(made))]);
      }
    }
  } finally {
    tree.forms.settle();
    giveBackFocus();
  }
  const nodes = built.map((node) => kept.get(node) ?? node);
  if (!tree.number(nodes, ids, next)) throw new Unfollowable('the ids of a snapshot do not cover it');
}

function morphChildren(tree: Tree, parent: Node, wanted: readonly Node[]): [old: Node, made: Node][] {
  tree.forms.note(parent);
  const byKey = new Map<string, Node[]>();
  const old = dom.childrenOf(parent);
  for (const child of old) {
    if (!tree.guard.scripts && isArmedScript(child)) continue;
    const key = matchKey(child);
    byKey.get(key)?.push(child) ?? byKey.set(key, [child]);
  }
  for (const list of byKey.values()) list.reverse();

  const pairs: [Node, Node][] = [];
  const fresh: Node[] = [];
  const order = wanted.map((made) => {
    const partner = byKey.get(matchKey(made))?.pop();
    if (!partner) return (fresh.push(made), made);
    pairs.push([partner, made]);
    return partner;
  });
  const staying = new Set(order);
  for (const child of old) if (!staying.has(child)) dom.removeChild(parent, child);
  arrange(parent, order, tree.document);
  for (const made of fresh) tree.forms.made(made);
  for (const [partner, made] of pairs) morphNode(tree, partner, made);
  return pairs;
}

/** Two nodes with the same match key may become one another. */
function matchKey(node: Node): string {
  const type = dom.nodeType(node);
  if (type === dom.DOCTYPE) {
    const { name, publicId, systemId } = node as DocumentType;
    return JSON.stringify([type, name, publicId, systemId]);
  }
  if (!dom.isElement(node)) return String(type);
  const key = dom.getAttribute(node, 'dc-key') ?? dom.getAttribute(node, 'data-key') ?? dom.getAttribute(node, 'id');
  return JSON.stringify([dom.namespaceURI(node), dom.localName(node), key]);
}

function morphNode(tree: Tree, old: Node, made: Node): void {
  if (dom.isElement(old)) return morphAttributes(tree, old, made as Element);
  const type = dom.nodeType(old);
  if (type !== dom.TEXT && type !== dom.COMMENT) return;
  const text = dom.data(made as CharacterData);
  if (dom.data(old as CharacterData) === text) return;
  tree.forms.note(dom.parentNode(old)!);
  dom.setData(old as CharacterData, text);
}

function morphAttributes(tree: Tree, old: Element, made: Element): void {
  const wasOpen = openByServer.has(old);
  for (const { namespaceURI: namespace, localName: local, name: qualified, value } of [...dom.attributes(old)]) {
    // `dc-waiting` is the client's own; an `open` that the server never gave is the user's.
    if (namespace === null && (local === 'dc-waiting' || (local === 'open' && !wasOpen))) continue;
    // What the page's own HTML says is not pushed.
    if (leftOutValue(made, qualified) === value) continue;
    if (!dom.getAttributeNodeNS(made, namespace, local)) tree.setAttribute(old, { namespace, local, qualified }, null);
  }
  for (const { namespaceURI: namespace, localName: local, name: qualified, value } of [...dom.attributes(made)]) {
    const closedByUser = namespace === null && local === 'open' && wasOpen && !dom.hasAttribute(old, 'open');
    if (closedByUser || dom.getAttributeNS(old, namespace, local) === value) continue;
    tree.setAttribute(old, { namespace, local, qualified }, value);
  }
  if (openByServer.has(made)) openByServer.set(old, openByServer.get(made)!);
  else openByServer.delete(old);
}
