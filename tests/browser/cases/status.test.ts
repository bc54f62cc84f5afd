/** The status page, served by the real binary beside the demo. */

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { DOMCAST, startBinary, type Running } from '../src/binary.ts';
import { browserTest, useBrowser } from '../src/browser.ts';

const chromium = useBrowser();

let demo: Running;
before(async () => void (demo = await startBinary(DOMCAST, (port) => ['demo', '--bind', `127.0.0.1:${port}`])));
after(() => demo?.stop());

browserTest('the status page draws pushes and lists views by itself while they happen', async () => {
  const { page, problems } = await chromium.page();
  await page.goto(`${demo.url}/_domcast`);
  await page.waitForSelector('[dc-view=status][dc-state=live]');
  await page.evaluate('window.mark = "here since the start"');
  assert.equal(await page.locator('figure').first().locator('rect').count(), 0);

  for (let visitors = 1; visitors <= 7; visitors++) {
    const body = JSON.stringify({ view: 'dashboard', state: { visitors } });
    const response = await fetch(`${demo.url}/push`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
    assert.equal(response.status, 200);
  }
  const pushes = page.locator('figure').first();
  await pushes.locator('rect').first().waitFor();
  const row = page.locator('tr', { hasText: 'dashboard' });
  await row.locator('td:nth-of-type(3)', { hasText: '7' }).waitFor();

  // A bar is drawn inside its chart, at the right edge.
  const [chart, bar] = [await pushes.locator('svg').boundingBox(), await pushes.locator('rect').last().boundingBox()];
  assert.ok(chart && bar && bar.height > 1, 'the bar has a height');
  assert.ok(bar.y >= chart.y - 1 && bar.y + bar.height <= chart.y + chart.height + 1, 'the bar stands in its chart');
  assert.ok(bar.x > chart.x + chart.width / 2 && bar.x + bar.width <= chart.x + chart.width + 1, 'the bar stands at the right');
  assert.equal(await page.evaluate('window.mark'), 'here since the start');
  assert.deepEqual(problems, []);
});

browserTest('the status page asks for the push token, and is live with it', async () => {
  const guarded = await startBinary(DOMCAST, (port) => ['demo', '--bind', `127.0.0.1:${port}`, '--token', 's3cret']);
  try {
    assert.equal((await fetch(`${guarded.url}/_domcast`)).status, 401);
    const { page } = await chromium.page({ httpCredentials: { username: 'operator', password: 's3cret' } });
    await page.goto(`${guarded.url}/_domcast`);
    await page.waitForSelector('[dc-view=status][dc-state=live]');
  } finally {
    await guarded.stop();
  }
});
