/** The patch cases of `tests/corpus/`, and what the client refuses to follow. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Page } from 'playwright-core';
import { browserTest, useBrowser } from '../src/browser.ts';
import { readCases, readChecksums, readCorpus } from '../src/corpus.ts';
import { openJudge } from '../src/judge.ts';
import { startSite, type Site } from '../src/site.ts';

const chromium = useBrowser();
let site: Site;
before(async () => void (site = await startSite()));
after(() => site.close());

async function judgePage(): Promise<Page> {
  const { page } = await chromium.page();
  await openJudge(page, site.url);
  return page;
}

browserTest('every patch case of the corpus ends as the browser parses its target', async () => {
  const page = await judgePage();
  const cases = readCorpus();
  assert.ok(cases.length >= 9, 'the corpus is missing');
  const wrong = await page.evaluate(
    (list) => list.map((each) => [each.file, each.name, judge.check(each.old, each.new, each.patches)]).filter(([, , difference]) => difference),
    cases,
  );
  assert.deepEqual(wrong, []);
});

browserTest('the judge sees every kind of difference', async () => {
  const page = await judgePage();
  const pairs = [['<b></b>', '<i></i>'], ['<b></b>', '<svg><b>'], ['<p a=1>', '<p a=2>'], ['<p>', '<p a>'], ['a', 'a '], ['<!--a-->', 'a'], ['<template>a</template>', '<template>b</template>'], ['<svg a:href=x>', '<svg xlink:href=x>'], ['', 'a']];
  const unseen = await page.evaluate((pairs) => pairs.filter(([old, next]) => judge.check(old!, next!, []) === null), pairs);
  assert.deepEqual(unseen, []);
});

browserTest('the judge sees what a control shows', async () => {
  const page = await judgePage();
  const seen = await page.evaluate(() => {
    const changes: [string, (control: never) => void][] = [
      ['<input>', (input: HTMLInputElement) => (input.value = 'a')],
      ['<input type=checkbox>', (input: HTMLInputElement) => (input.checked = true)],
      ['<textarea></textarea>', (area: HTMLTextAreaElement) => (area.value = 'a')],
      ['<select><option>1<option>1</select>', (select: HTMLSelectElement) => (select.selectedIndex = 1)],
      ['<select multiple><option>1<option>2</select>', (select: HTMLSelectElement) => (select.options[1]!.selected = true)],
    ];
    return changes.map(([html, change]) => {
      const root = judge.parse(html);
      change(root.firstChild as never);
      return judge.difference(root, judge.parse(html));
    });
  });
  assert.deepEqual(seen.map((difference) => difference?.slice(0, 6)), new Array(5).fill('state:'));
});

test('a case ends at the next line that starts with a hash and a space', () => {
  assert.deepEqual(readCases('f', '# one\n--- old\na\n\n--- new\n#b\n--- patches\n["r",1]\n["r",2]\n# two\n--- old\n\n--- new\n--- patches\n'), [
    { file: 'f', name: 'one', old: 'a\n', new: '#b', patches: [['r', 1], ['r', 2]] },
    { file: 'f', name: 'two', old: '', new: '', patches: [] },
  ]);
});

browserTest('checksums are those that both sides agreed on', async () => {
  const page = await judgePage();
  const vectors = readChecksums();
  const found = await page.evaluate((list) => list.map(({ html }) => ({ html, checksum: judge.checksum(judge.parse(html)) })), vectors);
  assert.deepEqual(found, vectors);
});

browserTest('a patch that cannot be followed stops the list and says why', async () => {
  const page = await judgePage();
  const old = '<ul><li>1</li><li>2</li></ul><p title=a>x</p>';
  const bad: unknown[][] = [
    ['t', 99, 'x'],
    ['t', 1, 'x'],
    ['t', 3, 1],
    ['r', 0],
    ['i', 1, 6, '<b'],
    ['i', 3, 0, '<b'],
    ['i', 1, 0, '<b', '/', '/'],
    ['i', 1, 0, '@a', 'b'],
    ['i', 1, 0, '<b', '=x', '@a', 'b'],
    ['i', 1, 0, 'b'],
    ['i', 1, 0, '<xyz b'],
    ['i', 1, 0, '<b', '@xyz b', ''],
    ['i', 1, 0, 0, 'x'],
    ['m', 6, 2],
    ['m', 2, 2],
    ['m', 0, 2, 6],
    ['p', 1, 2],
    ['p', 1, 2, 2],
    ['p', 1, [2, 2, 1e9]],
    ['x', 3, 1, 1, ''],
    ['x', 3, -1, 1, ''],
    ['y', 6, 'title', 2, 0, 'x'],
    ['y', 6, 'nothing', 0, 0, 'x'],
    ['a', 0, 'class', 'x'],
    ['a', 3, 'class', 'x'],
    ['n', 7],
    ['z'],
  ];
  const kept = await page.evaluate(
    ([html, list]) =>
      list.map((patch) => {
        const root = judge.parse(html);
        const mounted = judge.mount(root, { scripts: true });
        try {
          mounted.apply([patch, ['c', 0]]);
        } catch (error) {
          return error instanceof judge.Unfollowable && root.firstChild ? null : `${JSON.stringify(patch)}: ${String(error)}`;
        }
        return `${JSON.stringify(patch)} was followed`;
      }),
    [old, bad] as const,
  );
  assert.deepEqual(kept.filter(Boolean), []);
});

browserTest('a node that the page took away or moved cannot be patched', async () => {
  const page = await judgePage();
  const outcome = await page.evaluate(() => {
    const results: string[] = [];
    for (const patch of [['t', 2, 'x'], ['i', 1, 0, '<b'], ['r', 1], ['m', 0, 1], ['p', 0, 3, 1]]) {
      const root = judge.parse('<p>a</p><b>c</b>');
      const mounted = judge.mount(root);
      root.firstChild!.remove();
      try {
        mounted.apply([patch]);
        results.push(`${JSON.stringify(patch)} was followed`);
      } catch (error) {
        results.push((error as Error).name);
      }
    }
    return results;
  });
  assert.deepEqual(new Set(outcome), new Set(['Unfollowable']));
});

browserTest('nodes of others are never counted', async () => {
  const page = await judgePage();
  const html = await page.evaluate(() => {
    const root = judge.parse('<p>a</p><p>b</p>');
    const mounted = judge.mount(root);
    root.insertBefore(document.createElement('x-foreign'), root.lastChild);
    root.append(document.createElement('x-foreign'));
    mounted.apply([['i', 0, 3, '<i'], ['t', 4, 'B'], ['p', 0, 5, 3, 1], ['r', 5]]);
    return root.innerHTML;
  });
  assert.equal(html.replaceAll('<x-foreign></x-foreign>', ''), '<p>B</p><p>a</p>');
  assert.equal(html.split('x-foreign').length - 1, 4);
});

browserTest('nothing is built deeper than 514, wherever it hangs', async () => {
  const page = await judgePage();
  const [flat, chain, inside] = await page.evaluate(() => {
    const grow = (list: unknown[][]): string => {
      const root = judge.parse('');
      try {
        judge.mount(root).apply(list);
        return 'built';
      } catch (error) {
        return (error as Error).name;
      }
    };
    const nested = (count: number): string[] => new Array<string>(count).fill('<div');
    const steps = (count: number): unknown[][] => Array.from({ length: count }, (_, idx) => ['i', idx, 0, '<div']);
    return [
      [grow([['i', 0, 0, ...nested(514)]]), grow([['i', 0, 0, ...nested(515)]])],
      [grow(steps(514)), grow(steps(515))],
      [grow([['i', 0, 0, ...new Array<string>(514).fill('<template')]]), grow([['i', 0, 0, ...new Array<string>(515).fill('<template')]])],
    ];
  });
  for (const pair of [flat, chain, inside]) assert.deepEqual(pair, ['built', 'Unfollowable']);
});

browserTest('a form whose fields shadow the DOM is patched like any other element', async () => {
  const page = await judgePage();
  const names = ['childNodes', 'attributes', 'firstChild', 'nodeType', 'parentNode', 'insertBefore', 'appendChild', 'removeChild', 'setAttribute', 'remove', 'tagName', 'localName', 'nextSibling', 'id', 'content'];
  const fields = names.map((name) => `<input name="${name}">`).join('');
  const difference = await page.evaluate(
    ([fields, n]) => judge.check(`<form>${fields}</form>`, `<form class="k"><b>new</b>${fields.replace(/^<input[^>]*>/, '')}<i></i></form>`, [['a', 1, 'class', 'k'], ['i', 1, 2, '<b', '=new'], ['r', 2], ['i', 1, 0, '<i'], ['n', n + 4]]),
    [fields, names.length] as const,
  );
  assert.equal(difference, null);
});

browserTest('names that mean something to JavaScript pollute nothing', async () => {
  const page = await judgePage();
  const polluted = await page.evaluate(() => {
    const root = judge.parse('<p></p>');
    judge.mount(root).apply([
      ['a', 1, '__proto__', 'x'],
      ['a', 1, 'constructor', 'x'],
      ['i', 0, 0, '<prototype', '@__proto__', 'y'],
    ]);
    return [('x' in {}) || ('y' in {}), root.innerHTML];
  });
  assert.deepEqual(polluted, [false, '<p __proto__="x" constructor="x"></p><prototype __proto__="y"></prototype>']);
});

browserTest('a doctype can be patched into a document', async () => {
  const page = await judgePage();
  const found = await page.evaluate(() => {
    const root = new DOMParser().parseFromString('<title>a</title>', 'text/html');
    const mounted = judge.mount(root);
    mounted.apply([['i', 0, 1, '?html', '-//x', 'y'], ['t', 4, 'b']]);
    return [root.doctype!.publicId, root.doctype!.systemId, root.title];
  });
  assert.deepEqual(found, ['-//x', 'y', 'b']);
});

browserTest('random orders are reached with the fewest moves', async () => {
  const page = await judgePage();
  const wrong = await page.evaluate(() => {
    let seed = 7;
    const random = (below: number): number => (seed = (seed * 48271) % 2147483647) % below;
    for (let round = 0; round < 300; round++) {
      const n = 1 + random(12);
      const root = judge.parse(Array.from({ length: n }, (_, idx) => `<i id="${idx}"></i>`).join(''));
      const order = Array.from({ length: n }, (_, idx) => idx);
      for (let idx = n - 1; idx > 0; idx--) {
        const other = random(idx + 1);
        [order[idx], order[other]] = [order[other]!, order[idx]!];
      }
      let moves = 0;
      const observer = new MutationObserver(() => {});
      observer.observe(root, { childList: true });
      judge.mount(root).apply([['p', 0, ...order.map((idx) => idx + 1)]]);
      moves = new Set(observer.takeRecords().flatMap((record) => [...record.addedNodes])).size;
      const best: number[] = [];
      order.forEach((value, idx) => (best[idx] = 1 + Math.max(0, ...order.slice(0, idx).map((other, at) => (other < value ? best[at]! : 0)))));
      const found = [...root.children].map((child) => Number(child.id));
      if (found.join() !== order.join() || moves !== n - Math.max(...best)) return { order, found, moves };
    }
    return null;
  });
  assert.equal(wrong, null);
});
