//! Writes what the browser tests judge: pairs of HTML texts with the patches between them, one JSON object a line.
//!
//! ```text
//! pairs corpus                             other people's pairs, both ways
//! pairs texts                              the pairs on stdin, lines like `{"name":"…","from":"…","to":"…"}`;
//!                                          `"document":true` or `false` says what they are, else their beginning does
//! pairs histories                          page histories, each on one tree that lives through all its versions
//! pairs random --seed 1 --count 1000       generated pairs
//! pairs shown  --seed 1 --count 300        generated pairs for a page that is shown: nothing loads, an input survives
//! pairs chains --seed 1 --count 100        generated histories of 50 edits, with snapshots and mounts between
//! ```
//!
//! `--first N` begins at the pair N; `--edits 0,3` makes only these edits and `--without 5,7` leaves pieces of the
//! markup out: that is how a failure is made small. The corpus is `../shared/corpus` beside the repository, or what
//! `DOMCAST_CORPUS` names; without it nothing is written, and stderr says so.

mod edits;
mod markup;
mod random;

use domcast_diff::{NodeId, Patch, Patches, Tree, apply, diff};
use domcast_parser::Parser;
use domcast_tests::{data, oracle};
use markup::{Kind, Maker, Piece, Style};
use random::Random;
use serde_json::Value;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{BufWriter, Write as _, stdout};
use std::process::exit;

fn main() {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let mut options = Options::default();
    while let Some(name) = args.next() {
        let value = args.next().unwrap_or_default();
        match &*name {
            "--seed" => options.seed = number(&value),
            "--first" => options.first = number(&value),
            "--count" => options.count = number(&value),
            "--edits" => options.edits = Some(numbers(&value)),
            "--without" => options.without = numbers(&value),
            _ => usage(&format!("unknown option `{name}`")),
        }
    }
    let mut out = BufWriter::with_capacity(1 << 16, stdout().lock());
    let mut emit = |line: String| {
        // The reader may have seen enough.
        if writeln!(out, "{line}").is_err() {
            exit(0);
        }
    };
    match &*command {
        "corpus" => corpus(&mut emit),
        "texts" => texts(&mut emit),
        "histories" => histories(&mut emit),
        "random" => (options.first..options.first + options.count).for_each(|nth| emit(random_pair(&options, nth))),
        "shown" => (options.first..options.first + options.count).for_each(|nth| emit(shown_pair(&options, nth))),
        "chains" => (options.first..options.first + options.count).for_each(|nth| emit(chain(&options, nth))),
        _ => usage("which pairs?"),
    }
    out.flush().unwrap_or_else(|_| exit(0));
}

struct Options {
    seed: u64,
    first: u64,
    count: u64,
    /// The edits to make; all if it is absent.
    edits: Option<HashSet<u32>>,
    /// The pieces to leave out.
    without: HashSet<u32>,
}

impl Default for Options {
    fn default() -> Options {
        Options { seed: 1, first: 0, count: 1, edits: None, without: HashSet::new() }
    }
}

fn number(value: &str) -> u64 {
    value.parse().unwrap_or_else(|_| usage(&format!("`{value}` is not a number")))
}

fn numbers(value: &str) -> HashSet<u32> {
    value.split(',').filter(|part| !part.is_empty()).map(|part| number(part) as u32).collect()
}

fn usage(problem: &str) -> ! {
    eprintln!(
        "pairs: {problem}\nusage: pairs corpus|texts|histories|random|shown|chains [--seed N] [--first N] [--count N] [--edits N,…] [--without N,…]"
    );
    exit(2)
}

/// How the text is shown: a document without a window, as the judge uses, runs no scripts, and its `noscript` is markup.
///
/// The tree is html5ever's: what a browser reads differently is a difference to html5ever, never to the parser here. Only what
/// nests deeper than a browser allows is moved, and so has no oracle.
fn parse(html: &str, is_document: bool, scripting: bool) -> Tree {
    let parser = Parser { scripting, ..Parser::default() };
    let tree = if is_document { parser.document(html) } else { parser.fragment(html, "div") };
    let tree = tree.unwrap_or_else(|error| panic!("{error}: {html:.200}"));
    let oracle = if is_document {
        oracle::document_with(html, scripting)
    } else {
        oracle::fragment_with(html, "div", scripting)
    };
    let is_too_deep = oracle.descendants(NodeId::ROOT).any(|(_, depth)| depth > MAX_DEPTH);
    assert!(is_too_deep || tree == oracle, "html5ever reads otherwise: {html:?}\n{tree:?}\n{oracle:?}");
    tree
}

/// Levels that a browser's parser makes.
const MAX_DEPTH: usize = 512;

/// Spaces aside, what starts as a document is one.
fn is_document(html: &str) -> bool {
    let start = html.trim_start().as_bytes();
    ["<!doctype", "<html"]
        .iter()
        .any(|prefix| start.len() >= prefix.len() && start[..prefix.len()].eq_ignore_ascii_case(prefix.as_bytes()))
}

/// Two texts and their trees.
struct Pair<'a> {
    name: &'a str,
    texts: [&'a str; 2],
    trees: [Tree; 2],
    is_document: bool,
}

impl<'a> Pair<'a> {
    fn parse(name: &'a str, texts: [&'a str; 2], is_document: bool, scripting: bool) -> Pair<'a> {
        let trees = texts.map(|html| parse(html, is_document, scripting));
        Pair { name, texts, trees, is_document }
    }

    /// What the page must know to mount each text, and the way from the old to the new by patches and by snapshot.
    fn one_way(&self) -> Line {
        let [old, new] = &self.trees;
        let mut line = Line::new(self.name);
        line.text("old", self.texts[0]).text("new", self.texts[1]);
        line.json("document", &self.is_document.to_string());
        line.json("sums", &format!("[{},{}]", old.checksum(), new.checksum()));
        line.json("tokens", &format!("[{},{}]", old.to_tokens_json(), new.to_tokens_json()));
        line.json("patches", &checked_diff(old, new).to_json());
        line
    }

    fn both_ways(&self) -> Line {
        let [old, new] = &self.trees;
        let mut line = self.one_way();
        line.json("back", &checked_diff(new, old).to_json());
        line
    }
}

fn checked_diff(old: &Tree, new: &Tree) -> Patches {
    let patches = diff(old, new);
    let mut tree = old.clone();
    apply(&mut tree, &patches).expect("patches of `diff` apply to its `old`");
    assert!(tree == *new, "the diff law is broken:\n{old:?}\n{new:?}\n{patches}");
    assert_eq!(old == new, patches.is_empty(), "only equal trees need no patches");
    patches
}

fn corpus(emit: &mut impl FnMut(String)) {
    let Some(folder) = data::corpus("the pairs of HTML texts in a browser") else { return };
    for (idx, pair) in data::pairs(&folder).iter().enumerate() {
        let name = format!("{} {}: {}", idx + 1, pair.source, pair.name);
        emit(both_ways(&name, &pair.from, &pair.to, are_documents(&pair.from, &pair.to)));
    }
}

fn texts(emit: &mut impl FnMut(String)) {
    for line in std::io::stdin().lines() {
        let pair: Value = serde_json::from_str(&line.expect("stdin is text")).expect("a line is JSON");
        let [name, from, to] =
            ["name", "from", "to"].map(|field| pair[field].as_str().expect("a line has three texts"));
        let is_document = pair["document"].as_bool().unwrap_or_else(|| are_documents(from, to));
        emit(both_ways(name, from, to, is_document));
    }
}

/// A pair of a document and a fragment is one of documents: a fragment's root could not become a document.
fn are_documents(old: &str, new: &str) -> bool {
    is_document(old) || is_document(new)
}

fn both_ways(name: &str, old: &str, new: &str, is_document: bool) -> String {
    Pair::parse(name, [old, new], is_document, false).both_ways().end()
}

fn histories(emit: &mut impl FnMut(String)) {
    let Some(folder) = data::corpus("the page histories in a browser") else { return };
    for page in data::histories(&folder) {
        let versions: Vec<&str> = page.versions.iter().map(String::as_str).collect();
        let are_documents = versions.iter().any(|html| is_document(html));
        let mut history = History::new(parse(versions[0], are_documents, false));
        for html in &versions[1..] {
            history.update(&parse(html, are_documents, false));
        }
        emit(history.line(&format!("{} {}", page.source, page.path), &versions, are_documents));
    }
}

fn random_pair(options: &Options, nth: u64) -> String {
    let mut random = Random::new(&[options.seed, nth]);
    let shape = Shape::choose(&mut random);
    let budget = [4, 12, 30, 60][random.below(4)];
    let old = Maker { random: &mut random, style: Style::Wild, next: 0, budget }.pieces();
    let new = if random.one_in(8) {
        Maker { random: &mut random, style: Style::Wild, next: 1_000_000, budget }.pieces()
    } else {
        let n_edits = [0, 1, 1, 1, 2, 3, 5, 8, 12, 25][random.below(10)];
        edited(options, nth, &old, n_edits, Style::Wild)
    };
    let [old, new] = [&old, &new].map(|pieces| shape.around(&markup::write(pieces, &options.without)));
    let name = format!("random --seed {} --first {nth}", options.seed);
    Pair::parse(&name, [&old, &new], shape.is_document, false).one_way().end()
}

/// Makes the edits on a copy. Each draws from a sequence of its own, so one can be left out and the others stay.
fn edited(options: &Options, nth: u64, old: &[Piece], n_edits: u32, style: Style) -> Vec<Piece> {
    let mut new = old.to_vec();
    for idx in 0..n_edits {
        if options.edits.as_ref().is_some_and(|edits| !edits.contains(&idx)) {
            continue;
        }
        let mut random = Random::new(&[options.seed, nth, u64::from(idx) + 1]);
        let mut maker = Maker { random: &mut random, style, next: (idx + 1) * 10_000, budget: 12 };
        edits::edit(&mut new, &mut maker);
    }
    new
}

/// What stands around the pieces.
struct Shape {
    is_document: bool,
    before: String,
    after: &'static str,
}

impl Shape {
    fn choose(random: &mut Random) -> Shape {
        let (is_document, mut before, after) = match random.below(16) {
            0 => (
                true,
                "<!doctype html><html lang=en><head><meta charset=utf-8><title>t &amp; u</title></head><body class=b>",
                "</body></html>",
            ),
            1 => (true, "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Strict//EN\" \"x\">\n<title>t</title>", ""),
            2 => (true, "<html>\n<head>\n<style>a > b {}</style></head>\n", "</html><!-- end -->"),
            _ => (false, "", ""),
        };
        let mut deep = String::new();
        if random.one_in(1_000) {
            let name = random.pick(&["div", "span", "b", "g-x", "blockquote"]);
            (0..420 + random.below(100)).for_each(|_| _ = write!(deep, "<{name}>"));
            before = if is_document { "<!doctype html>" } else { "" };
        }
        Shape { is_document, before: format!("{before}{deep}"), after }
    }

    fn around(&self, html: &str) -> String {
        format!("{}{html}{}", self.before, self.after)
    }
}

/// An input with a key, somewhere among the pieces at the top, is in both texts.
fn shown_pair(options: &Options, nth: u64) -> String {
    let mut random = Random::new(&[options.seed, nth, 0]);
    let old = Maker { random: &mut random, style: Style::Tidy, next: 0, budget: 40 }.pieces();
    let n_edits = 1 + random.below(12) as u32;
    let new = edited(options, nth, &old, n_edits, Style::Tidy);
    let is_framed = random.one_in(2);
    let [old, new] = [old, new].map(|mut pieces| {
        let mut maker = Maker { random: &mut random, style: Style::Tidy, next: 500_000, budget: 10 };
        let title = maker.text().replace('"', "");
        let input = format!("<input dc-key=kept value='what the caret is in' title=\"{title}\">");
        let html =
            if is_framed { format!("<section dc-key=frame><p>{title}</p>{input}{title}</section>") } else { input };
        let at = maker.random.below(pieces.len() + 1);
        pieces.insert(at, Piece { number: 0, kind: Kind::Text(html), children: Vec::new() });
        markup::write(&pieces, &options.without)
    });
    let name = format!("shown --seed {} --first {nth}", options.seed);
    Pair::parse(&name, [&old, &new], false, true).one_way().end()
}

fn chain(options: &Options, nth: u64) -> String {
    let mut random = Random::new(&[options.seed, nth, 1]);
    let shape = Shape::choose(&mut random);
    let mut pieces = Maker { random: &mut random, style: Style::Wild, next: 0, budget: 30 }.pieces();
    let mut versions = vec![shape.around(&markup::write(&pieces, &options.without))];
    let mut history = History::new(parse(&versions[0], shape.is_document, false));
    for step in 0..50 {
        for _ in 0..1 + random.below(3) {
            let mut maker = Maker { random: &mut random, style: Style::Wild, next: (step + 1) * 10_000, budget: 8 };
            edits::edit(&mut pieces, &mut maker);
        }
        let html = shape.around(&markup::write(&pieces, &options.without));
        let new = parse(&html, shape.is_document, false);
        match random.below(12) {
            0 => history.snapshot(&new),
            1 => {
                history.update(&new);
                history.mount();
            }
            2 => {
                history.update(&new);
                history.compact();
            }
            _ => history.update(&new),
        }
        versions.push(html);
    }
    let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
    history.line(&format!("chains --seed {} --first {nth}", options.seed), &versions, shape.is_document)
}

/// A tree as a server keeps it, and what it sends: one step for every version after the first.
struct History {
    tree: Tree,
    sum: u32,
    /// What each version holds, in JSON.
    tokens: Vec<String>,
    /// JSON objects.
    steps: Vec<String>,
}

impl History {
    fn new(tree: Tree) -> History {
        History { sum: tree.checksum(), tokens: vec![tree.to_tokens_json()], tree, steps: Vec::new() }
    }

    fn update(&mut self, new: &Tree) {
        let mut patches = diff(&self.tree, new);
        apply(&mut self.tree, &patches).expect("patches of `diff` apply to its `old`");
        assert!(self.tree == *new, "the diff law is broken");
        if self.tree.is_sparse() {
            patches.0.push(self.compacted());
        }
        self.tokens.push(self.tree.to_tokens_json());
        self.steps.push(format!("{{\"patches\":{}}}", patches.to_json()));
    }

    fn compacted(&mut self) -> Patch {
        self.tree.compact();
        Patch::Compact { n_nodes: self.tree.n_nodes() as u32 }
    }

    /// Adds a renumbering to the last step.
    fn compact(&mut self) {
        let patches = Patches(vec![self.compacted()]).to_json();
        let last = self.steps.last_mut().expect("a step was made");
        last.pop();
        _ = write!(last, ",\"after\":{patches}}}");
    }

    /// Has the page be loaded anew at the last step, with the ids that the tree has.
    fn mount(&mut self) {
        let (ids, next, sum) = (self.ids(), self.tree.next_id().0, self.tree.checksum());
        let last = self.steps.last_mut().expect("a step was made");
        last.pop();
        _ = write!(last, ",\"mount\":{{\"ids\":{ids},\"next\":{next},\"sum\":{sum}}}}}");
    }

    /// Sends the content itself instead of patches; it has the ids that patches would have led to.
    fn snapshot(&mut self, new: &Tree) {
        let patches = diff(&self.tree, new);
        apply(&mut self.tree, &patches).expect("patches of `diff` apply to its `old`");
        let (ids, next, tokens) = (self.ids(), self.tree.next_id().0, self.tree.to_tokens_json());
        self.steps.push(format!("{{\"snapshot\":[{tokens},{ids},{next}]}}"));
        self.tokens.push(tokens);
    }

    fn ids(&self) -> String {
        let runs: Vec<String> =
            self.tree.numbering().iter().map(|(first, count)| format!("{},{count}", first.0)).collect();
        format!("[{}]", runs.join(","))
    }

    fn line(&self, name: &str, versions: &[&str], is_document: bool) -> String {
        let mut line = Line::new(name);
        line.json("document", &is_document.to_string());
        line.json("sum", &self.sum.to_string());
        line.json("versions", &serde_json::to_string(versions).expect("texts are JSON"));
        line.json("tokens", &format!("[{}]", self.tokens.join(",")));
        line.json("steps", &format!("[{}]", self.steps.join(",")));
        line.end()
    }
}

/// A JSON object on one line.
struct Line(String);

impl Line {
    fn new(name: &str) -> Line {
        let mut line = Line(String::from("{"));
        line.text("name", name);
        line
    }

    fn text(&mut self, name: &str, value: &str) -> &mut Line {
        self.json(name, &Value::from(value).to_string())
    }

    fn json(&mut self, name: &str, value: &str) -> &mut Line {
        let comma = if self.0.len() > 1 { "," } else { "" };
        _ = write!(self.0, "{comma}\"{name}\":{value}");
        self
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}
