/**
 * A small web server on a free port of 127.0.0.1: pages of a test, the built client, and (for the
 * tests of the connection) a WebSocket that the test itself plays the server of.
 */

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocketServer, type WebSocket } from 'ws';

const DIST = new URL('../../../crates/domcast-client/dist/', import.meta.url);

export interface Answer {
  body: string;
  type?: string;
  headers?: Record<string, string>;
}

export interface Site {
  url: string;
  port: number;
  /** What is answered, by path. `/_domcast/client.js` and `/domcast.mjs` are there from the start. */
  pages: Map<string, Answer>;
  /** The next connection to `/_domcast/ws`. */
  connection(): Promise<Peer>;
  connections: Peer[];
  /** While true, connections are refused. */
  down: boolean;
  close(): Promise<void>;
}

/** The server's end of a connection. */
export class Peer {
  readonly socket: WebSocket;
  readonly openedAt = Date.now();
  #frames: unknown[][] = [];
  #wake: (() => void) | null = null;
  /** Answers pings; set to false to play dead. */
  alive = true;

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on('message', (data) => {
      const frame = JSON.parse(String(data)) as unknown[];
      if (frame[0] === 'ping' && this.alive) this.send(['pong']);
      this.#frames.push(frame);
      this.#wake?.();
    });
  }

  /** The next frame of this kind; frames of other kinds before it are passed over. */
  async frame(kind: string): Promise<unknown[]> {
    for (;;) {
      const idx = this.#frames.findIndex((frame) => frame[0] === kind);
      if (idx >= 0) return this.#frames.splice(0, idx + 1)[idx]!;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** What has arrived and was not yet read. */
  unread(): unknown[][] {
    return this.#frames.splice(0);
  }

  send(frame: unknown[]): void {
    this.socket.send(JSON.stringify(frame));
  }
}

export async function startSite(): Promise<Site> {
  const pages = new Map<string, Answer>([
    ['/', { body: '<!doctype html><title>domcast</title><body>' }],
    ['/_domcast/client.js', { body: readFileSync(new URL('domcast.js', DIST), 'utf8'), type: 'text/javascript' }],
    // Chromium asks for it when it likes; that it is missing would be an error in the console of whatever page is open then.
    ['/favicon.ico', { body: '', type: 'image/x-icon' }],
    ['/domcast.mjs', { body: readFileSync(new URL('domcast.mjs', DIST), 'utf8'), type: 'text/javascript' }],
  ]);
  const http = createServer((request, response) => {
    const answer = pages.get(new URL(request.url!, 'http://any').pathname);
    response.writeHead(answer ? 200 : 404, { 'content-type': `${answer?.type ?? 'text/html'}; charset=utf-8`, ...answer?.headers });
    response.end(answer?.body);
  });
  const sockets = new WebSocketServer({ noServer: true });
  const waiting: ((peer: Peer) => void)[] = [];
  const arrived: Peer[] = [];
  const site: Site = {
    url: '',
    port: 0,
    pages,
    connections: [],
    down: false,
    connection: () => new Promise((resolve) => (arrived.length ? resolve(arrived.shift()!) : waiting.push(resolve))),
    async close() {
      for (const client of sockets.clients) client.terminate();
      http.closeAllConnections();
      http.close();
      await once(http, 'close');
    },
  };
  http.on('upgrade', (request, socket, head) => {
    if (site.down || request.url !== '/_domcast/ws') return void socket.destroy();
    sockets.handleUpgrade(request, socket, head, (webSocket) => {
      const peer = new Peer(webSocket);
      site.connections.push(peer);
      const next = waiting.shift();
      if (next) next(peer);
      else arrived.push(peer);
    });
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  site.port = (http.address() as AddressInfo).port;
  site.url = `http://127.0.0.1:${site.port}`;
  return site;
}
