/**
 * A TCP proxy that cuts each answer that brings a page its frames after so many of its bytes, status line and headers included.
 *
 * Bytes come in order and none is lost before the cut. Everything else passes: pages, scripts, and what the page posts.
 */

import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export interface Cutter {
  url: string;
  close(): void;
}

/** What a request that is answered with frames begins with, by transport. */
const LIVE = { ws: /^GET \/_domcast\/ws /, sse: /^(POST \/_domcast\/sse |GET \/_domcast\/sse\/)/ };

/** Says where answers are cut. */
export interface Cuts {
  /** After how many bytes the next answer ends; `null` for never. */
  next(): number | null;
  /** One was cut there. */
  done(cut: number): void;
  /** One ended before that. */
  missed(cut: number): void;
}

/** With `sse` WebSockets are refused. */
export async function startCutter(port: number, kind: keyof typeof LIVE, cuts: Cuts): Promise<Cutter> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    const upstream = connect(port, '127.0.0.1');
    let cut: number | null = null;
    let left = Infinity;
    for (const each of [socket, upstream]) {
      sockets.add(each);
      each.setNoDelay(true);
      each.on('error', () => {});
      each.on('close', () => (sockets.delete(each), socket.destroy(), upstream.destroy(), giveBack()));
    }
    const giveBack = (): void => {
      if (cut !== null && left > 0) cuts.missed(cut);
      cut = null;
    };
    const end = (): void => {
      upstream.destroy();
      // What was written arrives before the end does.
      socket.destroySoon();
      cuts.done(cut!);
    };
    socket.on('data', (bytes: Buffer) => {
      const start = bytes.toString('latin1', 0, 40);
      if (kind === 'sse' && LIVE.ws.test(start)) return void socket.destroy();
      if (LIVE[kind].test(start)) {
        giveBack();
        cut = cuts.next();
        left = cut ?? Infinity;
      }
      upstream.write(bytes);
      if (left === 0) end();
    });
    upstream.on('data', (bytes: Buffer) => {
      if (left <= 0) return;
      socket.write(bytes.subarray(0, left));
      left -= bytes.length;
      if (left <= 0) end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => (server.close(), sockets.forEach((socket) => socket.destroy())),
  };
}
