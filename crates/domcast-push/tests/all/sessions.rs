//! What subscribers get: what they miss, once, and nothing else.

use crate::client::{Page, content, now, unlimited, waiting};
use domcast_push::template::Templates;
use domcast_push::{HistoryLimits, Hub, MailboxLimits, Options, Push};
use serde_json::{Value, json};
use std::time::Duration;

fn hub(options: Options) -> Hub {
    let hub = Hub::with_options(Templates::from_sources([("", ""); 0]), options);
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
    assert_eq!(frames(&page), [json!(["mounted", "panel", 0, page.position])]);
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
    assert_eq!((page.n_patches, page.n_snapshots), (3, 0));
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
    for (page, expected) in [(&mut old, (0, 1)), (&mut newer, (2, 0))] {
        page.connect(&hub);
        page.read(usize::MAX);
        assert_eq!((page.n_patches, page.n_snapshots), expected);
        assert_eq!(page.tree.to_html(), "<p>3</p><i>i</i>");
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
fn a_slow_reader_gets_one_snapshot_of_the_newest_state() {
    let mailbox = MailboxLimits { n_frames: 4, ..MailboxLimits::default() };
    let hub = hub(Options { mailbox, ..unlimited() });
    let (mut slow, mut quick) = (Page::load(&hub, "panel"), Page::load(&hub, "panel"));
    slow.connect(&hub);
    quick.connect(&hub);
    for n in 1..=100 {
        push(&hub, &format!("<p>{n}</p>"));
        quick.read(usize::MAX);
    }
    slow.read(usize::MAX);
    assert_eq!((slow.n_patches, slow.n_snapshots), (0, 1));
    assert_eq!((quick.n_patches, quick.n_snapshots), (100, 0));
    push(&hub, "<p>last</p>");
    for mut page in [slow, quick] {
        page.read(usize::MAX);
        assert_eq!(page.tree.to_html(), "<p>last</p>");
    }
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
