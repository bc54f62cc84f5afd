/**
 * Shows, in development, why a view could not be rendered. It stands outside every view, and is
 * made by DOM calls alone, so it needs neither `innerHTML` nor inline styles.
 */

import * as dom from './dom';
import type { Fault } from './protocol';

const shown = new Map<number, HTMLElement>();
let place: HTMLElement;

/** Shows the fault of a document; `null` takes it away. */
export function showFault(of: number, fault: Fault | null): void {
  shown.get(of)?.remove();
  shown.delete(of);
  if (!fault) return;
  place ??= block('div', 'all:initial;position:fixed;inset:auto 1rem 1rem;z-index:2147483647;max-height:60vh;overflow:auto;color:#eee;font:14px/1.5 sans-serif');
  const box = block('div', 'display:block;padding:1rem;border-left:4px solid #d33;background:#1c1c1f');
  box.setAttribute('role', 'alert');
  box.setAttribute('dc-fault', '');
  const where = [fault.template, fault.line].filter((part) => part !== null && part !== undefined).join(':');
  box.append(block('strong', 'display:block;font-weight:bold', fault.message));
  if (where) box.append(block('code', 'display:block;color:#f99', where));
  if (fault.excerpt) box.append(block('pre', 'display:block;font-family:monospace;white-space:pre-wrap', fault.excerpt));
  shown.set(of, box);
  place.append(box);
  dom.insertBefore(dom.documentElement(document), place, null);
}

function block(name: 'div' | 'strong' | 'code' | 'pre', style: string, text = ''): HTMLElement {
  const element = dom.createElement(document, name) as HTMLElement;
  // The CSSOM is allowed where a `style` attribute is not. The page's styles reach nothing in here.
  element.style.cssText = 'all:unset;' + style;
  element.textContent = text;
  return element;
}
