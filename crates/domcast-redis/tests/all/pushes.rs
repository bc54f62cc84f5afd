//! Pushes that anybody adds to the stream.

use crate::servers::{Redis, Server, until};
use domcast_push::{Change, ChannelLayer, Content, ErrorClass, Push};
use domcast_redis::RedisLayer;
use serde_json::json;

/// A server that owns the view: it takes pushes from now on.
async fn server(redis: &Redis) -> Server {
    let server = Server::start(redis);
    server.begin().await;
    server
}

#[tokio::test]
async fn anybody_can_push_with_xadd() {
    let Some(redis) = Redis::start().await else { return };
    let server = server(&redis).await;
    redis.add(&[("push", r#"{"view": "n", "handler": "add", "payload": {"by": 5}}"#)]).await;
    until("the push is shown", || server.n() == 5).await;
}

#[tokio::test]
async fn bad_entries_are_skipped() {
    let Some(redis) = Redis::start().await else { return };
    let server = server(&redis).await;
    redis.add(&[("push", "no JSON")]).await;
    redis.add(&[("push", "\u{0}\u{1}[[[[")]).await;
    redis.add(&[("other", "field")]).await;
    redis.add(&[(&b"\xff\xfe"[..], &b"\xff"[..])]).await;
    redis.add(&[(&b"push"[..], &b"\xff"[..])]).await;
    redis.add(&[("push", r#"{"view": "nothing", "state": {}}"#)]).await;
    redis.add(&[("push", r#"{"view": "n", "state": {"m": 1}}"#)]).await;
    redis.add(&[("push", r#"{"view": "n", "state": {"n": 1}}"#)]).await;
    until("the one push is shown", || server.n() == 1).await;
    assert_eq!(server.position().version, 1);
}

#[tokio::test]
async fn pushes_before_the_start_are_not_applied_and_none_after_it_is_missed() {
    let Some(redis) = Redis::start().await else { return };
    let layer = redis.layer();
    layer.publish(&Push::handler("n", "add", json!({"by": 1000}))).await.unwrap();
    let server = server(&redis).await;
    for _ in 0..200 {
        layer.publish(&Push::handler("n", "add", json!({"by": 1}))).await.unwrap();
    }
    until("all pushes are shown", || server.n() == 200).await;
}

#[tokio::test]
async fn a_server_goes_on_by_itself_after_redis_was_killed_and_forgot_everything() {
    let Some(mut redis) = Redis::start().await else { return };
    let layer = redis.layer();
    let server = server(&redis).await;
    for round in 1..=3 {
        layer.publish(&Push::handler("n", "add", json!({"by": 1}))).await.unwrap();
        until("the push is shown", || server.n() == round).await;
        redis.kill().await;
        let error = layer.publish(&Push::state("n", [("n", 99)])).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("redis at `127.0.0.1:{}`: ", redis.port)), "{error}");
        redis.restart().await;
    }
}

#[tokio::test]
async fn a_server_may_start_before_redis() {
    let Some(mut redis) = Redis::start().await else { return };
    redis.kill().await;
    let server = Server::start(&redis);
    assert_eq!(server.n(), 0);
    let queued = server.hub.push(Push::state("n", [("n", 7)])).await.unwrap_err();
    assert_eq!(queued.class(), ErrorClass::Queued);
    redis.restart().await;
    until("the push is shown", || server.n() == 7).await;
}

#[tokio::test]
async fn the_stream_is_bounded() {
    let Some(redis) = Redis::start().await else { return };
    let layer = RedisLayer::open(&format!("redis://127.0.0.1:{}", redis.port)).unwrap().stream("small", 100);
    for n in 0..1000 {
        layer.publish(&Push::state("n", [("n", n)])).await.unwrap();
    }
    let kept = layer.receive(&domcast_push::Cursor("0-0".into())).await.unwrap();
    let first: u64 = match &kept[0].push {
        Ok(Push { content: Content::Change { change: Change::State(state), .. }, .. }) => state["n"].as_u64().unwrap(),
        other => panic!("{other:?}"),
    };
    assert!(first > 500, "entry {first} is kept");
}

#[test]
fn a_wrong_address_is_refused() {
    let error = RedisLayer::open("http://127.0.0.1").unwrap_err().to_string();
    assert!(error.starts_with("the address: "), "{error}");
}
