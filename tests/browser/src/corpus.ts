/**
 * Reads the `.txt` files of `tests/corpus/`: patch cases that Rust and the browser both must get right.
 *
 *     # name of the case, a sentence
 *     --- old
 *     <ul>…</ul>
 *     --- new
 *     <ul>…</ul>
 *     --- patches
 *     ["m",0,1]
 *
 * Cases begin at a line that starts with `# `. `old` and `new` are fragments parsed in a div; each
 * ends before its final newline. `patches` has one JSON array a line.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Case {
  file: string;
  name: string;
  old: string;
  new: string;
  patches: unknown[][];
}

const CORPUS = fileURLToPath(new URL('../../corpus/', import.meta.url));

export function readCorpus(dir = CORPUS): Case[] {
  if (!existsSync(dir)) return [];
  const files = readdirSync(dir, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.txt'));
  return files.sort().flatMap((file) => readCases(basename(file), readFileSync(`${dir}/${file}`, 'utf8')));
}

export function readCases(file: string, text: string): Case[] {
  const cases: Case[] = [];
  const parts = text.split(/^(?=# )/m).filter((part) => part.startsWith('# '));
  for (const part of parts) {
    const [head, ...sections] = part.split(/^--- (?=old$|new$|patches$)/m);
    const found = new Map(sections.map((section) => split(section)));
    const [old, next, patches] = ['old', 'new', 'patches'].map((name) => found.get(name));
    if (old === undefined || next === undefined || patches === undefined) throw new Error(`${file}: case \`${head!.trim()}\` needs old, new and patches`);
    cases.push({
      file,
      name: head!.slice(2).trim(),
      old: old.replace(/\n$/, ''),
      new: next.replace(/\n$/, ''),
      patches: patches.split('\n').filter((line) => line.trim()).map((line) => JSON.parse(line) as unknown[]),
    });
  }
  return cases;
}

/** A section into its name and what follows the name's line. */
function split(section: string): [name: string, body: string] {
  const end = section.indexOf('\n');
  return end < 0 ? [section, ''] : [section.slice(0, end), section.slice(end + 1)];
}

/** The fixed checksums that both sides compute. */
export function readChecksums(): { html: string; checksum: number }[] {
  return JSON.parse(readFileSync(`${CORPUS}/checksums.json`, 'utf8')) as { html: string; checksum: number }[];
}
