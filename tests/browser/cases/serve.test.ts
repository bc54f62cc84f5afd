/** `domcast serve`: a folder of templates, edited while a page is open. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach } from 'node:test';
import { DOMCAST, startBinary, type Running } from '../src/binary.ts';
import { browserTest, useBrowser, type WatchedPage } from '../src/browser.ts';

const chromium = useBrowser();
let dir: string;
let server: Running;

const FILES = {
  'domcast.toml': `
[[views]]
name = "counter"
template = "counter.html"
state = "counter.json"
handlers.add = { set = { count = "count + payload.by" } }
handlers.set = { set = { count = "payload.count" }, push_only = true }

[[views]]
name = "clock"
template = "clock.html"
state = { n = 0 }
tick = { every = "50ms", set = { n = "n + 1" } }

[[views]]
name = "panel"
html = "panel.html"
`,
  'counter.json': '{"count": 1}',
  'panel.html': '<p>first content</p>',
  'static/site.css': 'h1 { color: rgb(1, 2, 3) }',
  'templates/base.html': '<!doctype html><title>{% block title %}{% endblock %}</title><link rel="stylesheet" href="/static/site.css">{{ script() }}<h1>Site</h1>{% block body %}{% endblock %}',
  'templates/pages/index.html': '{% extends "base.html" %}{% block title %}Home{% endblock %}{% block body %}<input id="field">{{ view("counter") }}{{ view("clock") }}{{ view("panel") }}{% endblock %}',
  'templates/pages/about.html': '{% extends "base.html" %}{% block body %}<p id="path">{{ path }}: {{ views | join(" ") }}</p>{% endblock %}',
  'templates/counter.html': '<p id="count">{% include "number.html" %}</p><button dc-click="add" dc-payload=\'{"by": 2}\'>more</button>',
  'templates/number.html': '{{ count }} things',
  'templates/clock.html': '<i id="clock">{{ n }}</i>',
};

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'domcast-serve-'));
  for (const [name, source] of Object.entries(FILES)) write(name, source);
  server = await startBinary(DOMCAST, (port) => ['serve', dir, '--bind', `127.0.0.1:${port}`]);
});
afterEach(async () => {
  await server.stop();
  rmSync(dir, { recursive: true });
});

/** Writes as editors do: to a file beside it, which then takes the name. */
function write(name: string, source: string): void {
  const path = join(dir, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}~`, source);
  renameSync(`${path}~`, path);
}

async function open(path = '/'): Promise<WatchedPage> {
  const watched = await chromium.page();
  await watched.page.goto(server.url + path);
  await watched.page.evaluate('window.mark = "here since the start"');
  return watched;
}

async function logged(wanted: RegExp): Promise<void> {
  while (!wanted.test(server.output())) await Promise.race([server.process.stderr, server.process.stdout].map((stream) => once(stream!, 'data')));
}

browserTest('an edited template shows in the open page, which keeps its state and what is typed', async () => {
  const { page, problems } = await open();
  await page.waitForSelector('[dc-view=counter][dc-state=live]');
  await page.getByRole('button', { name: 'more' }).click();
  await page.locator('#count', { hasText: '3 things' }).waitFor();
  await page.locator('#field').pressSequentially('half typed');

  write('templates/number.html', '<b>{{ count }}</b> items');
  await page.locator('#count', { hasText: '3 items' }).waitFor();
  // In place, this time.
  writeFileSync(join(dir, 'templates/counter.html'), '<p id="count">now {% include "number.html" %}</p><button dc-click="add" dc-payload=\'{"by": 5}\'>more</button>');
  await page.locator('#count', { hasText: 'now 3 items' }).waitFor();
  await page.getByRole('button', { name: 'more' }).click();
  await page.locator('#count', { hasText: 'now 8 items' }).waitFor();

  assert.deepEqual(await page.evaluate('[window.mark, document.activeElement.tagName, document.querySelector("#field").value]'), ['here since the start', 'BUTTON', 'half typed']);
  assert.deepEqual(problems, []);
});

browserTest('a broken template is named with its line in the page and the log, and the last good content stays', async () => {
  const { page, problems } = await open();
  await page.waitForSelector('[dc-view=counter][dc-state=live]');
  write('templates/number.html', 'fine\n{{ count | nosuchfilter }}\nfine');
  const overlay = page.locator('[dc-fault]');
  await overlay.waitFor();
  const shown = await overlay.innerText();
  assert.match(shown, /nosuchfilter/);
  assert.match(shown, /number\.html:2/);
  assert.match(shown, /2 > \{\{ count \| nosuchfilter \}\}/);
  assert.equal(await page.locator('#count').innerText(), '1 things');
  await logged(/view `counter` cannot be rendered: .*nosuchfilter.*, in template `number.html` at line 2\n.*\n *2 > \{\{ count \| nosuchfilter \}\}/);

  // The others live on.
  const clock = await page.locator('#clock').innerText();
  await page.locator('#clock').filter({ hasNotText: new RegExp(`^${clock}$`) }).waitFor();

  // Who comes now is told as well, and has the last good content.
  const late = await open();
  await late.page.locator('[dc-fault]').waitFor();
  assert.equal(await late.page.locator('#count').innerText(), '1 things');

  write('templates/number.html', '{{ count }} repaired');
  await page.locator('#count', { hasText: '1 repaired' }).waitFor();
  await overlay.waitFor({ state: 'detached' });
  await late.page.locator('[dc-fault]').waitFor({ state: 'detached' });
  assert.equal(await page.evaluate('window.mark'), 'here since the start');
  assert.deepEqual(problems, []);
});

browserTest('pages are served at their paths, with their layout and static files', async () => {
  const { page, problems } = await open('/about');
  assert.equal(await page.locator('#path').innerText(), '/about: clock counter panel');
  assert.equal(await page.evaluate('getComputedStyle(document.querySelector("h1")).color'), 'rgb(1, 2, 3)');
  assert.deepEqual(problems, []);
  const status = async (path: string): Promise<number> => (await fetch(server.url + path)).status;
  assert.deepEqual(await Promise.all(['/', '/about/', '/nope', '/../counter', '/%2e%2e/counter', '/static/../domcast.toml', '/static/%2e%2e/domcast.toml'].map(status)), [200, 200, 404, 404, 404, 404, 404]);
});

browserTest('a page that cannot be rendered says where, and comes by itself once it can', async () => {
  write('templates/pages/about.html', '{% extends "base.html" %}\n{% block body %}{{ view("cuonter") }}{% endblock %}');
  const { page } = await open('/about');
  const body = await page.locator('body').innerText();
  assert.match(body, /there is no view `cuonter` \(views: `clock`, `counter`, `panel`\)/);
  assert.match(body, /pages\/about\.html:2/);
  assert.match(body, /2 > \{% block body %\}/);
  write('templates/pages/about.html', '{% extends "base.html" %}{% block body %}{{ view("counter") }}{% endblock %}');
  // Nothing tells a page without views; it asks again every two seconds.
  await page.waitForSelector('[dc-view=counter][dc-state=live]');
});

browserTest('without a first page of its own the folder has one that lists the views', async () => {
  rmSync(join(dir, 'templates/pages/index.html'));
  const { page, problems } = await open();
  for (const view of ['counter', 'clock', 'panel']) await page.waitForSelector(`[dc-view=${view}][dc-state=live]`);
  await page.locator('#count', { hasText: '1 things' }).waitFor();
  assert.deepEqual(problems, []);
});

browserTest('views live in the pages of an application behind, as bare elements and as HTML that it fetched', async () => {
  const application = createServer((request, response) => {
    void (async () => {
      // As a template of any framework would, with what the views show now.
      const panel = await (await fetch(`${front.url}/views/panel/html`)).text();
      response.setHeader('Content-Type', 'text/html');
      response.setHeader('Set-Cookie', 'seen=yes');
      const style = '<style>h1 { color: rgb(4, 5, 6) }</style>';
      response.end(`<!doctype html><title>Shop</title>${style}<script src="/_domcast/client.js" defer></script><h1>${request.url} ${request.headers.cookie ?? ''}</h1><div dc-view="counter"></div>${panel}`);
    })();
  }).listen(0, '127.0.0.1');
  await once(application, 'listening');
  const upstream = `http://127.0.0.1:${(application.address() as AddressInfo).port}`;
  const front = await startBinary(DOMCAST, (port) => ['serve', dir, '--bind', `127.0.0.1:${port}`, '--upstream', upstream]);
  try {
    const { page, problems } = await chromium.page();
    await page.goto(`${front.url}/shop`);
    await page.locator('#count', { hasText: '1 things' }).waitFor();
    await page.getByText('first content').waitFor();
    await page.getByRole('button', { name: 'more' }).click();
    await page.locator('#count', { hasText: '3 things' }).waitFor();
    await fetch(`${front.url}/views/panel/html`, { method: 'PUT', body: '<p>second content</p>' });
    await page.getByText('second content').waitFor();
    await page.reload();
    // The cookies go to both: the application's own, and the one by which the tabs of a browser count as one visitor.
    assert.match(await page.locator('h1').innerText(), /^\/shop seen=yes; domcast-session=[0-9a-f]{32}$/);
    assert.equal(await page.evaluate('getComputedStyle(document.querySelector("h1")).color'), 'rgb(4, 5, 6)');
    await page.locator('#count', { hasText: '3 things' }).waitFor();
    assert.deepEqual(problems, []);
  } finally {
    await front.stop();
    application.close();
  }
});
