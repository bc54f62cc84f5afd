/** Pages for the judge alone: once they have the client, they have no network. */

import type { Page } from 'playwright-core';
import type { Chromium } from './browser.ts';
import { openJudge } from './judge.ts';

export async function judgePages(chromium: Chromium, url: string, count = 2): Promise<Page[]> {
  const pages = Array.from({ length: count }, async () => {
    const { page } = await chromium.page();
    await openJudge(page, url);
    await page.route('**/*', (route) => route.abort());
    await page.context().setOffline(true);
    return page;
  });
  return Promise.all(pages);
}
