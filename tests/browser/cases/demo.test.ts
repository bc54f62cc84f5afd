/** The demo, served by the real binary: pushes of every kind, tabs that stay equal, a server that dies. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Page } from 'playwright-core';
import { DOMCAST, startBinary, type Running } from '../src/binary.ts';
import { browserTest, useBrowser, type WatchedPage } from '../src/browser.ts';

const chromium = useBrowser();
const run = promisify(execFile);
const VIEWS = ['dashboard', 'counter', 'ticker', 'note', 'panel', 'chat', 'table'];
/** These change by themselves. */
const TICKING = ['ticker', 'table'];

let demo: Running;
const start = (port?: number): Promise<Running> => startBinary(DOMCAST, (port) => ['demo', '--bind', `127.0.0.1:${port}`], port);
before(async () => void (demo = await start()));
after(() => demo?.stop());

const push = async (push: object): Promise<{ epoch: string; version: number; subscribers: number }> => {
  const response = await fetch(`${demo.url}/push`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(push) });
  assert.equal(response.status, 200, await response.clone().text());
  return response.json();
};

/** Opens the demo, live, with a mark that no reload survives. */
async function open(): Promise<WatchedPage> {
  const watched = await chromium.page();
  await watched.page.goto(demo.url);
  await live(watched.page);
  await watched.page.evaluate('window.mark = "here since the start"');
  return watched;
}

const live = (page: Page): Promise<unknown> => Promise.all(VIEWS.map((view) => page.waitForSelector(`[dc-view=${view}][dc-state=live]`)));
const isSamePage = async (page: Page): Promise<void> => assert.equal(await page.evaluate('window.mark'), 'here since the start');
const text = (page: Page, selector: string, wanted: string): Promise<void> => page.locator(selector, { hasText: wanted }).first().waitFor();
const content = (page: Page, view: string): Promise<string> => page.locator(`[dc-view=${view}]`).innerHTML();

/** The content that the server stands at, as a browser parses it. */
async function served(page: Page, view: string): Promise<string> {
  const html = await (await fetch(`${demo.url}/views/${view}/html`)).text();
  return page.evaluate((html) => new DOMParser().parseFromString(html, 'text/html').querySelector('[dc-view]')!.innerHTML, html);
}

/** Waits until `read` gives the same for all pages. Views that tick pass through states, so each round reads anew. */
async function agree(what: string, ...read: (() => Promise<string>)[]): Promise<void> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const [first, ...others] = await Promise.all(read.map((each) => each()));
    if (others.every((other) => other === first)) return;
    if (Date.now() > deadline) assert.deepEqual(others, others.map(() => first), `${what} never agreed`);
  }
}

browserTest('pushes by HTTP, by the command and as HTML change the text under a field that is being typed in', async () => {
  const { page, problems } = await open();
  const field = page.locator('#chat-text');
  await field.pressSequentially('half a sent');
  await field.evaluate((field: HTMLInputElement) => field.setSelectionRange(4, 6));

  const receipt = await push({ view: 'dashboard', state: { visitors: 4711 } });
  assert.equal(receipt.subscribers, 1);
  await text(page, '.tiles dd', '4711');

  const args = ['push', 'chat', '--handler', 'on_new_message', '--payload', '{"name": "cron", "text": "backup <done>"}', '--url', demo.url];
  const { stdout } = await run(DOMCAST, args);
  assert.deepEqual(Object.keys(JSON.parse(stdout)), ['epoch', 'version', 'subscribers']);
  await text(page, '.chat li', 'backup <done>');

  const posted = await fetch(`${demo.url}/views/panel/html`, { method: 'PUT', body: '<p>Rendered <b>elsewhere</b></p>' });
  assert.equal(posted.status, 200);
  await text(page, '[dc-view=panel] b', 'elsewhere');

  assert.deepEqual(
    await field.evaluate((field: HTMLInputElement) => [document.activeElement === field, field.value, field.selectionStart, field.selectionEnd]),
    [true, 'half a sent', 4, 6],
  );
  await isSamePage(page);
  assert.deepEqual(problems, []);
});

browserTest('every command that the page shows works as it stands there', async () => {
  const { page, problems } = await open();
  const commands = await page.locator('pre').allTextContents();
  assert.equal(commands.length, 12);
  for (const command of commands) {
    const { stdout } = await run('bash', ['-c', command], { cwd: fileURLToPath(new URL('../../..', import.meta.url)) });
    assert.match(stdout, /"version":\d+/, command);
  }
  assert.deepEqual(problems, []);
});

browserTest('a carriage return is one on the server and in the page', async () => {
  const put = async (last: number): Promise<void> => {
    const body = `<p title="a&#13;&#10;b ${'and so on '.repeat(9)}${last} c">a&#13;\nb ${'and so on '.repeat(9)}${last} c</p>`;
    assert.equal((await fetch(`${demo.url}/views/panel/html`, { method: 'PUT', body })).status, 200);
  };
  await put(1);
  const { page, problems } = await open();
  await put(2);
  await text(page, '[dc-view=panel] p', '2 c');
  const shown = await page.locator('[dc-view=panel] p').evaluate((element) => [element.textContent, element.getAttribute('title')]);
  const wanted = `a\r\nb ${'and so on '.repeat(9)}2 c`;
  assert.deepEqual(shown, [wanted, wanted]);
  assert.deepEqual(problems, []);
});

browserTest('two tabs stay equal, whichever is used', async () => {
  const one = await open();
  const other = await open();

  await push({ view: 'counter', state: { count: 7 } });
  await one.page.getByRole('button', { name: 'Reset' }).click();
  await until(one.page, `document.querySelector('.count').textContent === '0'`);
  await one.page.getByRole('button', { name: 'One more' }).click();
  await other.page.getByRole('button', { name: 'One more' }).click();
  for (const { page } of [one, other]) await until(page, `document.querySelector('.count').textContent === '2'`);

  await one.page.locator('#note-text').fill('written in one tab');
  await until(other.page, `document.querySelector('#note-text').value === 'written in one tab'`);
  await other.page.locator('#note-text').press('End');
  await other.page.locator('#note-text').pressSequentially(' and in the other');
  await until(one.page, `document.querySelector('#note-text').value === 'written in one tab and in the other'`);

  await one.page.locator('#chat-name').fill('Ada');
  await one.page.locator('#chat-text').fill('hello, tab');
  await one.page.getByRole('button', { name: 'Send' }).click();
  await text(other.page, '.chat li', 'hello, tab');
  await until(one.page, `document.querySelector('#chat-text').value === ''`);
  assert.equal(await one.page.locator('#chat-name').inputValue(), 'Ada');

  const first = await one.page.locator('tbody td').first().textContent();
  await other.page.getByRole('button', { name: 'First row to the end' }).click();
  await until(one.page, `document.querySelector('tbody tr:last-child td').textContent === ${JSON.stringify(first)}`);

  for (const view of VIEWS) await agree(view, () => content(one.page, view), () => content(other.page, view), () => served(one.page, view));
  for (const { page, problems } of [one, other]) {
    await isSamePage(page);
    assert.deepEqual(problems, []);
  }
});

browserTest('what changes by itself does so in the page', async () => {
  const { page, problems } = await open();
  const before = await content(page, 'ticker');
  const sold = await page.locator('.bar b').textContent();
  await until(page, `document.querySelector('.bar b').textContent !== ${JSON.stringify(sold)}`);
  assert.notEqual(await content(page, 'ticker'), before);
  await isSamePage(page);
  assert.deepEqual(problems, []);
});

browserTest('a killed server that comes back finds its pages again, and they are what it serves', async () => {
  const { page } = await open();
  // Attempts to come back are spread over seconds.
  page.setDefaultTimeout(20_000);
  await push({ view: 'dashboard', state: { status: 'before the crash' } });
  await text(page, '.status', 'before the crash');
  await page.locator('#chat-text').fill('half typed');
  await demo.stop('SIGKILL');
  await page.waitForSelector('.offline:visible');
  demo = await start(demo.port);
  await live(page);
  await text(page, '.status', 'All systems go');
  for (const view of VIEWS) await agree(view, () => content(page, view), () => served(page, view));
  assert.equal(await page.locator('#chat-text').inputValue(), 'half typed');
  await push({ view: 'dashboard', state: { status: 'and on it goes' } });
  await text(page, '.status', 'and on it goes');
  await isSamePage(page);
});

browserTest('the first page is complete without JavaScript', async () => {
  const { page, problems } = await chromium.page({ javaScriptEnabled: false });
  await page.goto(demo.url);
  assert.equal(await page.locator('tbody tr').count(), 1000);
  for (const view of VIEWS.filter((view) => !TICKING.includes(view))) assert.ok((await page.locator(`[dc-view=${view}]`).innerText()).trim(), view);
  await page.getByText('Push to note').click();
  await page.locator('.note pre').waitFor();
  assert.deepEqual(problems, []);
});

browserTest('the page fits a phone, and nothing in it is refused by the policy', async () => {
  for (const colorScheme of ['light', 'dark'] as const) {
    const { page, problems } = await chromium.page({ viewport: { width: 390, height: 844 }, colorScheme });
    const response = await page.goto(demo.url);
    assert.equal(response!.headers()['content-security-policy'], "default-src 'self'");
    await live(page);
    assert.equal(await page.evaluate('document.documentElement.scrollWidth'), 390);
    assert.deepEqual(problems, []);
  }
});

// Run `DOMCAST_SCREENSHOT=1 npm test` to write the picture of README.md anew.
browserTest('the picture of the README can be taken', async () => {
  const fresh = await start();
  try {
    const { page } = await chromium.page({ viewport: { width: 1280, height: 900 }, colorScheme: 'light' });
    await page.goto(fresh.url);
    await live(page);
    await page.getByRole('button', { name: 'One more' }).click();
    await text(page, '.count', '1');
    await page.waitForSelector('tr.changed');
    const picture = await page.screenshot({ fullPage: true });
    assert.ok(picture.length > 50_000);
    if (process.env['DOMCAST_SCREENSHOT'] === '1') {
      writeFileSync(fileURLToPath(new URL('../../../crates/domcast-cli/demo/demo.png', import.meta.url)), picture);
    }
  } finally {
    await fresh.stop();
  }
});

/** Asks from outside: a policy without `unsafe-eval` refuses a polling function inside the page. */
async function until(page: Page, expression: string): Promise<void> {
  const deadline = Date.now() + 8_000;
  while (!(await page.evaluate(expression))) if (Date.now() > deadline) throw new Error(`never true: ${expression}`);
}
