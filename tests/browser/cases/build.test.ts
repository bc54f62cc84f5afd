/** The committed build is what the sources build to, and small. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';

const CLIENT = fileURLToPath(new URL('../../../crates/domcast-client/', import.meta.url));

test('dist/ is what ts/ builds to', async () => {
  await promisify(execFile)(process.execPath, ['build.mjs', '--fresh'], { cwd: CLIENT });
});

test('the script of a page is at most 12 KB with gzip, and evaluates no text', () => {
  const script = readFileSync(`${CLIENT}dist/domcast.js`);
  assert.ok(gzipSync(script, { level: 9 }).length <= 12 * 1024);
  assert.doesNotMatch(String(script), /\beval\(|new Function|\bFunction\(/);
});
