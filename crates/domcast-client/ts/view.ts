/**
 * One live view: an element, the tree in it, and the position that the tree is at.
 *
 * A view is either *in step* (it has a position, and takes exactly the next version), or *waiting
 * for a snapshot*, and then takes nothing else. It never goes on with half a patch list.
 *
 * It tells the page with DOM events on its element, all bubbling: `dc:mounted` (subscribed),
 * `dc:patched` (detail: the version), `dc:resync` (detail: the reason). `dc-state` on the element
 * is `live` while the view is subscribed, `denied` (and `dc:denied`) once the server does not let the page see it, and
 * `offline` otherwise; it is not part of the content.
 */

import * as dom from './dom';
import { mountTree } from './mount';
import { run } from './patch';
import { readPosition, writePosition, type Greeting, type Patch, type Position } from './protocol';
import type { Tree } from './nodes';
import { morph } from './snapshot';

export class View {
  readonly element: Element;
  readonly name: string;
  /** The server's number for the view on the present connection. */
  document: number | null = null;
  #tree: Tree;
  #position: Position | null;
  #broken = 0;

  constructor(element: Element) {
    this.element = element;
    this.name = dom.getAttribute(element, 'dc-view')!;
    const sum = dom.getAttribute(element, 'dc-sum');
    const next = dom.getAttribute(element, 'dc-next');
    const { tree, covered } = mountTree(element, {
      scripts: dom.getAttribute(element, 'dc-scripts') === 'run',
      schemes: dom.getAttribute(element, 'dc-schemes')?.toLowerCase().split(' '),
      ids: (dom.getAttribute(element, 'dc-ids') ?? '').split(' ').filter(Boolean).map(Number),
      // A missing checksum is compared with one that none can have.
      sum: sum === null ? -1 : Number(sum),
      ...(next !== null && { next: Number(next) }),
    });
    this.#tree = tree;
    this.#position = covered ? readPosition(dom.getAttribute(element, 'dc-at')) : null;
  }

  /** What `hello` says of the view. Its position is `null` while it waits for a snapshot. */
  get greeting(): Greeting {
    const key = dom.getAttribute(this.element, 'dc-view-key');
    const position = writePosition(this.#position);
    const token = dom.getAttribute(this.element, 'dc-token');
    if (token !== null) return [this.name, position, key, token];
    return key === null ? [this.name, position] : [this.name, position, key];
  }

  /** Keeps a newer mount token for the next connection. */
  renewed(token: string): void {
    dom.setAttribute(this.element, 'dc-token', token);
  }

  /** The server took the view away: it stays as it is, and no event reaches it. */
  revoked(): void {
    this.document = null;
    dom.setAttribute(this.element, 'dc-state', 'denied');
    this.emit('denied');
  }

  mounted(document: number, position: string): void {
    this.document = document;
    // Another life of the document can only continue with a snapshot.
    if (readPosition(position)?.epoch !== this.#position?.epoch) this.#position = null;
    dom.setAttribute(this.element, 'dc-state', 'live');
    this.emit('mounted', position);
  }

  offline(): void {
    this.document = null;
    dom.setAttribute(this.element, 'dc-state', 'offline');
  }

  /** Applies what leads on from the version `from`. Returns `false` if a snapshot must be asked for. */
  update(version: number, patches: readonly Patch[], from = version - 1): boolean {
    const { epoch, version: current } = this.#position ?? { epoch: '', version: Infinity };
    // At or below: a duplicate after a replay, or we wait for a snapshot that is asked for already.
    if (version <= current) return true;
    if (from !== current) return this.#resync(`version ${version} after ${current}`);
    try {
      run(this.#tree, patches);
    } catch (error) {
      return this.#resync(String(error));
    }
    this.#position = { epoch, version };
    this.emit('patched', version);
    return true;
  }

  /** Takes a snapshot. Returns `false` if another must be asked for. */
  snapshot(position: string, next: number, ids: readonly number[], tokens: readonly string[]): boolean {
    try {
      morph(this.#tree, tokens, ids, next);
    } catch (error) {
      this.#position = null;
      // Whatever stands in the way, emptying the element removes it; a second failure is the snapshot's own.
      if (this.#broken++ === 0) {
        this.#tree.clear(this.element);
        return this.#resync(String(error));
      }
      console.error(`domcast: view \`${this.name}\` stands still: its snapshot cannot be shown`, error);
      return true;
    }
    this.#broken = 0;
    this.#position = readPosition(position);
    this.emit('patched', this.#position?.version);
    return true;
  }

  #resync(reason: string): false {
    this.#position = null;
    console.warn(`domcast: view \`${this.name}\` asks for a snapshot: ${reason}`);
    this.emit('resync', reason);
    return false;
  }

  emit(name: string, detail?: unknown): void {
    dom.dispatchEvent(this.element, new CustomEvent(`dc:${name}`, { bubbles: true, detail }));
  }
}
