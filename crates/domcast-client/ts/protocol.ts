/**
 * What travels, in the order of PROTOCOL.md: tokens, patches, frames.
 *
 * These are types of well-formed data. Frames come from a network, so the code that reads them
 * still checks every id and string it uses.
 */

export const PROTOCOL_VERSION = 1;

/** Section 2: a token, or `0` for a hole of a shape. */
export type Token = string | 0;

/** Tokens, among them instances of shapes: the number of the shape, a count, and the strings for the holes. */
export type Content = readonly (string | number)[];

/** Where any number of ids may stand: an id, or the ids `first`, `first + step`, … (`count` of them). */
export type Ids = number | readonly [first: number, step: number, count: number];

export type Patch =
  | readonly ['i', parent: number, before: number, ...content: Content]
  | readonly ['s', ...tokens: Token[]]
  | readonly ['o', parent: number, ...content: Content]
  | readonly ['c', parent: number]
  | readonly ['r', ...ids: Ids[]]
  | readonly ['m', before: number, ...ids: Ids[]]
  | readonly ['p', parent: number, ...order: Ids[]]
  | readonly ['t', id: number, text: string]
  | readonly ['x', id: number, at: number, remove: number, text: string]
  | readonly ['a', id: number, name: string, value: string]
  | readonly ['y', id: number, name: string, at: number, remove: number, text: string]
  | readonly ['d', id: number, name: string]
  | readonly ['n', count: number];

/** Section 4. Where a view stands: `epoch:version`. */
export interface Position {
  readonly epoch: string;
  readonly version: number;
}

export type Payload = { readonly [name: string]: unknown };

/** A view of the page: its name, where it stands, its document's key and its mount token if it has them. */
export type Greeting = readonly [view: string, position: string | null, key?: string | null, token?: string];

export type ClientFrame =
  | readonly ['hello', typeof PROTOCOL_VERSION, readonly Greeting[]]
  | readonly ['event', n: number, document: number, handler: string, payload: Payload]
  | readonly ['resync', document: number]
  | readonly ['ack', n: number]
  | readonly ['ping'];

export type ServerFrame =
  | readonly ['mounted', view: string, document: number, position: string, spreadMs?: number]
  | readonly ['p', document: number, version: number, patches: readonly Patch[], from?: number]
  | readonly ['snapshot', document: number, position: string, next: number, ids: readonly number[], tokens: readonly string[]]
  | readonly ['ack', n: number, reply?: unknown]
  | readonly ['refused', n: number, message: string, id: string, errors?: unknown]
  | readonly ['message', topic: string, data: unknown]
  | readonly ['unknown', view: string]
  | readonly ['denied', view: string]
  | readonly ['revoked', document: number]
  | readonly ['token', document: number, token: string]
  | readonly ['fault', document: number, fault: Fault | null]
  | readonly ['bye', code: number, stayAwayMs: number, reason: string]
  | readonly ['ping']
  | readonly ['pong'];

export interface Fault {
  readonly message: string;
  readonly template?: string | null;
  readonly line?: number | null;
  readonly excerpt?: string | null;
}

/** Section 5. What we close with ourselves, or find where nobody said anything. */
export const CLOSE_MOVED = 1000;
export const CLOSE_LOST = 1006;
export const CLOSE_TOO_LARGE = 1009;
export const CLOSE_SILENT = 4408;
const CLOSE_FULL = 1013;
const CLOSE_TOO_SLOW = 4429;
export const CLOSE_OTHER_VERSION = 4426;

/** After these a client does not come back by itself: the server would refuse the same again. */
export const isStop = (code: number): boolean => code === CLOSE_TOO_LARGE || (code >= 4400 && code < 4408);

/** After these it comes back late: the server has too much to do. */
export const isRetry = (code: number): boolean => code === CLOSE_FULL || code === CLOSE_TOO_SLOW;

/** Reads `epoch:version`; `null` if it is not one. */
export function readPosition(text: string | null): Position | null {
  const match = text === null ? null : /^(.*):(\d+)$/.exec(text);
  return match ? { epoch: match[1]!, version: Number(match[2]) } : null;
}

export function writePosition(position: Position | null): string | null {
  return position && `${position.epoch}:${position.version}`;
}

/** A patch list, a snapshot or a token list that cannot be followed on this tree. */
export class Unfollowable extends Error {
  override name = 'Unfollowable';
}
