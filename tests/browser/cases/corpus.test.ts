/** Other people's pairs and page histories: patched by the client, every page ends as the browser parses its target. */

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { browserTest, useBrowser } from '../src/browser.ts';
import { judgePages } from '../src/inert.ts';
import { KNOWN } from '../src/known.ts';
import { explain, judgeAll, type Verdict } from '../src/pairs.ts';
import { startSite, type Site } from '../src/site.ts';

const chromium = useBrowser();
let site: Site;
before(async () => void (site = await startSite()));
after(() => site.close());

/** Tells the counts; without the corpus the binary has said so, and nothing can be asserted. */
function isThere({ lines, count, failures }: Verdict, what: string): boolean {
  const wrong = new Set(failures.map(({ name }) => name)).size;
  if (lines) console.log(`${lines} ${what}, ${count} trees compared, ${wrong} ${what} with a difference`);
  return lines > 0;
}

browserTest(
  'every pair of the corpus, both ways, by patches and by snapshot, less the known differences',
  async () => {
    const pages = await judgePages(chromium, site.url);
    const verdict = await judgeAll(pages, 'pairs', ['corpus']);
    if (!isThere(verdict, 'pairs')) return;
    assert.deepEqual([verdict.lines, verdict.count], [1926, 4 * 1926]);
    const known = KNOWN.flatMap(({ pairs }) => pairs ?? []);
    assert.deepEqual((await explain(pages, verdict.failures)).others, []);
    assert.deepEqual([...new Set(verdict.failures.map(({ name }) => name))].sort(), [...known].sort());
  },
  120_000,
);

browserTest(
  'every page history of the corpus, on one live tree each',
  async () => {
    const verdict = await judgeAll(await judgePages(chromium, site.url), 'histories', ['histories']);
    if (!isThere(verdict, 'histories')) return;
    assert.deepEqual(verdict.failures, []);
    assert.deepEqual([verdict.lines, verdict.count], [95, 1075]);
  },
  120_000,
);

browserTest('every known difference is still one', async () => {
  const examples = KNOWN.flatMap(({ name, examples }) => examples.map((html, idx) => ({ name: `${name}, example ${idx + 1}`, from: '', to: html })));
  const lines = examples.map((pair) => JSON.stringify(pair)).join('\n');
  const pages = await judgePages(chromium, site.url);
  const { failures } = await judgeAll(pages, 'pairs', ['texts'], lines);
  assert.deepEqual(
    failures.filter(({ way }) => way === 'patches').map(({ name }) => name),
    examples.map(({ name }) => name),
  );
  const { others, met } = await explain(pages, failures);
  assert.deepEqual(others, []);
  assert.deepEqual([...met.keys()].sort(), KNOWN.map(({ name }) => name).sort());
  const readings = await judgeAll(pages, 'readings', ['texts'], lines);
  const unnoticed = readings.failures.filter(({ misread }) => misread![0]!.isUnnoticed).map(({ name }) => name.replace(/, example \d+$/, ''));
  assert.deepEqual([...new Set(unnoticed)], KNOWN.filter(({ isUnnoticed }) => isUnnoticed).map(({ name }) => name));
  assert.ok(KNOWN.length <= 10);
});
