/**
 * Makes a tree of a root and what it contains.
 */

import { openByServer } from './create';
import * as dom from './dom';
import type { Guard } from './guard';
import { survey, Tree } from './nodes';

export interface MountOptions extends Guard {
  /** The ids in document order, as runs of first id and count; empty: 1, 2, 3 …. */
  readonly ids?: readonly number[];
  readonly next?: number;
  /** The server's checksum; not compared if absent. */
  readonly sum?: number;
}

/** `covered` says whether the content is what the options describe; if not, the tree waits for a snapshot. */
export function mountTree(root: Node, options: MountOptions): { tree: Tree; covered: boolean } {
  const tree = new Tree(root, options);
  const { nodes, checksum } = survey(root);
  for (const node of nodes) if (dom.isElement(node) && dom.hasAttribute(node, 'open')) openByServer.set(node, dom.getAttribute(node, 'open')!);
  const covered = (options.sum === undefined || options.sum === checksum) && tree.number(nodes, options.ids ?? [], options.next);
  return { tree, covered };
}
