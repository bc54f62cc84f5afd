/**
 * Where Chromium and the server's parser read HTML differently. The list is asserted: an example that no longer differs fails,
 * and so does a difference that is not in it. Generated markup (`tests/rust/pairs/markup.rs`) avoids none of it: the tests count
 * what they meet, by name, and see that the page ends as the server's tree there. A page that meets one at mount differs in its
 * checksum, and is put right by a snapshot.
 */

import type { Failure } from './judge.ts';

export interface Known {
  name: string;
  /** What a text has in which the browser and the server may differ so. */
  meets: RegExp;
  examples: readonly string[];
  /** Who does what, and what the standard says. */
  reason: string;
  /** The pairs of the corpus that it takes part in. */
  pairs?: readonly string[];
}

export const KNOWN: readonly Known[] = [
  {
    name: 'a processing instruction',
    meets: /<\?/,
    examples: ['<?pi x>'],
    reason: 'Chromium makes a processing instruction of it, as the standard now says; html5ever a comment, as it said before.',
    pairs: [
      '1615 html5lib/html5lib-tests: tree-construction/html5test-com.dat#5',
      '1688 html5lib/html5lib-tests: tree-construction/tests1.dat#21',
      '1690 html5lib/html5lib-tests: tree-construction/tests1.dat#23',
    ],
  },
  {
    name: 'selectedcontent',
    meets: /<selectedcontent/i,
    examples: ['<select><button><selectedcontent></button><option>X'],
    reason: 'Chromium copies the chosen option into it, as the standard says. That is no parsing: the copy changes with the choice.',
    pairs: [
      '1925 html5lib/html5lib-tests: tree-construction/webkit02.dat#20',
      '1926 html5lib/html5lib-tests: tree-construction/webkit02.dat#21',
    ],
  },
  {
    name: 'a form in a template, or ended in a table',
    meets: /<(template|table)[^]*<\/?form|<form[^]*<(template|table)/i,
    examples: ['<template><form><p></form>x</template>', '<template><table><form></table></template>', '<form><table></form></table><form></form>x'],
    reason:
      'The standard closes the paragraph with the form and ignores the form in the table, and so does html5ever; Chromium does neither. ' +
      'Where a form that was ended in a table is still open, so that another nests in it, the end of that one is the end of both in Chromium only.',
  },
  {
    name: 'a formatting element with `is`',
    meets: /<(a|b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)\s[^]*\bis\b/i,
    examples: ['<b is=x><p></b>q'],
    reason: 'Chromium does not open it again where it ends too early; the standard and html5ever do.',
  },
  {
    name: 'HTML in SVG or MathML',
    meets: /<(svg|math)[^]*</i,
    examples: ['<math><annotation-xml encoding=text/html><svg><p>', '<span><math><mtext><b></span>x'],
    reason:
      'For the standard and Chromium the foreign elements that hold HTML are special: tags inside that are not balanced end nothing outside. For html5ever they are not.',
  },
  {
    name: 'two open `details` of one name',
    meets: /<details\s[^]*\bopen\b[^]*<details\s[^]*\bopen\b/i,
    examples: ['<table><td><details open name=a></td><details open name=a>'],
    reason:
      'Chromium closes all but the first to come, as the standard says of any that is inserted; html5ever has all open. ' +
      'The client closes all but the first in the page, which a table may have come before, and a page that is mounted does not tell which were closed.',
  },
  {
    name: 'a newline after the body with a formatting element open',
    meets: /<\/(body|html)>/i,
    examples: ['<!doctype html><p><b></p></body>\n'],
    reason: 'The standard opens the formatting element again for it, and so does html5ever; Chromium does not.',
  },
  {
    name: 'a NUL that starts or ends something',
    meets: /\0|&#[^]*<frameset/i,
    examples: ['<html><head></head>\n\0 x', '<pre>\0\nx</pre>', '<table><colgroup>\0<col></table>', '<html><head></head>&#0;<frameset></html><!--c-->'],
    reason:
      'By the standard it starts the body, ends the colgroup, or stands before the newline that a pre would drop, and so it does for html5ever; Chromium drops it first. ' +
      'A reference to it is U+FFFD, which keeps a frameset out, but not in Chromium.',
  },
  {
    name: 'a colgroup in an open thead of a template',
    meets: /<template[^]*<thead[^]*<col/i,
    examples: ['<template><thead><colgroup></template>'],
    reason: 'It ends the thead and stands beside it, says the standard, and Chromium does so; html5ever drops it.',
  },
  {
    name: 'a comment, a void element or misnested formatting beyond 512 levels',
    meets: /(<[^>]*>){512}/,
    examples: ['<!--c-->', '<a><p></a>x'].map((inside) => '<div>'.repeat(512) + inside),
    reason: 'Chromium hangs a node beyond the limit beside its parent if that is in the tree already, which depends on what waits in a queue. Other elements and text agree.',
  },
];

/** The failures that no known difference explains, and how many trees each explains. */
export function lessKnown(failures: readonly Failure[]): { others: Failure[]; met: Map<string, number> } {
  const met = new Map<string, number>();
  const others = failures.filter(({ misread }) => {
    const known = misread && KNOWN.find(({ meets }) => misread.some((html) => meets.test(html)));
    if (known) met.set(known.name, (met.get(known.name) ?? 0) + 1);
    return !known;
  });
  return { others, met };
}
