/**
 * Runs inside the page: parses with the browser, applies with the built client, and compares
 * strictly. It is injected as text, so it uses nothing from outside its own function.
 */

import type { Page } from 'playwright-core';

export interface Judge {
  /** Parses `old` in a div, runs `patches`, and describes the first difference to the parse of `next`; `null` if there is none. */
  check(old: string, next: string, patches: unknown[][], options?: object): string | null;
  /** Every node with its namespace, attributes in order of name, and exact text. */
  dump(root: Node): string[];
  parse(html: string): HTMLDivElement;
  checksum(root: Node): number;
  mount(root: Node, options?: object): {
    apply(patches: unknown[][]): void;
    snapshot(tokens: string[], ids?: number[], next?: number): void;
    id(node: Node): number | undefined;
  };
  Unfollowable: typeof Error;
}

declare global {
  // eslint-disable-next-line no-var
  var judge: Judge;
}

/** Opens `url` and puts `globalThis.judge` there. */
export async function openJudge(page: Page, url: string): Promise<void> {
  await page.goto(url);
  await page.evaluate(install, `${new URL(url).origin}/domcast.mjs`);
}

async function install(module: string): Promise<void> {
  const client = (await import(module)) as Pick<Judge, 'checksum' | 'mount' | 'Unfollowable'>;
  const get = (prototype: object, name: string) => {
    const getter = Object.getOwnPropertyDescriptor(prototype, name)!.get!;
    return (node: Node): never => getter.call(node) as never;
  };
  const nodeType = get(Node.prototype, 'nodeType') as (node: Node) => number;
  const childNodes = get(Node.prototype, 'childNodes') as (node: Node) => NodeListOf<Node>;
  const localName = get(Element.prototype, 'localName') as (node: Node) => string;
  const namespaceURI = get(Element.prototype, 'namespaceURI') as (node: Node) => string;
  const attributes = get(Element.prototype, 'attributes') as (node: Node) => Iterable<Attr>;

  const dump = (root: Node): string[] => {
    const lines: string[] = [];
    const stack: [Node, number][] = [...childNodes(root)].reverse().map((node) => [node, 1]);
    for (let at = stack.pop(); at; at = stack.pop()) {
      const [node, depth] = at;
      const indent = `${depth} `;
      if (nodeType(node) !== 1) {
        const { name, publicId, systemId } = node as DocumentType;
        lines.push(indent + JSON.stringify(nodeType(node) === 10 ? ['doctype', name, publicId, systemId] : [nodeType(node), (node as Text).data]));
        continue;
      }
      const listed = [...attributes(node)].map(({ namespaceURI, localName, value }) => JSON.stringify([namespaceURI, localName, value]));
      lines.push(`${indent}<${localName(node)}> ${namespaceURI(node)} ${listed.sort().join(' ')}`);
      const inner = node instanceof HTMLTemplateElement ? node.content : node;
      for (const child of [...childNodes(inner)].reverse()) stack.push([child, depth + 1]);
    }
    return lines;
  };
  const parse = (html: string): HTMLDivElement => {
    const div = document.implementation.createHTMLDocument('').createElement('div');
    div.innerHTML = html;
    return div;
  };
  const check: Judge['check'] = (old, next, patches, options = { scripts: true }) => {
    const root = parse(old);
    try {
      client.mount(root, options).apply(patches);
    } catch (error) {
      return String(error);
    }
    const found = dump(root);
    const wanted = dump(parse(next));
    for (let idx = 0; idx < Math.max(found.length, wanted.length); idx++) {
      if (found[idx] !== wanted[idx]) return `line ${idx}: found ${found[idx]}, wanted ${wanted[idx]}`;
    }
    return null;
  };
  globalThis.judge = { ...client, check, dump, parse };
}
