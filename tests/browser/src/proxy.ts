/** A proxy between a page and the real server, which spoils some transports, as proxies between people and servers do. */

import { once } from 'node:events';
import { createServer, request as ask, type ServerResponse } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';

export interface Proxy {
  url: string;
  /** What becomes of a WebSocket: it works, is refused, or opens and ends with the first frame of the client. */
  webSocket: 'works' | 'refused' | 'dies';
  /** Whether requests for server-sent events are answered. */
  sse: 'works' | 'refused';
  /** How many of the next posts to a session reach the server and are not answered. */
  nUnanswered: number;
  /** What was asked for, in order, as `GET /path`. */
  log: string[];
  /** Ends all answers that go on, as a proxy with a time limit does. */
  cut(): void;
  close(): Promise<void>;
}

export async function startProxy(port: number): Promise<Proxy> {
  const answers = new Set<ServerResponse>();
  const sockets = new Set<Socket>();
  const http = createServer((request, response) => {
    proxy.log.push(`${request.method} ${request.url}`);
    if (proxy.sse === 'refused' && request.url?.startsWith('/_domcast/sse')) return void response.writeHead(502).end('<h1>Bad gateway</h1>');
    const isAnswered = request.method !== 'POST' || !/^\/_domcast\/\w+\//.test(request.url!) || --proxy.nUnanswered < 0;
    const upstream = ask({ port, host: '127.0.0.1', method: request.method, path: request.url, headers: request.headers }, (answer) => {
      if (!isAnswered) return void response.destroy();
      answers.add(response);
      response.on('close', () => (answers.delete(response), answer.destroy()));
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
    });
    upstream.on('error', () => response.destroy());
    request.pipe(upstream);
  });
  const proxy: Proxy = {
    url: '',
    webSocket: 'works',
    sse: 'works',
    nUnanswered: 0,
    log: [],
    cut: () => answers.forEach((answer) => answer.destroy()),
    async close() {
      for (const socket of sockets) socket.destroy();
      http.closeAllConnections();
      http.close();
      await once(http, 'close');
    },
  };
  http.on('upgrade', (request, socket: Socket, head) => {
    proxy.log.push(`WS ${request.url}`);
    if (proxy.webSocket === 'refused') return void socket.destroy();
    const upstream = connect(port, '127.0.0.1');
    for (const each of [socket, upstream]) {
      sockets.add(each);
      each.on('error', () => {});
      each.on('close', () => (sockets.delete(each), socket.destroy(), upstream.destroy()));
    }
    const lines = [`GET ${request.url} HTTP/1.1`];
    for (let idx = 0; idx < request.rawHeaders.length; idx += 2) lines.push(`${request.rawHeaders[idx]}: ${request.rawHeaders[idx + 1]}`);
    upstream.write(`${lines.join('\r\n')}\r\n\r\n`);
    upstream.write(head);
    if (proxy.webSocket === 'dies') socket.on('data', () => socket.destroy());
    else socket.pipe(upstream);
    upstream.pipe(socket);
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  proxy.url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  return proxy;
}
