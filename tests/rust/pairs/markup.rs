//! Markup as a tree that can be edited, and its text.
//!
//! The tree says what is *written*, not what a parser makes of it: end tags may be missing, elements may stand where
//! a parser moves them away, pieces of text may be tags without a partner. So old and new texts are related, and what
//! they parse to is up to the parsers.
//!
//! Nothing is avoided that Chromium and html5ever read differently: `tests/browser/src/known.ts` names it, and the tests count it.

use crate::random::Random;
use std::collections::HashSet;

/// A piece of markup. Its number stays the same across edits, so a piece can be left out of the old and the new text.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) number: u32,
    pub(crate) kind: Kind,
    pub(crate) children: Vec<Piece>,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Element(Tag),
    /// Text as it is written, character references included.
    Text(String),
    Comment(String),
    /// A tag without a partner, or something that only looks like a tag.
    Broken(&'static str),
}

#[derive(Clone, Debug)]
pub(crate) struct Tag {
    pub(crate) name: &'static str,
    pub(crate) attributes: Vec<(&'static str, String)>,
    pub(crate) has_end_tag: bool,
}

/// What kind of page the markup is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Anything a parser might meet.
    Wild,
    /// Well nested, with nothing that runs, loads or takes the focus: for a page that is shown.
    Tidy,
}

/// Makes pieces.
#[derive(Debug)]
pub(crate) struct Maker<'a> {
    pub(crate) random: &'a mut Random,
    pub(crate) style: Style,
    /// The number of the next piece.
    pub(crate) next: u32,
    /// How many pieces may still be made.
    pub(crate) budget: usize,
}

/// What is usually written inside an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Flow,
    Inline,
    Table,
    Rows,
    Cells,
    Columns,
    Items,
    Definitions,
    Form,
    Options,
    Svg,
    MathMl,
    /// Text only; tags in it are text.
    Raw,
    Nothing,
}

#[rustfmt::skip]
const FLOW: &[&str] = &[
    "div", "div", "p", "p", "ul", "ol", "section", "h2", "table", "table", "form", "pre", "details", "dl", "svg", "math",
    "template", "blockquote", "select", "textarea", "x-card", "fieldset", "hr", "listing", "main", "center", "ruby", "noscript",
    "object", "video", "article", "plain-text", "dialog", "address", "marquee", "iframe", "figure",
];
#[rustfmt::skip]
const INLINE: &[&str] = &[
    "span", "span", "b", "i", "em", "a", "a", "code", "br", "img", "input", "input", "label", "button", "select", "x-icon", "nobr",
    "font", "small", "wbr", "svg", "math", "template", "output", "progress", "textarea", "strong", "u", "s", "image", "sub",
];
const TABLE: &[&str] =
    &["tbody", "tbody", "tr", "tr", "thead", "tfoot", "caption", "colgroup", "col", "td", "template"];
const SVG: &[&str] = &[
    "g",
    "path",
    "circle",
    "text",
    "foreignObject",
    "title",
    "desc",
    "a",
    "use",
    "linearGradient",
    "style",
    "script",
    "font",
];
const MATHML: &[&str] = &["mi", "mo", "mrow", "mfrac", "mtext", "annotation-xml", "mglyph", "semantics"];
const VOID: &[&str] = &["br", "hr", "img", "input", "col", "wbr", "image", "embed"];
/// Names whose end tag authors leave out.
const OPEN_ENDED: &[&str] = &[
    "p", "li", "td", "th", "tr", "dt", "dd", "option", "optgroup", "tbody", "thead", "colgroup", "rt", "b", "a", "i",
    "div", "span",
];
/// Names that run, load, take the focus or change how the rest is read.
#[rustfmt::skip]
const WILD: &[&str] = &[
    "script", "object", "video", "iframe", "img", "image", "dialog", "marquee", "use", "embed", "noscript", "plain-text", "listing",
    "foreignObject", "style", "font", "center", "nobr", "ruby",
];
const BROKEN: &[&str] = &[
    "</p>",
    "</br>",
    "</div>",
    "</b>",
    "<b>",
    "</table>",
    "<td>",
    "</td>",
    "</select>",
    "<tr>",
    "<!bogus>",
    "<!doctype html>",
    "</a>",
    "<a>",
    "<i>",
    "</form>",
    "<form>",
    "<svg/>",
    "<p/>",
    "</3>",
    "<3",
    "<![CDATA[x]]>",
    "<!-->",
    "<!--a--!>",
    "</template>",
    "<body class=b>",
    "<html lang=x>",
    "<head>",
    "</svg>",
    "<li>",
    "<option>",
    "</x-card>",
    "<nobr>",
    "</nobr>",
    "<frameset>",
    "<div",
    "<rt>",
    "<?pi x>",
];
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "tea", "milk", "sugar", "a", "b", "1", "2", "42", "label", " ", "\n", "  \n  ", "&amp;", "&lt;b&gt;", "&nbsp;", "é", "漢字", "😀", "e\u{301}",
    "&#x1F600;", "&copy", "&notit;", "&", "< ", "&#x80;", "&quot;", ",", "long text that one splice makes shorter", "\t", "&NotEqualTilde;",
    "👩‍👩‍👧", "x > y", "--", "]]>", "'", "&ampamp", "&#0;", "\u{a0}",
];
const ODD_WORDS: &[&str] =
    &["\r\n", "\r", "\0", "&#13;", "&#xD800;", "\u{c}", "\u{2028}", "\u{1}", "&#x110000;", "\u{ffff}", "\u{fdd0}"];
#[rustfmt::skip]
const NAMES: &[&str] = &[
    "class", "class", "class", "id", "id", "data-key", "dc-key", "dc-key", "title", "style", "href", "name", "hidden", "lang", "data-x", "aria-label",
    "value", "type", "checked", "selected", "disabled", "open", "colspan", "for", "tabindex", "contenteditable", "dir",
];
#[rustfmt::skip]
const ODD_NAMES: &[&str] = &[
    "=x", "a\"b", "@click", ":x", "[c]", "x:y", "xlink:href", "xml:lang", "xmlns", "xmlns:xlink", "onclick", "CLASS", "(e)", "*if", "a<b", "é", "__proto__",
    "constructor", "viewBox", "definitionURL", "xml:x", "is", "\u{fffd}", "#r", "'q", "dc-stay", "dc-force", "1", "-", "multiple", "form", "src",
];
const INPUT_TYPES: &[&str] = &[
    "text", "checkbox", "checkbox", "radio", "radio", "radio", "hidden", "number", "range", "color", "date", "submit",
    "email", "password", "search", "TEXT", "", "range",
];

impl Maker<'_> {
    /// Makes what a page or a part of one holds.
    pub(crate) fn pieces(&mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let n_pieces = 1 + self.random.below(6);
        while pieces.len() < n_pieces && self.budget > 0 {
            pieces.extend(self.child(Content::Flow, 0));
        }
        pieces
    }

    /// Makes a piece that often, not always, belongs into an element of this name.
    pub(crate) fn piece_for(&mut self, parent: Option<&str>) -> Option<Piece> {
        let content = match self.style {
            Style::Wild if self.random.one_in(12) => Content::Flow,
            _ => parent.map_or(Content::Flow, content_of),
        };
        self.child(content, 2)
    }

    fn child(&mut self, content: Content, depth: usize) -> Option<Piece> {
        if self.budget == 0 {
            return None;
        }
        self.budget -= 1;
        let is_wild = self.style == Style::Wild;
        if is_wild && self.random.one_in(60) {
            let broken = self.random_of(BROKEN);
            return Some(self.piece(Kind::Broken(broken)));
        }
        let content =
            if is_wild && content != Content::Raw && self.random.one_in(25) { Content::Flow } else { content };
        let is_structure =
            matches!(content, Content::Table | Content::Rows | Content::Cells | Content::Columns | Content::Options);
        let names: &[&'static str] = match content {
            Content::Flow if self.random.one_in(2) => INLINE,
            Content::Flow => FLOW,
            Content::Inline => INLINE,
            Content::Table => TABLE,
            Content::Rows => &["tr"],
            Content::Cells => &["td", "td", "th"],
            Content::Columns => &["col"],
            Content::Items => &["li"],
            Content::Definitions => &["dt", "dd"],
            Content::Form => &[
                "input", "input", "input", "label", "button", "select", "textarea", "fieldset", "p", "datalist",
                "meter", "table",
            ],
            Content::Options => &["option", "option", "option", "optgroup", "hr"],
            Content::Svg => SVG,
            Content::MathMl => MATHML,
            Content::Raw => &[],
            Content::Nothing => return None,
        };
        let text_odds = if is_structure { 12 } else { 3 };
        if names.is_empty() || self.random.one_in(text_odds) || depth > 9 {
            if is_structure && !is_wild {
                return Some(self.piece(Kind::Text("\n ".into())));
            }
            let text = self.text();
            return Some(self.piece(Kind::Text(text)));
        }
        if self.random.one_in(14) {
            let text = self.text().replace(['-', '>', '<', '!'], "");
            return Some(self.piece(Kind::Comment(text)));
        }
        let name = *self.random.pick(names);
        if !is_wild && WILD.contains(&name) {
            return None;
        }
        Some(self.element(name, depth))
    }

    pub(crate) fn random_of(&mut self, list: &[&'static str]) -> &'static str {
        list[self.random.below(list.len())]
    }

    fn piece(&mut self, kind: Kind) -> Piece {
        self.next += 1;
        Piece { number: self.next, kind, children: Vec::new() }
    }

    pub(crate) fn element(&mut self, name: &'static str, depth: usize) -> Piece {
        let is_wild = self.style == Style::Wild;
        let has_end_tag = !(is_wild && OPEN_ENDED.contains(&name) && self.random.one_in(8));
        let mut tag = Tag { name, attributes: Vec::new(), has_end_tag };
        if name == "input" {
            tag.attributes.push(("type", (*self.random.pick(INPUT_TYPES)).into()));
        }
        if name == "annotation-xml" && self.random.one_in(2) {
            tag.attributes
                .push(("encoding", (*self.random.pick(&["x", "", "text/html", "application/xhtml+xml"])).into()));
        }
        for _ in 0..self.random.below(4) {
            let attribute = self.attribute(name);
            tag.attributes.push(attribute);
        }
        let mut piece = self.piece(Kind::Element(tag));
        let content = content_of(name);
        let limit = if content == Content::Raw { 2 } else { 6 };
        for _ in 0..self.random.below(limit) {
            if self.random.one_in(2 + depth) && depth > 2 {
                break;
            }
            piece.children.extend(self.child(content, depth + 1));
        }
        piece
    }

    pub(crate) fn attribute(&mut self, element: &str) -> (&'static str, String) {
        let is_wild = self.style == Style::Wild;
        let is_control = matches!(element, "input" | "option" | "select" | "button" | "progress" | "meter");
        let name = if is_wild && self.random.one_in(12) {
            self.random_of(ODD_NAMES)
        } else if is_control && self.random.one_in(2) {
            self.random_of(&[
                "value", "checked", "selected", "disabled", "type", "name", "name", "multiple", "size", "min", "max",
                "label",
            ])
        } else if element == "details" && self.random.one_in(2) {
            self.random_of(&["open", "open", "name"])
        } else {
            self.random_of(NAMES)
        };
        let value = match name {
            "id" | "data-key" | "dc-key" => {
                (*self.random.pick(&["a", "b", "c", "d", "e", "f", "g", "h", "k-1", "k-2", ""])).into()
            }
            "type" => (*self.random.pick(INPUT_TYPES)).into(),
            "name" => (*self.random.pick(&["r", "q", "childNodes", "id", ""])).into(),
            "checked" | "selected" | "disabled" | "hidden" | "multiple" | "open" => String::new(),
            "value" | "min" | "max" => {
                (*self.random.pick(&["1", "5", "10", "x", "", "#ff0000", "2026-01-02", "a b"])).into()
            }
            "size" | "colspan" | "tabindex" => (*self.random.pick(&["1", "2", "3"])).into(),
            _ => self.text(),
        };
        (name, value)
    }

    pub(crate) fn text(&mut self) -> String {
        let n_words = 1 + self.random.below(4);
        (0..n_words).map(|_| self.word()).collect()
    }

    pub(crate) fn word(&mut self) -> &'static str {
        let is_odd = self.style == Style::Wild && self.random.one_in(60);
        self.random_of(if is_odd { ODD_WORDS } else { WORDS })
    }
}

fn content_of(name: &str) -> Content {
    match name {
        "p" | "h2" | "span" | "b" | "i" | "em" | "a" | "code" | "label" | "button" | "nobr" | "font" | "small"
        | "strong" | "u" | "s" | "sub" | "output" | "pre" | "listing" | "caption" | "ruby" | "summary" => {
            Content::Inline
        }
        "table" => Content::Table,
        "tbody" | "thead" | "tfoot" => Content::Rows,
        "tr" => Content::Cells,
        "colgroup" => Content::Columns,
        "ul" | "ol" => Content::Items,
        "dl" => Content::Definitions,
        "form" | "fieldset" => Content::Form,
        "select" | "optgroup" | "datalist" => Content::Options,
        "svg" | "g" | "use" | "linearGradient" => Content::Svg,
        "math" | "mrow" | "mfrac" | "semantics" | "mglyph" => Content::MathMl,
        "textarea" | "option" | "script" | "style" | "title" | "iframe" | "mi" | "mo" | "path" | "circle" | "text" => {
            Content::Raw
        }
        _ if VOID.contains(&name) => Content::Nothing,
        _ => Content::Flow,
    }
}

/// Writes the pieces as HTML, less those whose numbers are in `without`.
pub(crate) fn write(pieces: &[Piece], without: &HashSet<u32>) -> String {
    let mut html = String::new();
    write_pieces(pieces, without, &mut html);
    html
}

fn write_pieces(pieces: &[Piece], without: &HashSet<u32>, html: &mut String) {
    for piece in pieces.iter().filter(|piece| !without.contains(&piece.number)) {
        match &piece.kind {
            Kind::Text(text) => html.push_str(text),
            Kind::Broken(text) => html.push_str(text),
            Kind::Comment(text) => ["<!--", text, "-->"].iter().for_each(|part| html.push_str(part)),
            Kind::Element(tag) => {
                ["<", tag.name].iter().for_each(|part| html.push_str(part));
                for (idx, (attribute, value)) in tag.attributes.iter().enumerate() {
                    write_attribute(attribute, value, piece.number as usize + idx, html);
                }
                html.push('>');
                if VOID.contains(&tag.name) {
                    continue;
                }
                write_pieces(&piece.children, without, html);
                if tag.has_end_tag {
                    ["</", tag.name, ">"].iter().for_each(|part| html.push_str(part));
                }
            }
        }
    }
}

/// Writes an attribute in one of the ways that HTML has, chosen by `nth`.
fn write_attribute(name: &str, value: &str, nth: usize, out: &mut String) {
    out.push(' ');
    out.push_str(name);
    let is_bare = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if value.is_empty() && nth.is_multiple_of(2) {
        return;
    }
    let quote = match nth % 3 {
        0 if is_bare => "",
        1 if !value.contains('\'') => "'",
        _ if value.contains('"') => return,
        _ => "\"",
    };
    for part in ["=", quote, value, quote] {
        out.push_str(part);
    }
}
