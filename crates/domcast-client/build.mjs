// Builds the files that ship, from `ts/`:
//
//   dist/domcast.js   for a page: mounts every `[dc-view]` and keeps it live (a classic script)
//   dist/errors.js    beside it: shows at the fields of a form what an application says is wrong with them
//   dist/domcast.mjs  for tests and embedders: the tree and its patches, without a connection
//
//   node build.mjs DIR      writes them into DIR
//   node build.mjs --fresh  fails unless `dist/` holds exactly what the sources build to
//
// `dist/` is committed so that `cargo build` needs no Node.
import { build } from 'esbuild';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';

// Properties that are the client's own, and may be called by a letter in a page. None is a name of the DOM, of what is
// read from or written to JSON, or of what a page or an embedder sees.
const OURS = [
  ...['check', 'checksum', 'child', 'closed', 'connect', 'covered', 'depth', 'direction', 'drop', 'element', 'emit', 'epoch', 'forms', 'frame', 'greeting', 'guard', 'isQuiet'],
  ...['local', 'made', 'mounted', 'namespace', 'node', 'nodes', 'note', 'number', 'offline', 'opened', 'parent', 'placed', 'qualified', 'received', 'renewed', 'renumber', 'reopen'],
  ...['revoked', 'root', 'schemes', 'scripts', 'setValue', 'settle', 'settled', 'snapshot', 'timer', 'tree', 'update', 'version'],
];

const here = new URL('.', import.meta.url).pathname;
const bundles = [
  { file: 'domcast.js', entry: 'ts/main.ts', format: 'iife', mangleProps: new RegExp(`^(${OURS.join('|')})$`) },
  { file: 'errors.js', entry: 'ts/errors.ts', format: 'iife' },
  { file: 'domcast.mjs', entry: 'ts/embed.ts', format: 'esm' },
];

const target = process.argv[2] ?? 'dist';
let stale = false;
for (const { file, entry, ...options } of bundles) {
  const result = await build({
    absWorkingDir: here,
    entryPoints: [entry],
    bundle: true,
    ...options,
    target: 'es2022',
    minify: true,
    legalComments: 'none',
    charset: 'utf8',
    write: false,
    banner: { js: '/* domcast, MIT OR Apache-2.0 */' },
  });
  const built = result.outputFiles[0].contents;
  if (target === '--fresh') {
    const committed = await readFile(`${here}dist/${file}`).catch(() => Buffer.alloc(0));
    if (!committed.equals(built)) {
      console.error(`dist/${file} is not what ts/ builds to: run \`npm run build\` and commit it`);
      stale = true;
    }
  } else {
    const dir = new URL(`${target}/`, `file://${here}`).pathname;
    await mkdir(dir, { recursive: true });
    await writeFile(`${dir}${file}`, built);
    console.log(`${file}: ${built.length} bytes, ${gzipSync(built, { level: 9 }).length} with gzip`);
  }
}
process.exitCode = stale ? 1 : 0;
