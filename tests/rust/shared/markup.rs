//! Text that looks like HTML and mostly is not.

use crate::trees::chance;
use arbitrary::{Result, Unstructured};

/// Elements that the standard's tree construction has rules for, and a few that it has none for.
const TAGS: [&str; 78] = [
    "a",
    "address",
    "annotation-xml",
    "applet",
    "b",
    "base",
    "body",
    "br",
    "button",
    "caption",
    "code",
    "col",
    "colgroup",
    "dd",
    "desc",
    "details",
    "div",
    "dl",
    "dt",
    "em",
    "fieldset",
    "font",
    "foreignObject",
    "form",
    "frame",
    "frameset",
    "h1",
    "h2",
    "head",
    "hr",
    "html",
    "i",
    "iframe",
    "image",
    "img",
    "input",
    "keygen",
    "li",
    "link",
    "listing",
    "math",
    "menuitem",
    "meta",
    "mglyph",
    "mi",
    "mtext",
    "nobr",
    "noframes",
    "noscript",
    "optgroup",
    "option",
    "p",
    "param",
    "plaintext",
    "pre",
    "rb",
    "rp",
    "rt",
    "rtc",
    "ruby",
    "script",
    "select",
    "span",
    "style",
    "svg",
    "table",
    "tbody",
    "td",
    "template",
    "textarea",
    "tfoot",
    "th",
    "thead",
    "title",
    "tr",
    "ul",
    "x-thing",
    "xmp",
];

const ATTRIBUTES: [&str; 14] = [
    " class=a",
    " id='b'",
    " type=hidden",
    " dc-key=\"k\"",
    " =x",
    " a<b",
    " a",
    " a=1 a=2",
    " xlink:href=#x",
    " xml:lang=en",
    " xmlns=x",
    " encoding=text/html",
    " DEFINITIONURL=u viewbox=1",
    " color=red",
];

const BITS: [&str; 24] = [
    "tea",
    " ",
    "\n",
    "\t\u{c}",
    "&amp;",
    "&notin",
    "&#x0;",
    "&#128;",
    "&",
    "<",
    ">",
    "</",
    "<!",
    "<?php ?>",
    "\u{0}",
    "\r\n",
    "\r",
    "😀",
    "\u{a0}",
    "\"'",
    "]]>",
    "<![CDATA[x]]>",
    "</ >",
    "\u{feff}",
];

const COMMENTS: [&str; 8] = ["<!--x-->", "<!---->", "<!-->", "<!--x--!>", "<!--<!--x-->", "<!-", "<!--x", "<!--->"];

const DOCTYPES: [&str; 5] = [
    "<!DOCTYPE html>",
    "<!doctype>",
    "<!DOCTYPE html PUBLIC \"a\" 'b'>",
    "<!DOCTYPE HTML SYSTEM \"about:legacy-compat\">",
    "<!DOCTYPE html PUBLIC \"-//W3C//DTD HTML 3.2//EN\">",
];

/// The context elements for fragments; see `domcast_parser::parse_fragment`.
pub const CONTEXTS: [&str; 33] = [
    "div",
    "p",
    "a",
    "pre",
    "button",
    "x-card",
    "body",
    "html",
    "head",
    "table",
    "tbody",
    "tr",
    "td",
    "th",
    "caption",
    "colgroup",
    "select",
    "option",
    "template",
    "textarea",
    "title",
    "style",
    "script",
    "noscript",
    "plaintext",
    "frameset",
    "form",
    "svg svg",
    "svg path",
    "svg foreignObject",
    "math math",
    "math mi",
    "math annotation-xml",
];

/// Makes a text of up to `n_pieces` tags, texts and what passes for them.
///
/// # Errors
///
/// Never in practice: bytes that run out are zeros.
pub fn markup(u: &mut Unstructured<'_>, n_pieces: usize) -> Result<String> {
    let mut html = String::new();
    for _ in 0..u.int_in_range(0..=n_pieces)? {
        match u.int_in_range(0..=15)? {
            0..=5 => {
                html.push('<');
                html.push_str(u.choose(&TAGS)?);
                while chance(u, 1, 4)? {
                    html.push_str(u.choose(&ATTRIBUTES)?);
                }
                html.push_str(if chance(u, 1, 12)? { "/>" } else { ">" });
            }
            6..=8 => html.extend(["</", *u.choose(&TAGS)?, ">"]),
            9..=11 => html.push_str(u.choose(&BITS)?),
            12 => html.push_str(u.choose(&COMMENTS)?),
            13 if chance(u, 1, 4)? => html.push_str(u.choose(&DOCTYPES)?),
            14 => html.push_str(u.arbitrary::<&str>()?),
            _ => html.push_str("tea"),
        }
    }
    Ok(html)
}

/// Elements that templates are made of.
const REGULAR_TAGS: [&str; 24] = [
    "div", "span", "p", "a", "ul", "li", "table", "tbody", "tr", "td", "h1", "b", "button", "form", "label", "select",
    "option", "svg", "path", "section", "pre", "textarea", "br", "input",
];

/// Makes a text as templates write it, with tags that balance, and now and then with a slip in it.
///
/// # Errors
///
/// Never in practice: bytes that run out are zeros.
pub fn regular(u: &mut Unstructured<'_>, n_pieces: usize) -> Result<String> {
    let mut html = String::new();
    let mut open: Vec<&str> = Vec::new();
    for _ in 0..u.int_in_range(0..=n_pieces)? {
        match u.int_in_range(0..=9)? {
            0..=4 => {
                let tag = *u.choose(&REGULAR_TAGS)?;
                html.extend(["<", tag]);
                for _ in 0..u.int_in_range(0..=3)? {
                    let name =
                        *u.choose(&["class", "id", "dc-key", "href", "checked", "viewBox", "data-x", "style"])?;
                    let value = *u.choose(&["a", "", "r-1", "a b &amp; c", "x > y", "it's", "&copy=1", "😀"])?;
                    match u.int_in_range(0..=3)? {
                        0..=1 => html.extend([" ", name, "=\"", value, "\""]),
                        2 if !value.contains('\'') => html.extend([" ", name, "='", value, "'"]),
                        _ => html.extend([" ", name]),
                    }
                }
                let is_closed = tag == "path" && chance(u, 1, 2)?;
                html.push_str(if is_closed { "/>" } else { ">" });
                if !is_closed && !["br", "input"].contains(&tag) {
                    open.push(tag);
                }
            }
            5 | 6 => {
                if let Some(tag) = open.pop() {
                    html.extend(["</", tag, ">"]);
                }
            }
            7 => html.push_str(u.choose(&["\n  ", " ", "label 1", "a &lt; b", "&nbsp;", "&#39;", "x\ny"])?),
            8 if chance(u, 1, 4)? => html.push_str(&markup(u, 2)?),
            8 if chance(u, 1, 3)? => html.push_str(&alike(u)?),
            _ => html.push_str("tea"),
        }
    }
    while let Some(tag) = open.pop() {
        html.extend(["</", tag, ">"]);
    }
    Ok(html)
}

/// Makes elements whose start tags differ in their values, and now and then in something else.
fn alike(u: &mut Unstructured<'_>) -> Result<String> {
    const VALUES: [&str; 12] =
        ["a", "", "r-1", "rgb(1, 2, 3)", "a&amp;c", "a&c", "x>y", "it's", "\"", "=", "/", "a longer value 😀"];
    let tag = *u.choose(&["i", "span", "td", "g", "DIV", "custom-element"])?;
    let attribute = |u: &mut Unstructured<'_>| {
        Ok((
            *u.choose(&["class", "id", "data-long-name", "CLASS", "xlink:href"])?,
            *u.choose(&["=\"", "='", "=", " = \"", ""])?,
        ))
    };
    let attributes: Vec<(&str, &str)> = (0..u.int_in_range(1..=4)?).map(|_| attribute(u)).collect::<Result<_>>()?;
    let end = *u.choose(&[">", " >", "/>", "\n>"])?;
    let (before, after) = *u.choose(&[("", ""), ("<svg>", "</svg>"), ("<div>", "</div>")])?;
    let mut html = String::from(before);
    for _ in 0..u.int_in_range(2..=8)? {
        html.extend(["<", tag]);
        for &(name, equals) in &attributes {
            let quote = equals.trim_start_matches([' ', '=']);
            let value = if equals.is_empty() { "" } else { *u.choose(&VALUES)? };
            let slip = if chance(u, 1, 24)? { *u.choose(&[" ", "x", "\"", "<", "/"])? } else { "" };
            html.extend([" ", name, equals, value, quote, slip]);
        }
        html.extend([end, "tea</", tag, ">"]);
    }
    html.push_str(after);
    Ok(html)
}

/// A page whose tags around the content are there, missing or doubled.
pub fn page(u: &mut Unstructured<'_>, n_pieces: usize) -> Result<String> {
    const AROUND: [(u32, &str); 18] = [
        (12, "<!doctype html>"),
        (4, "<!-- a -->"),
        (8, "\n"),
        (8, "<html lang=en>"),
        (4, "<!-- b -->"),
        (8, "<head>"),
        (8, "<meta charset=utf-8>"),
        (8, "<title>tea &amp; milk</title>"),
        (4, "\n  "),
        (3, "<head class=late>"),
        (4, "<script>let a = '<p>';</script>"),
        (3, "<!-- c -->"),
        (3, "<noscript><p></noscript>"),
        (8, "</head>"),
        (6, "\n"),
        (2, "<link rel=icon>"),
        (2, "<!-- d -->"),
        (7, "<body class=page>"),
    ];
    let mut html = String::new();
    for (chance_of_16, piece) in AROUND {
        if chance(u, chance_of_16, 16)? {
            html.push_str(piece);
        }
        if chance(u, 1, 24)? {
            html.push_str(u.choose(&AROUND)?.1);
        }
    }
    html.push_str(&regular(u, n_pieces)?);
    // What the end of the body finds open.
    for (chance_of_16, piece) in
        [(2, "<div>"), (1, "<b>x"), (1, "<ul><li>"), (1, "<p>"), (1, "<pre>"), (1, "<h1>"), (1, "<button>")]
    {
        if chance(u, chance_of_16, 16)? {
            html.push_str(piece);
        }
    }
    for (chance_of_64, piece) in [(1, "<table><tr>"), (1, "<td>"), (1, "<select>"), (1, "<svg><g>"), (1, "<textarea>")]
    {
        if chance(u, chance_of_64, 64)? {
            html.push_str(piece);
        }
    }
    for piece in ["</body>", "\n", "</html>", "\n", "<!-- e -->"] {
        if chance(u, 1, 2)? {
            html.push_str(piece);
        }
    }
    Ok(html)
}

/// What markup may stand in, as text before and after it: all that a span must not depend on.
pub const SURROUNDINGS: [(&str, &str); 22] = [
    ("", ""),
    ("<div>", "</div>"),
    ("<p>", ""),
    ("<p>x</p>", "<p>"),
    ("<ul><li>", "</ul>"),
    ("<ul><li>", "<li>x</ul>"),
    ("<dl><dt>", "<dd>x</dl>"),
    ("<a href=x>", "</a>"),
    ("<b><i>", "</i></b>"),
    ("<button>", "</button>"),
    ("<form>", "</form>"),
    ("<pre>", "</pre>"),
    ("<h1>", "</h1>"),
    ("<select>", "</select>"),
    ("<select><option>", "<option>x</select>"),
    ("<table><tr><td>", "</table>"),
    ("<table>", "</table>"),
    ("<table><tbody>", "</tbody></table>"),
    ("<table><tr>", "<td>x</table>"),
    ("<svg>", "</svg>"),
    ("<svg><g>", "</g></svg>"),
    ("<template>", "</template>"),
];
