//! What every ledger promises: the same tests for the memory of one process and for Redis.

use crate::client::Page;
use crate::servers::{Note, Redis, Server, hub, hub_with, options, until};
use domcast_push::{
    Attendance, Attended, Audience, Beat, Client, ClusterOptions, Commit, Committed, Cursor, DeclaredView,
    DocumentLimits, Edits, Elsewhere, ErrorClass, Forwarded, Hub, Ledger, MemoryLayer, Origin, Place, Position,
    PresenceEvent, Push, Read, Standing,
};
use futures_util::FutureExt;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Long enough that nobody is late on a busy machine.
const LEASE: Duration = Duration::from_millis(600);

/// Runs each test with an empty ledger of either kind.
macro_rules! conformance {
    ($($test:ident)*) => {
        mod memory {
            $(#[tokio::test]
            async fn $test() {
                super::$test(&std::sync::Arc::new(super::MemoryLayer::default())).await;
            })*
        }
        mod redis {
            $(#[tokio::test]
            async fn $test() {
                let Some(redis) = super::Redis::start().await else { return };
                super::$test(&redis.layer()).await;
            })*
        }
        mod sealed_redis {
            $(#[tokio::test]
            async fn $test() {
                let Some(redis) = super::Redis::start().await else { return };
                super::$test(&redis.sealed("a key")).await;
            })*
        }
    };
}

conformance! {
    pushes_come_in_order_after_a_cursor
    a_push_is_forwarded_once_however_often_it_is_tried
    pushes_are_read_again_between_two_places
    many_pushes_are_read_again_in_pieces
    one_server_at_a_time_has_the_lease
    a_lease_ends_and_the_next_holder_has_another_token
    only_the_present_token_commits
    a_lease_that_ended_commits_nothing_even_if_nobody_took_it
    a_commit_that_is_repeated_is_written_once
    a_commit_that_comes_late_is_not_written
    a_commit_follows_the_one_before_or_nothing_is_written
    what_is_kept_is_the_snapshot_and_the_log_after_it
    the_last_commit_of_an_owner_ends_its_lease
    readers_of_logs_wait_for_the_next_commit
    an_install_replaces_what_is_kept
    an_idle_owner_moves_the_cursor_unless_it_committed_since
    the_subscribers_of_all_servers_are_counted_and_forgotten
    a_message_reaches_each_tab_that_it_is_for_once_on_every_server
    a_push_to_private_documents_reaches_each_once_on_every_server
    a_topic_is_taken_on_every_server
    a_view_that_is_loaded_when_it_is_used_takes_each_push_once
    a_handler_that_a_push_of_another_server_calls_does_not_push_on
    beats_of_many_documents_are_answered_in_their_order
    what_has_a_lifetime_is_forgotten_without_beats
    what_one_server_keeps_for_long_another_does_not_keep_for_shorter
    what_was_published_lately_is_after_a_place
    servers_show_the_same_versions_of_a_document_with_a_key
    a_document_with_a_key_goes_on_when_its_owner_dies
    a_push_to_all_documents_of_a_view_reaches_each_once_wherever_it_is
    a_push_to_a_key_that_no_server_has_makes_its_document_once
    a_document_that_no_server_uses_is_forgotten_and_made_anew
    a_document_goes_on_where_it_is_used_when_its_owner_drops_it
    a_server_that_was_cut_off_takes_the_next_life_of_a_document_though_its_numbers_are_lower
    who_owned_an_earlier_life_of_a_document_with_higher_numbers_owns_the_next
    a_server_that_leaves_forwards_to_keys_that_no_server_has
    a_push_to_a_fresh_key_is_applied_whoever_gets_the_key_first
    what_a_server_forwarded_to_a_fresh_key_before_it_died_is_applied
    a_push_to_a_fresh_key_is_applied_by_a_server_that_joined_after_it
    what_was_applied_before_a_server_joined_is_not_applied_again
    the_last_of_many_fresh_keys_is_about_as_fast_as_the_first
    two_servers_that_use_fresh_keys_at_once_agree_on_one_document_each
    what_waits_when_a_server_leaves_is_applied_though_nobody_else_has_the_document
    a_server_that_ends_without_a_word_leaves_nothing_in_memory
    what_is_pushed_to_a_server_whose_cluster_ended_is_refused
    what_an_owner_committed_last_is_known_for_longer_than_its_document
    a_page_of_a_private_view_that_comes_to_another_server_gets_a_new_document
    who_is_at_a_server_is_told_to_the_others_until_it_is_silent
    who_knows_a_number_hears_what_changed_since
    what_cannot_be_read_of_who_is_elsewhere_changes_nothing_until_the_whole_is_told
    who_is_here_is_known_on_all_servers_once_per_user
    who_was_at_a_server_that_dies_is_gone_within_two_heartbeats
    hubs_share_a_view_and_one_goes_on_when_the_other_is_gone
}

fn push(n: i64) -> Push {
    Push::state("n", [("n", n)])
}

fn beat(owner: &str, token: Option<&str>) -> Beat {
    let (owner, token) = (owner.into(), token.map(Into::into));
    Beat { owner, token, may_claim: true, lease: LEASE, n_subscribers: 0, lifetime: None, read: None }
}

async fn one_beat(ledger: &Arc<impl Ledger>, document: &str, beat: &Beat) -> Standing {
    ledger.beats(&[(document.into(), beat.clone())]).await.unwrap().remove(0)
}

async fn claim(ledger: &Arc<impl Ledger>, owner: &str) -> Option<String> {
    one_beat(ledger, "n", &beat(owner, None)).await.token
}

fn commit(n: u64, snapshot: Option<&str>) -> Commit {
    let (entry, source) = (format!("step {n}"), format!("source {n}"));
    let (id, cursor, snapshot) = (format!("id {n}"), Cursor(format!("{n}-0")), snapshot.map(Into::into));
    let at = format!("epoch:{n}");
    Commit { n, id, at, entry, source, cursor, snapshot, is_install: false, is_last: false, lifetime: None }
}

fn install(n: u64) -> Commit {
    Commit { is_install: true, id: format!("install {n}"), ..commit(n, Some("snapshot")) }
}

async fn pushes_come_in_order_after_a_cursor(ledger: &Arc<impl Ledger>) {
    ledger.publish(&push(0)).await.unwrap();
    let end = ledger.end().await.unwrap();
    let mut places = Vec::new();
    for n in 1..=3 {
        places.push(ledger.publish(&push(n)).await.unwrap());
    }
    let messages = ledger.receive(&end).await.unwrap();
    assert_eq!(messages.iter().map(|message| message.cursor.clone()).collect::<Vec<_>>(), places);
    assert_eq!(
        messages.into_iter().map(|message| message.push.unwrap()).collect::<Vec<_>>(),
        [push(1), push(2), push(3)]
    );
    assert!(ledger.is_after(&places[1], &places[0]) && !ledger.is_after(&places[0], &places[0]));
}

async fn a_push_is_forwarded_once_however_often_it_is_tried(ledger: &Arc<impl Ledger>) {
    let start = ledger.end().await.unwrap();
    let forwarded = |n: i64, is_browser: bool| {
        let client = Client { user: Some("ann".into()), ..Client::default() };
        let browser = is_browser.then(|| ("tab".into(), client));
        let origin = Origin { request: format!("r{n}"), browser, is_handler: n == 3 };
        Forwarded { push: push(n), origin }
    };
    ledger.forward(&[forwarded(1, false), forwarded(2, true)]).await.unwrap();
    ledger.forward(&[forwarded(2, true), forwarded(3, false)]).await.unwrap();
    let messages = ledger.receive(&start).await.unwrap();
    let origins: Vec<_> = messages.into_iter().map(|message| message.origin.unwrap()).collect();
    assert_eq!(origins, [forwarded(1, false).origin, forwarded(2, true).origin, forwarded(3, false).origin]);
}

async fn pushes_are_read_again_between_two_places(ledger: &Arc<impl Ledger>) {
    let mut places = vec![ledger.publish(&push(0)).await.unwrap()];
    for n in 1..=5 {
        places.push(ledger.publish(&push(n)).await.unwrap());
    }
    let between = ledger.between(&places[1], &places[3]).await.unwrap();
    assert!(between.is_whole);
    assert_eq!(between.messages.into_iter().map(|message| message.cursor).collect::<Vec<_>>(), places[2..=3]);
    assert!(ledger.between(&places[3], &places[3]).await.unwrap().messages.is_empty());
}

async fn many_pushes_are_read_again_in_pieces(ledger: &Arc<impl Ledger>) {
    let mut places = Vec::new();
    for n in 0..1000 {
        places.push(ledger.publish(&push(n)).await.unwrap());
    }
    let (mut at, mut read) = (places[0].clone(), Vec::new());
    loop {
        let between = ledger.between(&at, &places[998]).await.unwrap();
        assert!(between.is_whole && between.messages.len() < 500, "{} at once", between.messages.len());
        let Some(last) = between.messages.last() else { break };
        at = last.cursor.clone();
        read.extend(between.messages.into_iter().map(|message| message.cursor));
    }
    assert_eq!(read, places[1..999]);
}

async fn one_server_at_a_time_has_the_lease(ledger: &Arc<impl Ledger>) {
    let token = claim(ledger, "a").await.unwrap();
    assert_eq!(claim(ledger, "b").await, None);
    let renewed = one_beat(ledger, "n", &beat("a", Some(&token))).await;
    assert_eq!(renewed.token, Some(token));
    assert!(one_beat(ledger, "other", &beat("b", None)).await.token.is_some());
}

async fn a_lease_ends_and_the_next_holder_has_another_token(ledger: &Arc<impl Ledger>) {
    let first = claim(ledger, "a").await.unwrap();
    sleep(LEASE / 2).await;
    one_beat(ledger, "n", &beat("a", Some(&first))).await;
    sleep(LEASE * 3 / 4).await;
    assert_eq!(claim(ledger, "b").await, None, "it was renewed");
    sleep(LEASE).await;
    let second = claim(ledger, "b").await.unwrap();
    sleep(LEASE * 2).await;
    let third = claim(ledger, "a").await.unwrap();
    assert!(first != second && second != third && first != third);
    assert!(one_beat(ledger, "n", &beat("b", Some(&second))).await.token.is_none());
}

async fn only_the_present_token_commits(ledger: &Arc<impl Ledger>) {
    let old = claim(ledger, "a").await.unwrap();
    assert_eq!(ledger.commit("n", "a", &old, &install(1)).await.unwrap(), Committed::Done);
    sleep(LEASE * 2).await;
    let new = claim(ledger, "b").await.unwrap();
    assert_eq!(ledger.commit("n", "a", &old, &commit(2, None)).await.unwrap(), Committed::Deposed);
    assert_eq!(ledger.commit("n", "a", &old, &install(2)).await.unwrap(), Committed::Deposed);
    assert_eq!(ledger.load("n", "a").await.unwrap().unwrap().n, 1);
    assert_eq!(ledger.commit("n", "b", &new, &commit(2, None)).await.unwrap(), Committed::Done);
}

async fn a_lease_that_ended_commits_nothing_even_if_nobody_took_it(ledger: &Arc<impl Ledger>) {
    let token = claim(ledger, "a").await.unwrap();
    sleep(LEASE * 2).await;
    assert_eq!(ledger.commit("n", "a", &token, &install(1)).await.unwrap(), Committed::Deposed);
    assert!(ledger.load("n", "a").await.unwrap().is_none());
}

async fn a_commit_that_is_repeated_is_written_once(ledger: &Arc<impl Ledger>) {
    let token = claim(ledger, "a").await.unwrap();
    ledger.commit("n", "a", &token, &install(1)).await.unwrap();
    for _ in 0..3 {
        assert_eq!(ledger.commit("n", "a", &token, &commit(2, None)).await.unwrap(), Committed::Done);
    }
    sleep(LEASE * 2).await;
    let other = claim(ledger, "b").await.unwrap();
    ledger.commit("n", "b", &other, &commit(3, None)).await.unwrap();
    // Whoever did not hear the answer learns it even when it is deposed.
    assert_eq!(ledger.commit("n", "a", &token, &commit(2, None)).await.unwrap(), Committed::Done);
    let kept = ledger.load("n", "a").await.unwrap().unwrap();
    assert_eq!((kept.n, kept.n_own), (3, 2));
    assert_eq!(kept.log.iter().map(|entry| entry.n).collect::<Vec<_>>(), [2, 3]);
}

async fn a_commit_follows_the_one_before_or_nothing_is_written(ledger: &Arc<impl Ledger>) {
    let token = claim(ledger, "a").await.unwrap();
    assert_eq!(ledger.commit("n", "a", &token, &commit(1, Some("s"))).await.unwrap(), Committed::Astray);
    ledger.commit("n", "a", &token, &install(5)).await.unwrap();
    assert_eq!(ledger.commit("n", "a", &token, &commit(7, None)).await.unwrap(), Committed::Astray);
    assert_eq!(ledger.load("n", "a").await.unwrap().unwrap().source, "source 5");
}

async fn the_last_commit_of_an_owner_ends_its_lease(ledger: &Arc<impl Ledger>) {
    let token = claim(ledger, "a").await.unwrap();
    ledger.commit("n", "a", &token, &install(1)).await.unwrap();
    let last = Commit { is_last: true, ..commit(2, None) };
    for _ in 0..2 {
        assert_eq!(ledger.commit("n", "a", &token, &last).await.unwrap(), Committed::Done, "or it is repeated");
    }
    assert_eq!(ledger.commit("n", "a", &token, &commit(3, None)).await.unwrap(), Committed::Deposed);
    let next = claim(ledger, "b").await.unwrap();
    assert_eq!(ledger.commit("n", "b", &next, &commit(3, None)).await.unwrap(), Committed::Done);
}

async fn what_is_kept_is_the_snapshot_and_the_log_after_it(ledger: &Arc<impl Ledger>) {
    assert!(ledger.load("n", "a").await.unwrap().is_none());
    let token = claim(ledger, "a").await.unwrap();
    for commit in [install(1), commit(2, None), commit(3, Some("snapshot 3")), commit(4, None), commit(5, None)] {
        assert_eq!(ledger.commit("n", "a", &token, &commit).await.unwrap(), Committed::Done);
    }
    let kept = ledger.load("n", "b").await.unwrap().unwrap();
    assert_eq!((kept.n, kept.n_own, kept.snapshot_n), (5, 0, 3));
    assert_eq!((&*kept.snapshot, &*kept.source, &*kept.cursor.0), ("snapshot 3", "source 5", "5-0"));
    assert_eq!(kept.at, "epoch:5");
    let log: Vec<_> = kept.log.iter().map(|entry| (entry.n, &*entry.text)).collect();
    assert_eq!(log, [(4, "step 4"), (5, "step 5")]);
}

async fn readers_of_logs_wait_for_the_next_commit(ledger: &Arc<impl Ledger>) {
    let token = claim(ledger, "a").await.unwrap();
    ledger.commit("n", "a", &token, &install(1)).await.unwrap();
    let next = ledger.commits(None).await.unwrap().cursor;
    assert_eq!(ledger.entries(&[("n".into(), 0), ("other".into(), 0)]).await.unwrap()[0].n, 1);
    assert!(ledger.entries(&[("n".into(), 1)]).await.unwrap().is_empty());
    let commit = commit(2, None);
    let commit = async {
        sleep(Duration::from_millis(20)).await;
        ledger.commit("n", "a", &token, &commit).await.unwrap();
    };
    let (commits, ()) = tokio::join!(ledger.commits(Some(&next)), commit);
    assert_eq!(commits.unwrap().numbers, [("n".into(), 2)]);
    let entries = ledger.entries(&[("n".into(), 1)]).await.unwrap();
    assert_eq!((&*entries[0].view, entries[0].n, &*entries[0].text), ("n", 2, "step 2"));
}

async fn an_install_replaces_what_is_kept(ledger: &Arc<impl Ledger>) {
    let token = claim(ledger, "a").await.unwrap();
    for commit in [install(1), commit(2, None), install(9), commit(10, None)] {
        assert_eq!(ledger.commit("n", "a", &token, &commit).await.unwrap(), Committed::Done);
    }
    let kept = ledger.load("n", "a").await.unwrap().unwrap();
    assert_eq!((kept.n, kept.snapshot_n, kept.log.len()), (10, 9, 1));
    let numbers: Vec<_> = ledger.entries(&[(Arc::from("n"), 1)]).await.unwrap().iter().map(|entry| entry.n).collect();
    assert_eq!(numbers, [9, 10]);
}

async fn the_subscribers_of_all_servers_are_counted_and_forgotten(ledger: &Arc<impl Ledger>) {
    let with = |owner: &str, n_subscribers| Beat { n_subscribers, ..beat(owner, None) };
    one_beat(ledger, "n", &with("a", 3)).await;
    let Standing { n_subscribers, .. } = one_beat(ledger, "n", &with("b", 4)).await;
    assert_eq!(n_subscribers, 7);
    sleep(LEASE * 2).await;
    assert_eq!(one_beat(ledger, "n", &with("b", 5)).await.n_subscribers, 5);
}

async fn an_idle_owner_moves_the_cursor_unless_it_committed_since(ledger: &Arc<impl Ledger>) {
    let token = claim(ledger, "a").await.unwrap();
    ledger.commit("n", "a", &token, &install(1)).await.unwrap();
    let read = |cursor: &str| {
        let read = Read { n: 1, at: "epoch:1".into(), cursor: Cursor(cursor.into()) };
        Beat { read: Some(read), ..beat("a", Some(&token)) }
    };
    one_beat(ledger, "n", &read("7-0")).await;
    assert_eq!(ledger.load("n", "a").await.unwrap().unwrap().cursor, Cursor("7-0".into()));
    ledger.commit("n", "a", &token, &Commit { cursor: Cursor("9-0".into()), ..commit(2, None) }).await.unwrap();
    one_beat(ledger, "n", &read("8-0")).await;
    assert_eq!(ledger.load("n", "a").await.unwrap().unwrap().cursor, Cursor("9-0".into()));
}

async fn a_commit_that_comes_late_is_not_written(ledger: &Arc<impl Ledger>) {
    let token = claim(ledger, "a").await.unwrap();
    for commit in [install(1), commit(2, None), install(4)] {
        assert_eq!(ledger.commit("n", "a", &token, &commit).await.unwrap(), Committed::Done);
    }
    for late in [install(3), commit(2, None), Commit { id: "other".into(), ..install(4) }] {
        assert_eq!(ledger.commit("n", "a", &token, &late).await.unwrap(), Committed::Deposed);
    }
    assert_eq!(ledger.load("n", "a").await.unwrap().unwrap().n, 4);
}

async fn hubs_share_a_view_and_one_goes_on_when_the_other_is_gone(ledger: &Arc<impl Ledger + 'static>) {
    let mut first = Server::start_on(ledger);
    first.begin().await;
    let second = Server::start_on(ledger);
    until("both share the view", || first.position() == second.position()).await;
    let mut pages = [first.page(), second.page()];
    let add = || Push::handler("n", "add", json!({"by": 1}));
    let receipts = [first.hub.push(add()).await.unwrap(), second.hub.push(add()).await.unwrap()];
    assert_eq!(receipts[0].version().map(|version| version + 1), receipts[1].version());
    until("both show both pushes", || first.n() == 2 && second.n() == 2).await;
    pages.iter_mut().for_each(|page| drop(page.read(usize::MAX)));
    assert_eq!(
        pages.map(|page| (page.tree.to_html(), page.n_snapshots)),
        [("<b>2</b>".into(), 0), ("<b>2</b>".into(), 0)]
    );
    first.kill();
    _ = second.hub.push(add()).await;
    until("the other applies what is pushed", || second.n() == 3).await;
    let last = receipts[1].position.clone().unwrap();
    assert_eq!(second.position(), Position { version: last.version + 1, ..last });
}

/// Two servers, Ann with a tab on each, and Bob on the second; all get the messages of `news` and `end`.
async fn three_tabs(ledger: &Arc<impl Ledger + 'static>) -> ([Server; 2], [Page; 3]) {
    let servers = [Server::start_on(ledger), Server::start_on(ledger)];
    let page = |(server, user, session): (&Server, &str, &str)| {
        let topics = ["news".to_owned(), "end".to_owned()].into();
        let (user, session) = (Some(user.into()), Some(session.into()));
        Page::open(&server.hub, "note", None, Client { user, session, topics, ..Client::default() })
    };
    let mut pages = [(&servers[0], "ann", "a1"), (&servers[1], "ann", "a2"), (&servers[1], "bob", "b1")].map(page);
    // What is pushed before a server reads is not for it.
    for (server, elsewhere) in [(&servers[0], 1), (&servers[1], 0)] {
        while !pages[elsewhere].read(usize::MAX).iter().any(|frame| frame[2] == server.hub.views().len()) {
            _ = server.hub.push(Push::message("end", server.hub.views().len())).await;
        }
    }
    heard(&servers, &mut pages).await;
    (servers, pages)
}

/// Waits until all that was pushed is heard, and returns what that was.
async fn heard(servers: &[Server; 2], pages: &mut [Page; 3]) -> [Vec<Value>; 3] {
    // Messages of one server keep their order, so after these come no others.
    let ends = ["a", "b"];
    for (server, end) in servers.iter().zip(ends) {
        server.hub.push(Push::message("end", end)).await.unwrap();
    }
    let mut heard: [Vec<Value>; 3] = Default::default();
    until("the last messages of both servers are heard", || {
        heard.iter_mut().zip(&mut *pages).for_each(|(heard, page)| heard.extend(page.read(usize::MAX)));
        heard.iter().all(|heard| ends.iter().all(|end| heard.iter().any(|frame| frame[2] == *end)))
    })
    .await;
    heard.map(|heard| heard.into_iter().filter(|frame| frame[1] != "end").collect())
}

/// For everybody, a user, a session, a tab, all but one, nobody: and which of the three tabs that is.
fn audiences(pages: &[Page; 3]) -> [(Audience, [bool; 3]); 6] {
    let tab = |page: &Page| Some(page.session.as_ref().unwrap().tab().to_owned());
    let everybody = Audience::default;
    [
        (everybody(), [true; 3]),
        (Audience { user: Some("ann".into()), ..everybody() }, [true, true, false]),
        (Audience { session: Some("a2".into()), ..everybody() }, [false, true, false]),
        (Audience { tab: tab(&pages[2]), ..everybody() }, [false, false, true]),
        (Audience { except: tab(&pages[0]), ..everybody() }, [false, true, true]),
        (Audience { user: Some("cid".into()), ..everybody() }, [false; 3]),
    ]
}

async fn a_message_reaches_each_tab_that_it_is_for_once_on_every_server(ledger: &Arc<impl Ledger + 'static>) {
    let (servers, mut pages) = three_tabs(ledger).await;
    for sender in [Some(&servers[0]), Some(&servers[1]), None] {
        for (n, (audience, expected)) in audiences(&pages).into_iter().enumerate() {
            let push = Push { audience: audience.clone(), ..Push::message("news", n) };
            match sender {
                Some(server) => {
                    let n_here =
                        expected.iter().zip([0, 1, 1]).filter(|(is_for, idx)| **is_for && servers[*idx].is(server));
                    assert_eq!(
                        server.hub.push(push).await.unwrap().subscribers,
                        n_here.count(),
                        "those of this server"
                    );
                }
                None => _ = ledger.publish(&push).await.unwrap(),
            }
            let expected = expected.map(|is_for| if is_for { vec![json!(["message", "news", n])] } else { vec![] });
            let mut heard = heard(&servers, &mut pages).await;
            while sender.is_none() && heard.iter().map(Vec::len).sum::<usize>() < expected.iter().map(Vec::len).sum() {
                let more = self::heard(&servers, &mut pages).await;
                heard.iter_mut().zip(more).for_each(|(heard, more)| heard.extend(more));
            }
            assert_eq!(heard, expected, "{audience:?}");
        }
    }
}

async fn a_push_to_private_documents_reaches_each_once_on_every_server(ledger: &Arc<impl Ledger + 'static>) {
    let (servers, mut pages) = three_tabs(ledger).await;
    let mut texts = [(); 3].map(|()| "-".to_owned());
    for server in &servers {
        for (audience, expected) in audiences(&pages) {
            let push = Push { audience: audience.clone(), ..Push::handler("note", "add", json!({})) };
            server.hub.push(push).await.unwrap();
            texts.iter_mut().zip(expected).filter(|(_, is_for)| *is_for).for_each(|(text, _)| text.push('+'));
            until(&format!("each of {audience:?} has it"), || {
                pages.iter_mut().zip(&texts).all(|(page, text)| {
                    page.read(usize::MAX);
                    page.tree.to_html() == format!("<i>{text}</i>")
                })
            })
            .await;
        }
    }
    heard(&servers, &mut pages).await;
    assert_eq!(pages.map(|page| page.tree.to_html()), texts.map(|text| format!("<i>{text}</i>")), "and no more");
}

async fn a_handler_that_a_push_of_another_server_calls_does_not_push_on(ledger: &Arc<impl Ledger + 'static>) {
    let (servers, mut pages) = three_tabs(ledger).await;
    servers[0].hub.push(Push::handler("note", "pass_on", json!({})).user("ann").session("a1")).await.unwrap();
    // It passes it on to all others, who do not.
    for _ in 0..3 {
        heard(&servers, &mut pages).await;
        sleep(LEASE / 4).await;
    }
    pages.iter_mut().for_each(|page| drop(page.read(usize::MAX)));
    assert_eq!(pages.map(|page| page.tree.to_html()), [(); 3].map(|()| "<i>-.</i>"));
}

async fn beats_of_many_documents_are_answered_in_their_order(ledger: &Arc<impl Ledger>) {
    ledger.beats(&[("taken".into(), beat("b", None))]).await.unwrap();
    let name = |n: usize| if n == 100 { "taken".into() } else { format!("d {n}").into() };
    let beats: Vec<_> = (0..256).map(|n| (name(n), Beat { n_subscribers: n, ..beat("a", None) })).collect();
    let standings = ledger.beats(&beats).await.unwrap();
    assert_eq!(
        standings.iter().map(|standing| standing.n_subscribers).collect::<Vec<_>>(),
        (0..256).collect::<Vec<_>>()
    );
    let without: Vec<usize> = (0..256).filter(|n| standings[*n].token.is_none()).collect();
    assert_eq!(without, [100]);
    assert!(ledger.beats(&[]).await.unwrap().is_empty());
}

async fn what_has_a_lifetime_is_forgotten_without_beats(ledger: &Arc<impl Ledger>) {
    let lifetime = Some(2 * LEASE);
    let beat = |token| Beat { lifetime, ..beat("a", token) };
    let token = one_beat(ledger, "n", &beat(None)).await.token.unwrap();
    ledger.commit("n", "a", &token, &Commit { lifetime, ..install(1) }).await.unwrap();
    for _ in 0..6 {
        sleep(LEASE / 2).await;
        // Whoever beats keeps it.
        assert_eq!(one_beat(ledger, "n", &Beat { owner: "b".into(), may_claim: false, ..beat(None) }).await.n, 1);
    }
    sleep(3 * LEASE).await;
    assert!(ledger.load("n", "a").await.unwrap().is_none());
    assert_eq!(one_beat(ledger, "n", &beat(None)).await.n, 0);
}

async fn what_one_server_keeps_for_long_another_does_not_keep_for_shorter(ledger: &Arc<impl Ledger>) {
    let beat = |owner, token, lifetime| Beat { lifetime: Some(lifetime), may_claim: false, ..beat(owner, token) };
    let token = claim(ledger, "a").await.unwrap();
    let commit = |commit| Commit { lifetime: Some(LEASE / 2), ..commit };
    ledger.commit("n", "a", &token, &commit(install(1))).await.unwrap();
    one_beat(ledger, "n", &beat("b", None, 20 * LEASE)).await;
    one_beat(ledger, "n", &beat("a", Some(&token), LEASE / 2)).await;
    for commit in
        [commit(self::commit(2, None)), commit(install(3)), Commit { is_last: true, ..commit(self::commit(4, None)) }]
    {
        assert_eq!(ledger.commit("n", "a", &token, &commit).await.unwrap(), Committed::Done);
    }
    sleep(2 * LEASE).await;
    assert_eq!(ledger.load("n", "b").await.unwrap().map(|kept| kept.n), Some(4));
}

async fn what_was_published_lately_is_after_a_place(ledger: &Arc<impl Ledger>) {
    let end = ledger.end().await.unwrap();
    let since = ledger.since(LEASE).await.unwrap();
    assert!(ledger.between(&since, &end).await.unwrap().messages.is_empty(), "there is nothing");
    ledger.publish(&push(1)).await.unwrap();
    sleep(2 * LEASE).await;
    let late = ledger.publish(&push(2)).await.unwrap();
    let since = ledger.since(LEASE).await.unwrap();
    let messages = ledger.between(&since, &late).await.unwrap().messages;
    assert_eq!(messages.into_iter().map(|message| message.cursor).collect::<Vec<_>>(), [late]);
}

fn add(key: &str, by: i64) -> Push {
    Push::handler("order", "add", json!({"by": by})).key(key)
}

/// Pushes until there is an owner to answer, and takes what waited meanwhile back.
async fn begin(server: &Server, key: &str) {
    while server.hub.push(Push::state("order", [("n", 0)]).key(key)).await.is_err() {}
}

/// Waits until a page shows this.
async fn shows(page: &mut Page, html: &str) {
    let at = page.view.clone();
    until(&format!("the page of {at} shows {html}"), || {
        page.read(usize::MAX);
        page.tree.to_html() == html
    })
    .await;
}

async fn servers_show_the_same_versions_of_a_document_with_a_key(ledger: &Arc<impl Ledger + 'static>) {
    let servers = [Server::start_on(ledger), Server::start_on(ledger)];
    begin(&servers[0], "42").await;
    let mut pages = [servers[0].order("42"), servers[1].order("42")];
    let mut other = servers[1].order("7 {x}");
    let is_same = || servers[1].orders().contains(&servers[0].orders()[0]);
    until("both share the document", is_same).await;
    let mut last = servers[0].orders().remove(0).1;
    for n in 0..5 {
        let receipt = servers[n % 2].hub.push(add("42", 1)).await.unwrap();
        last.version += 1;
        assert_eq!((receipt.position.as_ref(), receipt.n_documents), (Some(&last), 1));
    }
    ledger.publish(&add("42", 100)).await.unwrap();
    for page in &mut pages {
        shows(page, "<b>42: 105</b>").await;
        assert!(page.n_snapshots <= 1, "what the page showed first");
    }
    last.version += 1;
    assert_eq!(
        servers.each_ref().map(|server| server.orders()[0].clone()),
        [(); 2].map(|()| ("42".into(), last.clone()))
    );
    assert_eq!(pages.map(|page| page.position), [(); 2].map(|()| Some(last.to_string())));
    // Another key is another document.
    until("it has an owner", || !matches!(crate::client::now(servers[1].hub.push(add("7 {x}", 0))), Some(Err(_))))
        .await;
    shows(&mut other, "<b>7 {x}: 0</b>").await;
    // An event of a page, as on one server.
    let work = other.event(1, "add", json!({"by": 3})).unwrap();
    work.await;
    assert_eq!(other.read(usize::MAX), [json!(["ack", 1])]);
    assert_eq!(other.tree.to_html(), "<b>7 {x}: 3</b>");
}

async fn a_document_with_a_key_goes_on_when_its_owner_dies(ledger: &Arc<impl Ledger + 'static>) {
    let mut first = Server::start_on(ledger);
    begin(&first, "42").await;
    first.hub.push(add("42", 1)).await.unwrap();
    let second = Server::start_on(ledger);
    let mut page = second.order("42");
    shows(&mut page, "<b>42: 1</b>").await;
    let last = first.hub.push(add("42", 1)).await.unwrap().position.unwrap();
    shows(&mut page, "<b>42: 2</b>").await;
    first.kill();
    // Nobody owns it now, so this waits. The connection of the dead server is gone with it.
    while ledger.publish(&add("42", 10)).await.is_err() {}
    _ = second.hub.push(add("42", 100)).await;
    shows(&mut page, "<b>42: 112</b>").await;
    let (_, position) = second.orders().remove(0);
    assert_eq!(position.epoch, last.epoch);
    assert!((last.version + 1..=last.version + 2).contains(&position.version), "{position}");
    assert!(page.n_snapshots <= 1, "what the page showed first");
}

async fn a_push_to_all_documents_of_a_view_reaches_each_once_wherever_it_is(ledger: &Arc<impl Ledger + 'static>) {
    let servers = [Server::start_on(ledger), Server::start_on(ledger)];
    for (server, key) in [(0, "1"), (1, "2"), (0, "3")] {
        begin(&servers[server], key).await;
    }
    let mut pages = [servers[0].order("1"), servers[1].order("2"), servers[0].order("3"), servers[1].order("3")];
    shows(&mut pages[3], "<b>3: 0</b>").await;
    until("both have the third", || servers[1].orders().last() == servers[0].orders().last()).await;
    let to_all = |by: i64| Push::handler("order", "add", json!({"by": by}));
    let receipt = servers[0].hub.push(to_all(1)).await.unwrap();
    assert_eq!((receipt.position, receipt.n_documents), (None, 2), "those that this server has");
    assert_eq!(servers[1].hub.push(to_all(10)).await.unwrap().n_documents, 2);
    ledger.publish(&to_all(100)).await.unwrap();
    for (page, key) in pages.iter_mut().zip([1, 2, 3, 3]) {
        shows(page, &format!("<b>{key}: 111</b>")).await;
    }
    // What is refused is told, though by another server.
    let error = servers[1].hub.push(Push::state("order", [("m", 1)])).await.unwrap_err();
    assert_eq!(error.class(), domcast_push::ErrorClass::Unfit, "{error}");
}

async fn a_push_to_a_key_that_no_server_has_makes_its_document_once(ledger: &Arc<impl Ledger + 'static>) {
    let servers = [Server::start_on(ledger), Server::start_on(ledger)];
    for server in &servers {
        // From here on it reads.
        begin(server, "0").await;
    }
    ledger.publish(&add("42", 1)).await.unwrap();
    ledger.publish(&add("42", 10)).await.unwrap();
    until("both have it", || servers.iter().all(|server| server.orders().iter().any(|(key, _)| key == "42"))).await;
    for server in &servers {
        shows(&mut server.order("42"), "<b>42: 11</b>").await;
    }
    _ = servers[0].hub.push(add("43", 5)).await;
    shows(&mut servers[1].order("43"), "<b>43: 5</b>").await;
}

async fn a_topic_is_taken_on_every_server(ledger: &Arc<impl Ledger + 'static>) {
    let (servers, mut pages) = three_tabs(ledger).await;
    let receipt = servers[0].hub.push(Push::revoke("news").user("ann")).await.unwrap();
    assert_eq!(receipt.subscribers, 1, "of this server");
    // In order with the messages of the same server.
    servers[0].hub.push(Push::message("news", 1)).await.unwrap();
    assert_eq!(heard(&servers, &mut pages).await, [vec![], vec![], vec![json!(["message", "news", 1])]]);
    let has_ann = |server: &Server| server.hub.presence(&Place::topic("news")).users.contains("ann");
    until("all servers know that she is gone there", || !servers.iter().any(has_ann)).await;
}

/// A view without keys that is made when it is first used, at 5.
async fn a_view_that_is_loaded_when_it_is_used_takes_each_push_once(ledger: &Arc<impl Ledger + 'static>) {
    let loaded = || {
        let hub = hub_with(DocumentLimits::default());
        let view = DeclaredView::new("n.html").state("n", 0).handler("add", Edits::new().set("n", "n + payload.by"));
        hub.register_declared_with("loaded", view, || Ok(serde_json::Map::from_iter([("n".to_owned(), json!(5))])))
            .unwrap();
        hub
    };
    let servers = [Server::start_on_with(ledger, loaded()), Server::start_on_with(ledger, loaded())];
    for server in &servers {
        // From here on it reads.
        begin(server, "0").await;
    }
    let add = |by: i64| Push::handler("loaded", "add", json!({"by": by}));
    // Nobody has it when it is pushed to.
    ledger.publish(&add(1)).await.unwrap();
    ledger.publish(&add(10)).await.unwrap();
    until("both have it", || {
        servers.iter().all(|server| server.hub.views().iter().any(|view| &*view.name == "loaded"))
    })
    .await;
    _ = servers[1].hub.push(add(100)).await;
    _ = servers[0].hub.push(add(1000)).await;
    for server in &servers {
        let mut page = Page::load(&server.hub, "loaded");
        page.connect(&server.hub);
        shows(&mut page, "<b>1116</b>").await;
    }
}

fn forgetful() -> Hub {
    hub_with(DocumentLimits { idle: LEASE, ..DocumentLimits::default() })
}

async fn a_document_that_no_server_uses_is_forgotten_and_made_anew(ledger: &Arc<impl Ledger + 'static>) {
    let servers = [Server::start_on_with(ledger, forgetful()), Server::start_on_with(ledger, forgetful())];
    let mut pages = [servers[0].order("42"), servers[1].order("42")];
    begin(&servers[0], "42").await;
    servers[1].hub.push(add("42", 7)).await.unwrap();
    for page in &mut pages {
        shows(page, "<b>42: 7</b>").await;
    }
    let before = servers[0].orders().remove(0).1;
    pages.iter_mut().for_each(Page::disconnect);
    until("no server has it", || servers.iter().all(|server| server.orders().is_empty())).await;
    let start = tokio::time::Instant::now();
    while ledger.load("order 42", "x").await.unwrap().is_some() {
        assert!(start.elapsed() < Duration::from_secs(15));
        sleep(LEASE / 4).await;
    }
    // A page that comes back later gets the next life, as a snapshot.
    pages[1].connect(&servers[1].hub);
    shows(&mut pages[1], "<b>42: 0</b>").await;
    begin(&servers[1], "42").await;
    assert_ne!(servers[1].orders()[0].1.epoch, before.epoch);
}

async fn a_document_goes_on_where_it_is_used_when_its_owner_drops_it(ledger: &Arc<impl Ledger + 'static>) {
    let servers = [Server::start_on_with(ledger, forgetful()), Server::start_on_with(ledger, forgetful())];
    let first = servers[0].order("42");
    begin(&servers[0], "42").await;
    servers[0].hub.push(add("42", 7)).await.unwrap();
    let mut page = servers[1].order("42");
    shows(&mut page, "<b>42: 7</b>").await;
    let before = servers[0].orders().remove(0).1;
    drop(first);
    until("its owner drops it", || servers[0].orders().is_empty()).await;
    until("the other takes pushes", || {
        crate::client::now(servers[1].hub.push(add("42", 0))).is_none_or(|pushed| pushed.is_ok())
    })
    .await;
    while servers[1].hub.push(Push::state("order", [("n", 8)]).key("42")).await.is_err() {}
    shows(&mut page, "<b>42: 8</b>").await;
    assert_eq!(servers[1].orders()[0].1.epoch, before.epoch);
    // And whoever uses it again has the same.
    let mut again = servers[0].order("42");
    shows(&mut again, "<b>42: 8</b>").await;
}

async fn a_server_that_was_cut_off_takes_the_next_life_of_a_document_though_its_numbers_are_lower(
    ledger: &Arc<impl Ledger + 'static>,
) {
    let mut owner = Server::start_on_with(ledger, forgetful());
    begin(&owner, "42").await;
    let cut_off = Server::start_on_with(ledger, forgetful());
    let mut page = cut_off.order("42");
    for _ in 0..20 {
        owner.hub.push(add("42", 1)).await.unwrap();
    }
    shows(&mut page, "<b>42: 20</b>").await;
    let go_on = cut_off.pause();
    owner.kill();
    let start = tokio::time::Instant::now();
    // The connection of the dead server is gone with it.
    while !matches!(ledger.load("order 42", "x").await, Ok(None)) {
        assert!(start.elapsed() < Duration::from_secs(15));
        sleep(LEASE / 4).await;
    }
    let next = Server::start_on_with(ledger, forgetful());
    let _page = next.order("42");
    // What waited comes later, and says the same.
    while next.hub.push(Push::state("order", [("n", 5)]).key("42")).await.is_err() {}
    drop(go_on);
    shows(&mut page, "<b>42: 5</b>").await;
    assert_eq!(cut_off.orders(), next.orders());
}

async fn who_owned_an_earlier_life_of_a_document_with_higher_numbers_owns_the_next(
    ledger: &Arc<impl Ledger + 'static>,
) {
    let cut_off = Server::start_on_with(ledger, forgetful());
    begin(&cut_off, "42").await;
    let mut page = cut_off.order("42");
    for _ in 0..20 {
        cut_off.hub.push(add("42", 1)).await.unwrap();
    }
    let go_on = cut_off.pause();
    let start = tokio::time::Instant::now();
    // The connection of the server that sleeps is of no use.
    while !matches!(ledger.load("order 42", "x").await, Ok(None)) {
        assert!(start.elapsed() < Duration::from_secs(15));
        sleep(LEASE / 4).await;
    }
    let mut next = Server::start_on_with(ledger, forgetful());
    let _page = next.order("42");
    while next.hub.push(Push::state("order", [("n", 5)]).key("42")).await.is_err() {}
    drop(go_on);
    shows(&mut page, "<b>42: 5</b>").await;
    next.kill();
    // Until the lease ends it waits.
    _ = cut_off.hub.push(add("42", 1000)).await;
    shows(&mut page, "<b>42: 1005</b>").await;
    let kept = ledger.load("order 42", "x").await.unwrap().unwrap();
    assert!(kept.source.contains("1005"), "it is not shown here alone: {}", kept.source);
}

async fn a_server_that_leaves_forwards_to_keys_that_no_server_has(ledger: &Arc<impl Ledger + 'static>) {
    let servers = [Server::start_on(ledger), Server::start_on(ledger)];
    for server in &servers {
        // From here on it reads.
        begin(server, "0").await;
    }
    servers[1].hub.leave().await;
    _ = servers[1].hub.push(add("42", 5)).await;
    until("the other has it", || servers[0].orders().iter().any(|(key, _)| key == "42")).await;
    shows(&mut servers[0].order("42"), "<b>42: 5</b>").await;
}

/// A server that reads, and what another one forwarded to key 42 that was read then.
async fn server_that_read_what_another_forwarded(ledger: &Arc<impl Ledger + 'static>) -> Server {
    let server = Server::start_on(ledger);
    // From here on it reads.
    begin(&server, "0").await;
    let mut page = Page::open(&server.hub, "n", None, client(None, "a"));
    let origin = Origin { request: "another-1".into(), browser: None, is_handler: false };
    ledger.forward(&[Forwarded { push: add("42", 5), origin }]).await.unwrap();
    ledger.publish(&Push::message("news", "read")).await.unwrap();
    until("it has read that", || page.read(usize::MAX).iter().any(|frame| frame[2] == "read")).await;
    server
}

async fn a_push_to_a_fresh_key_is_applied_whoever_gets_the_key_first(ledger: &Arc<impl Ledger + 'static>) {
    let server = server_that_read_what_another_forwarded(ledger).await;
    assert!(server.orders().iter().all(|(key, _)| key != "42"), "the other one sees to it");
    _ = server.hub.push(add("42", 10)).await;
    shows(&mut server.order("42"), "<b>42: 15</b>").await;
}

async fn what_a_server_forwarded_to_a_fresh_key_before_it_died_is_applied(ledger: &Arc<impl Ledger + 'static>) {
    let server = server_that_read_what_another_forwarded(ledger).await;
    until("the document is made", || server.orders().iter().any(|(key, _)| key == "42")).await;
    shows(&mut server.order("42"), "<b>42: 5</b>").await;
}

async fn a_push_to_a_fresh_key_is_applied_by_a_server_that_joined_after_it(ledger: &Arc<impl Ledger + 'static>) {
    let reader = server_that_read_what_another_forwarded(ledger).await;
    let joined = Server::start_on(ledger);
    begin(&joined, "1").await;
    assert!(reader.orders().iter().all(|(key, _)| key != "42"), "the other one sees to it");
    _ = joined.hub.push(add("42", 10)).await;
    for server in [&joined, &reader] {
        shows(&mut server.order("42"), "<b>42: 15</b>").await;
    }
    // And no more than that, when it is looked what became of the push.
    sleep(3 * options().lease).await;
    for server in [&joined, &reader] {
        shows(&mut server.order("42"), "<b>42: 15</b>").await;
    }
}

async fn what_was_applied_before_a_server_joined_is_not_applied_again(ledger: &Arc<impl Ledger + 'static>) {
    let first = Server::start_on_with(ledger, forgetful());
    begin(&first, "42").await;
    first.hub.push(add("42", 5)).await.unwrap();
    until("it lets go", || first.orders().is_empty()).await;
    let joined = Server::start_on_with(ledger, forgetful());
    begin(&joined, "1").await;
    // Until it has looked what became of the push.
    sleep(5 * options().lease / 2).await;
    assert!(joined.orders().iter().all(|(key, _)| key != "42"), "there is nothing to do");
    shows(&mut joined.order("42"), "<b>42: 5</b>").await;
}

async fn the_last_of_many_fresh_keys_is_about_as_fast_as_the_first(ledger: &Arc<impl Ledger + 'static>) {
    let server = Server::start_on(ledger);
    begin(&server, "0").await;
    let mut took = Vec::new();
    for n in 1..=200 {
        let start = tokio::time::Instant::now();
        let key = n.to_string();
        // Whoever makes its document reads it again.
        ledger.publish(&add(&key, 1)).await.unwrap();
        shows(&mut server.order(&key), &format!("<b>{key}: 1</b>")).await;
        took.push(start.elapsed());
    }
    // The lower quartile of some: those above may have met with slow moments of the machine, and a fault that slows most late keys shows.
    let quartile = |took: &[Duration]| {
        let mut took = took.to_vec();
        took.sort();
        took[took.len() / 4]
    };
    let (first, last) = (quartile(&took[..60]), quartile(&took[140..]));
    eprintln!("a fresh key takes {first:?} at first, and {last:?} later");
    assert!(last < 2 * first + Duration::from_millis(50), "{first:?}, and then {last:?}");
}

async fn two_servers_that_use_fresh_keys_at_once_agree_on_one_document_each(ledger: &Arc<impl Ledger + 'static>) {
    let servers = [Server::start_on(ledger), Server::start_on(ledger)];
    for server in &servers {
        // From here on it reads.
        begin(server, "0").await;
    }
    let keys: Vec<String> = (1..=30).map(|n| n.to_string()).collect();
    let mut pages = Vec::new();
    for key in &keys {
        let pushing = |server: &Server| {
            let pushes: Vec<_> = (0..5).map(|_| server.hub.submit(add(key, 1)).unwrap()).collect();
            (server.order(key), tokio::spawn(futures_util::future::join_all(pushes)))
        };
        // The one first, and the other.
        let [first, second] = if pages.len() % 4 == 0 { [0, 1] } else { [1, 0] };
        let began = [first, second].map(|idx| pushing(&servers[idx]));
        pages.extend(began.map(|(page, _)| (key, page)));
    }
    for (key, page) in &mut pages {
        shows(page, &format!("<b>{key}: 10</b>")).await;
    }
    assert_eq!(servers[0].orders(), servers[1].orders(), "at the same epochs and versions");
    // And no more than that.
    sleep(options().lease).await;
    for (key, page) in &mut pages {
        shows(page, &format!("<b>{key}: 10</b>")).await;
    }
}

async fn what_waits_when_a_server_leaves_is_applied_though_nobody_else_has_the_document(
    ledger: &Arc<impl Ledger + 'static>,
) {
    let [leaving, other] = [Server::start_on(ledger), Server::start_on(ledger)];
    for server in [&leaving, &other] {
        // From here on it reads.
        begin(server, "0").await;
    }
    for n in 1..=20 {
        // Forwarded, as nobody has the key, and not yet applied.
        let key = n.to_string();
        let waits = leaving.hub.submit(add(&key, 5)).unwrap();
        if n == 20 {
            leaving.hub.leave().await;
        }
        tokio::spawn(waits);
    }
    // Once it has left, everything is kept.
    for n in 1..=20 {
        assert!(ledger.load(&format!("order {n}"), "x").await.unwrap().is_some(), "{n}");
        shows(&mut other.order(&n.to_string()), &format!("<b>{n}: 5</b>")).await;
    }
}

async fn a_server_that_ends_without_a_word_leaves_nothing_in_memory(ledger: &Arc<impl Ledger + 'static>) {
    let hub = hub();
    let alive = Arc::new(());
    let is_alive = Arc::downgrade(&alive);
    hub.register_keyed("held", move |_| {
        _ = &alive;
        Ok(Note::new())
    })
    .unwrap();
    let cluster = domcast_push::join(&hub, Arc::clone(ledger), options(), |work| drop(tokio::spawn(work)), |_| {});
    let cluster = tokio::spawn(cluster);
    for key in ["1", "2"] {
        while hub.push(Push::state("held", [("text", "+")]).key(key)).await.is_err() {}
    }
    drop(hub);
    assert!(is_alive.upgrade().is_some(), "the cluster goes on as long as it is driven");
    cluster.abort();
    until("the hub is gone", || is_alive.upgrade().is_none()).await;
}

async fn what_is_pushed_to_a_server_whose_cluster_ended_is_refused(ledger: &Arc<impl Ledger + 'static>) {
    let hub = hub();
    let cluster = domcast_push::join(&hub, Arc::clone(ledger), options(), |work| drop(tokio::spawn(work)), |_| {});
    let waiting = hub.submit(push(1)).unwrap();
    let blocked = {
        let hub = hub.clone();
        tokio::task::spawn_blocking(move || hub.push_blocking(push(2)))
    };
    sleep(LEASE / 4).await;
    drop(cluster);
    let blocked = async { blocked.await.unwrap() };
    let within = |pushed| tokio::time::timeout(Duration::from_secs(5), pushed);
    assert_eq!(within(waiting.boxed()).await.unwrap().unwrap_err().class(), ErrorClass::Unavailable);
    assert_eq!(within(blocked.boxed()).await.expect("it waits no more").unwrap_err().class(), ErrorClass::Unavailable);
    assert_eq!(within(hub.push(push(3)).boxed()).await.unwrap().unwrap_err().class(), ErrorClass::Unavailable);
    assert_eq!(within(hub.push(Push::message("news", 1)).boxed()).await.unwrap().unwrap().subscribers, 0, "as alone");
}

async fn what_an_owner_committed_last_is_known_for_longer_than_its_document(ledger: &Arc<impl Ledger>) {
    let lifetime = Some(2 * LEASE);
    let beat = |owner, token| Beat { lifetime, ..beat(owner, token) };
    let token = one_beat(ledger, "n", &beat("a", None)).await.token.unwrap();
    ledger.commit("n", "a", &token, &Commit { lifetime, ..install(1) }).await.unwrap();
    for _ in 0..8 {
        // It is cut off, and another keeps the document.
        sleep(LEASE / 2).await;
        one_beat(ledger, "n", &beat("b", None)).await;
    }
    assert_eq!(ledger.load("n", "a").await.unwrap().unwrap().n_own, 1);
}

async fn a_page_of_a_private_view_that_comes_to_another_server_gets_a_new_document(
    ledger: &Arc<impl Ledger + 'static>,
) {
    let (servers, mut pages) = three_tabs(ledger).await;
    servers[0].hub.push(Push::handler("note", "add", json!({})).session("a1")).await.unwrap();
    shows(&mut pages[0], "<i>-+</i>").await;
    // The other server has read the push, which is not for what comes later.
    heard(&servers, &mut pages).await;
    pages[0].connect(&servers[1].hub);
    shows(&mut pages[0], "<i>-</i>").await;
    assert_eq!(pages[0].n_snapshots, 1);
}

async fn who_is_at_a_server_is_told_to_the_others_until_it_is_silent(ledger: &Arc<impl Ledger>) {
    let attend = async |server, n, whole, known| attended(ledger, server, (n, whole, None), known).await;
    let is_kept = |attended: Attended| attended.is_kept;
    let elsewhere = |server, n, whole| elsewhere(server, n, whole, &[]);
    assert!(!is_kept(attend("a", 1, None, &[]).await), "it was never told");
    assert!(is_kept(attend("a", 1, Some("ann"), &[]).await));
    assert_eq!(attend("b", 1, Some("bob"), &[]).await.others, [elsewhere("a", 1, Some("ann"))]);
    assert_eq!(attend("b", 1, None, &[("a", 1)]).await.others, [elsewhere("a", 1, None)], "what is known is not told");
    assert!(is_kept(attend("a", 2, Some("ann, cid"), &[]).await));
    assert!(!is_kept(attend("a", 1, None, &[]).await), "it tells something else now");
    assert_eq!(attend("b", 1, None, &[("a", 1)]).await.others, [elsewhere("a", 2, Some("ann, cid"))]);
    for _ in 0..4 {
        sleep(LEASE / 2).await;
        assert!(is_kept(attend("a", 2, None, &[]).await));
    }
    assert_eq!(attend("c", 1, Some(""), &[]).await.others, [elsewhere("a", 2, Some("ann, cid"))], "b is silent");
    sleep(2 * LEASE).await;
    assert_eq!(attend("c", 1, Some(""), &[]).await.others, []);
    assert!(!is_kept(attend("a", 2, None, &[]).await));
}

/// Tells a number, who is there, and what changed since which number; with what is known of other servers.
async fn attended(
    ledger: &Arc<impl Ledger>,
    server: &str,
    (n, whole, change): (u64, Option<&str>, Option<(u64, &str)>),
    known: &[(&str, u64)],
) -> Attended {
    let known = known.iter().map(|(server, n)| ((*server).to_owned(), *n)).collect();
    let (whole, change) = (whole.map(Into::into), change.map(|(since, text)| (since, text.into())));
    ledger.attend(server, &Attendance { n, whole, change, lifetime: LEASE, known }).await.unwrap()
}

fn elsewhere(server: &str, n: u64, whole: Option<&str>, changes: &[&str]) -> Elsewhere {
    let changes = changes.iter().map(|change| (*change).to_owned()).collect();
    Elsewhere { server: server.into(), n, whole: whole.map(Into::into), changes }
}

async fn who_knows_a_number_hears_what_changed_since(ledger: &Arc<impl Ledger>) {
    let tell = async |n, whole, change| attended(ledger, "a", (n, whole, change), &[]).await.is_kept;
    let hear = async |known: &[(&str, u64)]| attended(ledger, "b", (1, Some("bob"), None), known).await.others;
    assert!(!tell(2, None, Some((1, "+cid"))).await, "nobody told the whole");
    assert!(tell(1, Some("ann"), None).await);
    assert!(tell(4, None, Some((1, "+cid"))).await);
    assert!(tell(4, None, Some((1, "+cid"))).await, "or it is told again");
    assert!(tell(6, None, Some((4, "-ann"))).await);
    assert!(!tell(9, None, Some((5, "+eve"))).await, "the ledger does not have that number");
    assert_eq!(hear(&[]).await, [elsewhere("a", 6, Some("ann"), &["+cid", "-ann"])]);
    assert_eq!(hear(&[("a", 1)]).await, [elsewhere("a", 6, None, &["+cid", "-ann"])]);
    assert_eq!(hear(&[("a", 4)]).await, [elsewhere("a", 6, None, &["-ann"])]);
    assert_eq!(hear(&[("a", 6)]).await, [elsewhere("a", 6, None, &[])]);
    assert_eq!(hear(&[("a", 3)]).await, [elsewhere("a", 6, Some("ann"), &["+cid", "-ann"])], "nobody told that");
    // Told anew, for who comes; who knows what was told last is told no more than before.
    assert!(tell(7, Some("cid, dora"), Some((6, "+dora"))).await);
    assert_eq!(hear(&[]).await, [elsewhere("a", 7, Some("cid, dora"), &[])]);
    assert_eq!(hear(&[("a", 6)]).await, [elsewhere("a", 7, None, &["+dora"])]);
    assert!(tell(8, None, Some((7, "-cid"))).await);
    assert_eq!(hear(&[("a", 6)]).await, [elsewhere("a", 8, None, &["+dora", "-cid"])]);
    assert_eq!(hear(&[("a", 4)]).await, [elsewhere("a", 8, Some("cid, dora"), &["-cid"])]);
}

async fn what_cannot_be_read_of_who_is_elsewhere_changes_nothing_until_the_whole_is_told(
    ledger: &Arc<impl Ledger + 'static>,
) {
    let server = Server::start_on(ledger);
    let roll = |users: &[&str]| {
        let users: Vec<_> = users.iter().map(|user| json!({"u": user})).collect();
        json!([[{"view": "n"}, users]])
    };
    let tell = async |server, n, whole: Option<Value>, change: Option<(u64, String)>| {
        let whole = whole.map(|whole| whole.to_string());
        let lifetime = Duration::from_secs(60);
        ledger.attend(server, &Attendance { n, whole, change, lifetime, known: Vec::new() }).await.unwrap();
    };
    let came = |user| json!([roll(&[user]), []]).to_string();
    let are = |expected: &[&str]| {
        let users = server.hub.presence(&Place::view("n")).users;
        users.iter().map(|user| &**user).eq(expected.iter().copied())
    };
    tell("a", 1, Some(roll(&["ann"])), None).await;
    until("ann is known", || are(&["ann"])).await;
    tell("a", 2, None, Some((1, "no roll".into()))).await;
    tell("a", 3, None, Some((2, came("bob")))).await;
    // Whoever has heard this has heard that.
    tell("z", 1, Some(roll(&["zoe"])), None).await;
    until("zoe is known", || are(&["ann", "zoe"])).await;
    tell("a", 4, None, Some((3, came("cid")))).await;
    tell("z", 2, None, Some((1, came("yan")))).await;
    until("yan is known", || are(&["ann", "yan", "zoe"])).await;
    tell("a", 5, Some(roll(&["ann", "bob", "cid"])), Some((4, came("nobody")))).await;
    until("all are known", || are(&["ann", "bob", "cid", "yan", "zoe"])).await;
}

fn client(user: Option<&str>, session: &str) -> Client {
    let (user, session, topics) = (user.map(Into::into), Some(session.into()), ["news".to_owned()].into());
    Client { user, session, topics, ..Client::default() }
}

/// The users and the number of others at a place, on each server.
fn here(servers: &[Server; 2], place: &Place) -> [(Vec<String>, usize); 2] {
    servers.each_ref().map(|server| {
        let present = server.hub.presence(place);
        (present.users.iter().map(ToString::to_string).collect(), present.n_anonymous)
    })
}

async fn who_is_here_is_known_on_all_servers_once_per_user(ledger: &Arc<impl Ledger + 'static>) {
    // Long enough that no server seems dead on a busy machine.
    let options = ClusterOptions { lease: Duration::from_secs(6), ..options() };
    let servers = [(); 2].map(|()| Server::start_on_as(ledger, hub(), options));
    let mut events = servers.each_ref().map(|server| server.hub.presence_events());
    let open = |server: usize, view, key, client| Page::open(&servers[server].hub, view, key, client);
    let both = |users: &[&str], n| [(); 2].map(|()| (users.iter().map(ToString::to_string).collect::<Vec<_>>(), n));
    // Ann on both servers; a browser with tabs on both in which nobody is logged in; Bob on the second, and at last Dora on the first: once both
    // know of these, they know of all.
    let mut pages = [
        open(0, "order", Some("42"), client(Some("ann"), "a")),
        open(1, "order", Some("42"), client(Some("ann"), "a")),
        open(0, "note", None, client(None, "c")),
        open(1, "note", None, client(None, "c")),
        open(1, "n", None, client(Some("bob"), "b")),
        open(0, "n", None, client(Some("dora"), "d")),
    ];
    let expected = [
        (Place::view("order"), both(&["ann"], 0)),
        (Place::keyed("order", "42"), both(&["ann"], 0)),
        (Place::view("n"), both(&["bob", "dora"], 0)),
        (Place::view("note"), both(&[], 1)),
        (Place::topic("news"), both(&["ann", "bob", "dora"], 1)),
    ];
    until("all are everywhere", || expected.iter().all(|(place, expected)| here(&servers, place) == *expected)).await;
    let headcounts = servers.each_ref().map(|server| json!(server.hub.headcounts("n")));
    let counts = json!([
        {"view": "n", "users": 2, "anonymous": 0},
        {"view": "note", "users": 0, "anonymous": 1},
        {"topic": "news", "users": 3, "anonymous": 1},
    ]);
    assert_eq!(headcounts, [(); 2].map(|()| counts.clone()));
    // The first of Ann's tabs to leave is no news, on whichever server.
    pages[0].disconnect();
    pages[3].disconnect();
    sleep(options.lease * 2 / 3).await;
    assert!(expected.iter().all(|(place, expected)| here(&servers, place) == *expected));
    pages[1].disconnect();
    pages[2].disconnect();
    let gone = [Place::view("order"), Place::keyed("order", "42"), Place::view("note")];
    until("they are gone everywhere", || gone.iter().all(|place| here(&servers, place) == both(&[], 0))).await;
    assert_eq!(here(&servers, &Place::topic("news")), both(&["bob", "dora"], 0));
    for events in &mut events {
        let mut told: Vec<String> = Vec::new();
        while let Ok(event) = events.try_recv() {
            let (sign, place, user) = match event {
                PresenceEvent::Joined { place, user } => ('+', place, user),
                PresenceEvent::Left { place, user } => ('-', place, user),
            };
            told.push(format!("{sign}{} {}", user.as_deref().unwrap_or("?"), json!(place)));
        }
        let n_told = told.len();
        told.sort();
        told.dedup();
        assert_eq!((told.len(), n_told), (14, 14), "each joined and left each place once, and two stay: {told:?}");
    }
}

async fn who_was_at_a_server_that_dies_is_gone_within_two_heartbeats(ledger: &Arc<impl Ledger + 'static>) {
    let options = ClusterOptions { lease: Duration::from_secs(3), ..options() };
    let heartbeat = options.lease / 3;
    let mut servers = [(); 2].map(|()| Server::start_on_as(ledger, hub(), options));
    let _pages = [0, 1]
        .map(|server: usize| Page::open(&servers[server].hub, "n", None, client(Some(["ann", "bob"][server]), "s")));
    let users = |server: &Server| server.hub.presence(&Place::view("n")).users.len();
    until("both are known", || servers.iter().all(|server| users(server) == 2)).await;
    let mut events = servers[1].hub.presence_events();
    servers[0].kill();
    let died = tokio::time::Instant::now();
    until("Ann is gone", || users(&servers[1]) == 1).await;
    // The machine that runs this has other things to do, too.
    assert!(died.elapsed() < 2 * heartbeat + Duration::from_millis(700), "{:?}", died.elapsed());
    let left = |place| PresenceEvent::Left { place, user: Some("ann".into()) };
    let told = [(); 2].map(|()| events.try_recv().unwrap());
    assert!(told.contains(&left(Place::view("n"))) && told.contains(&left(Place::topic("news"))), "{told:?}");
}
