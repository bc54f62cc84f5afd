//! Texts that are hard on parsers and differs.

use domcast_parser::Limits;

/// A family of texts, one for each size.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    /// The text of about `n` elements, whose parts say `word`.
    write: fn(n: usize, word: &str) -> String,
}

pub(crate) const ALL: [Shape; 8] = [
    Shape { name: "nested <div>", write: |n, word| format!("<div class={word}>").repeat(n) },
    Shape { name: "nested <ul><li>", write: |n, word| format!("<ul class={word}><li>").repeat(n / 2) },
    Shape { name: "misnested <b><p>", write: |n, word| format!("<b class={word}><p>").repeat(n / 2) },
    Shape { name: "unclosed <a>", write: |n, word| format!("<a class={word}>x").repeat(n) },
    Shape {
        name: "table, half of it outside",
        write: |n, word| format!("<table>{}", format!("<tr><div>{word}</div><td>{word}").repeat(n / 3)),
    },
    Shape {
        name: "attributes of one tag",
        write: |n, word| format!("<div{}>", (0..n).map(|idx| format!(" a{idx}={word}")).collect::<String>()),
    },
    Shape {
        name: "list reversal",
        write: |n, word| {
            let item = |idx: usize| format!("<li id=k{idx}></li>");
            if word == "old" { (0..n).map(item).collect() } else { (0..n).rev().map(item).collect() }
        },
    },
    Shape {
        name: "all keys duplicate",
        write: |n, word| {
            let item = |idx: usize| format!("<li id=k>{idx}</li>");
            if word == "old" { (0..n).map(item).collect() } else { (0..n).rev().map(item).collect() }
        },
    },
];

impl Shape {
    pub(crate) fn html(&self, n: usize, word: &str) -> String {
        (self.write)(n, word)
    }

    /// The default, but for attributes: how their cost grows shows above the limit only.
    pub(crate) fn limits(&self) -> Limits {
        Limits { n_attributes: 1 << 20, ..Limits::default() }
    }
}

pub(crate) fn nested(n: usize) -> String {
    "<div>".repeat(n)
}

/// A tag with `n` attributes of different names.
pub(crate) fn many_attributes(n: usize) -> String {
    let mut html = String::from("<p");
    (0..n).for_each(|idx| html.push_str(&format!(" a{idx}=1")));
    html + ">"
}

/// What stands before the tag, and the text for it.
pub(crate) const HIDING_PLACES: [(&str, &str); 5] = [
    ("regular", "<p>tea</p>"),
    ("after misnested formatting", "<b><p>tea</b>"),
    ("after a comment with a tag in it", "<!-- <p a=\"> -->"),
    ("in SVG, after a style", "<svg><style><p x='</style>'>"),
    ("after a quoted `>`", "<b><i title='>'></b>"),
];

/// Lists of keys of some kind.
pub(crate) fn keys(n: usize) -> [(&'static str, Vec<String>); 3] {
    let random = |idx: usize| format!("{:016x}", (idx as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let common = "a".repeat(64);
    [
        ("random", (0..n).map(random).collect()),
        ("equal", vec!["k".into(); n]),
        ("long, differing at the end,", (0..n).map(|idx| format!("{common}{idx}")).collect()),
    ]
}
