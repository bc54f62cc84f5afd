//! The tools over the engine as a shell sees them: arguments and files in, text and exit codes out.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a run of the command leaves behind.
struct Outcome {
    code: i32,
    out: String,
    err: String,
    bytes: Vec<u8>,
}

/// Runs `domcast` in `dir` with `input` on standard input.
#[track_caller]
fn run(dir: &Path, args: &[&str], input: &[u8]) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_domcast"));
    command.args(args).current_dir(dir).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    // A command that does not read its input closes the pipe.
    _ = child.stdin.take().expect("standard input is piped").write_all(input);
    let output = child.wait_with_output().expect("the binary ends");
    Outcome {
        code: output.status.code().expect("no signal ended the command"),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        bytes: output.stdout,
    }
}

/// Makes a new folder with these files.
fn folder(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("a folder can be made");
    for (name, text) in files {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder can be made");
        std::fs::write(path, text).expect("a file can be written");
    }
    dir
}

#[test]
fn parse_prints_the_notation_of_html5lib_tests() {
    let dir = folder("parse-tree", &[("page.html", "<!doctype html><p class=a id=b>tea")]);
    let outcome = run(&dir, &["parse", "page.html"], b"");
    let tree = "| <!DOCTYPE html>\n| <html>\n|   <head>\n|   <body>\n|     <p>\n|       class=\"a\"\n|       id=\"b\"\n|       \"tea\"\n";
    assert_eq!((outcome.code, &*outcome.out, &*outcome.err), (0, tree, ""));
}

#[test]
fn parse_reads_a_fragment_in_its_context_from_standard_input() {
    let outcome = run(Path::new("."), &["parse", "-", "--fragment", "tbody"], b"<tr><td>tea");
    assert_eq!((outcome.code, &*outcome.out), (0, "| <tr>\n|   <td>\n|     \"tea\"\n"));
    let outcome = run(Path::new("."), &["parse", "-", "--fragment", "svg path"], b"<g/>");
    assert_eq!((outcome.code, &*outcome.out), (0, "| <svg g>\n"));
}

#[test]
fn parse_prints_the_tokens_of_the_protocol() {
    let args = ["parse", "-", "--fragment", "div", "--format", "json"];
    let outcome = run(Path::new("."), &args, b"<li class=new>tea</li><li>milk<br>sugar</li><svg><path/></svg>");
    let tokens = r#"["<li","@class","new","=tea","/","<li","=milk","<br","/","=sugar","/","<svg svg","<svg path"]"#;
    assert_eq!((outcome.code, outcome.out), (0, format!("{tokens}\n")));
}

#[test]
fn parse_without_scripting_reads_noscript_as_markup() {
    let html = b"<noscript><b>x";
    let with = run(Path::new("."), &["parse", "-", "--fragment", "div"], html);
    assert_eq!(with.out, "| <noscript>\n|   \"<b>x\"\n");
    let without = run(Path::new("."), &["parse", "-", "--fragment", "div", "--no-scripting"], html);
    assert_eq!(without.out, "| <noscript>\n|   <b>\n|     \"x\"\n");
}

#[test]
fn render_prints_the_html_of_a_template_and_a_state() {
    let files = [
        ("base.html", "<h1>{% block title %}{% endblock %}</h1>"),
        ("page.html", "{% extends 'base.html' %}{% block title %}{{ name }}{% endblock %}"),
        ("state.json", r#"{"name": "Ada & Bob"}"#),
    ];
    let dir = folder("render", &files);
    let outcome = run(&dir, &["render", "page.html", "--state", "state.json"], b"");
    assert_eq!((outcome.code, &*outcome.out, &*outcome.err), (0, "<h1>Ada &amp; Bob</h1>", ""));
    let above = run(dir.parent().expect("a parent"), &["render", "render/page.html", "--state", "-"], b"{\"name\": 1}");
    assert_eq!((above.code, &*above.out), (0, "<h1>1</h1>"));
    let by_dir = run(Path::new("."), &["render", "page.html", "--dir", dir.to_str().expect("UTF-8")], b"");
    assert_eq!((by_dir.code, &*by_dir.out), (0, "<h1></h1>"));
    let piped = run(&dir, &["render", "-", "--state", "state.json"], b"<p>{{ name }}</p>");
    assert_eq!((piped.code, &*piped.out), (0, "<p>Ada &amp; Bob</p>"));
}

#[test]
fn explain_prints_what_the_parts_of_a_template_read() {
    let files = [
        ("page.html", "<h1>{{ name }}</h1>\n{% for r in rows recursive %}{{ r }}{% endfor %}"),
        ("bad.html", "{% if %}"),
    ];
    let dir = folder("explain", &files);
    let outcome = run(&dir, &["explain", "page.html"], b"");
    let expected = "page.html:1 hole name; reads name\n\
                    page.html:2 opaque, because the loop is recursive; reads rows, r\n\
                    1 fine-grained, 1 opaque, 0 run at every update\n\
                    updates cost what changes: the skeletons have 3 nodes\n";
    assert_eq!((outcome.code, &*outcome.out, &*outcome.err), (0, expected, ""));
    let piped = run(&dir, &["explain", "-"], b"{{ a.b }}");
    assert_eq!(piped.out.lines().next(), Some("standard-input.html:1 hole a.b; reads a.b"));
    let wrong = run(&dir, &["explain", "bad.html"], b"");
    assert_eq!((wrong.code, wrong.err.contains("in template `bad.html` at line 1")), (2, true), "{}", wrong.err);
}

#[test]
fn explain_traces_which_layer_does_the_work_of_an_update() {
    let page = "<h1 class=\"{{ class }}\">{{ title }}</h1><ul>{% for r in rows %}<li dc-key=\"{{ r.id }}\">{{ r.name }}</li>{% endfor %}</ul>\n{{ note|safe }}";
    let files = [
        ("page.html", page),
        ("half.html", "<p {% if title %}class=a>{% else %}>{% endif %}{{ title }}</p>"),
        (
            "old.json",
            r#"{"title": "Tea", "class": "a", "note": "<b>old</b>", "rows": [{"id": 1, "name": "A"}, {"id": 2, "name": "B"}]}"#,
        ),
        (
            "text.json",
            r#"{"title": "Milk", "class": "a", "note": "<b>old</b>", "rows": [{"id": 1, "name": "A"}, {"id": 2, "name": "C"}]}"#,
        ),
        (
            "rows.json",
            r#"{"title": "Tea", "class": "b", "note": "<b>new</b>", "rows": [{"id": 1, "name": "A"}, {"id": 2, "name": "B"}, {"id": 3, "name": "C"}]}"#,
        ),
    ];
    let dir = folder("explain-trace", &files);
    let trace = |template: &str, new: &str| {
        let outcome = run(&dir, &["explain", template, "--trace", "old.json", new], b"");
        assert_eq!((outcome.code, &*outcome.err), (0, ""));
        let (found, times) = outcome.out.split_once("time ").expect("it ends with times");
        assert_eq!(times.matches(" us ").count(), 6, "{times}");
        found.to_owned()
    };
    assert_eq!(
        trace("page.html", "text.json"),
        "page      85 bytes of HTML, 10 nodes\n\
         state     title is another value\n\
         \x20         rows.1.name is another value\n\
         printed   page.html:1 hole title; reads title: 1 × another value\n\
         \x20         page.html:1 hole r.name; reads variables around it: 1 × another value\n\
         in vain   page.html:1 key r.id; reads variables around it: 1 ×\n\
         layer     texts set alone: 2\n\
         patches   2 in 28 bytes of JSON\n\
         \x20         [\"t\",2,\"Milk\"]\n\
         \x20         [\"t\",7,\"C\"]\n"
    );
    let rows = trace("page.html", "rows.json");
    for expected in [
        "rows has 3 items, before 2",
        "1 × 0 items in a row become 1",
        "start tags set alone: 1",
        "lists of children made of skeletons: 2",
        "nodes of printed markup",
    ] {
        assert!(rows.contains(expected), "{expected} in {rows}");
    }
    let whole = trace("half.html", "text.json");
    assert!(whole.contains("layer     the plain pipeline: all was rendered, parsed and compared, because "), "{whole}");
    let same = trace("page.html", "old.json");
    assert!(same.contains("state     nothing differs\nprinted   no part prints anything else\nin vain   no part ran again and printed the same\nlayer     none: nothing is to be done\npatches   0 in 0 bytes"), "{same}");
}

#[test]
fn render_errors_show_their_place() {
    let dir =
        folder("render-errors", &[("bad.html", "<p>\n{{ a.b.c }}\n</p>"), ("list.json", "[1]"), ("no.json", "{")]);
    let error = |args: &[&str]| {
        let outcome = run(&dir, args, b"");
        assert_eq!((outcome.code, &*outcome.out), (2, ""), "{args:?}");
        outcome.err
    };
    let place = error(&["render", "bad.html"]);
    assert!(place.contains("in template `bad.html` at line 2"), "{place}");
    assert!(error(&["render", "missing.html"]).contains("`missing.html` not found"));
    assert_eq!(error(&["render", "bad.html", "--state", "list.json"]), "domcast: `list.json` is not a JSON object\n");
    let not_json = "domcast: `no.json` is not JSON: EOF while parsing an object at line 1 column 1\n";
    assert_eq!(error(&["render", "bad.html", "--state", "no.json"]), not_json);
}

#[test]
fn diff_prints_patches_for_people_and_answers_1() {
    let dir = folder("diff-text", &[("old", "<ul><li>tea<li>milk</ul>"), ("new", "<ul><li>milk</ul>")]);
    let outcome = run(&dir, &["diff", "old", "new", "--fragment", "div"], b"");
    assert_eq!((outcome.code, &*outcome.out, &*outcome.err), (1, "remove #2\n", ""));
}

#[test]
fn diff_of_equal_trees_is_empty_and_answers_0() {
    let dir = folder("diff-equal", &[("old", "<p>tea"), ("new", "<p>tea</p>")]);
    let args = |format| ["diff", "old", "new", "--fragment", "div", "--format", format];
    let text = run(&dir, &args("text"), b"");
    assert_eq!((text.code, &*text.out), (0, ""));
    let json = run(&dir, &args("json"), b"");
    assert_eq!((json.code, &*json.out), (0, "[]\n"));
    let binary = run(&dir, &args("binary"), b"");
    assert_eq!((binary.code, binary.bytes), (0, vec![1]));
}

#[test]
fn diff_counts_patches_and_bytes_on_standard_error() {
    let dir = folder("diff-stats", &[("old", "<p>a</p><b>x</b>"), ("new", "<p class=c>b</p><b>x</b>")]);
    let args = |format| ["diff", "old", "new", "--fragment", "div", "--stats", "--format", format];
    let (json, binary) = (run(&dir, &args("json"), b""), run(&dir, &args("binary"), b""));
    assert_eq!(json.out, "[[\"a\",1,\"class\",\"c\"],[\"t\",2,\"b\"]]\n");
    let stats = format!(
        "2 patches\n  1 set text\n  1 set attribute\n{} bytes of patches as JSON\n{} bytes of patches as binary\n\
         16 bytes of old HTML\n24 bytes of new HTML\n",
        json.bytes.len() - 1,
        binary.bytes.len(),
    );
    assert_eq!(json.err, stats);
    assert_eq!(binary.err, stats);
}

#[test]
fn apply_runs_what_diff_found_in_both_encodings() {
    let old = "<!doctype html><title>a</title><ul><li id=1>tea<li id=2>milk</ul>";
    let new = "<!doctype html><title>b</title><ul><li id=2>milk<li id=1>tea<li>sugar</ul>";
    let dir = folder("apply", &[("old", old), ("new", new)]);
    let expected = "<!DOCTYPE html><html><head><title>b</title></head><body><ul><li id=\"2\">milk</li><li id=\"1\">tea</li><li>sugar</li></ul></body></html>";
    for format in ["json", "binary"] {
        let patches = run(&dir, &["diff", "old", "new", "--format", format], b"").bytes;
        let outcome = run(&dir, &["apply", "old", "-"], &patches);
        assert_eq!((outcome.code, &*outcome.out, &*outcome.err), (0, expected, ""));
    }
}

#[test]
fn apply_prints_the_tree_too() {
    let dir = folder("apply-tree", &[("old", "<p>tea"), ("patches", "[[\"t\",2,\"milk\"]]\n")]);
    let outcome = run(&dir, &["apply", "old", "patches", "--fragment", "div", "--format", "tree"], b"");
    assert_eq!((outcome.code, &*outcome.out), (0, "| <p>\n|   \"milk\"\n"));
}

#[test]
fn apply_of_patches_that_do_not_fit_answers_1_and_says_which() {
    let dir = folder("apply-misfit", &[("old", "<p>tea"), ("patches", "[[\"t\",2,\"a\"],[\"r\",7]]")]);
    let outcome = run(&dir, &["apply", "old", "patches", "--fragment", "div"], b"");
    let message = "domcast: `patches` does not fit `old`: patch 1 cannot be applied: there is no node #7\n";
    assert_eq!((outcome.code, &*outcome.out, &*outcome.err), (1, "", message));
}

#[test]
fn what_is_no_patch_list_is_an_error() {
    let dir = folder("apply-errors", &[("old", "<p>tea"), ("json", "[[\"t\",2]]"), ("cut", "\u{1}\u{7}")]);
    let error = |patches| {
        let outcome = run(&dir, &["apply", "old", patches], b"");
        assert_eq!((outcome.code, &*outcome.out), (2, ""));
        outcome.err
    };
    let json = "domcast: `json` holds no patch list: patch 0 cannot be read: a text was expected, found the end\n";
    assert_eq!(error("json"), json);
    let cut = "domcast: `cut` holds no patch list: patch 0 cannot be read: the bytes end too early\n";
    assert_eq!(error("cut"), cut);
    assert_eq!(error("old"), "domcast: `old` holds no patch list: expected value at line 1 column 1\n");
}

#[test]
fn usage_and_input_errors_answer_2_and_name_the_cause() {
    let dir = folder("errors", &[("old", "<p>")]);
    let error = |args: &[&str], input: &[u8]| {
        let outcome = run(&dir, args, input);
        assert_eq!((outcome.code, &*outcome.out), (2, ""), "{args:?}");
        outcome.err
    };
    assert_eq!(
        error(&["parse", "missing"], b""),
        "domcast: `missing` cannot be read: No such file or directory (os error 2)\n"
    );
    let not_utf8 = "domcast: standard input is not UTF-8: invalid utf-8 sequence of 1 bytes from index 1\n";
    assert_eq!(error(&["parse", "-"], b"a\xff"), not_utf8);
    let context =
        "domcast: `old` cannot be parsed: context `a b` is not an element (`div`, `tbody`, `svg path`, `math mi` …)\n";
    assert_eq!(error(&["parse", "old", "--fragment", "a b"], b""), context);
    let twice = "domcast: standard input can be read once only: name a file for one of the two\n";
    assert_eq!(error(&["diff", "-", "-"], b""), twice);
    assert!(error(&["diff", "old"], b"").contains("<NEW>"));
    assert!(error(&["parse", "old", "--format", "xml"], b"").contains("possible values: tree, json"));
    assert!(error(&["transmogrify"], b"").contains("unrecognized subcommand 'transmogrify'"));
}

#[test]
fn help_shows_examples() {
    for command in ["render", "parse", "diff", "apply", "check"] {
        let outcome = run(Path::new("."), &[command, "--help"], b"");
        assert_eq!(outcome.code, 0);
        assert!(outcome.out.contains(&format!("domcast {command} ")) && outcome.out.contains("Examples:"), "{command}");
    }
}

#[test]
fn check_ends_with_its_counts() {
    let pairs = concat!(
        r#"{"name": "a list", "from": "<ul><li>tea</ul>", "to": "<ul><li>milk</ul>"}"#,
        "\n\n",
        r#"{"name": "a page", "from": " <!DOCTYPE html><p>", "to": "<HTML><p>x"}"#,
        "\n",
        r#"{"path": "history", "versions": ["<p>a", "<p>b", "<p>b", "<p>c<p>d"]}"#,
        "\n",
    );
    let outcome = run(Path::new("."), &["check", "-"], pairs.as_bytes());
    assert_eq!((outcome.code, &*outcome.err), (0, ""));
    let lines: Vec<&str> = outcome.out.lines().collect();
    assert_eq!(lines[lines.len() - 1], "5 passed, 0 failed");
    assert!(lines[0].ends_with("bytes of new HTML") && lines.len() == 2, "{lines:?}");
}

#[test]
fn check_lists_failures_by_name() {
    // Deeper or larger than the limits is refused: the one failure that does not need a bug.
    let huge = "<b>".repeat(6_000_000);
    let pairs = format!(
        "{{\"name\": \"huge\", \"from\": \"{huge}\", \"to\": \"\"}}\n{{\"name\": \"ok\", \"from\": \"a\", \"to\": \"b\"}}\n"
    );
    let outcome = run(Path::new("."), &["check", "-"], pairs.as_bytes());
    assert_eq!(outcome.code, 1);
    let first = outcome.out.lines().next();
    assert_eq!(first, Some("failed: huge: HTML of 18000000 bytes exceeds the limit of 16777216"));
    assert!(outcome.out.ends_with("1 passed, 1 failed\n"), "{}", outcome.out);
}

#[test]
fn check_names_the_line_that_is_no_pair() {
    let outcome = run(Path::new("."), &["check", "-"], b"{\"from\": \"a\", \"to\": \"b\"}\n{\"from\": \"a\"}\n");
    assert_eq!(outcome.code, 2);
    assert_eq!(outcome.err, "domcast: line 2 of standard input has neither `from` and `to` nor `versions`\n");
    let outcome = run(Path::new("."), &["check", "-"], b"oops");
    assert_eq!((outcome.code, outcome.out), (2, String::new()));
    assert_eq!(outcome.err, "domcast: line 1 of standard input is no pair: expected value at line 1 column 1\n");
}

#[test]
fn explain_of_a_page_tells_which_views_stay_live_in_it() {
    let files = [
        ("domcast.toml", "[[views]]\nname = \"counter\"\ntemplate = \"parts/counter.html\"\n"),
        ("templates/parts/counter.html", "{% include 'parts/n.html' %}"),
        ("templates/parts/n.html", "{{ n }}"),
        ("templates/layout.html", "<!doctype html>{{ script() }}<main>{% block main %}{% endblock %}</main>"),
        (
            "templates/pages/about.html",
            "{% extends 'layout.html' %}\n{% block main %}{{ path }}\n{{ view(\"counter\") }}\n{% for v in views %}{{ view(v) }}{% endfor %}{% endblock %}",
        ),
        ("templates/pages/plain.html", "<p>Nothing live</p>"),
    ];
    let dir = folder("explain-page", &files);
    let Outcome { code, out, err, .. } = run(&dir, &["explain", "templates/pages/about.html"], b"");
    let expected = "`pages/about.html` is a page: it is rendered when it is loaded, and no update patches it
what stays live in it:
  pages/about.html:3 view(\"counter\"), whose template is `parts/counter.html`: explain that
  pages/about.html:4 view(v)
what shows with the next load:
  pages/about.html:2 hole path; reads path
  pages/about.html:4 for v in views
";
    assert_eq!((code, &*out, &*err), (0, expected, ""));
    let Outcome { code, out, .. } = run(&dir, &["explain", "templates/pages/plain.html"], b"");
    assert!(code == 0 && out.ends_with("it shows no view: nothing in it stays live\n"), "{out}");
    let Outcome { code, err, .. } =
        run(&dir, &["explain", "templates/pages/about.html", "--trace", "domcast.toml", "domcast.toml"], b"");
    let message =
        "domcast: `pages/about.html` is a page, which no update patches: trace the template of a view in it\n";
    assert_eq!((code, &*err), (2, message));
    // Names in the templates of a served folder are relative to all of them, wherever one stands.
    let Outcome { code, out, .. } = run(&dir, &["explain", "templates/parts/counter.html"], b"");
    assert!(code == 0 && out.starts_with("parts/n.html:1 hole n; reads n\n"), "{out}");
}
