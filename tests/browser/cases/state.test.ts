/** What a user sees stay: typed text, choices, focus, caret, frames, nodes. */

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import type { Page } from 'playwright-core';
import { browserTest, useBrowser } from '../src/browser.ts';
import { openJudge } from '../src/judge.ts';
import { startSite, type Site } from '../src/site.ts';

const chromium = useBrowser();
let site: Site;
before(async () => void (site = await startSite()));
after(() => site.close());

type Applied = { root: HTMLDivElement; mounted: ReturnType<typeof judge.mount> };
declare global {
  var live: Applied;
}

/** A live page with `html` in a mounted div, kept in `globalThis.live`. */
async function livePage(html: string, setup?: string): Promise<Page> {
  const { page } = await chromium.page();
  await openJudge(page, site.url);
  if (setup) await page.evaluate(setup);
  await page.evaluate((html) => {
    const root = document.createElement('div');
    root.innerHTML = html;
    document.body.append(root);
    globalThis.live = { root, mounted: judge.mount(root) };
  }, html);
  return page;
}

const apply = (page: Page, ...patches: unknown[][]): Promise<void> => page.evaluate((patches) => live.mounted.apply(patches), patches);
const snapshot = (page: Page, ...tokens: string[]): Promise<void> => page.evaluate((tokens) => live.mounted.snapshot(tokens), tokens);
const read = <T>(page: Page, expression: string): Promise<T> => page.evaluate(`(() => { const at = (s) => live.root.querySelector(s); return ${expression}; })()`) as Promise<T>;

browserTest('a field follows the server until the user types in it', async () => {
  const page = await livePage('<input value="one"><textarea>one</textarea>');
  await apply(page, ['a', 1, 'value', 'two'], ['t', 3, 'two']);
  assert.deepEqual(await read(page, "[at('input').value, at('textarea').value]"), ['two', 'two']);
  await page.locator('input').fill('mine');
  await page.locator('textarea').fill('mine');
  await apply(page, ['a', 1, 'value', 'three'], ['x', 3, 0, 3, 'three']);
  assert.deepEqual(await read(page, "[at('input').value, at('textarea').value]"), ['mine', 'mine']);
  // Typed back to what the server has: the server's again.
  await page.locator('input').fill('three');
  await page.locator('textarea').fill('three');
  await apply(page, ['y', 1, 'value', 5, 0, '!'], ['o', 2, '=four']);
  assert.deepEqual(await read(page, "[at('input').value, at('textarea').value]"), ['three!', 'four']);
});

browserTest('dc-force lets the server win', async () => {
  const page = await livePage('<input dc-force value="one"><textarea dc-force>one</textarea><input type=checkbox dc-force>');
  await page.locator('input').first().fill('mine');
  await page.locator('textarea').fill('mine');
  await page.locator('[type=checkbox]').check();
  await apply(page, ['a', 1, 'value', ''], ['t', 3, 'two'], ['a', 4, 'checked', ''], ['d', 4, 'checked']);
  assert.deepEqual(await read(page, "[at('input').value, at('textarea').value, at('[type=checkbox]').checked]"), ['', 'two', false]);
});

browserTest('a field whose shown value is not its markup counts as untouched', async () => {
  const page = await livePage('<input type=range><input type=color><textarea>\r\n</textarea>');
  await apply(page, ['a', 1, 'value', '20'], ['a', 2, 'value', '#ff0000']);
  await apply(page, ['a', 1, 'value', '30'], ['a', 2, 'value', '#00ff00']);
  await apply(page, ['d', 1, 'value'], ['d', 2, 'value']);
  await apply(page, ['a', 1, 'value', '40'], ['a', 2, 'value', '#0000ff']);
  assert.deepEqual(await read(page, "[at('[type=range]').value, at('[type=color]').value]"), ['40', '#0000ff']);
});

browserTest('the caret stays at its text when a focused field changes', async () => {
  const page = await livePage('<input value="hello world">');
  const caret = (): Promise<unknown> => read(page, "[document.activeElement === at('input'), at('input').value, at('input').selectionStart, at('input').selectionEnd]");
  await page.locator('input').focus();
  // Typed and taken back: from now on the browser itself no longer follows the attribute.
  await page.keyboard.type('x');
  await page.keyboard.press('Backspace');
  await page.evaluate(() => {
    const input = live.root.querySelector('input')!;
    input.value = 'hello world';
    input.setSelectionRange(6, 11);
  });
  await apply(page, ['a', 1, 'value', 'hello, dear world']);
  assert.deepEqual(await caret(), [true, 'hello, dear world', 12, 17]);
  await apply(page, ['a', 1, 'value', 'hello']);
  assert.deepEqual(await caret(), [true, 'hello', 5, 5]);
});

browserTest('a box the user ticked stays ticked, an untouched one follows', async () => {
  const page = await livePage('<input type=checkbox id=a><input type=checkbox id=b>');
  await page.locator('#a').check();
  await apply(page, ['a', 1, 'checked', ''], ['a', 2, 'checked', '']);
  await apply(page, ['d', 2, 'checked'], ['a', 1, 'class', 'x']);
  assert.deepEqual(await read(page, "[at('#a').checked, at('#b').checked]"), [true, false]);
  await page.locator('#b').check();
  await page.locator('#b').uncheck();
  await apply(page, ['a', 2, 'checked', '']);
  assert.equal(await read(page, "at('#b').checked"), true);
});

browserTest('a radio group is one choice: the user\'s if there is one', async () => {
  const page = await livePage('<form><input type=radio name=r id=a checked><input type=radio name=r id=b><input type=radio name=r id=c></form>');
  await apply(page, ['d', 2, 'checked'], ['a', 3, 'checked', '']);
  assert.deepEqual(await read(page, "['a','b','c'].map((id) => at('#' + id).checked)"), [false, true, false]);
  await page.locator('#c').check();
  await apply(page, ['d', 3, 'checked'], ['a', 2, 'checked', '']);
  assert.deepEqual(await read(page, "['a','b','c'].map((id) => at('#' + id).checked)"), [false, false, true]);
});

browserTest('a select keeps the user\'s choice while options come and go', async () => {
  const page = await livePage('<select><option>a</option><option selected>b</option><option>c</option></select>');
  const value = (): Promise<string> => read(page, "at('select').value");
  await apply(page, ['d', 4, 'selected'], ['a', 6, 'selected', '']);
  assert.equal(await value(), 'c');
  await page.locator('select').selectOption('a');
  await apply(page, ['i', 1, 2, '<option', '@selected', '', '=new'], ['d', 6, 'selected']);
  assert.equal(await value(), 'a');
  await apply(page, ['r', 2]);
  assert.equal(await value(), 'new');
  const many = await livePage('<select multiple><option selected>a</option><option>b</option></select>');
  await many.locator('select').selectOption(['b']);
  await apply(many, ['i', 1, 0, '<option', '@selected', '', '=c'], ['d', 2, 'selected']);
  assert.deepEqual(await read(many, "[...at('select').selectedOptions].map((o) => o.value)"), ['b', 'c']);
});

browserTest('nothing is set in a field while an input method composes in it', async () => {
  const page = await livePage('<input value="a" dc-force>');
  const session = await page.context().newCDPSession(page);
  await page.locator('input').focus();
  await session.send('Input.imeSetComposition', { text: 'に', selectionStart: 1, selectionEnd: 1 });
  const composed = await read<string>(page, "at('input').value");
  assert.match(composed, /に/);
  await apply(page, ['a', 1, 'value', 'server']);
  assert.equal(await read(page, "at('input').value"), composed);
  await session.send('Input.insertText', { text: '日' });
  assert.equal(await read(page, "at('input').value"), 'server');
});

browserTest('focus, caret and frames survive moves', async () => {
  for (const withMoveBefore of [true, false]) {
    const without = 'for (const p of [Element, Document, DocumentFragment]) delete p.prototype.moveBefore;';
    const page = await livePage(
      '<p dc-key=a><input value="hello"></p><p dc-key=b>b</p><p dc-key=c><iframe></iframe></p><p dc-key=d>d</p>',
      withMoveBefore ? undefined : without,
    );
    await page.locator('input').focus();
    await page.evaluate(() => {
      live.root.querySelector('input')!.setSelectionRange(1, 3);
      const frame = live.root.querySelector('iframe')!;
      (frame.contentWindow as Window & { mark?: number }).mark = 1;
    });
    // The others move when there is a choice: the frame's and the field's paragraphs swap their neighbours only.
    await apply(page, ['p', 0, 5, 3, 1, 7]);
    const state = (): Promise<unknown> => read(page, "[document.activeElement === at('input'), at('input').selectionStart, at('input').selectionEnd, at('iframe').contentWindow.mark ?? null, [...live.root.children].map((p) => p.getAttribute('dc-key')).join('')]");
    if (withMoveBefore) assert.deepEqual(await state(), [true, 1, 3, 1, 'cbad']);
    else assert.deepEqual((await state() as unknown[]).filter((_, idx) => idx !== 3), [true, 1, 3, 'cbad']);
    await apply(page, ['m', 5, 1]);
    assert.deepEqual((await state() as unknown[]).slice(0, 3), [true, 1, 3], `moveBefore: ${withMoveBefore}`);
  }
});

browserTest('without moveBefore, the node with the frame stays where there is a choice', async () => {
  const page = await livePage('<p id=a></p><p id=b><iframe></iframe></p>', 'for (const p of [Element, Document, DocumentFragment]) delete p.prototype.moveBefore;');
  await page.evaluate(() => ((live.root.querySelector('iframe')!.contentWindow as Window & { mark?: number }).mark = 1));
  await apply(page, ['p', 0, 2, 1]);
  await apply(page, ['p', 0, 1, 2]);
  assert.equal(await read(page, "at('iframe').contentWindow.mark"), 1);
});

browserTest('a snapshot keeps keyed nodes, and others of the same kind in order', async () => {
  const page = await livePage('<ul><li dc-key=a>a</li><li dc-key=b><input></li></ul><p>x</p><x-foreign></x-foreign><!--c-->');
  await page.locator('input').fill('mine');
  await page.evaluate(() => {
    const at = (s: string): Element => live.root.querySelector(s)!;
    Object.assign(globalThis, { kept: [at('[dc-key=a]'), at('[dc-key=b]'), at('input'), at('p'), at('p').firstChild, at('ul')] });
  });
  await snapshot(page, '<ul', '<li', '@dc-key', 'b', '<input', '@class', 'k', '/', '/', '<li', '@dc-key', 'n', '=new', '/', '<li', '@dc-key', 'a', '=A', '/', '/', '<p', '@id', 'p', '=y', '/', '<p', '=z', '/', '!d');
  assert.equal(
    await read(page, 'live.root.innerHTML'),
    '<ul><li dc-key="b"><input class="k"></li><li dc-key="n">new</li><li dc-key="a">A</li></ul><p id="p">y</p><p>z</p><!--d-->',
  );
  assert.deepEqual(await read(page, "kept.map((node, idx) => idx === 3 ? at('p + p') === node : idx === 4 ? at('p + p').firstChild === node : live.root.contains(node))"), [true, true, true, true, true, true]);
  assert.equal(await read(page, "at('input').value"), 'mine');
  // The ids are those of the new content: ul 1, li 2, input 3, li 4, text 5, li 6, text 7, p 8 …
  await apply(page, ['t', 7, 'again'], ['r', 4], ['i', 1, 2, '<li', '=first'], ['t', 14, 'named']);
  assert.equal(await read(page, "at('ul').textContent"), 'namedagain');
});

browserTest('a snapshot takes ids from runs and goes on from its next id', async () => {
  const page = await livePage('<b></b>');
  await page.evaluate(() => {
    live.mounted.snapshot(['<p', '=a', '/', '<p', '=b'], [7, 1, 3, 1, 20, 2], 30);
    live.mounted.apply([['t', 3, 'A'], ['t', 21, 'B'], ['i', 7, 0, '<i'], ['a', 30, 'class', 'k'], ['n', 6], ['t', 1, 'one']]);
  });
  assert.equal(await read(page, 'live.root.innerHTML'), '<p>one<i class="k"></i></p><p>B</p>');
  await assert.rejects(page.evaluate(() => live.mounted.snapshot(['<p'], [1, 2], 9)), /cover/);
});

browserTest('a details keeps what the user did, until the server speaks of it', async () => {
  const page = await livePage('<details id=a></details><details id=b open></details>');
  await page.evaluate(() => {
    live.root.querySelector<HTMLDetailsElement>('#a')!.open = true;
    live.root.querySelector<HTMLDetailsElement>('#b')!.open = false;
  });
  const open = (): Promise<unknown> => read(page, "[at('#a').open, at('#b').open]");
  await apply(page, ['a', 1, 'class', 'x'], ['a', 2, 'class', 'x']);
  assert.deepEqual(await open(), [true, false]);
  await snapshot(page, '<details', '@id', 'a', '/', '<details', '@id', 'b', '@open', '', '/');
  assert.deepEqual(await open(), [true, false]);
  await snapshot(page, '<details', '@id', 'a', '/', '<details', '@id', 'b', '/');
  await snapshot(page, '<details', '@id', 'a', '/', '<details', '@id', 'b', '@open', '', '/');
  assert.deepEqual(await open(), [true, true]);
  await apply(page, ['a', 1, 'open', ''], ['d', 1, 'open']);
  assert.deepEqual(await open(), [false, true]);
});

browserTest('an input that gets another type keeps the value of the markup', async () => {
  // Once a value was set, Chromium writes what the range shows into the attribute of the checkbox.
  const page = await livePage('<input type=range max=5 value=#ff0000><input type=range><input>');
  await apply(page, ['a', 1, 'max', '7'], ['a', 2, 'max', '7']);
  await page.locator('input').last().fill('mine');
  await apply(page, ['a', 1, 'type', 'checkbox'], ['a', 2, 'type', 'hidden'], ['a', 3, 'type', 'submit']);
  assert.equal(await read(page, 'live.root.innerHTML'), '<input type="checkbox" max="7" value="#ff0000"><input type="hidden" max="7"><input type="submit">');
});

browserTest('of the checked radios of a snapshot the last wins, though one of the page becomes another input', async () => {
  const page = await livePage('<p><input type=radio name=q checked></p>');
  const radio = ['<input', '@type', 'radio', '@name', 'q', '@checked', '', '/'];
  await snapshot(page, '<p', '<input', '/', ...radio, '/', '<p', ...radio);
  assert.deepEqual(await read(page, '[...live.root.querySelectorAll("input")].map((each) => each.checked)'), [false, false, true]);
});

browserTest('an input of SVG is no radio', async () => {
  const svg = await livePage('<p></p>');
  const tokens = ['<svg svg', '<svg input', '@type', 'radio', '@name', 'a', '@checked', '', '/', '/', '<input', '@type', 'radio', '@name', 'a', '@checked', '', '/', '<input', '@type', 'radio', '@name', 'a', '@checked', ''];
  await snapshot(svg, ...tokens);
  await apply(svg, ['i', 0, 0, ...tokens]);
  assert.equal(await read(svg, "live.root.querySelectorAll('svg').length"), 2);
});

browserTest('of the details of one name the one is open at the end that a parse would open', async () => {
  const markup = '<figure><details name=one open></details></figure><details name=two></details>';
  const outcome = '<details name="one" open=""></details><figure></figure><details name="two"></details>';
  const html = (page: Page): Promise<unknown> => read(page, 'live.root.innerHTML');
  const made = await livePage(markup);
  // Inserted while the old one is there.
  await apply(made, ['i', 0, 1, '<details', '@name', 'one', '@open', '', '/'], ['c', 1]);
  assert.equal(await html(made), outcome);
  const morphed = await livePage(markup);
  await snapshot(morphed, '<details', '@name', 'one', '@open', '', '/', '<figure', '/', '<details', '@name', 'two', '/');
  assert.equal(await html(morphed), outcome);
  // Opened, and the one that it closes gets another name.
  const renamed = await livePage('<details name=one open></details><details name=one></details>');
  await apply(renamed, ['a', 2, 'open', ''], ['a', 1, 'name', 'two']);
  assert.equal(await html(renamed), '<details name="two" open=""></details><details name="one" open=""></details>');
  // Of two that the content opens, the first, whatever came first.
  const both = await livePage('<details name=one></details><details name=one open></details>');
  await apply(both, ['a', 1, 'open', '']);
  assert.equal(await html(both), '<details name="one" open=""></details><details name="one"></details>');
  const second = await livePage('<details name=one open></details><details name=one></details>');
  await apply(second, ['a', 2, 'open', '']);
  assert.equal(await html(second), '<details name="one" open=""></details><details name="one"></details>');
  const fresh = await livePage('');
  await snapshot(fresh, '<p', '<details', '@name', 'one', '@open', '', '/', '/', '<p', '<details', '@name', 'one', '@open', '', '/', '/');
  assert.equal(await html(fresh), '<p><details name="one" open=""></details></p><p><details name="one"></details></p>');
  // It gets its name while another of that name is open.
  const named = await livePage('<details><details name=one open></details></details>');
  await snapshot(named, '<details', '@open', '', '@name', 'one', '/', '<details', '/');
  assert.equal(await html(named), '<details name="one" open=""></details><details></details>');
  // What the user closed stays so, and so does what the user opened.
  const users = await livePage('<details name=one open></details><details name=one></details>');
  await users.evaluate(() => void (live.root.querySelector('details')!.open = false));
  await apply(users, ['a', 1, 'class', 'x'], ['i', 0, 0, '<details', '@name', 'two', '@open', '', '/']);
  assert.equal(await html(users), '<details name="one" class="x"></details><details name="one"></details><details name="two" open=""></details>');
  await users.evaluate(() => void (live.root.querySelector<HTMLDetailsElement>('details:nth-child(2)')!.open = true));
  await apply(users, ['i', 0, 1, '<details', '@name', 'one', '@open', '', '/']);
  assert.equal(await html(users), '<details name="one"></details><details name="one" class="x"></details><details name="one" open=""></details><details name="two" open=""></details>');
});

browserTest('random snapshots end as the browser parses them, from any content', async () => {
  const page = await livePage('');
  const wrong = await page.evaluate(() => {
    let seed = 11;
    const random = (below: number): number => (seed = (seed * 48271) % 2147483647) % below;
    const names = ['p', 'b', 'svg svg', 'template', 'ul', 'select', 'form'];
    const tree = (depth: number): string[] => {
      const tokens: string[] = [];
      for (let count = random(5); count > 0; count--) {
        const kind = random(6);
        if (kind === 0) tokens.push(`=${random(9)}`);
        else if (kind === 1) tokens.push(`!${random(9)}`);
        else {
          tokens.push(`<${names[random(names.length)]}`);
          if (random(2)) tokens.push('@dc-key', String(random(4)));
          if (random(2)) tokens.push('@class', String(random(3)));
          if (random(4) === 0) tokens.push('@=x', String(random(3)));
          if (depth < 4) tokens.push(...tree(depth + 1));
          tokens.push('/');
        }
      }
      return tokens;
    };
    for (let round = 0; round < 500; round++) {
      const tokens = tree(0);
      live.mounted.snapshot(tokens);
      const fresh = document.createElement('div');
      judge.mount(fresh).apply([['i', 0, 0, ...tokens]]);
      const [found, wanted] = [judge.dump(live.root), judge.dump(fresh)];
      if (found.join('\n') !== wanted.join('\n')) return { round, found, wanted };
      if (judge.checksum(live.root) !== judge.checksum(fresh)) return { round };
    }
    return null;
  });
  assert.equal(wrong, null);
});
