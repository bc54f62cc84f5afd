//! What subscribers get: what they miss, once, and nothing else.

use crate::client::{Page, content, now, unlimited, waiting};
use domcast_push::template::Templates;
use domcast_push::{Client, DeclaredView, Edits, Gate, HistoryLimits, Hub, MailboxLimits, Options, Push};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

fn hub(options: Options) -> Hub {
    let hub = Hub::with_options(Templates::from_sources([("n.html", "{{ n }}")]), options);
    hub.register_posted("panel", "<p>0</p>").unwrap();
    hub.register_posted("other", "<p>other</p>").unwrap();
    hub
}

fn push(hub: &Hub, html: &str) -> u64 {
    hub.push_blocking(Push::html("panel", html)).unwrap().version().unwrap()
}

fn frames(page: &Page) -> Vec<Value> {
    std::iter::from_fn(|| waiting(page.session.as_ref().unwrap())).collect()
}

#[test]
fn connecting_to_a_fresh_page_sends_nothing_but_the_greeting() {
    let hub = hub(unlimited());
    let mut page = Page::load(&hub, "panel");
    page.connect(&hub);
    assert_eq!(frames(&page), [json!(["mounted", "panel", 0, page.position, 500])]);
}

#[test]
fn what_changed_between_page_and_connection_arrives_once() {
    let hub = hub(unlimited());
    let mut page = Page::load(&hub, "panel");
    push(&hub, "<p>1</p>");
    push(&hub, "<p>2</p>");
    page.connect(&hub);
    push(&hub, "<p>3</p>");
    assert_eq!(page.read(usize::MAX), [] as [Value; 0]);
    // As one frame: the last of the three was not written yet when the page came to read.
    assert_eq!((page.n_patches, page.n_snapshots), (1, 0));
    assert_eq!(page.tree.to_html(), "<p>3</p>");
}

#[test]
fn a_page_older_than_the_history_gets_one_snapshot() {
    let history = HistoryLimits { n_updates: 2, ..HistoryLimits::default() };
    let hub = hub(Options { history, ..unlimited() });
    let mut old = Page::load(&hub, "panel");
    push(&hub, "<p>1</p>");
    let mut newer = Page::load(&hub, "panel");
    push(&hub, "<p>2</p>");
    push(&hub, "<p>3</p><i>i</i>");
    for (page, expected) in [(&mut old, (0, 1)), (&mut newer, (1, 0))] {
        page.connect(&hub);
        page.read(usize::MAX);
        assert_eq!((page.n_patches, page.n_snapshots), expected);
        assert_eq!(page.tree.to_html(), "<p>3</p><i>i</i>");
    }
}

#[test]
fn a_page_that_missed_more_bytes_than_the_history_holds_gets_one_snapshot() {
    let history = HistoryLimits { n_bytes: 2500, ..HistoryLimits::default() };
    let hub = hub(Options { history, ..unlimited() });
    let show = |n: usize| push(&hub, &format!("<b>{}</b><p>{}</p>", "b".repeat(3000), n.to_string().repeat(1000)));
    show(0);
    let mut pages = [1, 2].map(|n| {
        let page = Page::load(&hub, "panel");
        show(n);
        page
    });
    show(3);
    for (page, expected) in pages.iter_mut().zip([(0, 1), (1, 0)]) {
        page.connect(&hub);
        page.read(usize::MAX);
        assert_eq!((page.n_patches, page.n_snapshots), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_away_longer_than_the_history_is_kept_gets_one_snapshot() {
    let history = HistoryLimits { age: Duration::from_secs(60), ..HistoryLimits::default() };
    let hub = hub(Options { history, ..unlimited() });
    let mut pages = [0, 1].map(|_| Page::load(&hub, "panel"));
    hub.push(Push::html("panel", "<p>1</p>")).await.unwrap();
    for (page, (n_seconds, expected)) in pages.iter_mut().zip([(60, (1, 0)), (1, (0, 1))]) {
        tokio::time::advance(Duration::from_secs(n_seconds)).await;
        page.connect(&hub);
        page.read(usize::MAX);
        assert_eq!((page.n_patches, page.n_snapshots), expected);
        assert_eq!(page.tree.to_html(), "<p>1</p>");
    }
}

#[test]
fn positions_that_mean_nothing_here_get_a_snapshot() {
    let hub = hub(unlimited());
    push(&hub, "<p>1</p>");
    let position = Page::load(&hub, "panel").position.unwrap();
    let epoch = position.split(':').next().unwrap();
    for position in [None, Some("otherlife:1".into()), Some(format!("{epoch}:2")), Some("nonsense".into())] {
        let mut page = Page::load(&hub, "panel");
        page.position.clone_from(&position);
        page.connect(&hub);
        page.read(usize::MAX);
        assert_eq!((page.n_patches, page.n_snapshots), (0, 1), "{position:?}");
    }
}

#[test]
fn an_unknown_view_is_answered_and_the_others_are_mounted() {
    let hub = hub(unlimited());
    let session = hub.connect();
    session.receive(r#"["hello", 1, [["nothing", null], ["other", null]]]"#).unwrap();
    assert_eq!(waiting(&session), Some(json!(["unknown", "nothing"])));
    assert_eq!(waiting(&session).unwrap()[0], "mounted");
    assert_eq!(waiting(&session).unwrap()[0], "snapshot");
}

#[test]
fn a_slow_reader_gets_one_patch_list_to_the_newest_state() {
    let mailbox = MailboxLimits { n_frames: 4, ..MailboxLimits::default() };
    let hub = hub(Options { mailbox, ..unlimited() });
    let (mut slow, mut quick) = (Page::load(&hub, "panel"), Page::load(&hub, "panel"));
    slow.connect(&hub);
    quick.connect(&hub);
    // Read up to version 2 before it stalls.
    for n in 1..=100 {
        push(&hub, &format!("<p>{n}</p>"));
        quick.read(usize::MAX);
        if n <= 2 {
            slow.read(usize::MAX);
        }
    }
    let waiting = frames(&slow);
    let [frame] = &waiting[..] else { panic!("{waiting:?}") };
    assert_eq!(frame, &json!(["p", 0, 100, [["t", 2, "100"]], 2]));
    assert_eq!((quick.n_patches, quick.n_snapshots), (100, 0));
}

#[test]
fn a_slow_reader_that_is_behind_the_history_gets_one_snapshot() {
    let mailbox = MailboxLimits { n_frames: 4, ..MailboxLimits::default() };
    let history = HistoryLimits { n_updates: 50, ..HistoryLimits::default() };
    let hub = hub(Options { mailbox, history, ..Options::default() });
    let mut slow = Page::load(&hub, "panel");
    slow.connect(&hub);
    for n in 1..=51 {
        push(&hub, &format!("<p>{n}</p>"));
    }
    slow.read(usize::MAX);
    assert_eq!((slow.n_patches, slow.n_snapshots), (0, 1));
    push(&hub, "<p>last</p>");
    slow.read(usize::MAX);
    assert_eq!(slow.tree.to_html(), "<p>last</p>");
}

#[test]
fn of_a_patch_list_and_a_snapshot_a_slow_reader_gets_the_shorter_one() {
    let hub = hub(Options::default());
    let mut slow = Page::load(&hub, "panel");
    push(&hub, "<p>0</p><i>one</i>");
    push(&hub, "<p>0</p>");
    push(&hub, "<b>a text that travels only once</b><p>0</p>");
    push(&hub, "<b>0</b>");
    slow.connect(&hub);
    slow.read(usize::MAX);
    assert_eq!((slow.n_patches, slow.n_snapshots), (0, 1));
    assert_eq!(slow.tree.to_html(), "<b>0</b>");
}

/// Prints how many bytes a reader that stalled for 64 updates gets: `cargo test -p domcast-push stalled -- --nocapture`.
#[test]
fn a_reader_that_stalled_gets_a_small_part_of_a_snapshot() {
    let table = |n: usize| {
        let row = |row: usize| {
            let price = if row == n % 100 { n } else { 0 };
            format!("<tr dc-key={row}><td>row {row}</td><td class=price>{price}</td><td>in stock</td></tr>")
        };
        let rows: String = (0..100).map(row).collect();
        format!("<p>update {n}</p><table><tbody>{rows}</tbody></table>")
    };
    let hub = hub(Options { mailbox: MailboxLimits { n_frames: 4, ..MailboxLimits::default() }, ..Options::default() });
    push(&hub, &table(0));
    let mut slow = Page::load(&hub, "panel");
    slow.connect(&hub);
    let mut n_bytes_sent = 0;
    let quick = hub.connect();
    quick.receive(&json!(["hello", 1, [["panel", slow.position]]]).to_string()).unwrap();
    let read = || now(quick.next()).flatten().map_or(0, |frame| frame.len());
    read();
    for n in 1..=64 {
        push(&hub, &table(n));
        n_bytes_sent += read();
    }
    let n_bytes: usize = frames(&slow).iter().map(|frame| frame.to_string().len()).sum();
    slow.session.as_ref().unwrap().receive(r#"["resync", 0]"#).unwrap();
    let n_bytes_snapshot = now(slow.session.as_ref().unwrap().next()).flatten().unwrap().len();
    println!(
        "64 updates of a 100-row table: {n_bytes_sent} bytes; as one list {n_bytes}; a snapshot {n_bytes_snapshot}"
    );
    assert!(n_bytes * 2 < n_bytes_snapshot && n_bytes < n_bytes_sent, "{n_bytes} of {n_bytes_snapshot}");
}

#[test]
fn however_many_slow_readers_at_different_versions_the_lists_made_for_them_are_bounded() {
    let mailbox = MailboxLimits { n_frames: 1, ..MailboxLimits::default() };
    let hub = hub(Options { mailbox, ..Options::default() });
    let mut slow = Vec::new();
    for n in 1..=40 {
        let mut page = Page::load(&hub, "panel");
        page.connect(&hub);
        page.read(usize::MAX);
        slow.push(page);
        push(&hub, &format!("<p>{n}</p><i>and quite some more text that a snapshot has to carry</i>"));
    }
    push(&hub, "<p>end</p><i>and quite some more text that a snapshot has to carry</i>");
    let mut n_snapshots = 0;
    for page in &mut slow {
        page.read(usize::MAX);
        assert_eq!(page.tree.to_html(), content(&hub, "panel"));
        n_snapshots += page.n_snapshots;
    }
    assert_eq!(n_snapshots, 40 - 32);
}

#[test]
fn a_client_that_acknowledges_and_stops_is_held_and_then_gets_the_newest_state_only() {
    let hub = hub(Options::default());
    let mut page = Page::load(&hub, "panel");
    page.connect(&hub);
    let say = |page: &Page, frame: Value| page.session.as_ref().unwrap().receive(&frame.to_string()).map(|_| ());
    say(&page, json!(["ack", 0])).unwrap();
    for n in 1..=200 {
        push(&hub, &format!("<p>{n}</p>"));
        page.read(usize::MAX);
    }
    // The greeting and 63 updates.
    assert_eq!((page.n_patches, page.session.as_ref().unwrap().is_held()), (63, true));
    say(&page, json!(["ack", 64])).unwrap();
    page.read(usize::MAX);
    assert_eq!((page.n_patches, page.n_snapshots), (64, 0));
    assert_eq!(page.tree.to_html(), "<p>200</p>");
    let error = say(&page, json!(["ack", 66])).unwrap_err();
    assert_eq!(error.to_string(), "malformed frame: 66 frames are acknowledged, fewer were sent");
}

#[test]
fn a_page_that_lost_its_way_asks_for_a_snapshot() {
    let hub = hub(unlimited());
    let mut page = Page::load(&hub, "panel");
    page.connect(&hub);
    push(&hub, "<p>1</p>");
    page.session.as_ref().unwrap().receive(r#"["resync", 0]"#).unwrap();
    page.read(usize::MAX);
    assert_eq!((page.n_patches, page.n_snapshots), (0, 1));
    assert_eq!(page.tree.to_html(), "<p>1</p>");
}

/// Pushes to the panel when it is asked for another view: between the mounts of one `hello`.
struct Pushing(Hub);

impl Gate for Pushing {
    fn may_mount(&self, view: &str, _: Option<&str>, _: &str) -> bool {
        if view == "other" {
            push(&self.0, "<p>1</p>");
        }
        true
    }
}

#[test]
fn what_comes_between_two_mounts_of_one_view_reaches_both() {
    let hub = hub(unlimited());
    let position = Page::load(&hub, "panel").position;
    let other = Page::load(&hub, "other").position;
    let session = hub.connect_through(Client::default(), Arc::new(Pushing(hub.clone())));
    session
        .receive(&json!(["hello", 1, [["panel", position], ["other", other], ["panel", position]]]).to_string())
        .unwrap();
    let frames: Vec<Value> = std::iter::from_fn(|| waiting(&session)).collect();
    // An element takes nothing before it is told that it is mounted.
    assert_eq!(frames.iter().map(|frame| &frame[0]).collect::<Vec<_>>(), ["mounted", "mounted", "mounted", "p"]);
    assert_eq!(frames[3], json!(["p", 0, 1, [["t", 2, "1"]]]));
}

#[test]
fn subscribers_share_the_bytes_of_a_frame() {
    let hub = hub(unlimited());
    let sessions = [hub.connect(), hub.connect()];
    let position = Page::load(&hub, "panel").position;
    for session in &sessions {
        session.receive(&json!(["hello", 1, [["panel", position]]]).to_string()).unwrap();
        assert_eq!(waiting(session).unwrap()[0], "mounted");
    }
    let receipt = hub.push_blocking(Push::html("panel", "<p>1</p>")).unwrap();
    assert_eq!(receipt.subscribers, 2);
    let [one, other] = sessions.each_ref().map(|session| now(session.next()).unwrap().unwrap());
    assert_eq!(one.as_ptr(), other.as_ptr());
}

#[test]
fn a_session_that_ends_is_subscribed_no_more() {
    let hub = hub(unlimited());
    let mut page = Page::load(&hub, "panel");
    page.connect(&hub);
    assert_eq!(hub.views()[1].subscribers, 1);
    page.disconnect();
    assert_eq!(hub.views()[1].subscribers, 0);
}

#[test]
fn ids_stay_short_on_a_page_that_lives_long() {
    let hub = hub(unlimited());
    let mut page = Page::load(&hub, "panel");
    page.connect(&hub);
    for n in 0..2000 {
        push(&hub, if n % 2 == 0 { "<p>a</p>" } else { "<i>a</i>" });
        page.read(usize::MAX);
    }
    assert_eq!((page.n_patches, page.n_snapshots), (2000, 0));
    assert!(page.tree.next_id().0 < 1100, "{:?}", page.tree.next_id());
    assert_eq!(page.tree.to_html(), content(&hub, "panel"));
    // And the ids of a page loaded now fit.
    let mut late = Page::load(&hub, "panel");
    late.connect(&hub);
    push(&hub, "<b>end</b>");
    late.read(usize::MAX);
    assert_eq!(late.tree.to_html(), "<b>end</b>");
}

#[tokio::test]
async fn in_development_a_page_is_told_of_faults_and_of_their_end() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults");
    std::fs::create_dir_all(&folder).unwrap();
    let write = |source: &str| std::fs::write(folder.join("a.html"), source).unwrap();
    write("{% if %}");
    let hub = Hub::with_options(Templates::from_folder(&folder), Options { development: true, ..unlimited() });
    hub.register_declared("a", domcast_push::DeclaredView::new("a.html")).unwrap();
    let mut page = Page::load(&hub, "a");
    page.connect(&hub);
    let fault = |line: u32, excerpt: &str| {
        let message = "syntax error: unexpected end of block";
        json!(["fault", 0, {"message": message, "template": "a.html", "line": line, "excerpt": excerpt}])
    };
    assert_eq!(page.read(usize::MAX), [fault(1, "   1 > {% if %}\n")]);
    write("<p>fine</p>");
    hub.templates_changed().await;
    assert_eq!(page.read(usize::MAX), [json!(["fault", 0, null])]);
    assert_eq!(page.tree.to_html(), "<p>fine</p>");
    write("\n{% if %}");
    hub.templates_changed().await;
    hub.templates_changed().await;
    assert_eq!(page.read(usize::MAX), [fault(2, "   1 | \n   2 > {% if %}\n")]);
    assert_eq!(page.tree.to_html(), "<p>fine</p>");
}

#[test]
fn outside_development_faults_go_to_the_sender_only() {
    let hub = Hub::new(Templates::from_sources([("a.html", "{{ n }}{% if n == 1 %}{{ n.x.y }}{% endif %}")]));
    hub.register_declared("a", domcast_push::DeclaredView::new("a.html").state("n", 0)).unwrap();
    let mut page = Page::load(&hub, "a");
    page.connect(&hub);
    assert!(hub.push_blocking(Push::state("a", [("n", 1)])).is_err());
    assert_eq!(page.read(usize::MAX), [] as [Value; 0]);
}

#[test]
fn an_event_whose_connection_goes_away_runs_once_or_not_at_all() {
    let hub = hub(unlimited());
    let counter = DeclaredView::new("n.html").state("n", 0).handler("add", Edits::new().set("n", "n + 1"));
    hub.register_declared("counter", counter).unwrap();
    for (is_begun, expected) in [(true, "1"), (false, "1"), (true, "2")] {
        let mut page = Page::open(&hub, "counter", None, Client::default());
        let work = page.event(1, "add", json!({})).unwrap();
        page.disconnect();
        match is_begun {
            true => _ = now(work).unwrap(),
            false => drop(work),
        }
        page.connect(&hub);
        page.read(usize::MAX);
        assert_eq!(page.tree.to_html(), expected);
    }
}

#[test]
fn an_event_that_is_repeated_on_its_session_runs_once_and_a_lower_number_not_at_all() {
    let hub = hub(unlimited());
    let counter = DeclaredView::new("n.html").state("n", 0).handler("add", Edits::new().set("n", "n + 1"));
    hub.register_declared("counter", counter).unwrap();
    let mut page = Page::open(&hub, "counter", None, Client::default());
    for (n, is_new) in [(1, true), (1, false), (3, true), (2, false), (3, false), (4, true)] {
        match page.event(n, "add", json!({})) {
            Some(work) => assert!(is_new && now(work).is_some(), "{n}"),
            None => assert!(!is_new, "{n}"),
        }
    }
    // Each is answered once; who repeats it gets the answer that it missed as it gets all frames.
    assert_eq!(page.read(usize::MAX), [json!(["ack", 1]), json!(["ack", 3]), json!(["ack", 4])]);
    assert_eq!(content(&hub, "counter"), "3");
    page.connect(&hub);
    page.read(usize::MAX);
    now(page.event(1, "add", json!({})).expect("the numbers of another connection mean nothing on this one"));
    assert_eq!(content(&hub, "counter"), "4");
}
