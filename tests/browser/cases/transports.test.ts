/** How a page reaches the real server through proxies that spoil some of the ways, and how it takes the server's goodbyes. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach } from 'node:test';
import type { Page } from 'playwright-core';
import { DOMCAST, startBinary, type Running } from '../src/binary.ts';
import { browserTest, useBrowser } from '../src/browser.ts';
import { startProxy, type Proxy } from '../src/proxy.ts';
import { startSite } from '../src/site.ts';

const chromium = useBrowser();
let server: Running;
let proxy: Proxy;
beforeEach(async () => {
  server = await startBinary(DOMCAST, (port) => ['demo', '--bind', `127.0.0.1:${port}`]);
  proxy = await startProxy(server.port);
});
afterEach(async () => {
  await proxy.close();
  await server.stop('SIGKILL');
});

/** Opens the counter; `heard` has its events. Waits for another try after `soon` milliseconds pass at once. */
async function open(soon: number[] = []): Promise<Page> {
  const { page } = await chromium.page();
  await page.addInitScript((soon) => {
    const heard: unknown[] = [];
    Object.assign(globalThis, { heard });
    for (const name of ['mounted', 'patched', 'resync', 'disconnected', 'lost']) {
      document.addEventListener(`dc:${name}`, (event) => heard.push([name, (event as CustomEvent).detail]));
    }
    const real = setTimeout;
    globalThis.setTimeout = ((run: () => void, delay: number, ...rest: unknown[]) => real(run, soon.includes(delay) ? 100 : delay, ...rest)) as typeof setTimeout;
  }, soon);
  await page.goto(`${proxy.url}/views/counter`);
  await page.waitForSelector('[dc-state=live]', { timeout: 15_000 });
  return page;
}

async function push(handler: string): Promise<void> {
  const answer = await fetch(`${server.url}/push`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ view: 'counter', handler }) });
  assert.equal(answer.status, 200);
}

const transports = (): string[] => proxy.log.filter((line) => /_domcast\/(ws|sse|poll)$/.test(line)).map((line) => line.replace('/_domcast/', ''));
const heard = (page: Page): Promise<[string, unknown][]> => page.evaluate('heard') as Promise<[string, unknown][]>;
const shown = (page: Page, count: number): Promise<void> => page.locator('output', { hasText: new RegExp(`^${count}$`) }).waitFor();

/** Pushes and clicks, and expects both to be seen. */
async function works(page: Page): Promise<void> {
  await push('increment');
  await shown(page, 1);
  await page.locator('[dc-click=increment]').click();
  await shown(page, 2);
  await page.waitForSelector('[dc-waiting]', { state: 'detached' });
  for (let n = 0; n < 20; n++) await push('increment');
  await shown(page, 22);
  // Each version once, whether alone or with those before it.
  const versions = (await heard(page)).filter(([name]) => name === 'patched').map(([, version]) => version as number);
  assert.deepEqual(versions, [...new Set(versions)].sort((one, other) => one - other));
  assert.equal(versions.at(-1), 22);
}

browserTest('where no WebSocket opens, server-sent events carry the same', async () => {
  proxy.webSocket = 'refused';
  const page = await open();
  assert.deepEqual(transports(), ['WS ws', 'WS ws', 'POST sse']);
  await works(page);
});

browserTest('a WebSocket that opens and dies gives way to server-sent events', async () => {
  proxy.webSocket = 'dies';
  const page = await open();
  assert.deepEqual(transports(), ['WS ws', 'WS ws', 'POST sse']);
  await works(page);
});

browserTest('where answers cannot go on, everything works by long polling', async () => {
  proxy.webSocket = proxy.sse = 'refused';
  const page = await open();
  assert.deepEqual(transports(), ['WS ws', 'WS ws', 'POST sse', 'POST sse', 'POST poll']);
  await works(page);
});

browserTest('an answer that breaks off goes on where it was, and the page does not notice', async () => {
  proxy.webSocket = 'refused';
  const page = await open();
  const mounted = (await heard(page)).length;
  for (let n = 1; n <= 5; n++) {
    await push('increment');
    proxy.cut();
    await push('increment');
    await shown(page, 2 * n);
  }
  const events = (await heard(page)).slice(mounted);
  assert.ok(events.every(([name]) => name === 'patched'), JSON.stringify(events));
  assert.deepEqual(transports(), ['WS ws', 'WS ws', 'POST sse']);
});

browserTest('an event whose answer was lost on the way is handled once, and the page does not notice', async () => {
  proxy.webSocket = 'refused';
  const page = await open();
  const mounted = (await heard(page)).length;
  for (let n = 1; n <= 3; n++) {
    proxy.nUnanswered = 1;
    await page.locator('[dc-click=increment]').click();
    await page.waitForSelector('[dc-waiting]', { state: 'detached' });
    assert.ok(proxy.nUnanswered < 0, 'it was said again');
    await shown(page, n);
  }
  const events = (await heard(page)).slice(mounted);
  assert.ok(events.every(([name]) => name === 'patched'), JSON.stringify(events));
  assert.deepEqual(transports(), ['WS ws', 'WS ws', 'POST sse']);
});

browserTest('a page heals to a WebSocket without losing or repeating a patch', async () => {
  proxy.webSocket = 'refused';
  const page = await open([30_000, 60_000, 120_000, 240_000, 480_000]);
  proxy.webSocket = 'works';
  let count = 0;
  const deadline = Date.now() + 20_000;
  // The probe, and the connection itself.
  while (proxy.log.filter((line) => line === 'WS /_domcast/ws').length < 4 && Date.now() < deadline) {
    await push('increment');
    count++;
  }
  for (let n = 0; n < 20; n++) await push('increment');
  await shown(page, (count += 20));
  const events = await heard(page);
  assert.deepEqual(events.filter(([name]) => ['resync', 'disconnected', 'lost'].includes(name)).slice(2), []);
  const versions = events.filter(([name]) => name === 'patched').map(([, version]) => version as number);
  assert.deepEqual(versions, [...new Set(versions)].sort((one, other) => one - other));
  assert.equal(versions.at(-1), count);
  assert.equal(await page.getAttribute('[dc-view]', 'dc-state'), 'live');
  // The old session is ended, and nothing is asked of it any more.
  const left = (): number => proxy.log.findIndex((line) => line.startsWith('DELETE /_domcast/sse/'));
  while (left() < 0 && Date.now() < deadline) await push('increment');
  const moved = left();
  assert.ok(moved > 0, 'the old session is not ended');
  assert.deepEqual(proxy.log.slice(moved).filter((line) => line.startsWith('GET')), []);
});

browserTest('after each close code the page resumes, retries, reloads or stops', async () => {
  const site = await startSite();
  try {
    site.pages.set('/live', { body: '<!doctype html><script src="/_domcast/client.js" defer></script><div dc-view="a"></div>' });
    // Retries are reckoned with 15 s, a first resumption with 8 s, one that nobody comes with, with half a second.
    const cases: [code: number, bye: number, delay: number | null][] = [
      [1000, 0, 4000], [1001, 0, 4000], [1012, 7000, 7000], [1013, 0, 7500], [4408, 0, 250], [4410, 0, 4000], [4429, 0, 7500], [4999, 0, 4000],
      [1009, 0, null], [4400, 0, null], [4403, 0, null],
    ];
    for (const [code, bye, delay] of cases) {
      const { page, problems } = await chromium.page();
      await page.addInitScript(() => {
        const delays: number[] = [];
        Object.assign(globalThis, { delays });
        Math.random = () => 0.5;
        const real = setTimeout;
        globalThis.setTimeout = ((run: () => void, delay: number, ...rest: unknown[]) => {
          if (delay === 20_000 || delay === 10_000) return real(run, delay, ...rest);
          delays.push(delay);
          return real(run, 0, ...rest);
        }) as typeof setTimeout;
      });
      await page.goto(`${site.url}/live`);
      const peer = await site.connection();
      await peer.frame('hello');
      peer.send(['mounted', 'a', 0, 'e:1']);
      await page.waitForSelector('[dc-state=live]', { state: 'attached' });
      if (bye) peer.send(['bye', code, bye, 'why']);
      else peer.socket.close(code, 'why');
      await page.waitForSelector('[dc-state=offline]', { state: 'attached' });
      if (delay === null) {
        assert.ok(problems.some((problem) => problem.includes(`closed with ${code}`)), `${code}: ${problems}`);
        assert.deepEqual(await page.evaluate('delays'), [], String(code));
      } else {
        await (await site.connection()).frame('hello');
        assert.deepEqual(await page.evaluate('delays'), [delay], String(code));
      }
      await page.close();
    }
  } finally {
    await site.close();
  }
});

browserTest('a page acknowledges every sixteenth frame, and answers a ping with it', async () => {
  const site = await startSite();
  try {
    site.pages.set('/live', { body: '<!doctype html><script src="/_domcast/client.js" defer></script><div dc-view="a"></div>' });
    const { page } = await chromium.page();
    await page.goto(`${site.url}/live`);
    const peer = await site.connection();
    await peer.frame('hello');
    for (let n = 0; n < 35; n++) peer.send(['pong']);
    assert.deepEqual(await peer.frame('ack'), ['ack', 16]);
    assert.deepEqual(await peer.frame('ack'), ['ack', 32]);
    peer.send(['ping']);
    assert.deepEqual(await peer.frame('ack'), ['ack', 36]);
    peer.send(['unknown', 'x'.repeat(20_000)]);
    assert.deepEqual(await peer.frame('ack'), ['ack', 37]);
  } finally {
    await site.close();
  }
});
