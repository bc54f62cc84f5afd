//! The names that the standard treats specially.

use crate::fast::scan::first_bytes;

/// What an element's name means to the tree builder. Elements without a rule of their own are [`Tag::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    /// Any element without a rule of its own; its end tag must close the open element.
    Other,
    /// `section`, `ul`, `details` …: closes a `p`, and its end tag implies those of `p`, `li` …
    Block,
    /// `div` and its kin: a block in which `<li>` still ends the `li` around it, and so for `dd` and `dt`.
    Division,
    /// `pre`, `listing`: a block that drops a newline at its start.
    Pre,
    /// `h1` to `h6`.
    Heading,
    P,
    Li,
    /// `dd` and `dt`, which end each other.
    Definition,
    Form,
    Button,
    A,
    /// `b`, `em`, `code` …: an active formatting element.
    Formatting,
    /// `br`, `img` …: no content.
    Void,
    Hr,
    Input,
    /// `link`, `meta`, `base` …: no content, allowed in `head`.
    Meta,
    /// `style`, `script`: text up to the end tag, allowed in `head` and in tables.
    RawText,
    /// `iframe`, `noscript`, `noembed`, `xmp`: text up to the end tag.
    RawContent,
    Title,
    TextArea,
    Select,
    Option,
    OptGroup,
    Table,
    /// `tbody`, `thead`, `tfoot`.
    RowGroup,
    Row,
    /// `td`, `th`.
    Cell,
    Caption,
    ColGroup,
    Col,
    Svg,
    /// An SVG element inside `svg`.
    SvgChild,
    Html,
    Head,
    Body,
    /// Elements whose rules are left to html5ever: `template`, `math`, `ruby` parts, frames …
    Special,
}

/// Returns what an element's name in lower case means.
pub(crate) fn tag(name: &str) -> Tag {
    macro_rules! table {
        ($($tag:ident: $($name:literal)+;)+) => {
            match name {
                $($($name)|+ => Tag::$tag,)+
                _ => Tag::Other,
            }
        };
    }
    table! {
        Block: "ul" "ol" "section" "article" "header" "footer" "nav" "main" "aside" "figure" "figcaption" "blockquote" "center"
            "details" "dir" "dl" "fieldset" "hgroup" "menu" "summary";
        Division: "div" "address" "dialog" "search";
        Pre: "pre" "listing";
        Heading: "h1" "h2" "h3" "h4" "h5" "h6";
        P: "p";
        Li: "li";
        Definition: "dd" "dt";
        Form: "form";
        Button: "button";
        A: "a";
        Formatting: "b" "i" "em" "strong" "code" "small" "s" "u" "big" "font" "strike" "tt";
        Void: "br" "img" "area" "embed" "keygen" "wbr" "param" "source" "track";
        Hr: "hr";
        Input: "input";
        Meta: "link" "meta" "base" "basefont" "bgsound";
        RawText: "script" "style";
        RawContent: "iframe" "noscript" "noembed" "xmp";
        Title: "title";
        TextArea: "textarea";
        Select: "select";
        Option: "option";
        OptGroup: "optgroup";
        Table: "table";
        RowGroup: "tbody" "thead" "tfoot";
        Row: "tr";
        Cell: "td" "th";
        Caption: "caption";
        ColGroup: "colgroup";
        Col: "col";
        Svg: "svg";
        Html: "html";
        Head: "head";
        Body: "body";
        Special: "template" "math" "plaintext" "image" "nobr" "applet" "marquee" "object" "ruby" "rb" "rp" "rt" "rtc" "frame" "frameset"
            "noframes" "isindex" "selectedcontent" "datalist";
    }
}

/// A set of tags.
#[derive(Clone, Copy)]
pub(crate) struct Tags(u64);

impl Tags {
    pub(crate) const NONE: Tags = Tags(0);

    pub(crate) const fn of(tags: &[Tag]) -> Tags {
        let (mut bits, mut idx) = (0, 0);
        while idx < tags.len() {
            bits |= 1 << tags[idx] as u64;
            idx += 1;
        }
        Tags(bits)
    }

    pub(crate) const fn and(self, others: Tags) -> Tags {
        Tags(self.0 | others.0)
    }

    pub(crate) const fn without(self, others: Tags) -> Tags {
        Tags(self.0 & !others.0)
    }

    pub(crate) const fn has(self, tag: Tag) -> bool {
        self.0 >> tag as u64 & 1 != 0
    }

    /// Whether the sets share a tag.
    pub(crate) const fn meets(self, others: Tags) -> bool {
        self.0 & others.0 != 0
    }
}

/// What is known of the names met so far; a slot holds the last name that fell into it, which on a page is nearly always the same.
pub(crate) struct Cache<'a, T> {
    /// A power of two.
    n_slots: usize,
    /// Names of up to eight bytes, as numbers.
    short: Vec<Option<(u64, T)>>,
    long: Vec<Option<(&'a [u8], T)>>,
}

impl<'a, T: Copy> Cache<'a, T> {
    /// `n_slots` is a power of two.
    pub(crate) fn new(n_slots: usize) -> Cache<'a, T> {
        Cache { n_slots, short: Vec::new(), long: Vec::new() }
    }

    /// Returns what was found before for a name of up to eight bytes that `word` begins with.
    #[inline(always)]
    pub(crate) fn short(&self, word: u64, len: usize) -> Option<&T> {
        match self.short.get(self.slot(first_bytes(word, len)))? {
            Some((cached, found)) if *cached == first_bytes(word, len) => Some(found),
            _ => None,
        }
    }

    /// Returns what was found for `name` before, or finds it; `word` begins with the name.
    #[inline]
    pub(crate) fn get(&mut self, name: &'a [u8], word: u64, find: impl FnOnce() -> T) -> T {
        if name.len() > 8 || name.is_empty() {
            return self.get_long(name, find);
        }
        if let Some(&found) = self.short(word, name.len()) {
            return found;
        }
        let found = find();
        let letters = first_bytes(word, name.len());
        let slot = self.slot(letters);
        self.short.resize(self.n_slots, None);
        self.short[slot] = Some((letters, found));
        found
    }

    #[inline]
    fn slot(&self, letters: u64) -> usize {
        (letters.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize & (self.n_slots - 1)
    }

    fn get_long(&mut self, name: &'a [u8], find: impl FnOnce() -> T) -> T {
        let (first, last) = (name.first().copied().unwrap_or(0), name.last().copied().unwrap_or(0));
        let slot = (usize::from(first) * 31 + usize::from(last) * 7 + name.len()) & (self.n_slots - 1);
        if let Some(&Some((cached, found))) = self.long.get(slot)
            && cached == name
        {
            return found;
        }
        let found = find();
        self.long.resize(self.n_slots, None);
        self.long[slot] = Some((name, found));
        found
    }
}

/// Names inside `svg` that are written in lower case by the tokenizer but have capitals.
/// <https://html.spec.whatwg.org/multipage/parsing.html#parsing-main-inforeign>
pub(crate) fn svg_element(name: &str) -> Option<&'static str> {
    const NAMES: [&str; 37] = [
        "altGlyph",
        "altGlyphDef",
        "altGlyphItem",
        "animateColor",
        "animateMotion",
        "animateTransform",
        "clipPath",
        "feBlend",
        "feColorMatrix",
        "feComponentTransfer",
        "feComposite",
        "feConvolveMatrix",
        "feDiffuseLighting",
        "feDisplacementMap",
        "feDistantLight",
        "feDropShadow",
        "feFlood",
        "feFuncA",
        "feFuncB",
        "feFuncG",
        "feFuncR",
        "feGaussianBlur",
        "feImage",
        "feMerge",
        "feMergeNode",
        "feMorphology",
        "feOffset",
        "fePointLight",
        "feSpecularLighting",
        "feSpotLight",
        "feTile",
        "feTurbulence",
        "foreignObject",
        "glyphRef",
        "linearGradient",
        "radialGradient",
        "textPath",
    ];
    NAMES.into_iter().find(|known| known.eq_ignore_ascii_case(name))
}

/// Attributes inside `svg` that have capitals; the rule is that of [`svg_element`].
pub(crate) fn svg_attribute(name: &str) -> Option<&'static str> {
    const NAMES: [&str; 58] = [
        "attributeName",
        "attributeType",
        "baseFrequency",
        "baseProfile",
        "calcMode",
        "clipPathUnits",
        "diffuseConstant",
        "edgeMode",
        "filterUnits",
        "glyphRef",
        "gradientTransform",
        "gradientUnits",
        "kernelMatrix",
        "kernelUnitLength",
        "keyPoints",
        "keySplines",
        "keyTimes",
        "lengthAdjust",
        "limitingConeAngle",
        "markerHeight",
        "markerUnits",
        "markerWidth",
        "maskContentUnits",
        "maskUnits",
        "numOctaves",
        "pathLength",
        "patternContentUnits",
        "patternTransform",
        "patternUnits",
        "pointsAtX",
        "pointsAtY",
        "pointsAtZ",
        "preserveAlpha",
        "preserveAspectRatio",
        "primitiveUnits",
        "refX",
        "refY",
        "repeatCount",
        "repeatDur",
        "requiredExtensions",
        "requiredFeatures",
        "specularConstant",
        "specularExponent",
        "spreadMethod",
        "startOffset",
        "stdDeviation",
        "stitchTiles",
        "surfaceScale",
        "systemLanguage",
        "tableValues",
        "targetX",
        "targetY",
        "textLength",
        "viewBox",
        "viewTarget",
        "xChannelSelector",
        "yChannelSelector",
        "zoomAndPan",
    ];
    NAMES.into_iter().find(|known| known.eq_ignore_ascii_case(name))
}

/// HTML elements that end foreign content where they begin; the rule is that of [`svg_element`].
pub(crate) fn breaks_out_of_svg(name: &str) -> bool {
    const NAMES: [&str; 45] = [
        "b",
        "big",
        "blockquote",
        "body",
        "br",
        "center",
        "code",
        "dd",
        "div",
        "dl",
        "dt",
        "em",
        "embed",
        "font",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "head",
        "hr",
        "i",
        "img",
        "li",
        "listing",
        "menu",
        "meta",
        "nobr",
        "ol",
        "p",
        "pre",
        "ruby",
        "s",
        "small",
        "span",
        "strike",
        "strong",
        "sub",
        "sup",
        "table",
        "tt",
        "u",
        "ul",
        "var",
    ];
    NAMES.contains(&name)
}
