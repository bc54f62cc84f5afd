//! Names of elements and attributes: with a namespace for people, as small numbers in a tree.

use crate::digest::Folding;
use std::borrow::Cow;
use std::fmt;
use std::hash::BuildHasher as _;

/// The namespaces that an HTML parser can give to an element or an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Namespace {
    /// No namespace: almost every attribute.
    None,
    /// HTML, the namespace of almost every element.
    Html,
    /// SVG elements.
    Svg,
    /// MathML elements.
    MathMl,
    /// The attributes `xlink:href`, `xlink:title` … of SVG and MathML elements.
    XLink,
    /// The attributes `xml:lang` and `xml:space` of SVG and MathML elements.
    Xml,
    /// The attributes `xmlns` and `xmlns:xlink` of SVG and MathML elements.
    Xmlns,
}

impl Namespace {
    const ALL: [Namespace; 7] = [
        Namespace::None,
        Namespace::Html,
        Namespace::Svg,
        Namespace::MathMl,
        Namespace::XLink,
        Namespace::Xml,
        Namespace::Xmlns,
    ];

    /// Returns the word that stands for this namespace in patches and in html5lib-tests: `svg`, `math`, `xlink` …
    pub fn prefix(self) -> &'static str {
        match self {
            Namespace::None => "-",
            Namespace::Html => "html",
            Namespace::Svg => "svg",
            Namespace::MathMl => "math",
            Namespace::XLink => "xlink",
            Namespace::Xml => "xml",
            Namespace::Xmlns => "xmlns",
        }
    }

    /// Returns the namespace that [`prefix`](Self::prefix) writes as `prefix`.
    pub fn from_prefix(prefix: &str) -> Option<Namespace> {
        Self::ALL.into_iter().find(|namespace| namespace.prefix() == prefix)
    }
}

/// The name of an element or an attribute.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name<'a> {
    /// Where the name belongs: [`Namespace::Html`] for most elements, [`Namespace::None`] for most attributes.
    pub namespace: Namespace,
    /// The name without a prefix, in lower case for HTML.
    pub local: &'a str,
}

impl<'a> Name<'a> {
    /// The name `local` in `namespace`.
    pub const fn new(namespace: Namespace, local: &'a str) -> Name<'a> {
        Name { namespace, local }
    }

    /// The name of an HTML element.
    pub const fn html(local: &'a str) -> Name<'a> {
        Name::new(Namespace::Html, local)
    }

    /// The name of an attribute without a namespace.
    pub const fn attribute(local: &'a str) -> Name<'a> {
        Name::new(Namespace::None, local)
    }

    /// Whether this names the HTML element `local`.
    pub fn is_html(self, local: &str) -> bool {
        self.namespace == Namespace::Html && self.local == local
    }

    /// Writes the name as patches do: alone in the `usual` namespace, else after its namespace and a space.
    pub(crate) fn to_wire(self, usual: Namespace, out: &mut String) {
        if self.namespace != usual || self.local.contains(' ') {
            out.push_str(self.namespace.prefix());
            out.push(' ');
        }
        out.push_str(self.local);
    }

    /// Reads what [`to_wire`](Self::to_wire) wrote; `None` if the namespace is unknown or the name empty.
    pub(crate) fn from_wire(usual: Namespace, text: &'a str) -> Option<Name<'a>> {
        let (namespace, local) = match text.split_once(' ') {
            Some((prefix, local)) => (Namespace::from_prefix(prefix)?, local),
            None => (usual, text),
        };
        (!local.is_empty()).then(|| Name::new(namespace, local))
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace {
            Namespace::None | Namespace::Html => write!(f, "{}", self.local),
            namespace => write!(f, "{} {}", namespace.prefix(), self.local),
        }
    }
}

/// A [`Name`] that owns its text, as patches hold it. Names that pages are made of take no allocation.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct NameBuf {
    namespace: Namespace,
    local: Cow<'static, str>,
}

impl NameBuf {
    /// Returns the name.
    pub fn as_name(&self) -> Name<'_> {
        Name::new(self.namespace, &self.local)
    }
}

impl From<Name<'_>> for NameBuf {
    fn from(name: Name<'_>) -> NameBuf {
        let local = match Symbol::known(name.local) {
            Some(symbol) => KNOWN[symbol.0 as usize].into(),
            None => name.local.to_owned().into(),
        };
        NameBuf { namespace: name.namespace, local }
    }
}

impl fmt::Debug for NameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_name().fmt(f)
    }
}

/// A name without its namespace, as a number: the same in every tree if it is well known, else a tree's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Symbol(u32);

impl Symbol {
    pub(crate) const DC_KEY: Symbol = Symbol::constant("dc-key");
    pub(crate) const DATA_KEY: Symbol = Symbol::constant("data-key");
    pub(crate) const ID: Symbol = Symbol::constant("id");
    pub(crate) const DC_STAY: Symbol = Symbol::constant("dc-stay");
    pub(crate) const AUDIO: Symbol = Symbol::constant("audio");
    pub(crate) const EMBED: Symbol = Symbol::constant("embed");
    pub(crate) const IFRAME: Symbol = Symbol::constant("iframe");
    pub(crate) const INPUT: Symbol = Symbol::constant("input");
    pub(crate) const OBJECT: Symbol = Symbol::constant("object");
    pub(crate) const SELECT: Symbol = Symbol::constant("select");
    pub(crate) const TEXTAREA: Symbol = Symbol::constant("textarea");
    pub(crate) const VIDEO: Symbol = Symbol::constant("video");

    /// Returns the symbol of a well-known name.
    pub fn known(local: &str) -> Option<Symbol> {
        let mut at = hash(local.as_bytes());
        loop {
            match TABLE[at % TABLE.len()] {
                FREE => return None,
                idx if KNOWN[idx as usize] == local => return Some(Symbol(u32::from(idx))),
                _ => at += 1,
            }
        }
    }

    const fn constant(local: &str) -> Symbol {
        let mut idx = 0;
        while !is_equal(KNOWN[idx].as_bytes(), local.as_bytes()) {
            idx += 1;
        }
        Symbol(idx as u32)
    }

    pub(crate) fn is_known(self) -> bool {
        (self.0 as usize) < KNOWN.len()
    }

    /// The position among the tree's own names, if it is not a well-known one.
    pub(crate) fn own(self) -> Option<usize> {
        (self.0 as usize).checked_sub(KNOWN.len())
    }

    /// The number, for hashing a well-known name.
    pub(crate) fn number(self) -> u64 {
        u64::from(self.0)
    }
}

/// The names of a tree that are not well known: one text, and a table of them, so that a name costs no allocation.
#[derive(Clone, Default)]
pub(crate) struct Names {
    text: String,
    /// Where each name ends in the text.
    ends: Vec<u32>,
    /// The number of each name at the place that its hash says, or after it, where the first is [`UNUSED`]. Always more than half are.
    table: Vec<u32>,
}

const UNUSED: u32 = u32::MAX;

impl Names {
    pub(crate) fn get(&self, symbol: Symbol) -> &str {
        match KNOWN.get(symbol.0 as usize) {
            Some(local) => local,
            None => self.own_name(symbol.0 as usize - KNOWN.len()),
        }
    }

    /// Returns the symbol of a name, if the tree has one; without one no node has this name.
    pub(crate) fn find(&self, local: &str) -> Option<Symbol> {
        let own = || self.table.get(self.place(local)).filter(|&&number| number != UNUSED);
        Symbol::known(local).or_else(|| own().map(|&number| own_symbol(number as usize)))
    }

    pub(crate) fn intern(&mut self, local: &str) -> Symbol {
        if let Some(symbol) = self.find(local) {
            return symbol;
        }
        let number = self.ends.len();
        self.text.push_str(local);
        self.ends.push(u32::try_from(self.text.len()).expect("less than 4 GiB of names"));
        if self.table.len() > 2 * number + 2 {
            self.note(number);
        } else {
            self.table = vec![UNUSED; (4 * number).next_power_of_two().max(16)];
            (0..=number).for_each(|number| self.note(number));
        }
        own_symbol(number)
    }

    fn note(&mut self, number: usize) {
        let place = self.place(self.own_name(number));
        self.table[place] = number as u32;
    }

    /// Where a name stands in the table, or is to stand.
    fn place(&self, local: &str) -> usize {
        let last = self.table.len().wrapping_sub(1);
        let mut place = Folding::new().hash_one(local) as usize & last;
        while self.table.get(place).is_some_and(|&number| number != UNUSED && self.own_name(number as usize) != local) {
            place = (place + 1) & last;
        }
        place
    }

    fn own_name(&self, number: usize) -> &str {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start as usize..self.ends[number] as usize]
    }

    /// Visits the names that are not well-known, in the order of their symbols.
    pub(crate) fn own(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len()).map(|number| self.own_name(number))
    }

    pub(crate) fn n_bytes(&self) -> usize {
        self.text.capacity() + 4 * (self.ends.capacity() + self.table.capacity())
    }
}

fn own_symbol(number: usize) -> Symbol {
    u32::try_from(KNOWN.len() + number).map(Symbol).expect("fewer than 2^32 names")
}

/// Names of HTML, SVG and MathML that pages are made of. The order is of no importance.
const KNOWN: [&str; 233] = [
    "a",
    "abbr",
    "accept",
    "action",
    "address",
    "align",
    "alt",
    "area",
    "aria-checked",
    "aria-controls",
    "aria-current",
    "aria-describedby",
    "aria-expanded",
    "aria-hidden",
    "aria-label",
    "aria-labelledby",
    "aria-selected",
    "article",
    "aside",
    "async",
    "audio",
    "autocomplete",
    "autofocus",
    "b",
    "base",
    "bdi",
    "bdo",
    "bgcolor",
    "big",
    "blockquote",
    "body",
    "border",
    "br",
    "button",
    "canvas",
    "caption",
    "cellpadding",
    "cellspacing",
    "center",
    "charset",
    "checked",
    "circle",
    "cite",
    "class",
    "clip-path",
    "clip-rule",
    "code",
    "col",
    "colgroup",
    "color",
    "cols",
    "colspan",
    "content",
    "controls",
    "cx",
    "cy",
    "d",
    "data",
    "data-id",
    "data-key",
    "data-name",
    "data-target",
    "data-toggle",
    "data-value",
    "datalist",
    "datetime",
    "dc-click",
    "dc-input",
    "dc-key",
    "dc-payload",
    "dc-stay",
    "dc-submit",
    "dd",
    "defer",
    "defs",
    "del",
    "desc",
    "details",
    "dfn",
    "dialog",
    "dir",
    "disabled",
    "div",
    "dl",
    "draggable",
    "dt",
    "ellipse",
    "em",
    "embed",
    "enctype",
    "fieldset",
    "figcaption",
    "figure",
    "fill",
    "fill-rule",
    "font",
    "footer",
    "for",
    "foreignObject",
    "form",
    "frameborder",
    "g",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "header",
    "height",
    "hidden",
    "hr",
    "href",
    "hreflang",
    "html",
    "http-equiv",
    "i",
    "id",
    "iframe",
    "image",
    "img",
    "input",
    "ins",
    "integrity",
    "itemprop",
    "itemscope",
    "itemtype",
    "kbd",
    "label",
    "lang",
    "legend",
    "li",
    "line",
    "linearGradient",
    "link",
    "loading",
    "loop",
    "main",
    "map",
    "mark",
    "max",
    "maxlength",
    "media",
    "menu",
    "meta",
    "meter",
    "method",
    "min",
    "multiple",
    "name",
    "nav",
    "noscript",
    "object",
    "ol",
    "onclick",
    "open",
    "optgroup",
    "option",
    "output",
    "p",
    "path",
    "pattern",
    "picture",
    "placeholder",
    "points",
    "polygon",
    "polyline",
    "pre",
    "progress",
    "property",
    "q",
    "r",
    "readonly",
    "rect",
    "rel",
    "required",
    "role",
    "rows",
    "rowspan",
    "s",
    "samp",
    "script",
    "search",
    "section",
    "select",
    "selected",
    "size",
    "sizes",
    "slot",
    "small",
    "source",
    "span",
    "src",
    "srcset",
    "step",
    "stroke",
    "stroke-linecap",
    "stroke-linejoin",
    "stroke-width",
    "strong",
    "style",
    "sub",
    "summary",
    "sup",
    "svg",
    "tabindex",
    "table",
    "target",
    "tbody",
    "td",
    "template",
    "text",
    "textarea",
    "tfoot",
    "th",
    "thead",
    "time",
    "title",
    "tr",
    "transform",
    "tspan",
    "type",
    "u",
    "ul",
    "use",
    "valign",
    "value",
    "var",
    "video",
    "viewBox",
    "width",
    "x",
];

const FREE: u16 = u16::MAX;

/// Where the known names are: a hash table, filled by the compiler.
static TABLE: [u16; 1024] = {
    let mut table = [FREE; 1024];
    let mut idx = 0;
    while idx < KNOWN.len() {
        let mut at = hash(KNOWN[idx].as_bytes()) % table.len();
        while table[at] != FREE {
            at = (at + 1) % table.len();
        }
        table[at] = idx as u16;
        idx += 1;
    }
    table
};

/// 32-bit FNV-1a. The table is fixed and a quarter full, so there is nothing to attack.
const fn hash(bytes: &[u8]) -> usize {
    let mut hash = 2_166_136_261_u32;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u32).wrapping_mul(16_777_619);
        at += 1;
    }
    (hash ^ hash >> 15) as usize
}

const fn is_equal(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}
