/**
 * What may be pushed into a page, and what is left out of it.
 *
 * Unless a view runs pushed scripts, no attribute may bring one in: handlers (`on*`), documents written into
 * an attribute (`srcdoc`), and `javascript:` addresses. A view may also hold addresses to a list of schemes.
 * An attribute that is left out is missing in the page, and its value is kept beside the element: a later
 * splice has a text to change, and a snapshot that says what the page's own HTML said leaves that alone.
 *
 * Not looked at: addresses inside style sheets, and the address that a `meta` refreshes to, which no browser
 * takes as a script. Elements and text are never left out, or the ids would not fit.
 */

import * as dom from './dom';

export interface Guard {
  /** Lets pushed scripts, `on*` attributes, `srcdoc` and `javascript:` addresses run. */
  readonly scripts?: boolean;
  /** The schemes that a pushed address may have, in lower case; without a list all but `javascript`. */
  readonly schemes?: readonly string[] | undefined;
}

const ADDRESS = /^(href|src|action|formaction|data|poster|background|cite|longdesc|manifest|codebase|classid|profile|usemap|icon|lowsrc|dynsrc)$/;
const ADDRESSES = /^(srcset|imagesrcset|ping|archive)$/;
/** An SVG animation may write an address, `values` several: https://svgwg.org/specs/animations/#ValuesAttribute */
const ANIMATED = /^(to|from|by|values)$/;

/** Whether `value` must not stand in the attribute `local` of `element`. */
export function isForbidden(guard: Guard, element: Element, local: string, value: string): boolean {
  if (!guard.scripts && /^on|^srcdoc$/i.test(local)) return true;
  return addresses(element, local, value).some((address) => {
    const scheme = schemeOf(address);
    if (scheme === undefined) return false;
    return guard.schemes ? !guard.schemes.includes(scheme) : !guard.scripts && scheme === 'javascript';
  });
}

/** The addresses in an attribute. Pieces of a list that are none, such as `2x`, have no scheme. */
function addresses(element: Element, local: string, value: string): string[] {
  if (ADDRESS.test(local)) return [value];
  if (ADDRESSES.test(local)) return value.split(/[\s,]+/);
  return ANIMATED.test(local) && dom.namespaceURI(element) === dom.SVG ? value.split(';') : [];
}

/** The scheme of an address as a browser reads it: https://url.spec.whatwg.org/#url-parsing */
function schemeOf(address: string): string | undefined {
  return /^[\0- ]*([a-z][a-z0-9+.-]*):/i.exec(address.replace(/[\t\n\r]/g, ''))?.[1]!.toLowerCase();
}

const leftOut = new WeakMap<Element, Map<string, string>>();

/** Keeps the value of an attribute that was left out; `null` forgets it. */
export function keepLeftOut(element: Element, qualified: string, value: string | null): void {
  const values = leftOut.get(element) ?? new Map<string, string>();
  if (value === null) values.delete(qualified);
  else leftOut.set(element, values.set(qualified, value));
}

/** The value that the server gave an attribute that was left out. */
export const leftOutValue = (element: Element, qualified: string): string | null => leftOut.get(element)?.get(qualified) ?? null;
