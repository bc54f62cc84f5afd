/** Generated pairs: patched by the client, every page ends as the browser parses its target. */

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import type { Page } from 'playwright-core';
import { browserTest, useBrowser } from '../src/browser.ts';
import { judgePages } from '../src/inert.ts';
import { openJudge, type Failure, type Misread, type Pair } from '../src/judge.ts';
import { asCase, explain, judgeAll, pairLines, shrink } from '../src/pairs.ts';
import { startSite, type Site } from '../src/site.ts';

const COUNT = Number(process.env['DOMCAST_RANDOM'] ?? 20_000);
/** Always the same, so that a run speaks of the change and not of luck; others search further. */
const SEED = Number(process.env['DOMCAST_SEED'] ?? 1);
/**
 * How many trees, histories and shown pairs of seed 1 each known difference takes part in: all that are generated, so that another
 * one does not hide under its name. A change of what is generated changes it too.
 */
const MET_BY_SEED_1: Readonly<Record<'pairs' | 'histories' | 'shown', Readonly<Record<string, number>>>> = {
  pairs: {
    'a processing instruction': 342,
    'a formatting element with `is`, or open at the end of the body': 32,
    'two open `details` of one name': 4,
    'two open `details` of one name, not noticed at mount': 7,
    'a form in a template, or ended in a table': 10,
    'HTML in SVG or MathML': 48,
  },
  histories: {
    'a processing instruction': 3,
    'a formatting element with `is`, or open at the end of the body': 1,
    'two open `details` of one name': 15,
    'two open `details` of one name, not noticed at mount': 8,
    'HTML in SVG or MathML': 1,
  },
  shown: { 'two open `details` of one name': 1 },
};
/** So many failures are made small and printed. */
const MAX_SHRUNK = Number(process.env['DOMCAST_SHRUNK'] ?? 3);
/** So much is shown of each. */
const MAX_SHOWN = 3_000;

const chromium = useBrowser();
let site: Site;
before(async () => void (site = await startSite()));
after(() => site.close());

/** Fails where more differ by a name than are known to. */
function assertBound(kind: keyof typeof MET_BY_SEED_1, met: ReadonlyMap<string, number>): void {
  if (SEED !== 1 || COUNT > 20_000) return;
  const most = MET_BY_SEED_1[kind];
  assert.deepEqual([...met].filter(([name, count]) => count > (most[name] ?? 0)), [], 'more than are known');
}

/** What the differences between parsers took part in. */
const told = (met: ReadonlyMap<string, number>): string => [...met].map(([name, count]) => `\n  ${count} by ${name}`).join('');

/** Fails with the first failures, made small. */
async function assertNone(page: Page, failures: readonly Failure[]): Promise<void> {
  const names = [...new Set(failures.map(({ name }) => name))];
  const cases: string[] = [];
  for (const name of names.slice(0, MAX_SHRUNK)) cases.push(asCase(await shrink(page, name)).slice(0, MAX_SHOWN));
  assert.equal(names.length, 0, `${names.length} pairs fail, among them\n\n${cases.join('\n')}`);
}

browserTest(
  `${COUNT} generated pairs of seed ${SEED}, by patches and by snapshot`,
  async () => {
    const pages = await judgePages(chromium, site.url);
    const verdict = await judgeAll(pages, 'pairs', ['random', '--seed', `${SEED}`, '--count', `${COUNT}`]);
    assert.deepEqual([verdict.lines, verdict.count], [COUNT, 2 * COUNT]);
    const { others, met } = await explain(pages, verdict.failures);
    console.log(`${verdict.lines} generated pairs, ${verdict.count} trees compared, ${others.length} differences, known ones aside:${told(met)}`);
    await assertNone(pages[0]!, others);
    assertBound('pairs', met);
  },
  60_000 + COUNT * 10,
);

browserTest(
  `generated histories of 50 versions of seed ${SEED}, with snapshots, new numbers and new mounts between`,
  async () => {
    const count = Math.ceil(COUNT / 100);
    const pages = await judgePages(chromium, site.url);
    const verdict = await judgeAll(pages, 'histories', ['chains', '--seed', `${SEED}`, '--count', `${count}`]);
    const { others, met } = await explain(pages, verdict.failures);
    console.log(`${verdict.lines} generated histories, ${verdict.count} updates, ${others.length} differences, known ones aside:${told(met)}`);
    assert.deepEqual(others.slice(0, 5), []);
    assertBound('histories', met);
    assert.deepEqual([verdict.lines, verdict.count], [count, 50 * count]);
  },
  60_000 + COUNT * 10,
);

browserTest(
  `generated pairs of seed ${SEED} in a page that is shown, with the caret in a field`,
  async () => {
    const count = Math.min(1_000, Math.ceil(COUNT / 80));
    const { page, problems } = await chromium.page();
    await openJudge(page, site.url);
    const failures: Failure[] = [];
    let judged = 0;
    for await (const line of pairLines(['shown', '--seed', `${SEED}`, '--count', `${count}`])) {
      const { wrong, misread } = await page.evaluate(applyShown, line);
      assert.equal(wrong, null, line);
      if (misread.length > 0) failures.push({ name: line, way: 'shown', difference: 'misread', misread });
      assert.deepEqual(problems, [], line);
      judged++;
    }
    assert.equal(judged, count);
    const { others, met } = await explain(await judgePages(chromium, site.url, 1), failures);
    console.log(`${judged} generated pairs shown, ${others.length} differences, known ones aside:${told(met)}`);
    assert.deepEqual(others, []);
    assertBound('shown', met);
  },
  60_000 + COUNT * 10,
);

/** Runs in the page: shows `old`, puts the caret into the field, applies the patches there, and lets the page be painted. */
async function applyShown(line: string): Promise<{ wrong: string | null; misread: Misread[] }> {
  const { old, new: next, sums, patches, tokens } = JSON.parse(line) as Pair;
  const ways: [string, (mounted: ReturnType<typeof judge.mount>) => void][] = [
    ['patches', (mounted) => mounted.apply(patches)],
    ['snapshot', (mounted) => mounted.snapshot(tokens[1])],
  ];
  const misread = new Map<string, Misread>();
  const wrong = (text: string): { wrong: string; misread: Misread[] } => ({ wrong: text, misread: [] });
  for (const [way, change] of ways) {
    const root = judge.fill(document.createElement('div'), old);
    const isReadAlike = judge.isReadAlike(root, tokens[0]);
    if (!isReadAlike) misread.set(old, { html: old, document: false, isUnnoticed: judge.checksum(root) === sums[0] });
    document.body.replaceChildren(root);
    const field = root.querySelector<HTMLInputElement>('[dc-key=kept]')!;
    field.focus({ preventScroll: true });
    field.setSelectionRange(3, 9, 'backward');
    if (document.activeElement !== field) return wrong(`${way}: the field takes no focus`);
    let lost = 0;
    field.addEventListener('blur', () => lost++);
    const mounted = judge.mount(root, isReadAlike ? { scripts: true, sum: sums[0] } : { scripts: true });
    if (!isReadAlike) mounted.snapshot(tokens[0]);
    change(mounted);
    const wanted = judge.fill(document.createElement('div'), next);
    if (!judge.isReadAlike(wanted, tokens[1]) && !misread.has(next)) misread.set(next, { html: next, document: false, isUnnoticed: false });
    const difference = judge.outcome(root, wanted, tokens[1], judge.hasRivals(...tokens));
    if (difference !== null) return wrong(`${way}: ${difference}`);
    await new Promise(requestAnimationFrame);
    if (root.querySelector('[dc-key=kept]') !== field) return wrong(`${way}: the field was replaced`);
    if (document.activeElement !== field) return wrong(`${way}: the focus is lost`);
    const caret = [field.selectionStart, field.selectionEnd, field.selectionDirection].join();
    if (caret !== '3,9,backward') return wrong(`${way}: the caret is at ${caret}`);
    if (lost > 0) return wrong(`${way}: the field was left ${lost} times`);
  }
  return { wrong: null, misread: [...misread.values()] };
}
