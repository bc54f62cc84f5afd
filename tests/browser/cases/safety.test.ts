/** What a patch or a snapshot must not do to a page: run scripts, break its content security policy. */

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { browserTest, useBrowser } from '../src/browser.ts';
import { openJudge } from '../src/judge.ts';
import { startSite, type Site } from '../src/site.ts';

const chromium = useBrowser();
let site: Site;
before(async () => {
  site = await startSite();
  site.pages.set('/strict', {
    body: '<!doctype html><body>',
    headers: { 'content-security-policy': "default-src 'self'; script-src 'self'; require-trusted-types-for 'script'; trusted-types domcast" },
  });
});
after(() => site.close());

/** Ways to bring a script in; each would set `globalThis.ran` if it ran. */
const ATTACKS: Record<string, { old?: string; patches?: unknown[][]; snapshot?: string[] }> = {
  'a script with text': { patches: [['i', 0, 0, '<script', '=globalThis.ran=1']] },
  'a script in a subtree': { patches: [['i', 0, 0, '<div', '<p', '<script', '=globalThis.ran=2']] },
  'an SVG script': { patches: [['i', 0, 0, '<svg svg', '<svg script', '=globalThis.ran=3']] },
  'text put into a script later': { patches: [['i', 0, 0, '<script'], ['i', 1, 0, '=globalThis.ran=4']] },
  'text put into an SVG script later': { patches: [['i', 0, 0, '<svg svg', '<svg script'], ['i', 2, 0, '=globalThis.ran=5']] },
  'a source given later': { patches: [['i', 0, 0, '<script'], ['a', 1, 'src', '/ran.js']] },
  'a script by source': { patches: [['i', 0, 0, '<script', '@src', '/ran.js']] },
  'a type that becomes JavaScript': { patches: [['i', 0, 0, '<script', '@type', 'text/x', '=globalThis.ran=6'], ['a', 1, 'type', 'module'], ['t', 2, 'globalThis.ran=7']] },
  'a shape with a script': { patches: [['s', '<script', 0], ['i', 0, 0, 0, 2, 'globalThis.ran=8', 'globalThis.ran=9']] },
  'a script replaced with all children': { old: '<p></p>', patches: [['o', 1, '<script', '=globalThis.ran=10']] },
  'text put into an empty script of the page': { old: '<script></script>', patches: [['i', 1, 0, '=globalThis.ran=11']] },
  'text changed in a data block of the page': { old: '<script type="text/x">1</script>', patches: [['a', 1, 'type', 'text/javascript'], ['t', 2, 'globalThis.ran=12']] },
  'text spliced in a data block of the page': { old: '<script type="text/x">1</script>', patches: [['d', 1, 'type'], ['x', 2, 0, 1, 'globalThis.ran=13']] },
  'a script moved out of a template': { old: '<template></template>', patches: [['i', 1, 0, '<script', '=globalThis.ran=14'], ['m', 0, 2]] },
  'a handler': { patches: [['i', 0, 0, '<img', '@src', 'data:,', '@onerror', 'globalThis.ran=15']] },
  'a handler set later': { old: '<img>', patches: [['a', 1, 'onerror', 'globalThis.ran=16'], ['y', 1, 'onerror', 0, 0, ' '], ['a', 1, 'src', 'data:,']] },
  'an SVG handler': { patches: [['i', 0, 0, '<svg svg', '@onload', 'globalThis.ran=17']] },
  'a custom element extending script': { patches: [['i', 0, 0, '<script', '@is', 'x-y', '=globalThis.ran=18']] },
  'a snapshot with a script': { snapshot: ['<script', '=globalThis.ran=19', '/', '<svg svg', '<svg script', '=globalThis.ran=20'] },
  'a snapshot over an empty script of the page': { old: '<script></script>', snapshot: ['<script', '=globalThis.ran=21'] },
  'a snapshot of a frame with a document': { old: '<iframe></iframe>', snapshot: ['<iframe', '@srcdoc', '<script>parent.ran=23</script>'] },
  'a frame with a document': { patches: [['i', 0, 0, '<iframe', '@srcdoc', '<script>parent.ran=24</script>']] },
  'a document spliced into a frame': { patches: [['i', 0, 0, '<iframe', '@srcdoc', ''], ['y', 1, 'srcdoc', 0, 0, '<script>parent.ran=25</script>']] },
  'a frame with a script for an address': { patches: [['i', 0, 0, '<iframe', '@src', ' java\nscript:parent.ran=26']] },
  'an object with a script for an address': { patches: [['i', 0, 0, '<object', '@data', 'JAVASCRIPT:parent.ran=27']] },
  'a snapshot with a handler': { old: '<img>', snapshot: ['<img', '@onerror', 'globalThis.ran=22', '@src', 'data:,'] },
};

for (const [path, policy] of [['/', 'no policy'], ['/strict', 'a strict policy and Trusted Types']] as const) {
  browserTest(`nothing pushed runs under ${policy}`, async () => {
    site.pages.set('/ran.js', { body: 'globalThis.ran = "src"', type: 'text/javascript' });
    const { page, problems, warnings } = await chromium.page();
    for (const [name, attack] of Object.entries(ATTACKS)) {
      site.pages.set('/attack', { ...site.pages.get(path)!, body: `<!doctype html><body><div id=root>${attack.old ?? ''}</div>` });
      await openJudge(page, `${site.url}/attack`);
      const result = await page.evaluate(async ({ patches, snapshot }) => {
        const root = document.querySelector('#root')!;
        const mounted = judge.mount(root);
        if (patches) mounted.apply(patches);
        if (snapshot) mounted.snapshot(snapshot);
        // A script by source and an image's error come from the network: wait for an image that comes after them.
        await new Promise<void>((done) => {
          const image = document.createElement('img');
          image.addEventListener('error', () => done());
          document.body.append(image);
          image.src = '/none.png';
        });
        return String((globalThis as { ran?: unknown }).ran);
      }, attack);
      assert.equal(result, 'undefined', `${name} ran`);
    }
    assert.deepEqual(problems.filter((problem) => !/404|data:,|Failed to load/.test(problem)), []);
    assert.ok(warnings.some((warning) => warning.includes('onerror')), 'a handler that is left out is warned of');
  });
}

browserTest('a view may ask for its scripts to run', async () => {
  const { page } = await chromium.page();
  await openJudge(page, site.url);
  const ran = await page.evaluate(() => {
    const root = document.createElement('div');
    document.body.append(root);
    judge.mount(root, { scripts: true }).apply([
      ['i', 0, 0, '<script', '=globalThis.ran=1', '/', '<button', '@onclick', 'globalThis.ran+=1'],
    ]);
    root.querySelector('button')!.click();
    return (globalThis as { ran?: unknown }).ran;
  });
  assert.equal(ran, 2);
});

browserTest('pushed addresses are held to schemes', async () => {
  const { page } = await chromium.page();
  await openJudge(page, site.url);
  const left = (schemes?: string[]): Promise<string[]> =>
    page.evaluate((schemes) => {
      const pushed: [element: string, attribute: string, value: string][] = [
        ['<a', 'href', '/orders'],
        ['<a', 'href', 'orders?at=12:30'],
        ['<a', 'href', '//else.where/'],
        ['<a', 'href', 'https://else.where/'],
        ['<a', 'href', 'HTTPS:else.where'],
        ['<a', 'href', 'mailto:a@b.example'],
        ['<a', 'href', 'data:text/plain,1'],
        ['<a', 'href', 'javascript:1'],
        ['<a', 'href', '\u0001 jAva\tscript\n:1'],
        ['<a', 'ping', 'https://a/ javascript:1'],
        ['<form', 'action', 'javascript:1'],
        ['<button', 'formaction', 'javascript:1'],
        ['<img', 'srcset', 'https://a/1.png 1x,http://a/2.png 2x'],
        ['<svg a', 'xlink href', 'javascript:1'],
        ['<svg set', 'to', 'javascript:1'],
        ['<svg animate', 'values', '#a;javascript:1'],
        ['<p', 'title', 'javascript:1'],
      ];
      return pushed.filter(([element, attribute, value]) => {
        const root = document.createElement('div');
        judge.mount(root, { ...(schemes && { schemes }) }).apply([['i', 0, 0, element, `@${attribute}`, value]]);
        return root.firstElementChild!.attributes.length === 0;
      }).map(([element, attribute, value]) => `${element.slice(1)} ${attribute}=${value}`);
    }, schemes);
  const scripts = [
    'a href=javascript:1',
    'a href=\u0001 jAva\tscript\n:1',
    'a ping=https://a/ javascript:1',
    'form action=javascript:1',
    'button formaction=javascript:1',
    'svg a xlink href=javascript:1',
    'svg set to=javascript:1',
    'svg animate values=#a;javascript:1',
  ];
  assert.deepEqual(await left(), scripts);
  const other = ['a href=data:text/plain,1', ...scripts.slice(0, 5), 'img srcset=https://a/1.png 1x,http://a/2.png 2x', ...scripts.slice(5)];
  assert.deepEqual(await left(['https', 'mailto']), other);
});

browserTest('what was left out can be spliced, and what the page says itself stays', async () => {
  const { page } = await chromium.page();
  await openJudge(page, site.url);
  const html = await page.evaluate(() => {
    const root = document.createElement('div');
    root.innerHTML = '<a href="javascript:own" onclick="own">';
    const mounted = judge.mount(root);
    const seen = [];
    mounted.snapshot(['<a', '@href', 'javascript:own', '@onclick', 'own']);
    seen.push(root.innerHTML);
    mounted.apply([['a', 1, 'href', 'javascript:pushed']]);
    seen.push(root.innerHTML);
    mounted.apply([['y', 1, 'href', 0, 10, 'https']]);
    seen.push(root.innerHTML);
    return seen;
  });
  assert.deepEqual(html, [
    '<a href="javascript:own" onclick="own"></a>',
    '<a onclick="own"></a>',
    '<a onclick="own" href="https:pushed"></a>',
  ]);
});

browserTest('refused names can be patched under Trusted Types', async () => {
  const { page, problems } = await chromium.page();
  await openJudge(page, `${site.url}/strict`);
  const html = await page.evaluate(() => {
    const root = document.createElement('div');
    document.body.append(root);
    judge.mount(root, { scripts: true }).apply([
      ['i', 0, 0, '<p', '@=x', '1', '/', '<svg svg', '<svg a:b', '/', '/', '<iframe', '@srcdoc', '<p>hello'],
      ['y', 1, '=x', 0, 1, '2'],
    ]);
    return root.innerHTML;
  });
  assert.equal(html, '<p =x="2"></p><svg><a:b></a:b></svg><iframe srcdoc="&lt;p&gt;hello"></iframe>');
  assert.deepEqual(problems, []);
});

browserTest('a page with 512 levels pushed into it stays alive', async () => {
  const { page } = await chromium.page();
  await openJudge(page, site.url);
  const depth = await page.evaluate(() => {
    const root = document.createElement('div');
    document.body.append(root);
    judge.mount(root).apply([['i', 0, 0, ...new Array<string>(512).fill('<div'), '=deep']].map((patch) => patch.slice(0, -1)));
    return root.getBoundingClientRect().width > 0 && root.querySelectorAll('*').length;
  });
  assert.equal(depth, 512);
});
