//! Bytes on the wire: what a push costs whoever is looking.
//!
//! A frame is `["p",1,8,` and the patch list and `]`. The limits are promises: a change that needs more is a change for
//! the worse, and one that needs less may lower them.

use domcast_diff::{Patches, Tree, diff};
use domcast_parser::parse_fragment;
use domcast_tests::laws;

/// One row of the table: what changes, the HTML before and after in a context, and the most bytes of its JSON frame.
struct Change {
    what: &'static str,
    context: &'static str,
    old: String,
    new: String,
    limit: usize,
}

#[test]
fn frames_of_1000_rows_are_small() {
    let rows: Vec<String> = (1..=1_000).map(|id| row(id, &format!("label {id}"))).collect();
    let all = rows.concat();
    let table =
        |what, new: Vec<String>, limit| Change { what, context: "tbody", old: all.clone(), new: new.concat(), limit };
    let edited = |edit: &dyn Fn(&mut Vec<String>)| {
        let mut rows = rows.clone();
        edit(&mut rows);
        rows
    };
    let items = |from: u32, between: &str| -> String {
        (from..=1_000).map(|id| format!("<li>item {id}</li>{between}")).collect()
    };
    let mut text = "All work and no play makes Jack a dull boy. ".repeat(300);
    text.truncate(12_000);
    let changes = [
        table("one label", edited(&|rows| rows[499] = row(500, "label changed")), 45),
        table("append one row", edited(&|rows| rows.push(row(1_001, "label 1001"))), 90),
        table("prepend one row", edited(&|rows| rows.insert(0, row(0, "label 0"))), 90),
        table("remove the first row", edited(&|rows| _ = rows.remove(0)), 25),
        table("remove a middle row", edited(&|rows| _ = rows.remove(499)), 25),
        table("remove the last row", edited(&|rows| _ = rows.pop()), 25),
        table("swap rows 2 and 999", edited(&|rows| rows.swap(1, 998)), 45),
        table("reverse all", edited(&|rows| rows.reverse()), 4_500),
        table(
            "every 10th label",
            edited(&|rows| {
                (0..1_000).step_by(10).for_each(|idx| rows[idx] = row(idx + 1, &format!("label {} !!!", idx + 1)));
            }),
            2_300,
        ),
        table("clear", Vec::new(), 25),
        table("same output again", rows.clone(), 0),
        Change {
            what: "one character appended to a text of 12 KB",
            context: "div",
            old: format!("<p>{text}</p>"),
            new: format!("<p>{text}!</p>"),
            limit: 40,
        },
        Change { what: "first of 1,000 unkeyed", context: "ul", old: items(1, ""), new: items(2, ""), limit: 25 },
        Change {
            what: "first of 1,000 unkeyed below a header",
            context: "ul",
            old: format!("<li class=header>items</li>{}", items(1, "")),
            new: format!("<li class=header>items</li>{}", items(2, "")),
            limit: 25,
        },
        Change {
            what: "first of 1,000 unkeyed with blanks between",
            context: "ul",
            old: items(1, "\n  "),
            new: items(2, "\n  "),
            limit: 25,
        },
        Change {
            what: "first of 1,000 keyed below an unkeyed header",
            context: "tbody",
            old: format!("<tr><th>id</th></tr>{all}"),
            new: format!("<tr><th>id</th></tr>{}", rows[1..].concat()),
            limit: 25,
        },
    ];
    let mut over = Vec::new();
    let (mut n_json, mut n_binary) = (0, 0);
    println!("{:45} {:>6} {:>6} {:>6} {:>8}", "change", "limit", "JSON", "binary", "patches");
    for change in &changes {
        let (old, new) = (tree(change, &change.old), tree(change, &change.new));
        let patches = diff(&old, &new);
        laws::update(&old, &new).unwrap_or_else(|reason| panic!("{}: {reason}", change.what));
        let (json, binary) = (json_frame(&patches), patches.to_binary().len());
        println!("{:45} {:6} {:6} {:6} {:8}", change.what, change.limit, json, binary, patches.len());
        if json > change.limit {
            over.push(format!("{}: {json} bytes exceed {}", change.what, change.limit));
        }
        n_json += patches.to_json().len();
        n_binary += binary;
    }
    assert!(over.is_empty(), "{}", over.join("\n"));
    assert!(2 * n_binary <= n_json, "{n_binary} bytes of binary are more than half of {n_json} bytes of JSON");
}

fn row(id: usize, label: &str) -> String {
    format!("<tr id=\"r-{id}\"><td>{id}</td><td>{label}</td></tr>")
}

fn tree(change: &Change, html: &str) -> Tree {
    parse_fragment(html, change.context).expect("the page is within the limits")
}

/// Returns the bytes of the frame; nothing is sent for no patches.
fn json_frame(patches: &Patches) -> usize {
    if patches.is_empty() { 0 } else { r#"["p",1,8,]"#.len() + patches.to_json().len() }
}
