/** The page and its connection, against a server that the test plays. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach } from 'node:test';
import type { Page } from 'playwright-core';
import { browserTest, useBrowser, type WatchedPage } from '../src/browser.ts';
import { startSite, type Peer, type Site } from '../src/site.ts';

const chromium = useBrowser();
let site: Site;
// A server for each test: a page that outlives a failed test must not connect to the next one's.
beforeEach(async () => void (site = await startSite()));
afterEach(() => site.close());

const ERRORS = new URL('../../../crates/domcast-client/dist/errors.js', import.meta.url);
const CSP = { 'content-security-policy': "default-src 'self'; require-trusted-types-for 'script'; trusted-types domcast" };

// The checksum of one `p` with a text: units 1, 1, "p", 3, 2.
const SUM = [1, 1, 112, 3, 2].reduce((hash, unit) => Math.imul(hash ^ unit, 16777619), 2166136261) >>> 0;
const VIEW = `<div dc-view="a" dc-at="e:4" dc-sum="${SUM}"><p>one</p></div>`;

/** Opens a page with `body` under a strict policy; DOM events of views are kept in `globalThis.heard`. */
async function open(body: string, setup?: (page: Page) => Promise<void>): Promise<WatchedPage> {
  site.pages.set('/live', { body: `<!doctype html><link rel=icon href=/icon.svg><script src="/_domcast/client.js" defer></script>${body}`, headers: CSP });
  site.pages.set('/icon.svg', { body: '<svg xmlns="http://www.w3.org/2000/svg"/>', type: 'image/svg+xml' });
  const watched = await chromium.page();
  await watched.page.addInitScript(() => {
    const heard: unknown[] = [];
    Object.assign(globalThis, { heard });
    for (const name of ['mounted', 'patched', 'resync', 'disconnected', 'connected', 'refused', 'lost']) {
      document.addEventListener(`dc:${name}`, (event) => heard.push([name, (event as CustomEvent).detail]));
    }
  });
  await setup?.(watched.page);
  await watched.page.goto(`${site.url}/live`);
  return watched;
}

async function openMounted(body = VIEW, setup?: (page: Page) => Promise<void>): Promise<WatchedPage & { peer: Peer }> {
  const watched = await open(body, setup);
  const peer = await site.connection();
  await peer.frame('hello');
  peer.send(['mounted', 'a', 7, 'e:4']);
  await watched.page.waitForSelector('[dc-state=live]');
  return { ...watched, peer };
}

const html = (page: Page): Promise<string> => page.locator('[dc-view]').first().innerHTML();
const heard = (page: Page): Promise<[string, unknown][]> => page.evaluate('heard') as Promise<[string, unknown][]>;
/** Asks from outside: a policy without `unsafe-eval` refuses a polling function inside the page. */
async function until(page: Page, expression: string): Promise<void> {
  const deadline = Date.now() + 5_000;
  while (!(await page.evaluate(expression))) if (Date.now() > deadline) throw new Error(`never true: ${expression}`);
}

browserTest('a page says hello with its position and applies what follows, once and in order', async () => {
  const { page, problems } = await open(VIEW);
  const peer = await site.connection();
  assert.deepEqual(await peer.frame('hello'), ['hello', 1, [['a', 'e:4']]]);
  peer.send(['mounted', 'a', 7, 'e:6']);
  peer.send(['p', 7, 5, [['t', 2, 'five']]]);
  peer.send(['p', 7, 5, [['t', 2, 'twice']]]);
  peer.send(['p', 8, 6, [['t', 2, 'not mine']]]);
  peer.send(['p', 7, 6, [['x', 2, 4, 0, '!'], ['i', 0, 0, '<i']]]);
  await until(page, "heard.some(([name, detail]) => name === 'patched' && detail === 6)");
  assert.equal(await html(page), '<p>five!</p><i></i>');
  assert.deepEqual(await heard(page), [['connected', null], ['mounted', 'e:6'], ['patched', 5], ['patched', 6]]);
  assert.deepEqual(problems, []);
});

browserTest('content that is not what the server counted is mounted with no position', async () => {
  const other = (attributes: string): string => `<div dc-view="a" ${attributes}><p>one</p></div>`;
  for (const attributes of [`dc-at="e:4" dc-sum="1"`, `dc-at="e:4"`, `dc-sum="${SUM}"`, `dc-at="e:4" dc-sum="${SUM}" dc-ids="1 3"`, `dc-at="e:4" dc-sum="${SUM}" dc-ids="1 1 1 1"`]) {
    const { page } = await open(other(attributes));
    const peer = await site.connection();
    assert.deepEqual(await peer.frame('hello'), ['hello', 1, [['a', null]]], attributes);
    peer.send(['mounted', 'a', 1, 'e:9']);
    peer.send(['p', 1, 9, [['t', 2, 'too early']]]);
    peer.send(['snapshot', 1, 'e:9', 9, [5, 1, 3, 1], ['<p', '=nine']]);
    peer.send(['p', 1, 10, [['t', 3, 'ten'], ['i', 0, 0, '<b'], ['a', 9, 'class', 'k']]]);
    await until(page, "heard.some(([, detail]) => detail === 10)");
    assert.equal(await html(page), '<p>ten</p><b class="k"></b>');
    assert.deepEqual(peer.unread(), []);
    await page.close();
  }
});

browserTest('ids and the next id come from the element', async () => {
  const { page, peer } = await openMounted(VIEW.replace('dc-sum', 'dc-ids="8 1 3 1" dc-next="20" dc-sum'));
  peer.send(['p', 7, 5, [['t', 3, 'two'], ['i', 8, 0, '<b'], ['a', 20, 'class', 'k']]]);
  await until(page, "heard.some(([, detail]) => detail === 5)");
  assert.equal(await html(page), '<p>two<b class="k"></b></p>');
});

browserTest('what cannot be followed leads to one snapshot, and nothing is applied in between', async () => {
  const { page, peer } = await openMounted();
  const broken: unknown[][] = [
    ['p', 7, 5, [['t', 2, 'half'], ['t', 99, 'x']]],
    ['p', 7, 9, [['t', 2, 'a gap']]],
  ];
  let version = 6;
  for (const frame of broken) {
    peer.send(frame);
    assert.deepEqual(await peer.frame('resync'), ['resync', 7]);
    peer.send(['p', 7, version, [['t', 2, 'in between']]]);
    peer.send(['snapshot', 7, `e:${version}`, 3, [], ['<p', `=${version}`]]);
    await until(page, `heard.some(([, detail]) => detail === ${version})`);
    assert.equal(await html(page), `<p>${version}</p>`);
    version += 4;
  }
  // A node that the page took away is noticed and healed.
  await page.evaluate(() => document.querySelector('[dc-view] p')!.remove());
  peer.send(['p', 7, 11, [['t', 2, 'x']]]);
  await peer.frame('resync');
  peer.send(['snapshot', 7, 'e:12', 3, [], ['<p', '=six']]);
  await until(page, 'heard.some(([, detail]) => detail === 12)');
  assert.equal(await html(page), '<p>six</p>');
  assert.deepEqual(peer.unread(), []);
});

browserTest('another epoch waits for its snapshot', async () => {
  const { page } = await open(VIEW);
  const peer = await site.connection();
  await peer.frame('hello');
  peer.send(['mounted', 'a', 7, 'f:4']);
  peer.send(['p', 7, 5, [['t', 2, 'of another life']]]);
  peer.send(['snapshot', 7, 'f:5', 3, [], ['<p', '=new']]);
  await until(page, 'heard.some(([, detail]) => detail === 5)');
  assert.equal(await html(page), '<p>new</p>');
  assert.deepEqual(peer.unread(), []);
});

browserTest('a lost connection comes back with the position that was reached', async () => {
  const { page, peer } = await openMounted();
  peer.send(['p', 7, 5, [['t', 2, 'five']]]);
  await until(page, 'heard.some(([, detail]) => detail === 5)');
  peer.socket.terminate();
  const again = await site.connection();
  assert.deepEqual(await again.frame('hello'), ['hello', 1, [['a', 'e:5']]]);
  assert.equal(await page.getAttribute('[dc-view]', 'dc-state'), 'offline');
  again.send(['mounted', 'a', 1, 'e:6']);
  again.send(['p', 1, 6, [['t', 2, 'six']]]);
  await until(page, 'heard.some(([, detail]) => detail === 6)');
  assert.equal(await html(page), '<p>six</p>');
});

browserTest('attempts are spread by full jitter, and the network coming back ends the wait', async () => {
  const { page, peer } = await openMounted(VIEW, async (page) => {
    await page.addInitScript(() => {
      const delays: number[] = [];
      const real = setTimeout;
      Object.assign(globalThis, { delays, unreal: (): void => {} });
      Math.random = () => 0.5;
      // Reconnection delays only: 20 s and 10 s belong to the heartbeat. They pass at once.
      globalThis.setTimeout = ((run: () => void, delay: number, ...rest: unknown[]) => {
        if (delay === 20_000 || delay === 10_000) return real(run, delay, ...rest);
        delays.push(delay);
        return real(run, delays.length < 9 ? 0 : 1e9, ...rest);
      }) as typeof setTimeout;
    });
  });
  site.down = true;
  peer.socket.terminate();
  await until(page, 'delays.length >= 9');
  assert.deepEqual(await page.evaluate('delays'), [4000, 7500, 7500, 7500, 7500, 7500, 7500, 7500, 7500]);
  site.down = false;
  await page.evaluate(() => dispatchEvent(new Event('online')));
  const next = await site.connection();
  await next.frame('hello');
  // A server of few clients.
  next.send(['mounted', 'a', 7, 'e:4', 500]);
  await page.waitForSelector('[dc-state=live]');
  await page.evaluate('delays.length = 0');
  site.down = true;
  next.socket.terminate();
  await until(page, 'delays.length >= 9');
  assert.deepEqual(await page.evaluate('delays'), [250, 500, 1000, 2000, 4000, 7500, 7500, 7500, 7500]);
  site.down = false;
});

browserTest('a silent connection is given up 10 s after a ping', async () => {
  const { page, peer } = await openMounted(VIEW, (page) => page.clock.install({ time: 0 }));
  await page.clock.pauseAt(10_000);
  await page.clock.runFor(9_000);
  assert.deepEqual(peer.unread(), []);
  await page.clock.runFor(2_500);
  await peer.frame('ping');
  peer.send(['p', 7, 5, []]);
  await until(page, 'heard.some(([, detail]) => detail === 5)');
  peer.alive = false;
  await page.clock.runFor(20_000);
  await peer.frame('ping');
  await page.clock.runFor(8_000);
  assert.equal(await page.getAttribute('[dc-view]', 'dc-state'), 'live');
  await page.clock.runFor(3_000);
  assert.equal(await page.getAttribute('[dc-view]', 'dc-state'), 'offline');
  await page.clock.runFor(1_000);
  await (await site.connection()).frame('hello');
});

browserTest('the page coming back into view is a reason to ask at once', async () => {
  const { page, peer } = await openMounted();
  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
  await peer.frame('ping');
});

browserTest('close codes: stop, reload, come back', async () => {
  for (const code of [1009, 4400]) {
    const { page, peer, problems } = await openMounted();
    peer.socket.close(code);
    await until(page, "heard.some(([name]) => name === 'disconnected')");
    await page.evaluate(() => dispatchEvent(new Event('online')));
    assert.match(problems.join(), new RegExp(`closed with ${code}`));
    await page.close();
    assert.equal(site.connections.length, 1);
    site.connections.length = 0;
  }
  const { page, peer, problems } = await openMounted();
  await page.evaluate('globalThis.before = true');
  peer.socket.close(4426);
  const reloaded = await site.connection();
  assert.equal(await page.evaluate('globalThis.before'), undefined);
  await reloaded.frame('hello');
  reloaded.socket.close(4426);
  await until(page, "heard.some(([name]) => name === 'disconnected')");
  assert.match(problems.join(), /closed with 4426/);
  await page.close();
  for (const code of [1000, 1001, 1012, 4408]) {
    const { page, peer } = await openMounted();
    peer.socket.close(code);
    await (await site.connection()).frame('hello');
    await page.close();
  }
});

const FORM = `<div dc-view="a" dc-at="e:4" dc-sum="1">
  <button dc-click="add" dc-payload='{"by":1,"__proto__":2}'><b>+</b></button>
  <a href="#x" dc-click="link">x</a>
  <form dc-submit="save" dc-reset><input name="t" value="a"><input name="t" value="b"><input name="__proto__" value="p"><input type=checkbox name=c value=yes checked><button name=go value=1>go</button></form>
  <input id=s name="q" dc-input="search" dc-debounce="300">
  <input id=c type=checkbox name=box value=v dc-change="tick">
  <select id=m name=many multiple dc-change="pick"><option>x<option>y</select>
  <input id=t name=fast dc-input="fast" dc-throttle="1000">
</div>`;

browserTest('events carry the handler and the payload that the markup names', async () => {
  const { page, peer } = await openMounted(FORM);
  await page.locator('b').click();
  assert.deepEqual(await peer.frame('event'), ['event', 1, 7, 'add', JSON.parse('{"by":1,"__proto__":2}')]);
  await page.locator('a').click();
  assert.deepEqual(await peer.frame('event'), ['event', 2, 7, 'link', {}]);
  assert.equal(new URL(page.url()).hash, '');
  await page.locator('#c').check();
  assert.deepEqual(await peer.frame('event'), ['event', 3, 7, 'tick', { name: 'box', value: 'v', checked: true }]);
  await page.locator('#m').selectOption(['x', 'y']);
  assert.deepEqual(await peer.frame('event'), ['event', 4, 7, 'pick', { name: 'many', value: ['x', 'y'] }]);
});

browserTest('a form is sent once until it is answered, and reset if it says so', async () => {
  const { page, peer } = await openMounted(FORM);
  const field = page.locator('[name=t]').first();
  await field.fill('mine');
  await page.locator('[name=go]').click();
  assert.deepEqual(await peer.frame('event'), ['event', 1, 7, 'save', JSON.parse('{"t":["mine","b"],"__proto__":"p","c":"yes","go":"1"}')]);
  assert.equal(await page.locator('form[dc-waiting]').count(), 1);
  await page.locator('[name=go]').click();
  assert.equal(await field.inputValue(), 'mine');
  peer.send(['ack', 1]);
  await until(page, "document.querySelector('[dc-waiting]') === null");
  assert.equal(await field.inputValue(), 'a');
  assert.deepEqual(peer.unread(), []);
  await page.locator('[name=go]').click();
  await peer.frame('event');
  peer.send(['refused', 2, 'no']);
  await until(page, "document.querySelector('[dc-waiting]') === null");
  assert.deepEqual((await heard(page)).at(-1)?.[0], 'refused');
});

browserTest('what is wrong with a form is shown at its fields, and the form can be sent again', async () => {
  const form = `<form dc-submit="save"><input name="t" value="mine"><select name="s"><option>1</select><input name="setCustomValidity"><button name="go" value="1">go</button></form><form dc-submit="other"><input name="t"></form>`;
  site.pages.set('/errors.js', { body: readFileSync(ERRORS, 'utf8'), type: 'text/javascript' });
  const { page, peer, problems } = await openMounted(`<script src="/errors.js" defer></script><div dc-view="a" dc-at="e:4">${form}</div>`);
  const wrong = async (): Promise<string[]> =>
    (await page.evaluate("[...document.querySelectorAll('[name]')].map((field) => field.validationMessage)")) as string[];
  const before = await html(page);
  await page.locator('[name=go]').click();
  await peer.frame('event');
  peer.send(['refused', 1, 'no', '1.1', { t: ['too short', 'too plain'], s: { message: 'taken' }, __all__: ['not now'] }]);
  await until(page, "document.querySelector('[dc-waiting]') === null");
  assert.deepEqual(await wrong(), ['too short too plain not now', 'taken', '', '', '']);
  assert.equal(await html(page), before);
  assert.equal(await page.evaluate('document.activeElement.name'), 't');
  assert.deepEqual(((await heard(page)).at(-1)?.[1] as { errors: unknown }).errors, { t: ['too short', 'too plain'], s: { message: 'taken' }, __all__: ['not now'] });
  // As it is, it is sent again.
  await page.locator('[name=go]').click();
  await peer.frame('event');
  assert.deepEqual(await wrong(), ['', '', '', '', '']);
  peer.send(['refused', 2, 'no', '1.2', 'closed today']);
  await until(page, "document.querySelector('[name=t]').validationMessage === 'closed today'");
  await page.locator('[name=t]').first().pressSequentially('x');
  assert.deepEqual(await wrong(), ['', '', '', '', '']);
  assert.deepEqual(problems, []);
});

browserTest('a form without a button can be sent again, and of equal forms the one that was refused is told', async () => {
  const form = (id: string): string => `<form id="${id}" dc-submit="save"><input name="t"></form>`;
  site.pages.set('/errors.js', { body: readFileSync(ERRORS, 'utf8'), type: 'text/javascript' });
  const { page, peer } = await openMounted(`<script src="/errors.js" defer></script><div dc-view="a" dc-at="e:4">${form('one')}${form('two')}</div>`);
  const wrong = async (): Promise<string[]> =>
    (await page.evaluate("[...document.querySelectorAll('[name]')].map((field) => field.validationMessage)")) as string[];
  for (const id of ['two', 'one']) {
    await page.locator(`#${id} input`).press('Enter');
    await peer.frame('event');
  }
  // Enter in one that waits sends nothing.
  await page.locator('#two input').press('Enter');
  peer.send(['refused', 1, 'no', '1.1', { t: 'taken' }]);
  await until(page, "document.querySelectorAll('[dc-waiting]').length === 1");
  assert.deepEqual(await wrong(), ['', 'taken']);
  peer.send(['refused', 2, 'no', '1.2', { t: 'too short' }]);
  await until(page, "document.querySelector('[dc-waiting]') === null");
  assert.deepEqual(await wrong(), ['too short', '']);
  await page.locator('#one input').press('Enter');
  assert.equal((await peer.frame('event'))[1], 3);
  assert.deepEqual(await wrong(), ['', '']);
});

browserTest('a debounced input is sent when the user pauses, leaves, or submits', async () => {
  const { page, peer } = await openMounted(FORM, (page) => page.clock.install({ time: 0 }));
  await page.clock.pauseAt(10_000);
  const search = page.locator('#s');
  await search.pressSequentially('te');
  await page.clock.runFor(299);
  await search.press('a');
  assert.deepEqual(peer.unread(), []);
  await page.clock.runFor(301);
  assert.deepEqual(await peer.frame('event'), ['event', 1, 7, 'search', { name: 'q', value: 'tea' }]);
  await search.press('s');
  await search.blur();
  assert.deepEqual((await peer.frame('event'))[4], { name: 'q', value: 'teas' });
  await search.press('!');
  await page.evaluate(() => document.querySelector('form')!.requestSubmit());
  assert.equal((await peer.frame('event'))[3], 'search');
  assert.equal((await peer.frame('event'))[3], 'save');
});

browserTest('a throttled input is sent at once, and its last value is not lost', async () => {
  const { page, peer } = await openMounted(FORM, (page) => page.clock.install({ time: 0 }));
  await page.clock.pauseAt(10_000);
  await page.locator('#t').pressSequentially('abc');
  assert.deepEqual((await peer.frame('event'))[4], { name: 'fast', value: 'a' });
  assert.deepEqual(peer.unread(), []);
  await page.clock.runFor(1001);
  assert.deepEqual((await peer.frame('event'))[4], { name: 'fast', value: 'abc' });
});

browserTest('an unsent event waits for the connection, a sent one is never repeated', async () => {
  const { page, peer } = await openMounted(FORM);
  await page.locator('b').click();
  await peer.frame('event');
  site.down = true;
  peer.socket.terminate();
  await until(page, "heard.some(([name]) => name === 'lost')");
  assert.equal(await page.locator('[dc-waiting]').count(), 0);
  await page.locator('a').click();
  site.down = false;
  const again = await site.connection();
  await again.frame('hello');
  again.send(['mounted', 'a', 3, 'e:4']);
  assert.deepEqual(await again.frame('event'), ['event', 1, 3, 'link', {}]);
  again.send(['ack', 1]);
  await until(page, "document.querySelector('[dc-waiting]') === null");
  assert.deepEqual(again.unread(), []);
});

browserTest('the fault of a template is shown and taken away', async () => {
  const { page, peer, problems } = await openMounted();
  peer.send(['fault', 7, { message: '<b>no such filter', template: 'a.html', line: 3, excerpt: '{{ x|nope }}' }]);
  const box = page.locator('[dc-fault]');
  await box.waitFor();
  assert.equal(await box.innerText(), '<b>no such filter\na.html:3\n{{ x|nope }}');
  assert.equal(await box.evaluate((element) => getComputedStyle(element.parentElement!).position), 'fixed');
  // The page's own styles leave it readable.
  await page.evaluate(() => document.styleSheets[0] ?? document.adoptedStyleSheets.push(new CSSStyleSheet()));
  await page.evaluate(() => document.adoptedStyleSheets[0]!.insertRule('pre, div { background: beige; color: white; display: none }'));
  const excerpt = await box.locator('pre').evaluate((element) => [getComputedStyle(element).backgroundColor, getComputedStyle(element).color]);
  assert.deepEqual(excerpt, ['rgba(0, 0, 0, 0)', 'rgb(238, 238, 238)']);
  peer.send(['fault', 8, { message: 'another', template: null, line: null, excerpt: null }]);
  await page.locator('[dc-fault]').nth(1).waitFor();
  assert.equal(await box.first().isVisible(), true);
  peer.send(['fault', 8, null]);
  peer.send(['fault', 7, null]);
  await box.waitFor({ state: 'detached' });
  assert.deepEqual(problems, []);
});

browserTest('views can come later, leave, and be many', async () => {
  const { page, peer } = await openMounted(VIEW + VIEW.replace('"a"', '"b"') + VIEW);
  peer.send(['mounted', 'b', 8, 'e:4']);
  peer.send(['mounted', 'a', 9, 'e:4']);
  peer.send(['p', 9, 5, [['t', 2, 'third']]]);
  await until(page, 'heard.some(([, detail]) => detail === 5)');
  assert.deepEqual(await page.locator('p').allInnerTexts(), ['one', 'one', 'third']);
  await page.evaluate(() => {
    const views = [...document.querySelectorAll('[dc-view]')];
    const api = (globalThis as unknown as { domcast: { mount(e: Element): void; unmount(e: Element): void } }).domcast;
    api.unmount(views[1]!);
    const late = document.createElement('div');
    late.setAttribute('dc-view', 'late');
    document.body.append(late);
    api.mount(late);
    api.mount(late);
  });
  const again = await site.connection();
  assert.deepEqual(await again.frame('hello'), ['hello', 1, [['a', 'e:4'], ['a', 'e:5'], ['late', null]]]);
});

browserTest('the programming interface sends events and answers with promises', async () => {
  const { page, peer } = await openMounted();
  const answer = page.evaluate(() => {
    const { domcast } = globalThis as unknown as { domcast: { event(e: Element, handler: string, payload?: object): Promise<void> } };
    const p = document.querySelector('p')!;
    return Promise.allSettled([domcast.event(p, 'one', { a: 1 }), domcast.event(p, 'two'), domcast.event(document.body, 'three')]);
  });
  assert.deepEqual(await peer.frame('event'), ['event', 1, 7, 'one', { a: 1 }]);
  assert.deepEqual(await peer.frame('event'), ['event', 2, 7, 'two', {}]);
  peer.send(['refused', 2, 'not now']);
  peer.send(['ack', 1]);
  const [one, two, three] = await answer;
  assert.equal(one!.status, 'fulfilled');
  assert.match(String((two as PromiseRejectedResult).reason), /not now/);
  assert.equal(three!.status, 'rejected');
});

browserTest('a page whose names shadow the document is mounted all the same', async () => {
  const names = ['body', 'currentScript', 'activeElement', 'createElement', 'readyState', 'addEventListener', 'getSelection', 'implementation'];
  const { page, problems } = await open(`${names.map((name) => `<img name=${name}>`).join('')}<i id=domcast></i>${VIEW}`);
  const peer = await site.connection();
  assert.deepEqual(await peer.frame('hello'), ['hello', 1, [['a', 'e:4']]]);
  peer.send(['mounted', 'a', 7, 'e:4']);
  peer.send(['p', 7, 5, [['i', 0, 0, '<script', '/', '<b', '@=x', ''], ['t', 2, 'fine']]]);
  peer.send(['snapshot', 7, 'e:6', 3, [], ['<p', '=fine', '/', '<script', '/', '<b', '@=x', '']]);
  await until(page, 'heard.some(([, detail]) => detail === 6)');
  assert.equal(await page.evaluate("Document.prototype.querySelector.call(document, '[dc-view]').innerHTML"), '<p>fine</p><script></script><b =x=""></b>');
  assert.deepEqual(problems, []);
});

browserTest('a mount token is shown, renewed without a reload, and a view that is taken away says so', async () => {
  const { page, problems } = await open(VIEW.replace(' dc-at', ' dc-token="first" dc-at'));
  let peer = await site.connection();
  assert.deepEqual(await peer.frame('hello'), ['hello', 1, [['a', 'e:4', null, 'first']]]);
  peer.send(['mounted', 'a', 7, 'e:4']);
  peer.send(['token', 7, 'second']);
  await page.waitForSelector('[dc-token=second][dc-state=live]');
  peer.socket.close();
  peer = await site.connection();
  assert.deepEqual(await peer.frame('hello'), ['hello', 1, [['a', 'e:4', null, 'second']]]);
  peer.send(['mounted', 'a', 3, 'e:4']);
  peer.send(['revoked', 3]);
  peer.send(['p', 3, 5, [['t', 2, 'secret']]]);
  await page.waitForSelector('[dc-state=denied]');
  assert.equal(await html(page), '<p>one</p>');
  assert.deepEqual(problems, []);
  peer.socket.close();
  peer = await site.connection();
  await peer.frame('hello');
  peer.send(['denied', 'a']);
  await page.waitForSelector('[dc-state=denied]');
  // Two connections that die at once make the client try the transports that this site has not.
  assert.deepEqual(problems.filter((problem) => !/404/.test(problem)), ['domcast: the server does not let this page see `a`']);
});

browserTest('a view with a key hands it back, whatever it holds', async () => {
  const keyed = VIEW.replace('dc-view="a"', 'dc-view="a" dc-view-key="4&quot;2"');
  await open(keyed);
  const peer = await site.connection();
  assert.deepEqual(await peer.frame('hello'), ['hello', 1, [['a', 'e:4', '4"2']]]);
});

browserTest('messages of a topic reach its listeners until they stop, and one that throws harms no other', async () => {
  const { page, peer, problems } = await openMounted();
  await page.evaluate(() => {
    const told: unknown[] = [];
    const { domcast } = globalThis as unknown as { domcast: { on(topic: string, listener: (data: unknown) => void): () => void } };
    domcast.on('news', () => {
      throw new Error('on purpose');
    });
    const stop = domcast.on('news', (data) => {
      told.push(data);
      if (data === 'last') stop();
    });
    domcast.on('__proto__', (data) => told.push(['proto', data]));
    Object.assign(globalThis, { told });
  });
  for (const data of [{ title: 'Tea' }, null, 'last', 'too late']) peer.send(['message', 'news', data]);
  peer.send(['message', 'nobody listens', 1]);
  peer.send(['message', '__proto__', 1]);
  await until(page, 'told.length === 4');
  assert.deepEqual(await page.evaluate('told'), [{ title: 'Tea' }, null, 'last', ['proto', 1]]);
  assert.equal(problems.filter((problem) => problem.includes('on purpose')).length, 4);
  problems.length = 0;
});

browserTest('the promise of an event holds the reply of its handler', async () => {
  const { page, peer } = await openMounted();
  const replies = page.evaluate(() => {
    const { domcast } = globalThis as unknown as { domcast: { event(element: Element, handler: string): Promise<unknown> } };
    const p = document.querySelector('p')!;
    return Promise.all([domcast.event(p, 'one'), domcast.event(p, 'two')]);
  });
  await peer.frame('event');
  peer.send(['ack', 1, { seen: 3 }]);
  peer.send(['ack', 2]);
  assert.deepEqual(await replies, [{ seen: 3 }, undefined]);
});
