/** Markup that nests up to the 512 levels that a browser's parser makes, and beyond. */

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { browserTest, useBrowser } from '../src/browser.ts';
import { judgePages } from '../src/inert.ts';
import { judgeAll } from '../src/pairs.ts';
import { startSite, type Site } from '../src/site.ts';

const chromium = useBrowser();
let site: Site;
before(async () => void (site = await startSite()));
after(() => site.close());

browserTest('elements and text that nest too deep end where the browser puts them', async () => {
  const inside = ['', 'x', '<table><tr><td>x', '</div>q', '<template>u', '<svg><path>', '<pre>\nx', '<select><option>1', '<b>x</b>y<i>z</i>', '<p>a<p>b', '<li>x<li>y'];
  const lines: string[] = [];
  for (const depth of [509, 510, 511, 512, 530]) {
    for (const tag of ['<div>', '<span>', '<b>', '<ul><li>', '<x-y>']) {
      const nest = tag.repeat(depth);
      for (const start of ['', '<!doctype html>', '<template>']) {
        inside.forEach((html, idx) => {
          // A third of them all.
          if ((idx + depth + tag.length + start.length) % 3 > 0) return;
          const to = start + nest + inside[(idx + 1) % inside.length];
          lines.push(JSON.stringify({ name: `${depth} x ${start}${tag}${html}`, from: start + nest + html, to }));
        });
      }
    }
  }
  const { failures, count } = await judgeAll(await judgePages(chromium, site.url), 'pairs', ['texts'], lines.join('\n'));
  assert.deepEqual(failures.slice(0, 5), []);
  assert.equal(count, 4 * lines.length);
}, 60_000);
