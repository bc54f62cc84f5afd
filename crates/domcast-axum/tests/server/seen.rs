//! What an operator sees: metrics, health, the status page.

use crate::*;

impl Server {
    /// Returns the value of a metric, by the line that begins with `name`.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let (status, _, body) = self.get("/metrics").await;
        assert_eq!(status, 200);
        let line = body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no metric {name} in\n{body}")).parse().unwrap()
    }
}

#[tokio::test]
async fn one_change_is_one_render_one_diff_and_one_encoding_however_many_look_on() {
    let server = start(open()).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = server.connect().await;
        client.say(json!(["hello", 1, [["counter", server.position("counter")]]])).await;
        client.hear().await;
        clients.push(client);
    }
    assert_eq!(server.metric("domcast_subscribers{view=\"counter\"}").await, 5.0);
    let counted =
        ["domcast_renders_total", "domcast_diffs_total", "domcast_encodings_total", "domcast_deliveries_total"];
    let mut before = Vec::new();
    for name in counted {
        before.push(server.metric(&format!("{name}{{view=\"counter\"}}")).await);
    }
    assert_eq!(server.push(r#"{"view": "counter", "state": {"count": 7}}"#, &[]).await.0, 200);
    for client in &mut clients {
        assert_eq!(client.hear().await, json!(["p", 0, 1, [["t", 2, "7"]]]));
    }
    for ((name, before), grown) in counted.into_iter().zip(before).zip([1.0, 1.0, 1.0, 5.0]) {
        assert_eq!(server.metric(&format!("{name}{{view=\"counter\"}}")).await, before + grown, "{name}");
    }
    let n_bytes = server.metric("domcast_patch_bytes_total{view=\"counter\"}").await;
    assert_eq!(n_bytes, r#"[["t",2,"7"]]"#.len() as f64);
    assert_eq!(server.metric("domcast_pushes_total{view=\"counter\"}").await, 1.0);
    assert_eq!(server.metric("domcast_drops_total{view=\"counter\"}").await, 0.0);
    for phase in ["render", "diff", "encode"] {
        assert!(server.metric(&format!("domcast_{phase}_seconds_count{{view=\"counter\"}}")).await >= 1.0, "{phase}");
    }
    // Only what is posted is parsed; the template's own document knows its nodes.
    assert_eq!(server.metric("domcast_wholes_total{view=\"counter\"}").await, 0.0);
    assert_eq!(server.metric("domcast_wholes_total{view=\"panel\"}").await, 1.0);
}

#[tokio::test]
async fn refusals_and_resyncs_are_counted_by_cause() {
    let server = start(open()).await;
    server.push(r#"{"view": "counter", "handler": "fail"}"#, &[]).await;
    assert_eq!(server.metric("domcast_refused_total{view=\"counter\"}").await, 1.0);
    let mut client = server.connect().await;
    client.say(json!(["hello", 1, [["counter", null]]])).await;
    client.hear().await;
    client.hear().await;
    client.say(json!(["resync", 0])).await;
    assert_eq!(client.hear().await[0], "snapshot");
    for (cause, count) in [("behind", 1.0), ("asked", 1.0), ("slow", 0.0), ("restart", 0.0)] {
        let name = format!("domcast_resyncs_total{{view=\"counter\",cause=\"{cause}\"}}");
        assert_eq!(server.metric(&name).await, count, "{cause}");
    }
    assert_eq!(server.metric("domcast_sessions").await, 1.0);
}

#[tokio::test]
async fn a_server_is_ready_unless_it_is_told_not_to_be() {
    let server = start(open()).await;
    let ready = async || {
        let (status, _, body) = server.get("/readyz").await;
        (status, serde_json::from_str::<Value>(&body).unwrap())
    };
    assert_eq!(ready().await, (200, json!({"ready": true, "blockers": {}, "troubles": {}})));
    server.domcast.set_trouble("redis", Some("connection refused".into()));
    server.push(r#"{"view": "panel", "html": "<p>"}"#, &[]).await;
    let troubles = json!({"redis": "connection refused"});
    assert_eq!(ready().await, (200, json!({"ready": true, "blockers": {}, "troubles": troubles})));
    server.domcast.set_blocker("drain", Some("the server stops".into()));
    server.domcast.set_trouble("redis", None);
    let blockers = json!({"drain": "the server stops"});
    assert_eq!(ready().await, (503, json!({"ready": false, "blockers": blockers, "troubles": {}})));
    server.domcast.set_blocker("drain", None);
    assert_eq!(ready().await.0, 200);
    assert_eq!(server.get("/healthz").await.2, "ok");
}

#[tokio::test]
async fn a_view_that_cannot_be_rendered_is_a_trouble_until_it_can() {
    let server = start(open()).await;
    let view = DeclaredView::new("fragile.html").state("divisor", 1);
    server.domcast.hub().register_declared("fragile", view).unwrap();
    assert_eq!(server.push(r#"{"view": "fragile", "state": {"divisor": 0}}"#, &[]).await.0, 500);
    let (status, _, body) = server.get("/readyz").await;
    assert_eq!(status, 200);
    assert!(body.contains(r#""troubles":{"view fragile":"it cannot be rendered"}"#), "{body}");
    assert_eq!(server.metric("domcast_broken{view=\"fragile\"}").await, 1.0);
    assert_eq!(server.metric("domcast_render_failures_total{view=\"fragile\"}").await, 1.0);
    server.push(r#"{"view": "fragile", "state": {"divisor": 2}}"#, &[]).await;
    assert_eq!(server.metric("domcast_broken{view=\"fragile\"}").await, 0.0);
}

#[tokio::test]
async fn the_status_page_is_a_live_view_of_a_hub_of_its_own() {
    let server = start(open()).await;
    let (status, _, page) = server.get("/_domcast").await;
    assert_eq!(status, 200);
    assert!(page.contains("<div dc-view=\"status\""), "{page}");
    for view in ["counter", "panel", "ticker"] {
        assert!(page.contains(&format!("</span>{view}</th>")), "{page}");
    }
    let script = page.split("<script src=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(server.get(script).await.0, 200);
    for file in ["status.css", "icon.svg"] {
        assert_eq!(server.get(&format!("/_domcast/status/{file}")).await.0, 200);
    }
    let (address, position) = (server.address, page.split("dc-at=\"").nth(1).unwrap().split('"').next().unwrap());
    let (socket, _) = connect_async(format!("ws://{address}/_domcast/status/_domcast/ws")).await.unwrap();
    let mut client = Client { socket };
    client.say(json!(["hello", 1, [["status", position], ["counter", null]]])).await;
    assert_eq!(client.hear().await, json!(["mounted", "status", 0, position, 500]));
    assert_eq!(client.hear().await, json!(["unknown", "counter"]));
    // The next sample comes by itself.
    assert_eq!(client.hear().await[0], "p");
    let mut client = server.connect().await;
    client.say(json!(["hello", 1, [["status", null]]])).await;
    assert_eq!(client.hear().await, json!(["unknown", "status"]));
}

#[tokio::test]
async fn metrics_and_status_want_what_a_push_wants() {
    let paths = ["/metrics", "/_domcast", "/_domcast/status/status.css", "/_domcast/status/_domcast/ws"];
    let server = start(Config { push: PushAccess::Token("s3cret".into()), ..Config::default() }).await;
    // `c2VlOnMzY3JldA==` is `see:s3cret`, `OnMzY3JlCg==` is `:s3cre` and a newline.
    for path in paths {
        let line = format!("GET {path}");
        assert_eq!(server.get(path).await.0, 401, "{path}");
        for wrong in ["Bearer s3cre", "Basic OnMzY3JlCg==", "Basic !", "Basic c2VlOg=="] {
            let answer = server.request(&line, &[&format!("Authorization: {wrong}")], "").await;
            assert_eq!(answer.0, 401, "{path} with {wrong}");
        }
        for right in ["Bearer s3cret", "Basic c2VlOnMzY3JldA=="] {
            let answer = server.request(&line, &[&format!("Authorization: {right}")], "").await;
            assert_ne!(answer.0, 401, "{path} with {right}");
        }
        let foreign = ["Authorization: Bearer s3cret", "Origin: https://evil.net"];
        assert_eq!(server.request(&line, &foreign, "").await.0, 403, "{path}");
    }
    let (_, head, _) = server.get("/_domcast").await;
    assert!(head.contains("www-authenticate: basic realm="), "{head}");
    let server = start(Config::default()).await;
    for path in paths {
        assert_eq!(server.get(path).await.0, 401, "{path}");
    }
}

#[tokio::test]
async fn the_statistics_of_views_are_json_by_prefix_for_who_may_push() {
    let server = start(Config { push: PushAccess::Token("s3cret".into()), ..Config::default() }).await;
    let ask = async |path: &str| {
        let answer = server.request(path, &["Authorization: Bearer s3cret"], "").await;
        (answer.0, serde_json::from_str::<Value>(&answer.2).unwrap())
    };
    server.domcast.hub().push(Push::state("counter", [("count", 3)])).await.unwrap();
    server.domcast.hub().push(Push::state("counter", [("cuont", 3)])).await.unwrap_err();
    let mut client = server.connect().await;
    client.say(json!(["hello", 1, [["counter", null]]])).await;
    client.hear().await;
    let (status, views) = ask("GET /views?prefix=count").await;
    let found = |key: &str| views[0][key].clone();
    assert_eq!((status, views.as_array().unwrap().len(), found("view")), (200, 1, json!("counter")));
    let counts =
        ["subscribers", "queue_depth", "broken", "pushes", "refused", "drops", "renders", "encodings"].map(found);
    assert_eq!(counts, [1, 0, 0, 1, 1, 0, 2, 1].map(|n| json!(n)));
    assert_eq!(found("resyncs"), json!({"asked": 0, "behind": 1, "slow": 0, "restart": 0}));
    let names =
        ask("GET /views").await.1.as_array().unwrap().iter().map(|view| view["view"].clone()).collect::<Vec<_>>();
    assert_eq!(names, ["counter", "panel", "ticker"]);
    assert_eq!(server.get("/views").await.0, 401);
}
