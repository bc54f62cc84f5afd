/**
 * Where Chromium and the server's parser read HTML differently. The list is asserted: an example that no longer differs fails,
 * and so does a difference that is not in it. Generated markup (`tests/rust/pairs/markup.rs`) avoids these constructs. A page that
 * meets one at mount differs in its checksum, and is put right by a snapshot.
 */

export interface Known {
  name: string;
  examples: readonly string[];
  /** Who does what, and what the standard says. */
  reason: string;
  /** The pairs of the corpus that it takes part in. */
  pairs?: readonly string[];
}

export const KNOWN: readonly Known[] = [
  {
    name: 'a processing instruction',
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
    examples: ['<select><button><selectedcontent></button><option>X'],
    reason: 'Chromium copies the chosen option into it, as the standard says. That is no parsing: the copy changes with the choice.',
    pairs: [
      '1925 html5lib/html5lib-tests: tree-construction/webkit02.dat#20',
      '1926 html5lib/html5lib-tests: tree-construction/webkit02.dat#21',
    ],
  },
  {
    name: 'a form in a template, or ended in a table',
    examples: ['<template><form><p></form>x</template>', '<template><table><form></table></template>', '<form><table></form></table><form></form>x'],
    reason:
      'The standard closes the paragraph with the form and ignores the form in the table, and so does html5ever; Chromium does neither. ' +
      'Where a form that was ended in a table is still open, so that another nests in it, the end of that one is the end of both in Chromium only.',
  },
  {
    name: 'a formatting element with `is`',
    examples: ['<b is=x><p></b>q'],
    reason: 'Chromium does not open it again where it ends too early; the standard and html5ever do.',
  },
  {
    name: 'HTML in SVG or MathML',
    examples: ['<math><annotation-xml encoding=text/html><svg><p>', '<span><math><mtext><b></span>x'],
    reason:
      'For the standard and Chromium the foreign elements that hold HTML are special: tags inside that are not balanced end nothing outside. For html5ever they are not.',
  },
  {
    name: 'an attribute in a simple fragment',
    examples: ["<b title='&notit;'></b>", "<b title='&amp;\0'></b>"],
    reason: 'Where `innerHTML` meets only simple markup, Chromium takes a shorter way, which decodes what is no reference and keeps a NUL. In other markup it agrees with the standard and html5ever.',
  },
  {
    name: 'a newline after the body with a formatting element open',
    examples: ['<!doctype html><p><b></p></body>\n'],
    reason: 'The standard opens the formatting element again for it, and so does html5ever; Chromium does not.',
  },
  {
    name: 'a NUL that starts or ends something',
    examples: ['<html><head></head>\n\0 x', '<pre>\0\nx</pre>', '<table><colgroup>\0<col></table>', '<html><head></head>&#0;<frameset></html><!--c-->'],
    reason:
      'By the standard it starts the body, ends the colgroup, or stands before the newline that a pre would drop, and so it does for html5ever; Chromium drops it first. ' +
      'A reference to it is U+FFFD, which keeps a frameset out, but not in Chromium.',
  },
  {
    name: 'a colgroup in an open thead of a template',
    examples: ['<template><thead><colgroup></template>'],
    reason: 'It ends the thead and stands beside it, says the standard, and Chromium does so; html5ever drops it.',
  },
  {
    name: 'a comment, a void element or misnested formatting beyond 512 levels',
    examples: ['<!--c-->', '<a><p></a>x'].map((inside) => '<div>'.repeat(512) + inside),
    reason: 'Chromium hangs a node beyond the limit beside its parent if that is in the tree already, which depends on what waits in a queue. Other elements and text agree.',
  },
];
