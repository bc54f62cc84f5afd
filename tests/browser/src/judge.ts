/**
 * Runs inside the page: parses with the browser, applies with the built client, and compares
 * strictly. It is injected as text, so it uses nothing from outside its own function.
 */

import type { Page } from 'playwright-core';

/** A line of the binary `pairs`: two texts and the patches between them. */
export interface Pair {
  name: string;
  old: string;
  new: string;
  document: boolean;
  /** The server's checksums of both. */
  sums: [old: number, next: number];
  patches: unknown[][];
  /** What a snapshot of `new` holds. */
  tokens: string[];
  /** The way from `new` to `old`. */
  back?: unknown[][];
  tokensBack?: string[];
}

/** A line of the binary `pairs`: a page that lives through all its versions, and what it is sent for each after the first. */
export interface History {
  name: string;
  document: boolean;
  sum: number;
  versions: string[];
  steps: {
    patches?: unknown[][];
    snapshot?: [tokens: string[], ids: number[], next: number];
    after?: unknown[][];
    /** Loads the page anew, with these ids. */
    mount?: { ids: number[]; next: number; sum: number };
  }[];
}

export interface Failure {
  name: string;
  /** `patches`, `back`, `snapshot`, `snapshot back`, or the number of the step. */
  way: string;
  difference: string;
}

export interface Judge {
  /** Judges lines of pairs, newline between; says how many trees were compared and what was wrong. */
  pairs(lines: string): { count: number; failures: Failure[] };
  histories(lines: string): { count: number; failures: Failure[] };
  /** The first difference, in content or in the state of a control; `null` if there is none. */
  difference(found: Node, wanted: Node): string | null;
  /** Parses `old` in a div, runs `patches`, and describes the first difference to the parse of `next`; `null` if there is none. */
  check(old: string, next: string, patches: unknown[][], options?: object): string | null;
  /** Every node with its namespace, attributes in order of name, and exact text. */
  dump(root: Node): string[];
  parse(html: string): HTMLDivElement;
  parseDocument(html: string): Document;
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
      for (const child of [...childNodes(inner(node))].reverse()) stack.push([child, depth + 1]);
    }
    return lines;
  };
  const inert = document.implementation.createHTMLDocument('');
  const parse = (html: string): HTMLDivElement => {
    const div = inert.createElement('div');
    div.innerHTML = html;
    return div;
  };
  const parser = new DOMParser();
  // A page's text comes from a decoder, which takes one byte order mark away.
  const parseDocument = (html: string): Document => parser.parseFromString(html.replace(/^\uFEFF/, ''), 'text/html');

  const HTML = 'http://www.w3.org/1999/xhtml';
  const firstChild = get(Node.prototype, 'firstChild') as (node: Node) => Node | null;
  const nextSibling = get(Node.prototype, 'nextSibling') as (node: Node) => Node | null;
  const data = get(CharacterData.prototype, 'data') as (node: Node) => string;
  const attributeMap = get(Element.prototype, 'attributes') as (node: Node) => NamedNodeMap;
  const content = get(HTMLTemplateElement.prototype, 'content') as (node: Node) => Node;
  const isHtml = (node: Node, name: string): boolean => localName(node) === name && namespaceURI(node) === HTML;
  const state: Record<string, ((node: Node) => unknown)[]> = {
    input: [get(HTMLInputElement.prototype, 'value'), get(HTMLInputElement.prototype, 'checked')],
    textarea: [get(HTMLTextAreaElement.prototype, 'value')],
    select: [get(HTMLSelectElement.prototype, 'value'), get(HTMLSelectElement.prototype, 'selectedIndex')],
    option: [get(HTMLOptionElement.prototype, 'selected')],
  };
  const nodeDifference = (found: Node, wanted: Node): string | null => {
    const type = nodeType(wanted);
    if (nodeType(found) !== type) return `node type ${nodeType(found)}, wanted ${type}`;
    if (type === 9 || type === 11) return null;
    if (type === 10) {
      const [a, b] = [found, wanted].map((node) => [(node as DocumentType).name, (node as DocumentType).publicId, (node as DocumentType).systemId].join());
      return a === b ? null : `doctype ${a}, wanted ${b}`;
    }
    if (type !== 1) return data(found) === data(wanted) ? null : `data ${JSON.stringify(data(found))}, wanted ${JSON.stringify(data(wanted))}`;
    const name = localName(wanted);
    if (localName(found) !== name || namespaceURI(found) !== namespaceURI(wanted)) return `<${localName(found)}> ${namespaceURI(found)}, wanted <${name}> ${namespaceURI(wanted)}`;
    const [ours, theirs] = [attributeMap(found), attributeMap(wanted)];
    const listed = (map: NamedNodeMap): string => [...map].map(({ namespaceURI, localName, value }) => JSON.stringify([namespaceURI, localName, value])).sort().join(' ');
    let isSame = ours.length === theirs.length;
    for (let idx = 0; isSame && idx < theirs.length; idx++) {
      const { namespaceURI, localName, value } = theirs[idx]!;
      isSame = ours.getNamedItemNS(namespaceURI, localName)?.value === value;
    }
    // Two attributes may have one name, an `xlink:href` of HTML and one of SVG; then the lists decide.
    if (!isSame && listed(ours) !== listed(theirs)) return `<${name}> with ${listed(ours)}, wanted ${listed(theirs)}`;
    return null;
  };
  const stateDifference = (found: Node, wanted: Node): string | null => {
    if (nodeType(wanted) !== 1 || namespaceURI(wanted) !== HTML) return null;
    for (const read of state[localName(wanted)] ?? []) {
      if (read(found) !== read(wanted)) return `<${localName(wanted)}> shows ${JSON.stringify(read(found))}, wanted ${JSON.stringify(read(wanted))}`;
    }
    return null;
  };
  const inner = (node: Node): Node => (nodeType(node) === 1 && isHtml(node, 'template') ? content(node) : node);
  const difference = (top: Node, wantedTop: Node): string | null => {
    let stateful: string | null = null;
    let nth = 0;
    const stack: [Node, Node][] = [[top, wantedTop]];
    for (let at = stack.pop(); at; at = stack.pop()) {
      let found = firstChild(inner(at[0]));
      let wanted = firstChild(inner(at[1]));
      for (; found && wanted; found = nextSibling(found), wanted = nextSibling(wanted)) {
        nth++;
        const wrong = nodeDifference(found, wanted);
        if (wrong !== null) return `${wrong} (node ${nth})`;
        if (nodeType(wanted) !== 1) continue;
        stateful ??= stateDifference(found, wanted);
        stack.push([found, wanted]);
      }
      const [kind, extra] = found ? ['one too many', found] : ['one too few', wanted];
      if (extra) return `${kind}: ${nodeType(extra) === 1 ? `<${localName(extra)}>` : `node type ${nodeType(extra)} ${JSON.stringify((extra as Text).data)}`} in ${nodeType(at[1]) === 1 ? `<${localName(at[1])}>` : 'the root'}`;
    }
    return stateful && `state: ${stateful}`;
  };

  const pairs: Judge['pairs'] = (lines) => {
    const failures: Failure[] = [];
    let count = 0;
    for (const line of lines.split('\n')) {
      const { name, old, new: next, document, sums, ...programs } = JSON.parse(line) as Pair;
      const read = document ? parseDocument : parse;
      const judgeOne = (way: string, from: string, sum: number, wanted: Node, change: (mounted: ReturnType<Judge['mount']>) => void): void => {
        count++;
        const root = read(from);
        let wrong: string | null;
        try {
          change(client.mount(root, { scripts: true, sum }));
          wrong = difference(root, wanted);
        } catch (error) {
          wrong = String(error);
        }
        if (wrong !== null) failures.push({ name, way, difference: wrong });
      };
      const there = read(next);
      judgeOne('patches', old, sums[0], there, (mounted) => mounted.apply(programs.patches));
      judgeOne('snapshot', old, sums[0], there, (mounted) => mounted.snapshot(programs.tokens));
      if (!programs.back || !programs.tokensBack) continue;
      const back = read(old);
      judgeOne('back', next, sums[1], back, (mounted) => mounted.apply(programs.back!));
      judgeOne('snapshot back', next, sums[1], back, (mounted) => mounted.snapshot(programs.tokensBack!));
    }
    return { count, failures };
  };
  const histories: Judge['histories'] = (lines) => {
    const failures: Failure[] = [];
    let count = 0;
    for (const line of lines.split('\n')) {
      const { name, document, sum, versions, steps } = JSON.parse(line) as History;
      const read = document ? parseDocument : parse;
      let nth = 0;
      try {
        let root: Node = read(versions[0]!);
        let mounted = client.mount(root, { scripts: true, sum });
        for (; nth < steps.length; nth++) {
          const step = steps[nth]!;
          count++;
          if (step.patches) mounted.apply(step.patches);
          if (step.snapshot) mounted.snapshot(...step.snapshot);
          if (step.after) mounted.apply(step.after);
          const wrong = difference(root, read(versions[nth + 1]!));
          if (wrong !== null) {
            failures.push({ name, way: `step ${nth + 1}`, difference: wrong });
            // What comes after a wrong tree says nothing new.
            break;
          }
          if (step.mount) mounted = client.mount((root = read(versions[nth + 1]!)), { scripts: true, ...step.mount });
        }
      } catch (error) {
        failures.push({ name, way: `step ${nth + 1}`, difference: String(error) });
      }
    }
    return { count, failures };
  };
  const check: Judge['check'] = (old, next, patches, options = { scripts: true }) => {
    const root = parse(old);
    try {
      client.mount(root, options).apply(patches);
    } catch (error) {
      return String(error);
    }
    return difference(root, parse(next));
  };
  globalThis.judge = { ...client, check, pairs, histories, difference, dump, parse, parseDocument };
}
