/**
 * Puts siblings into an order with as few moves as possible.
 *
 * The heaviest increasing run of old positions stays where it is; everything else moves once. A
 * node that would lose something by moving (the focus, a frame's document) weighs more than all
 * ordinary ones together, so it stays wherever there is a choice.
 *
 * `O(n log n)`: the best run that ends at each position is kept in a Fenwick tree (Fenwick 1994).
 */

import * as dom from './dom';

/** Makes `wanted` the order of these nodes in `parent`. New ones come in; children not named stay. */
export function arrange(parent: Node, wanted: readonly Node[], document: Document): void {
  const position = new Map(dom.childrenOf(parent).map((child, idx) => [child, idx]));

  const kept = wanted.filter((node) => position.has(node));
  const inOrder = kept.every((node, idx) => idx === 0 || position.get(kept[idx - 1]!)! < position.get(node)!);
  const heavy = inOrder ? null : precious(parent, document);
  const staying = inOrder
    ? new Set(kept)
    : heaviestRun(
        kept,
        kept.map((node) => position.get(node)!),
        kept.map((node) => (heavy!.has(node) ? kept.length : 1)),
        position.size,
      );

  let before: Node | null = null;
  for (let idx = wanted.length - 1; idx >= 0; idx--) {
    const node = wanted[idx]!;
    if (!staying.has(node)) dom.move(parent, node, before);
    before = node;
  }
}

/** The children of `parent` that hold the focus or a frame. */
function precious(parent: Node, document: Document): Set<Node> {
  const found = new Set<Node>();
  const climb = (from: Node | null): void => {
    for (let at = from; at; at = dom.parentNode(at)) {
      if (dom.parentNode(at) === parent) return void found.add(at);
    }
  };
  climb(dom.activeElement(document));
  if (dom.isElement(parent)) for (const frame of dom.querySelectorAll(parent, 'iframe,video,audio,object,embed')) climb(frame);
  return found;
}

/** The nodes whose positions increase and whose weights add up to the most. */
export function heaviestRun<N>(nodes: readonly N[], positions: readonly number[], weights: readonly number[], limit: number): Set<N> {
  const best = new Array<number>(nodes.length).fill(0);
  const previous = new Array<number>(nodes.length).fill(-1);
  const fenwick = new Array<number>(limit + 1).fill(-1);
  let last = -1;
  nodes.forEach((_, idx) => {
    for (let at = positions[idx]!; at > 0; at -= at & -at) {
      const candidate = fenwick[at]!;
      if (candidate >= 0 && (previous[idx]! < 0 || best[candidate]! > best[previous[idx]!]!)) previous[idx] = candidate;
    }
    best[idx] = weights[idx]! + (previous[idx]! < 0 ? 0 : best[previous[idx]!]!);
    for (let at = positions[idx]! + 1; at <= limit; at += at & -at) {
      if (fenwick[at]! < 0 || best[fenwick[at]!]! < best[idx]!) fenwick[at] = idx;
    }
    if (last < 0 || best[idx]! > best[last]!) last = idx;
  });
  const run = new Set<N>();
  for (; last >= 0; last = previous[last]!) run.add(nodes[last]!);
  return run;
}
