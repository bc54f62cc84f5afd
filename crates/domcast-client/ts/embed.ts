/**
 * The applier alone, as an ES module: for embedders with a transport of their own, and for tests.
 *
 *     import { mount } from './domcast.mjs';
 *     const mounted = mount(document.querySelector('#list'));
 *     mounted.apply([['a', 1, 'class', 'new'], ['r', 2]]);
 */

import { mountTree, type MountOptions } from './mount';
import { survey } from './nodes';
import { run } from './patch';
import type { Patch } from './protocol';
import { morph } from './snapshot';

export { Unfollowable } from './protocol';
export type { MountOptions, Patch };

export interface Mounted {
  readonly root: Node;
  /** Runs a patch list. Throws `Unfollowable` at the first patch that cannot be followed. */
  apply(patches: readonly Patch[]): void;
  /** Turns the content into this one, keeping the nodes that it can. Without `ids` they are 1, 2, 3 …. */
  snapshot(tokens: readonly string[], ids?: readonly number[], next?: number): void;
  /** The id of a node; `undefined` for one that is not the server's. */
  id(node: Node): number | undefined;
}

/** Numbers what `root` contains. Throws if `options.ids` do not cover it. */
export function mount(root: Node, options: MountOptions = {}): Mounted {
  const { tree, covered } = mountTree(root, options);
  if (!covered) throw new RangeError('the ids do not cover the content');
  return {
    root,
    apply: (patches) => run(tree, patches),
    snapshot: (tokens, ids = [], next) => morph(tree, tokens, ids, next),
    id: (node) => tree.id(node),
  };
}

/** The checksum of PROTOCOL.md, section 1, over what `root` contains. */
export const checksum = (root: Node): number => survey(root).checksum;
