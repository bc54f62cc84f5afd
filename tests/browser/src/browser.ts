/**
 * The one place that launches Chromium.
 *
 * A test file calls `useBrowser()` once; each test then opens pages of its own. Without Chromium
 * the tests fail, and say so; with `DOMCAST_WITHOUT_CHROMIUM=1` they are left out, and say that.
 */

import { existsSync } from 'node:fs';
import { after, afterEach, before, test } from 'node:test';
import { chromium, type Browser, type BrowserContext, type BrowserContextOptions, type Page } from 'playwright-core';

export const CHROMIUM = process.env['DOMCAST_CHROMIUM'] ?? '/usr/bin/chromium';
const LEFT_OUT = process.env['DOMCAST_WITHOUT_CHROMIUM'] === '1' && !existsSync(CHROMIUM);

const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export interface Chromium {
  /** A fresh page of a fresh context; its console errors and exceptions are in `problems`. */
  page(options?: BrowserContextOptions): Promise<WatchedPage>;
  context(options?: BrowserContextOptions): Promise<BrowserContext>;
}

export interface WatchedPage {
  page: Page;
  problems: string[];
  warnings: string[];
}

/** Launches Chromium before the tests of this file and closes it after them. */
export function useBrowser(): Chromium {
  let browser: Browser | undefined;
  before(async () => {
    if (LEFT_OUT) return;
    if (!existsSync(CHROMIUM)) {
      throw new Error(
        `no Chromium at ${CHROMIUM}: install it (\`apt-get install chromium\`), name it in DOMCAST_CHROMIUM, or leave the browser tests out with DOMCAST_WITHOUT_CHROMIUM=1`,
      );
    }
    browser = await chromium.launch({ executablePath: CHROMIUM, headless: true, args: ARGS });
  });
  afterEach(async () => void (await Promise.all(browser?.contexts().map((each) => each.close()) ?? [])));
  after(() => browser?.close());
  const context = (options?: BrowserContextOptions): Promise<BrowserContext> => browser!.newContext(options);
  return {
    context,
    async page(options) {
      const page = await (await context(options)).newPage();
      page.setDefaultTimeout(5_000);
      // tsx wraps functions in a helper that does not travel into the page with them.
      await page.addInitScript('globalThis.__name = (value) => value');
      // A page that lost its server waits for up to 8 s: here for half a second.
      await page.addInitScript('Math.random = () => 1 / 16');
      const problems: string[] = [];
      const warnings: string[] = [];
      page.on('pageerror', (error) => problems.push(error.message));
      page.on('console', (message) => {
        if (message.type() === 'error') problems.push(message.text());
        if (message.type() === 'warning') warnings.push(message.text());
      });
      return { page, problems, warnings };
    },
  };
}

/** A test that needs Chromium. */
export function browserTest(name: string, body: () => Promise<void>, timeout = 30_000): void {
  test(name, { skip: LEFT_OUT ? 'LEFT OUT: there is no Chromium here and DOMCAST_WITHOUT_CHROMIUM is 1' : false, timeout }, body);
}
