//! What others write into Redis: it changes nothing, and the servers mend it.

use crate::servers::{Redis, Server, hub, options, until};
use domcast_push::{ClusterOptions, Push};
use redis::Cmd;
use redis::aio::MultiplexedConnection;
use serde_json::json;
use std::time::Duration;

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
    let options = ClusterOptions { lease: Duration::from_millis(600), ..options() };
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
        match random.below(8) {
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
