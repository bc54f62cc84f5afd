//! Edits of HTML text, as editors, templates and nobody make them, and a text that is followed through them.

use crate::laws;
use arbitrary::{Result, Unstructured};
use domcast_diff::{Tree, apply};
use domcast_parser::{Parser, Source};
use std::collections::BTreeMap;
use std::ops::Range;

/// What is put in: text, tags that do not belong, beginnings without an end.
const PIECES: [&str; 34] = [
    "x",
    " ",
    "\n",
    "a < b",
    "&amp;",
    "&",
    "&lt",
    "<b>bold</b>",
    "<li>",
    "<li>item</li>",
    "<p>",
    "</p>",
    "<div>",
    "</div>",
    "<br>",
    "<!-- c -->",
    "<!--",
    "-->",
    "<script>a<b</script>",
    "<script>",
    "<textarea>\nt</textarea>",
    "<title>",
    "<table>",
    "<tr><td>1",
    "</td>",
    "<tr id=\"k7\"><td>7</td></tr>",
    "<svg><path d=\"M0\"/></svg>",
    "<pre>\n\nx</pre>",
    "<a href=\"?a=1&b\">",
    "\0",
    "<",
    ">",
    "<form>",
    "</body>",
];

/// Attributes that are put into tags.
const ATTRIBUTES: [&str; 6] = [" id=\"k1\"", " class=\"on\"", " hidden", " dc-key=\"2\"", " title=\"a > b\"", " x='"];

/// Returns a text with an edit or a few.
///
/// # Errors
///
/// Where `u` has none left to read it ends early.
pub fn edited(u: &mut Unstructured<'_>, html: &str) -> Result<String> {
    let mut html = html.to_owned();
    for _ in 0..=u.int_in_range(0..=2)? {
        edit(u, &mut html)?;
    }
    Ok(html)
}

fn edit(u: &mut Unstructured<'_>, html: &mut String) -> Result<()> {
    match u.int_in_range(0..=11)? {
        0 | 1 => {
            let at = place(u, html)?;
            html.insert_str(at, u.choose(&PIECES)?);
        }
        2 => html.replace_range(range(u, html)?, ""),
        3 => {
            let range = range(u, html)?;
            let copy = html[range.clone()].to_owned();
            html.insert_str(range.end, &copy);
        }
        4 => {
            let (range, at) = (range(u, html)?, place(u, html)?);
            let copy = html[range].to_owned();
            html.insert_str(at, &copy);
        }
        5 => {
            // Two neighbouring ranges change places.
            let (one, other) = (range(u, html)?, place(u, html)?);
            let (start, middle, end) = sorted(one.start, one.end, other);
            let swapped = [&html[middle..end], &html[start..middle]].concat();
            html.replace_range(start..end, &swapped);
        }
        6 => html.truncate(place(u, html)?),
        7 => {
            // Another tag name, in one of the two tags or in both.
            let from = *u.choose(&["li", "p", "div", "td", "tr", "span", "b", "a"])?;
            let to = *u.choose(&["li", "p", "div", "td", "option", "b", "pre", "script"])?;
            let n_tags = u.int_in_range(1..=2)?;
            *html = html.replacen(&format!("{from}>"), &format!("{to}>"), n_tags);
        }
        8 => {
            if let Some(at) = nth(html, b'>', u.int_in_range(0..=40)?) {
                html.insert_str(at, u.choose(&ATTRIBUTES)?);
            }
        }
        9 => {
            // An end tag goes.
            let ends: Vec<usize> = html.match_indices("</").map(|(at, _)| at).collect();
            if !ends.is_empty() {
                let at = *u.choose(&ends)?;
                let end = html[at..].find('>').map_or(html.len(), |end| at + end + 1);
                html.replace_range(at..end, "");
            }
        }
        _ => {
            // A text changes.
            let at = nth(html, b'>', u.int_in_range(0..=40)?).map_or(html.len(), |at| at + 1);
            html.insert_str(at, u.choose(&["1", "2", "tea ", "é", "\n"])?);
        }
    }
    Ok(())
}

fn sorted(a: usize, b: usize, c: usize) -> (usize, usize, usize) {
    let mut all = [a, b, c];
    all.sort_unstable();
    (all[0], all[1], all[2])
}

fn nth(html: &str, byte: u8, n: usize) -> Option<usize> {
    let places: Vec<usize> = (0..html.len()).filter(|&at| html.as_bytes()[at] == byte).collect();
    (!places.is_empty()).then(|| places[n % places.len()])
}

/// Picks a place, mostly before or behind a tag.
fn place(u: &mut Unstructured<'_>, html: &str) -> Result<usize> {
    let n = u.int_in_range(0..=u16::MAX)? as usize;
    let mut at = match u.int_in_range(0..=7)? {
        0 => n % (html.len() + 1),
        kind if kind % 2 == 0 => nth(html, b'<', n).unwrap_or(0),
        _ => nth(html, b'>', n).map_or(html.len(), |at| at + 1),
    };
    while !html.is_char_boundary(at) {
        at -= 1;
    }
    Ok(at)
}

fn range(u: &mut Unstructured<'_>, html: &str) -> Result<Range<usize>> {
    let (a, b) = (place(u, html)?, place(u, html)?);
    Ok(a.min(b)..a.max(b))
}

/// A text that is parsed locally, beside a page that follows its patches and the plain pipeline.
#[derive(Debug)]
pub struct LiveSource {
    source: Source,
    page: Tree,
    context: Option<&'static str>,
    parser: Parser,
    /// How many updates were local.
    pub n_local: usize,
    /// How many were not, by the reason.
    pub wholes: BTreeMap<&'static str, usize>,
}

impl LiveSource {
    /// Follows a text from here on.
    ///
    /// # Panics
    ///
    /// Panics if the text is too long.
    pub fn new(html: &str, context: Option<&'static str>) -> LiveSource {
        let parser = Parser::default();
        let source = Source::new(parser.clone(), html.to_owned(), context).expect("the text is within the limits");
        LiveSource { page: source.tree().clone(), source, context, parser, n_local: 0, wholes: BTreeMap::new() }
    }

    /// The present text.
    pub fn html(&self) -> &str {
        self.source.html()
    }

    /// The present tree.
    pub fn tree(&self) -> &Tree {
        self.source.tree()
    }

    /// Goes on to the next text and checks all that must hold then.
    ///
    /// # Errors
    ///
    /// Says which law does not hold.
    pub fn update(&mut self, html: &str) -> std::result::Result<(), String> {
        let old = self.source.html().to_owned();
        let context = |reason: String| format!("{reason}\nfrom {old:?}\n  to {html:?}\n  in {:?}", self.context);
        let update = self.source.update(html.to_owned()).map_err(|error| context(error.to_string()))?;
        let fresh = match self.context {
            Some(name) => self.parser.fragment(html, name),
            None => self.parser.document(html),
        };
        let fresh = fresh.map_err(|error| context(error.to_string()))?;
        let tree = self.source.tree();
        if *tree != fresh {
            return Err(context(format!("whole: {:?}\n{tree:?}instead of\n{fresh:?}", update.whole)));
        }
        if update.patches.is_empty() != (self.page == fresh) {
            return Err(context(format!("these patches are redundant, or missing: {}", update.patches)));
        }
        apply(&mut self.page, &update.patches).map_err(|error| context(error.to_string()))?;
        laws::same_ids(&self.page, tree).map_err(context)?;
        laws::sound(tree).map_err(context)?;
        laws::spans([tree, &fresh]).map_err(context)?;
        if let Some(why) = update.whole {
            *self.wholes.entry(why).or_default() += 1;
        } else {
            self.n_local += 1;
            let lens = |tree: &Tree| -> Vec<usize> {
                tree.descendants(domcast_diff::NodeId::ROOT).map(|(id, _)| tree.source_len(id)).collect()
            };
            if lens(tree) != lens(&fresh) {
                return Err(context(format!("the lengths are\n{:?} instead of\n{:?}", lens(tree), lens(&fresh))));
            }
        }
        Ok(())
    }
}
