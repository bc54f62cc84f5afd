/** Sessions that a TCP proxy cuts after each of their first bytes: the page is right at every step, and ends equal. */

import assert from 'node:assert/strict';
import { DOMCAST, startBinary } from '../src/binary.ts';
import { browserTest, useBrowser, type WatchedPage } from '../src/browser.ts';
import { startCutter, type Cutter } from '../src/cutter.ts';

/** Sessions are cut after so many first bytes: after every `STEP`-th of them, beginning with another one in each run. */
const N_BYTES = 20_000;
const STEP = Number(process.env['DOMCAST_CUT_STEP'] ?? 20);
/** Clients, each in a frame of a page and with a proxy of its own. Of many in one page Chromium lets the WebSockets wait. */
const N_PAGES = 6;
const N_CLIENTS_PER_PAGE = 16;
const PATIENCE_MS = 30_000 + (1_800_000 / STEP);

const chromium = useBrowser();

/** The content of version `n`: inserts, removals, moves, new texts and attributes, about 1.5 KB of patches from one to the next. */
function content(n: number): string {
  const row = (idx: number): string => `<li dc-key="${(idx * 7 + n) % 23}" title="${n}-${idx}">row <b>${idx}</b> of ${n} ${'and so on '.repeat((n * idx) % 7)}</li>`;
  return `<p>${n}</p><ul>${Array.from({ length: 8 + (n % 9) }, (_, idx) => row(idx)).join('')}</ul>`;
}

/**
 * Runs in each frame: notes what is wrong after each patch, comes back within a fifth of a second, and lets a day pass between any
 * two looks at the clock, so that no transport is given up because it died young.
 */
const WATCH = `
  const content = ${content.toString()};
  const wrong = (globalThis.wrong = []);
  let day = 0;
  Date.now = () => ++day * 86_400_000;
  const random = Math.random;
  Math.random = () => random() / 80;
  globalThis.nPatched = 0;
  document.addEventListener('dc:resync', (event) => wrong.push(event.detail));
  document.addEventListener('dc:patched', ({ target }) => {
    nPatched++;
    const shown = target.innerHTML;
    if (shown !== content(Number(/<p>(\\d+)/.exec(shown)?.[1]))) wrong.push(shown);
  });
`;

for (const kind of ['ws', 'sse'] as const) {
  browserTest(
    `a session over ${kind} that is cut after each of its first bytes loses and repeats nothing`,
    async () => {
      const server = await startBinary(DOMCAST, (port) => ['demo', '--bind', `127.0.0.1:${port}`]);
      const cutters: Cutter[] = [];
      try {
        const start = async (): Promise<Cutter> => {
          // An early one and a late one by turns: a transport that fails twice in a row is given up.
          let isEarly = false;
          const cutter = await startCutter(server.port, kind, {
            // Where none is left an answer is cut all the same, later: the next one takes what another may have missed.
            next: () => (isOver ? null : (((isEarly = !isEarly) ? cuts.shift() : cuts.pop()) ?? 2 * N_BYTES)),
            done: (cut) => left.delete(cut),
            missed(cut) {
              if (left.has(cut)) (cuts.push(cut), cuts.sort((one, other) => one - other));
            },
          });
          cutters.push(cutter);
          return cutter;
        };
        const put = async (n: number): Promise<void> => {
          const answer = await fetch(`${server.url}/views/panel/html`, { method: 'PUT', body: content(n) });
          assert.equal(answer.status, 200);
        };
        let n = 1;
        await put(n);
        const first = Math.floor(Math.random() * STEP);
        const cuts = Array.from({ length: Math.ceil((N_BYTES - first) / STEP) }, (_, idx) => first + idx * STEP);
        const left = new Set(cuts);
        let isOver = false;
        const pages: WatchedPage[] = [];
        for (let idx = 0; idx < N_PAGES; idx++) pages.push(await openPage(await Promise.all(Array.from({ length: N_CLIENTS_PER_PAGE }, start))));
        const deadline = Date.now() + PATIENCE_MS;
        while (left.size && Date.now() < deadline) await put(++n);
        assert.equal(left.size, 0, `not cut after ${[...left].slice(0, 9)} bytes …`);
        isOver = true;
        await put(++n);
        let nPatched = 0;
        for (const { page, warnings } of pages) {
          const frames = page.frames().slice(1);
          assert.equal(frames.length, N_CLIENTS_PER_PAGE);
          for (const frame of frames) {
            await frame.locator('p', { hasText: new RegExp(`^${n}$`) }).waitFor();
            assert.equal(await frame.locator('[dc-view]').innerHTML(), content(n));
            assert.deepEqual(await frame.evaluate('wrong'), []);
            nPatched += Number(await frame.evaluate('nPatched'));
          }
          assert.deepEqual(warnings, [], 'no snapshot had to be asked for');
        }
        console.log(`${kind}: cut after ${first} to ${N_BYTES} bytes by ${STEP}; ${n} updates, ${nPatched} patch lists applied`);
      } finally {
        cutters.forEach((cutter) => cutter.close());
        await server.stop('SIGKILL');
      }
    },
    PATIENCE_MS + 60_000,
  );
}

/** Opens a page with a frame for each client. */
async function openPage(cutters: Cutter[]): Promise<WatchedPage> {
  const watched = await chromium.page();
  watched.page.setDefaultTimeout(30_000);
  await watched.page.addInitScript(WATCH);
  await watched.page.setContent(cutters.map(({ url }) => `<iframe src="${url}/views/panel"></iframe>`).join(''));
  return watched;
}
