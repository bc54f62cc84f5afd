/**
 * Runs inside the page: parses with the browser, applies with the built client, and compares
 * strictly. It is injected as text, so it uses nothing from outside its own function.
 */

import type { Page } from 'playwright-core';

/**
 * A line of the binary `pairs`: two texts and the patches between them.
 *
 * A page that is patched must end as the browser parses the target. Where the browser does not parse a text as the server
 * did (`known.ts`), the page is first put right by a snapshot, and must then end as the server's tree. The client does that where the
 * checksum tells; where it does not, the failure says so.
 */
export interface Pair {
  name: string;
  old: string;
  new: string;
  document: boolean;
  /** The server's checksums of both. */
  sums: [old: number, next: number];
  patches: unknown[][];
  /** What snapshots of both hold. */
  tokens: [old: string[], next: string[]];
  /** The way from `new` to `old`. */
  back?: unknown[][];
}

/** A line of the binary `pairs`: a page that lives through all its versions, and what it is sent for each after the first. */
export interface History {
  name: string;
  document: boolean;
  sum: number;
  versions: string[];
  /** What a snapshot of each version holds. */
  tokens: string[][];
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
  /** The texts that the browser parses as the server did not, if the page ends as it should then. */
  misread?: Misread[];
}

export interface Misread {
  html: string;
  document: boolean;
  /** A page was mounted on it and had the server's checksum all the same. */
  isUnnoticed: boolean;
}

export interface Judge {
  /** Judges lines of pairs, newline between; says how many trees were compared and what was wrong. */
  pairs(lines: string): { count: number; failures: Failure[] };
  histories(lines: string): { count: number; failures: Failure[] };
  /** Of lines of pairs: those whose new text the browser parses as the server did not. */
  readings(lines: string): { count: number; failures: Failure[] };
  /** The first difference, in content or in the state of a control; `null` if there is none. */
  difference(found: Node, wanted: Node): string | null;
  /** Parses `old` in a div, runs `patches`, and describes the first difference to the parse of `next`; `null` if there is none. */
  check(old: string, next: string, patches: unknown[][], options?: object): string | null;
  /** Every node with its namespace, attributes in order of name, and exact text. */
  dump(root: Node): string[];
  /** Whether the browser parsed what the server has in these tokens. */
  isReadAlike(root: Node, tokens: readonly string[]): boolean;
  /** The first difference to the browser's parse of a target; to the server's tree, where the browser parses that otherwise. */
  outcome(root: Node, wanted: Node, tokens: readonly string[], rivals: boolean): string | null;
  /** Whether any has several open details of one name, of which a page shows one open. */
  hasRivals(...versions: (readonly string[])[]): boolean;
  parse(html: string): HTMLDivElement;
  /** Parses into an empty element. */
  fill<E extends Element>(element: E, html: string): E;
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
  const namespaces: Record<string, string | null> = {
    '': null,
    '-': null,
    svg: 'http://www.w3.org/2000/svg',
    math: 'http://www.w3.org/1998/Math/MathML',
    xlink: 'http://www.w3.org/1999/xlink',
    xml: 'http://www.w3.org/XML/1998/namespace',
    xmlns: 'http://www.w3.org/2000/xmlns/',
  };
  /** What `dump` says of the server's tree. Of open details of one name a page has one open: with `asShown` so here. */
  const dumpTokens = (tokens: readonly string[], asShown: boolean): string[] => {
    const lines: string[] = [];
    const open: { isTemplate: boolean; opened: Set<string> }[] = [{ isTemplate: true, opened: new Set() }];
    for (let idx = 0; idx < tokens.length; ) {
      const token = tokens[idx++]!;
      if (token === '/') open.pop();
      const indent = `${open.length} `;
      const rest = token.slice(1);
      if (token[0] === '=') lines.push(indent + JSON.stringify([3, rest]));
      if (token[0] === '!') lines.push(indent + JSON.stringify([8, rest]));
      if (token[0] === '?') lines.push(indent + JSON.stringify(['doctype', rest, tokens[idx++], tokens[idx++]]));
      if (token[0] !== '<') continue;
      const [local, prefix = ''] = rest.split(' ').reverse() as [string, string?];
      const attributes = new Map<string, [namespace: string | null, local: string, value: string]>();
      for (; tokens[idx]?.[0] === '@'; idx += 2) {
        const written = tokens[idx]!.slice(1);
        const space = written.indexOf(' ');
        attributes.set(written, [namespaces[written.slice(0, Math.max(space, 0))]!, written.slice(space + 1), tokens[idx + 1]!]);
      }
      const { opened } = open.at(-1)!;
      const group = attributes.get('name')?.[2];
      if (asShown && rest === 'details' && group && attributes.has('open')) {
        if (opened.has(group)) attributes.delete('open');
        opened.add(group);
      }
      const listed = [...attributes.values()].map((attribute) => JSON.stringify(attribute));
      lines.push(`${indent}<${local}> ${namespaces[prefix] ?? 'http://www.w3.org/1999/xhtml'} ${listed.sort().join(' ')}`);
      const isTemplate = rest === 'template';
      open.push({ isTemplate, opened: isTemplate ? new Set() : opened });
    }
    return lines;
  };
  const isReadAlike: Judge['isReadAlike'] = (root, tokens) => dump(root).join('\n') === dumpTokens(tokens, false).join('\n');
  const hasRivals: Judge['hasRivals'] = (...versions) => versions.some((tokens) => dumpTokens(tokens, false).join() !== dumpTokens(tokens, true).join());
  /** Of rivals one is open in a page, and what closed another is forgotten: with `rivals` a details may be closed that the server has open. */
  const serverDifference = (root: Node, tokens: readonly string[], rivals: boolean): string | null => {
    const closed = (line: string): string => (/^\d+ <details> /.test(line) ? line.replace(/\[null,"open","(?:[^"\\]|\\.)*"\] ?/, '').trimEnd() : line);
    const [found, wanted] = [dump(root), dumpTokens(tokens, false)];
    const nth = wanted.findIndex((line, idx) => line !== found[idx] && !(rivals && closed(line) === found[idx]?.trimEnd()));
    return nth < 0 && found.length === wanted.length ? null : `the server's tree has ${wanted[nth]}, the page ${found[nth]} (line ${nth})`;
  };
  const outcome: Judge['outcome'] = (root, wanted, tokens, rivals) => {
    const found = difference(root, wanted);
    if (found === null) return null;
    return rivals || !isReadAlike(wanted, tokens) ? serverDifference(root, tokens, rivals) : found;
  };

  const inert = document.implementation.createHTMLDocument('');
  // Not `innerHTML`: where that meets simple markup it takes a shortcut, which decodes `&notit;` in an attribute and keeps a
  // NUL there. The parser that pages are loaded with does neither.
  const fill: Judge['fill'] = (element, html) => {
    const range = element.ownerDocument.createRange();
    range.selectNodeContents(element);
    element.append(range.createContextualFragment(html));
    return element;
  };
  const parse = (html: string): HTMLDivElement => fill(inert.createElement('div'), html);
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
      const { name, old, new: next, document, sums, tokens, patches, back } = JSON.parse(line) as Pair;
      const read = document ? parseDocument : parse;
      const texts = [old, next];
      const judgeOne = (way: string, from: 0 | 1, change: (mounted: ReturnType<Judge['mount']>) => void): void => {
        count++;
        const to = 1 - from;
        const wanted = read(texts[to]!);
        /** Applies the change, to what the browser made of the text or to what the server did. */
        const run = (isPutRight: boolean, wrong: (root: Node) => string | null): string | null => {
          const root = read(texts[from]!);
          try {
            const mounted = client.mount(root, isPutRight ? { scripts: true } : { scripts: true, sum: sums[from]! });
            if (isPutRight) mounted.snapshot(tokens[from]);
            change(mounted);
            return wrong(root);
          } catch (error) {
            return String(error);
          }
        };
        const found = run(false, (root) => difference(root, wanted));
        if (found === null) return;
        const misread = [from, to].filter((idx) => !isReadAlike(read(texts[idx]!), tokens[idx]!));
        if (misread.length === 0) return void failures.push({ name, way, difference: found });
        const again = run(misread.includes(from), (root) => outcome(root, wanted, tokens[to]!, hasRivals(...tokens)));
        if (again !== null) return void failures.push({ name, way, difference: again });
        const isUnnoticed = (idx: number): boolean => idx === from && client.checksum(read(texts[idx]!)) === sums[idx];
        failures.push({ name, way, difference: found, misread: misread.map((idx) => ({ html: texts[idx]!, document, isUnnoticed: isUnnoticed(idx) })) });
      };
      judgeOne('patches', 0, (mounted) => mounted.apply(patches));
      judgeOne('snapshot', 0, (mounted) => mounted.snapshot(tokens[1]));
      if (!back) continue;
      judgeOne('back', 1, (mounted) => mounted.apply(back));
      judgeOne('snapshot back', 1, (mounted) => mounted.snapshot(tokens[0]));
    }
    return { count, failures };
  };
  const histories: Judge['histories'] = (lines) => {
    const failures: Failure[] = [];
    let count = 0;
    for (const line of lines.split('\n')) {
      const { name, document, sum, versions, tokens, steps } = JSON.parse(line) as History;
      const read = document ? parseDocument : parse;
      const misread = new Map<number, Misread>();
      let rivals = false;
      const note = (nth: number, isUnnoticed: boolean): void => {
        const wasUnnoticed = misread.get(nth)?.isUnnoticed;
        misread.set(nth, { html: versions[nth]!, document, isUnnoticed: isUnnoticed || wasUnnoticed === true });
        rivals ||= hasRivals(tokens[nth]!);
      };
      /** Mounts the version as the browser parses it; put right, if that is not what the server has. */
      const mountAt = (nth: number, options: { sum: number; ids?: number[]; next?: number }): [Node, ReturnType<Judge['mount']>] => {
        const root = read(versions[nth]!);
        if (isReadAlike(root, tokens[nth]!)) return [root, client.mount(root, { scripts: true, ...options })];
        note(nth, client.checksum(root) === options.sum);
        const mounted = client.mount(root, { scripts: true });
        mounted.snapshot(tokens[nth]!, options.ids, options.next);
        return [root, mounted];
      };
      let nth = 0;
      let wrong: string | null = null;
      try {
        let [root, mounted] = mountAt(0, { sum });
        for (; nth < steps.length; nth++) {
          const step = steps[nth]!;
          count++;
          if (step.patches) mounted.apply(step.patches);
          if (step.snapshot) mounted.snapshot(...step.snapshot);
          if (step.after) mounted.apply(step.after);
          const wanted = read(versions[nth + 1]!);
          if (!isReadAlike(wanted, tokens[nth + 1]!)) note(nth + 1, false);
          wrong = outcome(root, wanted, tokens[nth + 1]!, rivals);
          // What comes after a wrong tree says nothing new.
          if (wrong !== null) break;
          if (step.mount) [root, mounted] = mountAt(nth + 1, step.mount);
        }
      } catch (error) {
        wrong = String(error);
      }
      if (wrong !== null) failures.push({ name, way: `step ${nth + 1}`, difference: wrong });
      else if (misread.size > 0) failures.push({ name, way: 'any', difference: 'misread', misread: [...misread.values()] });
    }
    return { count, failures };
  };
  const readings: Judge['readings'] = (lines) => {
    const failures: Failure[] = [];
    const all = lines.split('\n');
    for (const line of all) {
      const { name, new: html, document, sums, tokens } = JSON.parse(line) as Pair;
      const root = (document ? parseDocument : parse)(html);
      const isUnnoticed = client.checksum(root) === sums[1];
      if (!isReadAlike(root, tokens[1])) failures.push({ name, way: 'reading', difference: 'misread', misread: [{ html, document, isUnnoticed }] });
    }
    return { count: all.length, failures };
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
  globalThis.judge = { ...client, check, pairs, histories, readings, difference, dump, isReadAlike, outcome, hasRivals, parse, fill, parseDocument };
}
