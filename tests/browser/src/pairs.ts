/**
 * Runs the binary `pairs` (`tests/rust/pairs`) and gives its lines to the judge in the page, in batches.
 *
 *     cargo build --release -p domcast-tests --bin pairs
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Page } from 'playwright-core';
import type { Failure, Misread, Pair } from './judge.ts';
import { KNOWN, type Known } from './known.ts';

const BUILD = 'cargo build --release -p domcast-tests --bin pairs';

/** What `DOMCAST_PAIRS` names, else the newer of the release and the debug build. */
export function pairsBinary(): string {
  const named = process.env['DOMCAST_PAIRS'];
  const target = process.env['CARGO_TARGET_DIR'] ?? fileURLToPath(new URL('../../../target', import.meta.url));
  const built = named ? [named] : ['release', 'debug'].map((profile) => `${target}/${profile}/pairs`);
  const found = built.filter((path) => existsSync(path)).sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  if (!found[0]) throw new Error(`no binary at ${built.join(' or ')}: \`${BUILD}\`, or name it in DOMCAST_PAIRS`);
  return found[0];
}

/** The lines that the binary writes. Fails if it does. */
export async function* pairLines(args: readonly string[], input = ''): AsyncGenerator<string> {
  const child = spawn(pairsBinary(), args, { stdio: ['pipe', 'pipe', 'pipe'] });
  // It may be gone before it read anything.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  let complaints = '';
  child.stderr.on('data', (data) => (complaints += String(data)));
  const ended = once(child, 'close');
  try {
    for await (const line of createInterface({ input: child.stdout, crlfDelay: Infinity })) yield line;
  } finally {
    // Whoever stops reading before the end wants no more of it.
    if (child.exitCode === null) child.stdout.destroy();
  }
  const [code] = (await ended) as [number | null];
  if (code !== 0) throw new Error(`\`pairs ${args.join(' ')}\` ended with ${code}: ${complaints}`);
  if (complaints) process.stderr.write(complaints);
}

export interface Verdict {
  lines: number;
  /** How many trees were compared. */
  count: number;
  failures: Failure[];
}

const MAX_LINES = 200;
const MAX_BYTES = 4 << 20;

/** Has the judges in `pages` judge every line, each a batch at a time. */
export async function judgeAll(pages: readonly Page[], kind: 'pairs' | 'histories' | 'readings', args: readonly string[], input = ''): Promise<Verdict> {
  const verdict: Verdict = { lines: 0, count: 0, failures: [] };
  const free = [...pages];
  const busy = new Set<Promise<void>>();
  let batch: string[] = [];
  let nBytes = 0;
  const flush = async (): Promise<void> => {
    if (free.length === 0) await Promise.race(busy);
    if (batch.length === 0) return;
    const page = free.pop()!;
    const lines = batch.join('\n');
    verdict.lines += batch.length;
    [batch, nBytes] = [[], 0];
    const judged = page
      .evaluate(({ kind, lines }) => judge[kind](lines), { kind, lines })
      .then(({ count, failures }) => {
        verdict.count += count;
        verdict.failures.push(...failures);
        free.push(page);
        busy.delete(judged);
      });
    // Whoever awaits it next hears of it.
    judged.catch(() => {});
    busy.add(judged);
  };
  for await (const line of pairLines(args, input)) {
    batch.push(line);
    nBytes += line.length;
    if (batch.length >= MAX_LINES || nBytes > MAX_BYTES) await flush();
  }
  await flush();
  await Promise.all(busy);
  return verdict;
}

/** How many known differences one text may have. */
const MAX_NAMES = 3;

/** The failures that no known difference explains, and how many each takes part in. */
export async function explain(pages: readonly Page[], failures: readonly Failure[]): Promise<{ others: Failure[]; met: Map<string, number> }> {
  const keyOf = ({ html, document }: Misread): string => JSON.stringify([html, document]);
  const explained = new Map<string, readonly Known[]>();
  const waiting = new Map(failures.flatMap(({ misread }) => misread ?? []).map((each) => [keyOf(each), each]));
  for (let size = 1; size <= MAX_NAMES && waiting.size > 0; size++) {
    const tries = [...waiting].flatMap(([key, { html, document }]) =>
      choices(KNOWN.filter(({ without }) => without(html) !== html), size).map((names) => ({ key, names, document, html: names.reduce((left, { without }) => without(left), html) })),
    );
    const lines = tries.map(({ html, document }, idx) => JSON.stringify({ name: `${idx}`, from: '', to: html, document })).join('\n');
    const { failures: misread } = await judgeAll(pages, 'readings', ['texts'], lines);
    const isMisread = new Set(misread.map(({ name }) => Number(name)));
    tries.forEach(({ key, names }, idx) => {
      if (!isMisread.has(idx) && waiting.delete(key)) explained.set(key, names);
    });
  }
  const met = new Map<string, number>();
  const others = failures.filter(({ misread }) => {
    const names = misread?.map((each) => (explained.get(keyOf(each)) ?? []).map(({ name, isUnnoticed }) => (each.isUnnoticed ? isUnnoticed && `${name}, not noticed at mount` : name)));
    if (!names?.length || !names.every((each) => each.length > 0 && each.every(Boolean))) return true;
    for (const name of new Set(names.flat() as string[])) met.set(name, (met.get(name) ?? 0) + 1);
    return false;
  });
  return { others, met };
}

/** The ways to choose so many. */
function choices<T>(all: readonly T[], size: number): T[][] {
  if (size === 0) return [[]];
  return all.flatMap((first, idx) => choices(all.slice(idx + 1), size - 1).map((others) => [first, ...others]));
}

/** How many smaller pairs are tried. */
const MAX_TRIES = 400;

/** Makes a failing generated pair small: leaves out edits, then pieces of the markup, while it still fails. */
export async function shrink(page: Page, name: string): Promise<Pair & { failures: Failure[]; args: string[] }> {
  const generate = async (edits: readonly number[], without: readonly number[]): Promise<Pair & { failures: Failure[]; args: string[] }> => {
    const args = [...name.split(' '), '--edits', edits.join(), '--without', without.join()];
    for await (const line of pairLines(args)) {
      const { failures } = await page.evaluate((line) => judge.pairs(line), line);
      return { ...(JSON.parse(line) as Pair), failures, args };
    }
    throw new Error(`\`pairs ${args.join(' ')}\` wrote nothing`);
  };
  let tries = 0;
  /** The fewest of `parts` with which it still fails, found by dropping ever smaller runs of them. */
  const fewest = async (parts: readonly number[], fails: (kept: readonly number[]) => Promise<boolean>): Promise<readonly number[]> => {
    let kept = parts;
    for (let size = Math.ceil(parts.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
      for (let at = 0; at < kept.length && tries < MAX_TRIES; ) {
        const fewer = [...kept.slice(0, at), ...kept.slice(at + size)];
        tries++;
        if (await fails(fewer)) kept = fewer;
        else at += size;
      }
    }
    return kept;
  };
  const fails = async (edits: readonly number[], without: readonly number[]): Promise<boolean> => (await explain([page], (await generate(edits, without)).failures)).others.length > 0;
  const edits = await fewest(range(0, 25), (edits) => fails(edits, []));
  // The numbers of pieces: those of the old text, of each edit, and of an independent text.
  const pieces = [range(1, 120), ...edits.map((edit) => range((edit + 1) * 10_000, 30)), range(1_000_000, 120)].flat();
  const without = (kept: readonly number[]): number[] => pieces.filter((piece) => !kept.includes(piece));
  const kept = await fewest(pieces, (kept) => fails(edits, without(kept)));
  return generate(edits, without(kept));
}

const range = (first: number, count: number): number[] => Array.from({ length: count }, (_, idx) => first + idx);

/** A failing pair in the format of `tests/corpus/`. */
export function asCase({ name, old, new: next, patches, failures }: Pair & { failures: Failure[] }): string {
  const list = patches.map((patch) => JSON.stringify(patch)).join('\n');
  const why = failures.map(({ way, difference }) => `${way}: ${difference}`).join('\n');
  return `${why}\n# ${name}\n--- old\n${old}\n--- new\n${next}\n--- patches\n${list}\n`;
}
