/**
 * Starts a server binary on a free port of 127.0.0.1, for the tests against the real server.
 */

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';

/** The `domcast` binary: what `DOMCAST_BIN` names, else the newest that was built. */
export const DOMCAST = process.env['DOMCAST_BIN'] ?? newestBuild();

function newestBuild(): string {
  const builds = ['release', 'debug'].map((profile) => fileURLToPath(new URL(`../../../target/${profile}/domcast`, import.meta.url)));
  const built = builds.filter((path) => existsSync(path)).sort((one, other) => statSync(other).mtimeMs - statSync(one).mtimeMs);
  // Without any build the first test that starts it says so.
  return built[0] ?? builds[1]!;
}

export interface Running {
  url: string;
  port: number;
  process: ChildProcess;
  /** What it has written to stdout and stderr so far. */
  output(): string;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}

/** Runs `command` with the arguments that `args` makes of the port, and waits until it accepts a connection. */
export async function startBinary(command: string, args: (port: number) => string[], port?: number): Promise<Running> {
  const chosen = port ?? (await freePort());
  const child = spawn(command, args(chosen), { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += String(data)));
  let failed: string | null = null;
  child.on('error', (error) => (failed = error.message));
  child.on('exit', (code, signal) => (failed = `ended with ${code ?? signal}`));
  const deadline = Date.now() + 20_000;
  while (!(await accepts(chosen))) {
    if (failed !== null || Date.now() > deadline) throw new Error(`\`${command}\` did not listen on ${chosen}: ${failed ?? 'too slow'}\n${output}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return {
    url: `http://127.0.0.1:${chosen}`,
    port: chosen,
    process: child,
    output: () => output,
    async stop(signal = 'SIGTERM') {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill(signal);
      await once(child, 'exit');
    },
  };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => (socket.destroy(), resolve(true)));
    socket.on('error', () => resolve(false));
  });
}
