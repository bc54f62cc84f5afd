//! What others write into Redis: it changes nothing, and the servers mend it.

use crate::client::Page;
use crate::servers::{Redis, Server, hub, patient, until};
use domcast_push::{Beat, ChannelLayer, Client, ClusterOptions, Commit, Cursor, Ledger, Message, Place, Push};
use domcast_redis::RedisLayer;
use redis::Cmd;
use redis::aio::MultiplexedConnection;
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;

const KEYS: [&str; 6] = ["lease", "tokens", "kept", "log", "subscribers", "by:somebody"];
const FIELDS: [&str; 6] = ["n", "source", "cursor", "snapshot", "snapshot_n", "tokens"];

fn key(part: &str) -> String {
    format!("domcast:{{n}}:{part}")
}

async fn write(connection: &mut MultiplexedConnection, command: &Cmd) {
    // Redis refuses what does not fit the kind of a key.
    let _: Result<redis::Value, _> = command.query_async(connection).await;
}

#[tokio::test]
async fn random_bytes_on_every_stream_and_key_change_nothing() {
    let Some(redis) = Redis::start().await else { return };
    let options = ClusterOptions { lease: Duration::from_millis(600), ..patient() };
    let servers = [Server::start_with(&redis, hub(), options), Server::start_with(&redis, hub(), options)];
    servers[0].hub.push(Push::handler("n", "add", json!({"by": 7}))).await.unwrap();
    until("both share the view", || servers[0].position() == servers[1].position()).await;
    let before = servers[0].position();
    let mut pages = [servers[0].page(), servers[1].page()];
    let mut connection = redis.connection().await;
    let mut random = Random(1);
    for _ in 0..10_000 {
        let bytes = random.bytes();
        let part = key(KEYS[random.below(KEYS.len())]);
        let mut command = Cmd::new();
        match random.below(9) {
            0 => command.arg("XADD").arg(key("log")).arg("*").arg("step").arg(bytes),
            1 => {
                let id = format!("{}-{}", random.below(40), random.below(2));
                command.arg("XADD").arg(key("log")).arg(id).arg("step").arg(bytes)
            }
            2 => command.arg("XADD").arg("domcast:pushes").arg("*").arg("push").arg(bytes),
            3 => {
                let (request, sender) = (random.bytes(), random.bytes());
                command.arg("XADD").arg("domcast:pushes").arg("*").arg(bytes).arg(&request).arg("sender").arg(sender)
            }
            4 => command.arg("HSET").arg(key("kept")).arg(FIELDS[random.below(FIELDS.len())]).arg(bytes),
            5 => command.arg("HSET").arg(key("subscribers")).arg(random.bytes()).arg(bytes),
            6 => command.arg("SET").arg(part).arg(bytes),
            7 => {
                // Numbers that are there, too, and places that nothing comes after.
                let (id, n) = (["*", "18446744073709551615-1"][random.below(2)], random.below(9));
                command.arg("XADD").arg("domcast:commits").arg(id).arg("document").arg("n").arg("n").arg(n)
            }
            _ => command.arg("LPUSH").arg(part).arg(bytes),
        };
        write(&mut connection, &command).await;
    }
    for server in &servers {
        assert_eq!(server.n(), 7);
        assert_eq!(server.position(), before, "no version, no epoch is another");
    }
    // What was written is mended, and pushes go on.
    until("a push is answered with a receipt", {
        let hub = servers[0].hub.clone();
        let (sender, answers) = std::sync::mpsc::channel();
        tokio::spawn(async move { while sender.send(hub.push(Push::state("n", [("n", 8)])).await.is_ok()).is_ok() {} });
        move || answers.try_recv() == Ok(true)
    })
    .await;
    until("both servers show it", || servers.iter().all(|server| server.n() == 8)).await;
    for page in &mut pages {
        page.read(usize::MAX);
        assert_eq!(page.tree.to_html(), "<b>8</b>");
    }
}

/// Two servers that share a view and a key, or none.
async fn two(redis: &Redis, key: Option<&str>) -> [Server; 2] {
    let layer = || key.map_or_else(|| redis.layer(), |key| redis.sealed(key));
    // Nobody mends what is written while a test looks.
    let options = ClusterOptions { lease: Duration::from_secs(60), ..patient() };
    let first = Server::start_over(layer(), hub(), options);
    first.begin().await;
    first.hub.push(add(7)).await.unwrap();
    let second = Server::start_over(layer(), hub(), options);
    until("both share the view", || first.position() == second.position()).await;
    [first, second]
}

fn add(by: i64) -> Push {
    Push::handler("n", "add", json!({"by": by}))
}

/// The last entry of a stream: its id, and its fields with their values.
async fn last(connection: &mut MultiplexedConnection, stream: &str) -> (String, Vec<String>) {
    let mut command = Cmd::new();
    command.arg("XREVRANGE").arg(stream).arg("+").arg("-").arg("COUNT").arg(1);
    let mut entries: Vec<(String, Vec<String>)> = command.query_async(connection).await.unwrap();
    entries.remove(0)
}

async fn write_entry(connection: &mut MultiplexedConnection, stream: &str, id: &str, fields: &[String]) {
    let mut command = Cmd::new();
    command.arg("XADD").arg(stream).arg(id).arg(fields);
    let _: String = command.query_async(connection).await.unwrap();
}

/// The next step of the log, as somebody writes it who read the last one.
async fn forge_step(connection: &mut MultiplexedConnection, server: &Server) {
    let (id, _) = last(connection, &key("log")).await;
    let n: u64 = id.split('-').next().unwrap().parse().unwrap();
    let position = server.position();
    let at = format!("{}:{}", position.epoch, position.version + 1);
    let step = json!({"at": at, "patches": [[["t", 2, "99"]]]}).to_string();
    write_entry(connection, &key("log"), &format!("{}-0", n + 1), &["step".into(), step]).await;
    tell(connection, n + 1).await;
}

/// Tells readers of a commit.
async fn tell(connection: &mut MultiplexedConnection, n: u64) {
    let fields = ["document", "n", "n", &n.to_string()].map(str::to_owned);
    write_entry(connection, "domcast:commits", "*", &fields).await;
}

#[tokio::test]
async fn without_a_key_a_forged_step_that_fits_is_shown() {
    let Some(redis) = Redis::start().await else { return };
    let servers = two(&redis, None).await;
    forge_step(&mut redis.connection().await, &servers[1]).await;
    until("the replica shows it", || servers[1].n() == 99).await;
}

#[tokio::test]
async fn with_a_key_what_is_forged_cut_off_or_repeated_changes_nothing() {
    let Some(redis) = Redis::start().await else { return };
    let servers = two(&redis, Some("the key")).await;
    let mut connection = redis.connection().await;
    let layer = redis.sealed("the key");
    // Everything genuine works: from a replica, and from outside.
    servers[1].hub.push(add(10)).await.unwrap();
    layer.publish(&add(100)).await.unwrap();
    until("both show it", || servers.iter().all(|server| server.n() == 117)).await;
    let before = servers[0].position();

    // Pushes: as they are without a seal, of another key, repeated, moved to another place, cut off.
    let (id, fields) = last(&mut connection, RedisLayer::STREAM).await;
    let [_, push, _, seal] = &*fields else { panic!("{fields:?}") };
    let bare = |push: &str| vec!["push".to_owned(), push.to_owned()];
    let with = |push: &str, seal: &str| vec!["push".to_owned(), push.into(), "seal".into(), seal.into()];
    let other = r#"{"view":"n","handler":"add","payload":{"by":1000}}"#;
    let entries = [
        bare(other),
        with(other, seal),
        with(push, seal),
        with(push, &seal[..seal.len() - 2]),
        with(push, &seal.replacen(' ', "0 ", 1)),
        with(&push[..push.len() - 1], seal),
        [with(push, seal), vec!["request".into(), "r".into(), "sender".into(), "server".into()]].concat(),
    ];
    for entry in &entries {
        write_entry(&mut connection, RedisLayer::STREAM, "*", entry).await;
    }
    redis.sealed("another key").publish(&add(1000)).await.unwrap();
    // Each reader says why.
    let messages: Vec<Message> = layer.receive(&Cursor(id.clone())).await.unwrap();
    assert_eq!(messages.len(), entries.len() + 1);
    // This layer has not read the genuine entry, but for the one before its cursor.
    let reasons: Vec<String> = messages.into_iter().map(|message| message.push.unwrap_err()).collect();
    let wrong = "its seal is of another key, or for something else";
    let repeats = format!("it repeats the entry {id}");
    assert_eq!(reasons, ["it has no seal", wrong, &repeats, wrong, wrong, wrong, wrong, wrong]);

    // Steps: forged, an old one under the next number, a cut one.
    forge_step(&mut connection, &servers[1]).await;
    let (id, _) = last(&mut connection, &key("log")).await;
    let n: u64 = id.split('-').next().unwrap().parse().unwrap();
    let mut command = Cmd::new();
    command.arg("XRANGE").arg(key("log")).arg(format!("{}-0", n - 1)).arg(format!("{}-0", n - 1));
    let genuine: Vec<(String, Vec<String>)> = command.query_async(&mut connection).await.unwrap();
    let text = &genuine[0].1[1];
    for (n, text) in [(n + 1, &**text), (n + 2, &text[..text.len() - 1]), (n + 3, "")] {
        write_entry(&mut connection, &key("log"), &format!("{n}-0"), &["step".into(), text.into()]).await;
        tell(&mut connection, n).await;
    }
    // What is kept: another source, an older one, an older cursor, no seal.
    let kept = layer.load("n", "x").await.unwrap().unwrap();
    assert!(kept.source.contains("117"), "{}", kept.source);
    for (field, value) in [("source", r#"{"n":99}"#), ("cursor", "0-0 never"), ("snapshot", ""), ("at", "x:1")] {
        let mut command = Cmd::new();
        let genuine: String =
            Cmd::new().arg("HGET").arg(key("kept")).arg(field).query_async(&mut connection).await.unwrap();
        command.arg("HSET").arg(key("kept")).arg(field).arg(value);
        write(&mut connection, &command).await;
        assert!(layer.load("n", "x").await.unwrap().is_none(), "{field} counts for nothing");
        let mut command = Cmd::new();
        write(&mut connection, command.arg("HSET").arg(key("kept")).arg(field).arg(genuine)).await;
    }

    // The next genuine push finds its way, and is all that is new.
    servers[1].hub.push(add(1)).await.unwrap();
    until("both show it", || servers.iter().all(|server| server.n() == 118)).await;
    assert_eq!(servers[0].position().epoch, before.epoch);
    assert_eq!(servers[0].position().version, before.version + 1);
}

/// The beat of a server that takes a lease.
fn claim(owner: &str) -> Beat {
    Beat {
        owner: owner.into(),
        token: None,
        may_claim: true,
        lease: Duration::from_secs(1),
        n_subscribers: 1,
        lifetime: None,
        read: None,
    }
}

#[tokio::test]
async fn a_number_of_bad_bytes_spoils_no_beat_of_another_document() {
    let Some(redis) = Redis::start().await else { return };
    let layer = redis.layer();
    let mut command = Cmd::new();
    write(&mut redis.connection().await, command.arg("HSET").arg(key("kept")).arg("n").arg(b"\xff")).await;
    let standings = layer.beats(&["n", "m"].map(|document| (document.into(), claim("a")))).await.unwrap();
    assert_eq!(standings.iter().map(|standing| (standing.n, standing.n_subscribers)).collect::<Vec<_>>(), [(0, 1); 2]);
}

#[tokio::test]
async fn a_genuine_push_that_is_written_again_later_is_not_read_as_one_that_was_missed() {
    let Some(redis) = Redis::start().await else { return };
    let genuine = redis.sealed("the key").publish(&add(1)).await.unwrap();
    let mut connection = redis.connection().await;
    let (_, fields) = last(&mut connection, RedisLayer::STREAM).await;
    let at: u64 = genuine.0.split('-').next().unwrap().parse().unwrap();
    let again = Cursor(format!("{}-0", at + 40_000));
    write_entry(&mut connection, RedisLayer::STREAM, &again.0, &fields).await;
    write(&mut connection, Cmd::new().arg("XDEL").arg(RedisLayer::STREAM).arg(&genuine.0)).await;
    // As a server reads that has not seen the first one.
    let layer = redis.sealed("the key");
    let messages = layer.between(&Cursor("0-0".into()), &again).await.unwrap().messages;
    assert!(messages.len() == 1 && messages[0].push.is_err(), "{messages:?}");
}

/// A server that seals, alone, and that has applied as many pushes as are given.
async fn one(redis: &Redis, pushes: &[i64]) -> Server {
    let options = ClusterOptions { lease: Duration::from_millis(600), ..patient() };
    let server = Server::start_over(redis.sealed("the key"), hub(), options);
    for by in pushes {
        server.hub.push(add(*by)).await.unwrap();
    }
    server
}

/// Copies keys of a view as they are.
async fn copied(connection: &mut MultiplexedConnection, parts: &[&str]) -> Vec<(String, Vec<u8>)> {
    let mut copies = Vec::new();
    for part in parts {
        let copy: Vec<u8> = Cmd::new().arg("DUMP").arg(key(part)).query_async(connection).await.unwrap();
        copies.push((key(part), copy));
    }
    copies
}

/// Writes copies back.
async fn write_copies(connection: &mut MultiplexedConnection, copies: &[(String, Vec<u8>)]) {
    for (key, copy) in copies {
        let mut command = Cmd::new();
        command.arg("RESTORE").arg(key).arg(0).arg(&**copy).arg("REPLACE");
        let _: String = command.query_async(connection).await.unwrap();
    }
}

#[tokio::test]
async fn an_owner_mends_what_was_kept_once_and_is_written_again() {
    let Some(redis) = Redis::start().await else { return };
    let server = one(&redis, &[1]).await;
    let mut connection = redis.connection().await;
    let copies = copied(&mut connection, &["kept", "log"]).await;
    server.hub.push(add(10)).await.unwrap();
    let layer = redis.sealed("the key");
    let n = layer.load("n", "x").await.unwrap().unwrap().n;
    write_copies(&mut connection, &copies).await;
    assert!(layer.load("n", "x").await.unwrap().unwrap().n < n, "each part of it is genuine");
    let start = tokio::time::Instant::now();
    while layer.load("n", "x").await.unwrap().is_none_or(|kept| kept.n <= n || !kept.source.contains("11")) {
        assert!(start.elapsed() < Duration::from_secs(15), "nobody mends it");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.n(), 11);
}

#[tokio::test]
async fn an_owner_that_lost_its_lease_goes_on_from_its_memory_and_not_from_what_was_kept_once() {
    let Some(redis) = Redis::start().await else { return };
    let server = one(&redis, &[1]).await;
    let mut connection = redis.connection().await;
    let copies = copied(&mut connection, &["kept", "log"]).await;
    server.hub.push(add(10)).await.unwrap();
    write(&mut connection, Cmd::new().arg("SET").arg(key("lease")).arg("nobody 1").arg("PX").arg(590)).await;
    write_copies(&mut connection, &copies).await;
    // Until the lease is over the push waits.
    server.hub.push(add(100)).await.unwrap();
    assert_eq!(server.n(), 111);
}

#[tokio::test]
async fn parts_of_an_earlier_life_of_a_document_are_not_taken() {
    let Some(redis) = Redis::start().await else { return };
    let mut connection = redis.connection().await;
    let fields = ["n", "at", "source", "cursor"];
    let mut copies = Vec::new();
    let server = one(&redis, &[1000, 1]).await;
    for field in fields {
        let copy: Vec<u8> =
            Cmd::new().arg("HGET").arg(key("kept")).arg(field).query_async(&mut connection).await.unwrap();
        copies.push(copy);
    }
    drop(server);
    write(&mut connection, Cmd::new().arg("FLUSHALL")).await;
    let mut server = one(&redis, &[1, 1]).await;
    server.kill();
    let layer = redis.sealed("the key");
    let kept = layer.load("n", "x").await.unwrap().unwrap();
    assert_eq!(kept.n.to_string().as_bytes(), copies[0], "both lives have the same number");
    for n_written in [1, 2, 3] {
        // Source alone, source and cursor, and with them where the document stood.
        for idx in [2, 3, 1].into_iter().take(n_written) {
            let mut command = Cmd::new();
            write(&mut connection, command.arg("HSET").arg(key("kept")).arg(fields[idx]).arg(&copies[idx])).await;
        }
        let kept = layer.load("n", "x").await.unwrap();
        assert_eq!(kept.is_some(), n_written == 3, "{n_written}");
    }
    let next = one(&redis, &[]).await;
    while next.hub.push(add(1)).await.is_err() {}
    assert!(next.n() < 1000, "{}", next.n());
}

#[tokio::test]
async fn what_was_kept_of_a_document_counts_no_longer_than_it_would_have_been_kept() {
    use hmac::{Hmac, Mac};
    let Some(redis) = Redis::start().await else { return };
    let layer = redis.sealed("the key");
    let lifetime = Some(Duration::from_secs(60));
    let beat = Beat { lifetime, ..claim("a") };
    let token = layer.beats(&[("n".into(), beat)]).await.unwrap().remove(0).token.unwrap();
    let commit = Commit {
        n: 1,
        id: "a".into(),
        at: "epoch:1".into(),
        entry: "step".into(),
        source: "source".into(),
        cursor: Cursor("1-0".into()),
        snapshot: Some("snapshot".into()),
        is_install: true,
        is_last: false,
        lifetime,
    };
    layer.commit("n", "a", &token, &commit).await.unwrap();
    assert!(layer.load("n", "a").await.unwrap().is_some());
    let mut connection = redis.connection().await;
    // As this server has sealed it some time ago.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    for (ends, counts) in [(now - 20_000, true), (now - 40_000, false)] {
        let text = format!("1-0 {ends}");
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"the key").unwrap();
        mac.update(format!("cursor\ndomcast\nn\n1\nepoch:1\n{text}").as_bytes());
        let seal: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut command = Cmd::new();
        command.arg("HSET").arg(key("kept")).arg("cursor").arg(format!("{seal} {text}"));
        write(&mut connection, &command).await;
        assert_eq!(layer.load("n", "a").await.unwrap().is_some(), counts, "{ends}");
    }
}

/// Writes who is at a server.
async fn write_presence(connection: &mut MultiplexedConnection, server: &str, fields: &[String]) {
    let mut command = Cmd::new();
    write(connection, command.arg("HSET").arg(format!("domcast:presence:{server}")).arg(fields)).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    let mut command = Cmd::new();
    write(connection, command.arg("ZADD").arg("domcast:presence").arg(now + 60_000).arg(server)).await;
}

async fn presence_of(connection: &mut MultiplexedConnection, server: &str) -> Vec<String> {
    Cmd::new().arg("HGETALL").arg(format!("domcast:presence:{server}")).query_async(connection).await.unwrap()
}

#[tokio::test]
async fn who_is_here_cannot_be_forged_with_a_key() {
    for seal in [None, Some("the key")] {
        let Some(redis) = Redis::start().await else { return };
        let layer = || seal.map_or_else(|| redis.layer(), |seal| redis.sealed(seal));
        let servers = [(); 2].map(|()| Server::start_over(layer(), hub(), patient()));
        let client = |user: &str| Client { user: Some(user.into()), ..Client::default() };
        let _page = Page::open(&servers[0].hub, "n", None, client("ann"));
        let users = || servers[1].hub.presence(&Place::view("n")).users;
        until("the other server knows of Ann", || users().len() == 1).await;
        let mut connection = redis.connection().await;
        let mut command = Cmd::new();
        command.arg("ZRANGE").arg("domcast:presence").arg(0).arg(-1);
        let names: Vec<String> = command.query_async(&mut connection).await.unwrap();
        // As another server, without a seal and with those of a genuine one; and over what that one told.
        let forged = r#"[[{"view":"n"},[{"u":"eve"}]]]"#;
        let fields = ["n", "77", "alive", "0", "whole_n", "77", "whole", forged].map(str::to_owned);
        write_presence(&mut connection, "forger", &fields).await;
        for name in &names {
            let genuine = presence_of(&mut connection, name).await;
            write_presence(&mut connection, &format!("not-{name}"), &genuine).await;
        }
        match seal {
            None => {
                let begun = tokio::time::Instant::now();
                while !users().contains("eve") {
                    assert!(begun.elapsed() < Duration::from_secs(15), "who can write to Redis can say who is here");
                    // Where all servers are late for a moment, Redis forgets who is there, and this with it.
                    write_presence(&mut connection, "forger", &fields).await;
                    sleep(patient().lease / 12).await;
                }
            }
            Some(_) => {
                sleep(2 * patient().lease).await;
                assert!(users().iter().all(|user| **user == *"ann"), "{:?}", users());
                for name in &names {
                    let fields = ["n", "78", "whole_n", "78", "whole", forged].map(str::to_owned);
                    write_presence(&mut connection, name, &fields).await;
                }
                sleep(patient().lease).await;
                assert!(!users().contains("eve"));
                until("the server tells again who is there", || users().contains("ann")).await;
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_roll_of_a_server_changes_nothing() {
    let Some(redis) = Redis::start().await else { return };
    let servers = [(); 2].map(|()| Server::start_with(&redis, hub(), patient()));
    let ann = Client { user: Some("ann".into()), ..Client::default() };
    let _page = Page::open(&servers[0].hub, "n", None, ann);
    let is_known = || servers[1].hub.presence(&Place::view("n")).users.len() == 1;
    until("the other server knows of Ann", is_known).await;
    let mut connection = redis.connection().await;
    let mut random = Random(2);
    for n in 0..2_000 {
        let name = format!("s{}", random.below(300));
        let key = ["domcast:presence", &format!("domcast:presence:{name}")][random.below(2)].to_owned();
        let mut command = Cmd::new();
        match random.below(4) {
            0 => command
                .arg("HSET")
                .arg(key)
                .arg("n")
                .arg(random.bytes())
                .arg("alive")
                .arg(1)
                .arg("whole")
                .arg(random.bytes()),
            1 => command
                .arg("HSET")
                .arg(key)
                .arg(&["n", &n.to_string(), "alive", "1", "whole_n", &random.below(9).to_string()])
                .arg("whole")
                .arg(random.bytes())
                .arg(random.below(9))
                .arg([random.below(9).to_string().as_bytes(), b" ", &random.bytes()].concat()),
            2 => command
                .arg("ZADD")
                .arg("domcast:presence")
                .arg(["inf", "1e12", "4e12", "-1"][random.below(4)])
                .arg(name),
            _ => command.arg("SET").arg(key).arg(random.bytes()),
        };
        write(&mut connection, &command).await;
    }
    until("the other server knows of Ann, and of nobody else", is_known).await;
    servers[0].hub.headcounts("").iter().for_each(|count| assert_eq!(count.n_users + count.n_anonymous, 1));
}

#[tokio::test]
async fn a_document_with_a_key_takes_nothing_forged() {
    let Some(redis) = Redis::start().await else { return };
    let servers = [(); 2].map(|()| Server::start_over(redis.sealed("the key"), hub(), patient()));
    let to = |key: &str, by: i64| Push::handler("order", "add", json!({"by": by})).key(key);
    servers[0].hub.push(to("42", 7)).await.unwrap();
    servers[0].hub.push(to("43", 1000)).await.unwrap();
    let mut page = servers[1].order("42");
    until("the other server shows it", || {
        page.read(usize::MAX);
        page.tree.to_html() == "<b>42: 7</b>"
    })
    .await;
    let mut connection = redis.connection().await;
    let key = |document: &str, part: &str| format!("domcast:{{order {document}}}:{part}");
    // A genuine step of another document, and a made-up one, under the next number; genuine state of another document.
    let (id, fields) = last(&mut connection, &key("43", "log")).await;
    let (own_id, _) = last(&mut connection, &key("42", "log")).await;
    let n: u64 = own_id.split('-').next().unwrap().parse().unwrap();
    assert!(id.ends_with("-0"));
    for (n, text) in [(n + 1, fields[1].clone()), (n + 2, r#"{"at":"x:1"}"#.into())] {
        write_entry(&mut connection, &key("42", "log"), &format!("{n}-0"), &["step".into(), text]).await;
        let fields = ["document", "order 42", "n", &n.to_string()].map(str::to_owned);
        write_entry(&mut connection, "domcast:commits", "*", &fields).await;
    }
    let mut command = Cmd::new();
    write(&mut connection, command.arg("COPY").arg(key("43", "kept")).arg(key("44", "kept"))).await;
    let other = servers[1].order("44");
    servers[1].hub.push(to("42", 1)).await.unwrap();
    until("the next genuine push is all that is new", || {
        page.read(usize::MAX);
        page.tree.to_html() == "<b>42: 8</b>"
    })
    .await;
    assert_eq!(other.tree.to_html(), "<b>44: 0</b>");
}

#[tokio::test]
async fn a_push_may_be_sealed_by_hand() {
    let Some(redis) = Redis::start().await else { return };
    let servers = two(&redis, Some("the key")).await;
    // As the documentation of the crate says.
    let script = r#"
        push='{"view": "n", "state": {"n": 42}}' at=$(date +%s%3N) nonce=$(openssl rand -hex 16)
        seal=$(printf 'push\ndomcast:pushes\n%s\n%s\n\n\n%s' $at $nonce "$push" | openssl dgst -sha256 -hmac "$KEY" -r | cut -d' ' -f1)
        redis-cli -p $PORT XADD domcast:pushes '*' push "$push" seal "$at $nonce $seal"
    "#;
    let mut shell = std::process::Command::new("bash");
    let output =
        shell.args(["-ec", script]).env("KEY", "the key").env("PORT", redis.port.to_string()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    until("both show it", || servers.iter().all(|server| server.n() == 42)).await;
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Up to 60 bytes: any, or such as JSON, ids and positions are made of.
    fn bytes(&mut self) -> Vec<u8> {
        const LIKELY: &[u8] = b"[]{}\",:0123456789-n at patches\\u00";
        let is_likely = self.below(2) == 0;
        let n_bytes = self.below(60);
        (0..n_bytes).map(|_| if is_likely { LIKELY[self.below(LIKELY.len())] } else { self.next() as u8 }).collect()
    }
}
