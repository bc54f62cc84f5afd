/**
 * Where Chromium and the server's parser read HTML differently. The list is asserted: an example that no longer differs fails, and
 * so does a difference that is not in it. A text is a known difference only if the server's tree of it is html5ever's (`pairs`
 * asserts that of every text of at most 512 levels), and if both read it alike once the construct of the name is taken away (`explain` in `pairs.ts`).
 * Generated markup (`tests/rust/pairs/markup.rs`) avoids none of it: the tests count what they meet, by name and within a bound,
 * and see that the page ends as the server's tree there.
 *
 * A page that meets one at mount differs in its checksum, and is put right by a snapshot. Not so where only attributes or texts
 * differ, which are not in the checksum: such a page stays as Chromium read it until that node changes. Names that can do so say it
 * (`isUnnoticed`), and the tests count these pages apart.
 */

export interface Known {
  name: string;
  /** The text without the construct that the browser and the server may read differently; as it is, if it has none. */
  without: (html: string) => string;
  examples: readonly string[];
  /** Who does what, and what the standard says. */
  reason: string;
  /** It may change attributes or texts alone. */
  isUnnoticed?: true;
  /** The pairs of the corpus that it takes part in. */
  pairs?: readonly string[];
}

/** Changes the names of tags, their end tags included. */
const rename = (html: string, names: string): string => html.replace(new RegExp(`(</?)(${names})(?=[\\s/>])`, 'gi'), '$1x-other');

/** Where several explain a text, the first does: those that take more away stand last. */
export const KNOWN: readonly Known[] = [
  {
    name: 'a processing instruction',
    without: (html) => html.replace(/<\?/g, '<!'),
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
    without: (html) => rename(html, 'selectedcontent'),
    examples: ['<select><button><selectedcontent></button><option>X'],
    reason: 'Chromium copies the chosen option into it, as the standard says. That is no parsing: the copy changes with the choice.',
    pairs: [
      '1925 html5lib/html5lib-tests: tree-construction/webkit02.dat#20',
      '1926 html5lib/html5lib-tests: tree-construction/webkit02.dat#21',
    ],
  },
  {
    name: 'a formatting element with `is`, or open at the end of the body',
    without: (html) =>
      (/<(a|b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)\s/i.test(html) ? html.replace(/\bis(?=[\s=/>])/gi, 'data-other') : html).replace(/(<\/(?:body|html)>)\s+/gi, '$1'),
    examples: ['<b is=x><p></b>q', '<!doctype html><p><b></p></body>\n'],
    reason:
      'The standard and html5ever open it again, where it ends too early, and for a newline after the body. Chromium does not open again what has an `is`, and nothing for such a newline.',
  },
  {
    name: 'two open `details` of one name',
    without: (html) => (/(<details\s[^]*\bopen\b[^]*){2}/i.test(html) ? html.replace(/\bopen\b/gi, 'data-other') : html),
    isUnnoticed: true,
    examples: ['<table><td><details open name=a></td><details open name=a>'],
    reason:
      'Chromium closes all but the first to come, as the standard says of any that is inserted; html5ever has all open. ' +
      'The client shows the first in the page, which a table may have come before; a page that is mounted does not tell which were closed, and when the open one goes, or a closed one gets another name, none opens.',
  },
  {
    name: 'a frameset after a template, or after a reference to NUL',
    without: (html) => (/(<template\b|&#0;)[^]*<frameset\b/i.test(html) ? html.replace(/<frameset\b[^>]*>/gi, '') : html),
    examples: ['<html><head></head><template></template><ol><frameset>', '<html><head></head>&#0;<frameset></html><!--c-->'],
    reason: 'By the standard and html5ever both keep it out. Chromium forgets the template where the body starts by itself, and lets U+FFFD count as nothing.',
  },
  {
    name: 'a NUL that starts or ends something',
    without: (html) => html.replace(/\0/g, ''),
    isUnnoticed: true,
    examples: ['<html><head></head>\n\0 x', '<pre>\0\nx</pre>', '<table><colgroup>\0<col></table>'],
    reason:
      'By the standard it starts the body, ends the colgroup, or stands before the newline that a pre would drop, and so it does for html5ever; Chromium drops it first.',
  },
  {
    name: 'a colgroup in an open thead of a template',
    without: (html) => (/<template\b[^]*<thead\b/i.test(html) ? html.replace(/<\/?col(group)?\b[^>]*>/gi, '') : html),
    examples: ['<template><thead><colgroup></template>'],
    reason: 'It ends the thead and stands beside it, says the standard, and Chromium does so; html5ever drops it.',
  },
  {
    name: 'a comment, a void element or misnested formatting beyond 512 levels',
    without: (html) => html.replace(/(?:<[\w-]+>){256,}/g, ''),
    examples: ['<!--c-->', '<a><p></a>x'].map((inside) => '<div>'.repeat(512) + inside),
    reason: 'Chromium hangs a node beyond the limit beside its parent if that is in the tree already, which depends on what waits in a queue. Other elements and text agree.',
  },
  {
    name: 'a form in a template, or ended in a table',
    without: (html) => (/<(template|table)\b/i.test(html) ? html.replace(/<\/?form\b[^>]*>/gi, '') : html),
    examples: ['<template><form><p></form>x</template>', '<template><table><form></table></template>', '<form><table></form></table><form></form>x'],
    reason:
      'The standard closes the paragraph with the form and ignores the form in the table, and so does html5ever; Chromium does neither. ' +
      'Where a form that was ended in a table is still open, so that another nests in it, the end of that one is the end of both in Chromium only.',
  },
  {
    name: 'HTML in SVG or MathML',
    without: (html) => (/<(svg|math)\b/i.test(html) ? rename(html, 'foreignObject|desc|title|annotation-xml|mi|mo|mn|ms|mtext') : html),
    examples: ['<math><annotation-xml encoding=text/html><svg><p>', '<span><math><mtext><b></span>x'],
    reason:
      'For the standard and Chromium the foreign elements that hold HTML are special: tags inside that are not balanced end nothing outside. For html5ever they are not.',
  },
];
