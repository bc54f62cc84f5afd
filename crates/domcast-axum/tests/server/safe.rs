//! Attacks, by name, and what they come to. The numbers are those of the project's list of hazards.

use crate::*;
use domcast_axum::{Access, Authorization, PushError, Rate};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const PUSH: &str = r#"{"view": "counter", "state": {"count": 1}}"#;

/// S14: a page of another site connects or pushes with the visitor's own network access.
#[tokio::test]
async fn cross_site_requests_are_refused_before_anything_is_mounted() {
    let server = start(open()).await;
    let address = server.address;
    let port = address.port();
    let foreign = [
        "null".to_owned(),
        "".to_owned(),
        "https://evil.net".to_owned(),
        format!("http://127.0.0.1:{}", port ^ 1),
        "http://127.0.0.1".to_owned(),
        format!("http://localhost:{port}"),
        format!("http://evil-127.0.0.1:{port}"),
        format!("http://{address}.evil.net"),
        format!("http://{address}@evil.net"),
        format!("http://evil.net/{address}"),
        format!("file://{address}"),
        format!("ws://{address}"),
    ];
    for origin in &foreign {
        match server.connect_from(Some(origin)).await {
            Err(tungstenite::Error::Http(answer)) => assert_eq!(answer.status(), 403, "{origin}"),
            _ => panic!("`{origin}` connected"),
        }
        let header = format!("Origin: {origin}");
        assert_eq!(server.push(PUSH, &[&header]).await.0, 403, "{origin}");
        assert_eq!(server.request("PUT /views/panel/html", &[&header], "x").await.0, 403, "{origin}");
        assert_eq!(server.request("GET /_domcast", &[&header], "").await.0, 403, "{origin}");
    }
    assert_eq!(server.metric("domcast_sessions_opened_total").await, 0.0);
    for own in [format!("http://{address}"), format!("HTTP://{address}"), format!("https://{address}")] {
        assert!(server.connect_from(Some(&own)).await.is_ok(), "{own}");
        assert_eq!(server.push(PUSH, &[&format!("Origin: {own}")]).await.0, 200, "{own}");
    }
}

/// S14, S17: the attacker's name points to 127.0.0.1 once its page is loaded, so origin and host are equal.
#[tokio::test]
async fn dns_rebinding_finds_nobody_at_home() {
    let config = Config { allowed_hosts: vec!["dev.internal".into()], ..open() };
    let server = start(config).await;
    let port = server.address.port();
    let ask = async |line: &str, host: &str| {
        let head = format!("{line} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nConnection: close\r\n");
        let push = format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{PUSH}", PUSH.len());
        server.send(format!("{head}{push}")).await.0
    };
    for line in
        ["POST /push", "GET /views/counter", "GET /metrics", "GET /_domcast", "GET /_domcast/ws", "GET /healthz"]
    {
        for host in [format!("evil.net:{port}"), "evil.net".into(), format!("localhost.evil.net:{port}"), String::new()]
        {
            assert_eq!(ask(line, &host).await, 421, "{line} of `{host}`");
        }
    }
    for host in
        [format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}"), "dev.internal".into()]
    {
        assert_eq!(ask("POST /push", &host).await, 200, "{host}");
    }
    // A server that wants a token answers to every name: a rebound page has none.
    let server = start(Config { push: PushAccess::Token("s3cret".into()), ..Config::default() }).await;
    let head = "GET /views/counter HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n";
    assert_eq!(server.send(head.into()).await.0, 200);
}

/// S15: names that nobody declared, long, strange or of the framework.
#[tokio::test]
async fn only_declared_handlers_run_and_the_answer_lists_none() {
    let server = start(open()).await;
    let mut client = server.connect().await;
    client.say(json!(["hello", 1, [["counter", null]]])).await;
    client.hear().await;
    client.hear().await;
    let long = "x".repeat(60_000);
    let names = ["__init__", "drop", "handle_tick", "mount", "../x", "\0", "add", "Increment", "increment ", "", &long];
    for (n, name) in names.into_iter().enumerate() {
        client.say(json!(["event", n, 0, name, {}])).await;
        let answer = client.hear().await;
        assert_eq!(answer[2], "there is no such handler", "{name}");
        assert!(answer.to_string().len() < 100, "{answer}");
    }
    assert!(server.position("counter").ends_with(":0"));
}

/// S16: keys and types that the view does not declare.
#[tokio::test]
async fn undeclared_state_is_refused_and_counted() {
    let server = start(open()).await;
    for state in [r#"{"admin": true}"#, r#"{"__proto__": {}}"#, r#"{"count": []}"#, r#"{"count": 1, "x": 2}"#] {
        assert_eq!(server.push(&format!(r#"{{"view": "counter", "state": {state}}}"#), &[]).await.0, 422, "{state}");
    }
    assert!(server.position("counter").ends_with(":0"));
    assert_eq!(server.metric("domcast_refused_total{view=\"counter\"}").await, 4.0);
}

/// S17: the table of refusals of the push endpoint, and guessing of its token.
#[tokio::test]
async fn the_push_endpoint_limits_pushes_and_guesses() {
    let limits = Limits {
        pushes: Rate { per_second: 1, burst: 3 },
        wrong_tokens: Rate { per_second: 1, burst: 2 },
        ..Limits::default()
    };
    let server = start(Config { push: PushAccess::Token("s3cret".into()), limits, ..Config::default() }).await;
    let guess = async |token: &str| server.push(PUSH, &[&format!("Authorization: Bearer {token}")]).await.0;
    assert_eq!([guess("a").await, guess("b").await, guess("c").await], [401, 401, 429]);
    // Guessing locks nobody out who knows the token.
    assert_eq!([guess("s3cret").await, guess("s3cret").await, guess("s3cret").await], [200, 200, 200]);
    let headers = ["Authorization: Bearer s3cret", "Content-Type: application/json"];
    let (status, head, body) = server.request("POST /push", &headers, PUSH).await;
    assert_eq!((status, body.as_str()), (429, r#"{"error":"too many pushes: try again in 1 s"}"#));
    assert!(head.contains("retry-after: 1"), "{head}");
}

/// S18: a view goes to those only whose page was made for them, and only as long as they may look.
#[tokio::test]
async fn a_view_wants_a_mount_token_of_its_page() {
    let server = start(only_ann(Arc::new(AtomicBool::new(true)), Duration::from_secs(60))).await;
    let token = server.token("counter", "ann");
    let other_key =
        start(only_ann(Arc::new(AtomicBool::new(true)), Duration::from_secs(60))).await.token("counter", "ann");
    let forged = token.replace(".616e6e.", ".626f62.");
    let cases = [
        ("none", json!(["counter", null])),
        ("empty", json!(["counter", null, null, ""])),
        ("of another view", json!(["panel", null, null, token])),
        ("of another server", json!(["counter", null, null, other_key])),
        ("for another user", json!(["counter", null, null, forged])),
        ("for no view there is", json!(["nothing", null, null, token])),
    ];
    for (what, entry) in cases {
        let mut client = server.connect().await;
        client.say(json!(["hello", 1, [entry.clone()]])).await;
        assert_eq!(client.hear().await, json!(["denied", entry[0]]), "{what}");
        // Nothing is mounted.
        client.say(json!(["event", 1, 0, "increment", {}])).await;
        assert_eq!(client.close_code().await.0, 4400, "{what}");
    }
    let mut client = server.connect().await;
    client.say(json!(["hello", 1, [["counter", null, null, token]]])).await;
    assert_eq!(client.hear().await[0], "mounted");
    assert_eq!(server.domcast.token_attribute("counter", None, "bob"), None);
    let page = server.domcast.render_page_for(&named("ann"), "page.html", ()).unwrap();
    assert!(page.contains("<div dc-token=\""), "{page}");
    assert!(server.domcast.render_page_for(&named("bob"), "page.html", ()).is_err());
    for path in ["/views/counter", "/views/counter/html", "/views/nothing"] {
        let answer = simplified(server.get(path).await);
        assert_eq!(answer, (404, json!("there is no such view, or it is not for everybody")), "{path}");
    }
}

/// S18: what was granted is taken back while the client looks on, in less than a second.
#[tokio::test]
async fn a_revoked_view_goes_silent_at_once() {
    let may = Arc::new(AtomicBool::new(true));
    let server = start(only_ann(Arc::clone(&may), Duration::from_secs(60))).await;
    let mut client = server.connect().await;
    client.say(json!(["hello", 1, [["counter", null, null, server.token("counter", "ann")]]])).await;
    client.hear().await;
    client.hear().await;
    may.store(false, Ordering::Relaxed);
    server.domcast.reauthorize("bob");
    server.push(PUSH, &[]).await;
    assert_eq!(client.hear().await[0], "p");
    server.domcast.reauthorize("ann");
    assert_eq!(client.hear().await, json!(["revoked", 0]));
    // An event that was under way is refused; the connection stays for the page's other views.
    client.say(json!(["event", 1, 0, "increment", {}])).await;
    assert_eq!(client.hear().await.as_array().unwrap()[..2], [json!("refused"), json!(1)]);
    server.push(r#"{"view": "counter", "state": {"count": 2}}"#, &[]).await;
    client.say(json!(["resync", 0])).await;
    client.say(json!(["ping"])).await;
    assert_eq!(client.hear().await, json!(["pong"]));
    assert_eq!(server.metric("domcast_subscribers{view=\"counter\"}").await, 0.0);
}

/// Whoever may look at one order sees no other by naming its key, and loses that one only.
#[tokio::test]
async fn a_key_is_allowed_for_itself_and_taken_back_for_itself() {
    let allowed = Arc::new(Mutex::new(vec![(Some("41"), "ann"), (Some("42"), "ann"), (None, "ann")]));
    let hook = {
        let allowed = Arc::clone(&allowed);
        move |view: &str, key: Option<&str>, user: &str| match (view, allowed.lock().unwrap().contains(&(key, user))) {
            ("order" | "cart", true) => Access::Allow(Duration::from_secs(60)),
            _ => Access::Deny,
        }
    };
    let server = start(Config { authorization: Some(Authorization::new(hook)), ..open() }).await;
    server.domcast.identify(|_| named("ann"));
    server.domcast.hub().register_keyed("order", |_| Ok(Counter { count: 0 })).unwrap();
    server.domcast.hub().register_private("cart", |_| Ok(Counter { count: 0 })).unwrap();
    let token = |view, key| {
        let attribute = server.domcast.token_attribute(view, key, "ann")?;
        Some(attribute.split('"').nth(1).unwrap().to_owned())
    };
    let (of_41, of_42) = (token("order", Some("41")).unwrap(), token("order", Some("42")).unwrap());
    let (of_all, of_cart) = (token("order", None).unwrap(), token("cart", None).unwrap());
    assert_eq!(token("order", Some("43")), None);
    // The key of a private document is a secret between the server and its page, and nobody is asked about it.
    let cart = server.domcast.hub().html_for(&named("ann"), "cart", None).unwrap();
    let secret = cart.split("dc-view-key=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();

    let mut client = server.connect().await;
    let views = [
        ("order", "42", &of_41, "denied"),
        ("order", "43", &of_42, "denied"),
        ("order", "42", &of_all, "denied"),
        ("order", "41", &of_41, "mounted"),
        ("order", "42", &of_42, "mounted"),
        ("cart", secret, &of_cart, "mounted"),
    ];
    let entries: Vec<_> = views.iter().map(|(view, key, token, _)| json!([view, null, key, token])).collect();
    client.say(json!(["hello", 1, entries])).await;
    let mut answers = Vec::new();
    while answers.len() < views.len() {
        let answer = client.hear().await;
        if answer[0] == "denied" || answer[0] == "mounted" {
            answers.push(answer);
        }
    }
    // Only those of one view keep their order; an order's document has to be made first.
    answers.sort_by_key(|answer| answer[1] == "cart");
    let expected = views.map(|(.., expected)| expected);
    assert_eq!(answers.iter().map(|answer| &answer[0]).collect::<Vec<_>>(), expected);

    allowed.lock().unwrap().retain(|(key, _)| *key != Some("42"));
    server.domcast.reauthorize("ann");
    let mut told = Vec::new();
    while !told.iter().any(|frame: &serde_json::Value| frame[0] == "revoked") || told.len() < 3 {
        let frame = client.hear().await;
        told.extend((frame[0] == "revoked" || frame[0] == "token").then_some(frame));
    }
    let mounted: Vec<_> = answers.iter().filter(|answer| answer[0] == "mounted").map(|answer| &answer[2]).collect();
    for (document, expected) in mounted.into_iter().zip(["token", "revoked", "token"]) {
        let frames: Vec<_> = told.iter().filter(|frame| frame[1] == *document).map(|frame| &frame[0]).collect();
        assert_eq!(frames, [expected]);
    }
}

/// A change of mind is heeded while the document of a view is made.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_back_while_its_view_is_loaded_is_not_mounted() {
    let may = Arc::new(AtomicBool::new(true));
    let server = start(only_ann(Arc::clone(&may), Duration::from_secs(60))).await;
    let domcast = server.domcast.clone();
    let n_loads = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&n_loads);
    let load = move |_: &str| {
        count.fetch_add(1, Ordering::Relaxed);
        may.store(false, Ordering::Relaxed);
        domcast.reauthorize("ann");
        Ok(serde_json::Map::new())
    };
    let view = DeclaredView::new("ticker.html").state("n", 0);
    server.domcast.hub().register_declared_keyed_with("order", view, load).unwrap();
    let hellos = ["41", "42"].map(|key| {
        let attribute = server.domcast.token_attribute("order", Some(key), "ann").unwrap();
        json!(["hello", 1, [["order", null, key, attribute.split('"').nth(1)]]])
    });
    for hello in hellos {
        let mut client = server.connect().await;
        client.say(hello).await;
        assert_eq!(client.hear().await, json!(["denied", "order"]));
    }
    // For who is refused from the start none is made, though the token is good.
    assert_eq!(n_loads.load(Ordering::Relaxed), 1);
}

/// Asked about once, however many tries it took.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_could_not_be_loaded_at_first_is_granted_once() {
    let server = start(only_ann(Arc::new(AtomicBool::new(true)), Duration::from_secs(60))).await;
    let n_tries = AtomicUsize::new(0);
    let load = move || match n_tries.fetch_add(1, Ordering::Relaxed) {
        0 => Err(PushError::Application { view: "orders".into(), reason: "it is away".into() }),
        _ => Ok(serde_json::Map::new()),
    };
    let view = DeclaredView::new("ticker.html").state("n", 0);
    server.domcast.hub().register_declared_with("orders", view, load).unwrap();
    let mut client = server.connect().await;
    client.say(json!(["hello", 1, [["orders", null, null, server.token("orders", "ann")]]])).await;
    assert_eq!(client.hear().await[0], "mounted");
    assert_eq!(client.hear().await[0], "snapshot");
    server.domcast.reauthorize("ann");
    assert_eq!(client.hear().await[0], "token");
    client.say(json!(["ping"])).await;
    assert_eq!(client.hear().await, json!(["pong"]));
}

/// S18: a grant that ends by itself; the token is renewed as long as it does not.
#[tokio::test]
async fn a_grant_is_renewed_without_a_reload_and_ends_with_the_permission() {
    let may = Arc::new(AtomicBool::new(true));
    let server = start(only_ann(Arc::clone(&may), Duration::from_secs(2))).await;
    let mut client = server.connect().await;
    client.say(json!(["hello", 1, [["counter", null, null, server.token("counter", "ann")]]])).await;
    client.hear().await;
    client.hear().await;
    let renewed = client.hear().await;
    assert_eq!((&renewed[0], &renewed[1]), (&json!("token"), &json!(0)));
    let mut second = server.connect().await;
    second.say(json!(["hello", 1, [["counter", null, null, renewed[2]]]])).await;
    assert_eq!(second.hear().await[0], "mounted");
    may.store(false, Ordering::Relaxed);
    assert_eq!(client.hear().await, json!(["revoked", 0]));
}

/// S19: frames of every kind count against one rate, and sessions against a number.
#[tokio::test]
async fn a_client_is_not_read_faster_than_its_rate() {
    let limits = Limits {
        frames: Rate { per_second: 50, burst: 10 },
        n_connections: 2,
        idle: Duration::from_secs(5),
        ..Limits::default()
    };
    let server = start(Config { limits, ..open() }).await;
    let mut client = server.connect().await;
    client.say(json!(["hello", 1, [["counter", server.position("counter")]]])).await;
    client.hear().await;
    let start = std::time::Instant::now();
    for n in 0..15 {
        client.say(json!(["event", n, 0, "nothing", {}])).await;
        client.say(json!(["ping"])).await;
    }
    for _ in 0..30 {
        client.hear().await;
    }
    // 31 frames: 10 at once, 21 at 50 a second.
    assert!(start.elapsed() >= Duration::from_millis(380), "{:?}", start.elapsed());

    let _second = server.connect().await;
    match server.connect_from(None).await {
        Err(tungstenite::Error::Http(answer)) => assert_eq!(answer.status(), 503),
        _ => panic!("a third session was opened"),
    }
}

/// S19: the size of a frame, and the number of views of one page.
#[tokio::test]
async fn frames_and_hellos_have_a_size() {
    let server = start(open()).await;
    let mut client = server.connect().await;
    client.socket.send(Message::text(format!("[\"ping\"{}]", " ".repeat(70_000)))).await.unwrap();
    assert_eq!(client.close_code().await.0, 1009);
    let mut client = server.connect().await;
    let views: Vec<_> = (0..129).map(|_| json!(["counter", null])).collect();
    client.say(json!(["hello", 1, views])).await;
    assert_eq!(client.close_code().await.0, 4400);
    let mut client = server.connect().await;
    let deep =
        format!("[\"event\",1,0,\"increment\",{}{}]", "{\"a\":".repeat(5_000), "1".to_owned() + &"}".repeat(5_000));
    client.socket.send(Message::text(deep)).await.unwrap();
    assert_eq!(client.close_code().await.0, 4400);
    assert_eq!(server.metric("domcast_frames_malformed_total").await, 2.0);
}

/// S19: any bytes where frames, pushes, HTML or a request are expected. The hub's own law (`input`) has any frames that can be read.
#[tokio::test]
async fn whatever_is_sent_is_answered_with_a_typed_error_and_harms_nobody() {
    let server = start(open()).await;
    let mut bystander = server.connect().await;
    bystander.say(json!(["hello", 1, [["counter", server.position("counter")]]])).await;
    bystander.hear().await;
    let mut seed = 1_u64;
    let mut below = move |limit: usize| {
        // SplitMix64 (Steele, Lea and Flood, 2014).
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (((mixed ^ (mixed >> 27)) >> 33) % limit as u64) as usize
    };
    let samples = [
        hello(&server).to_string(),
        r#"["event",1,0,"nothing",{"by":1}]"#.to_owned(),
        r#"["resync",7]"#.into(),
        r#"{"view":"counter","handler":"add","payload":{"by":"x"}}"#.into(),
        r#"{"view":"nothing","patch":[{"op":"add","path":"/a","value":[1]}]}"#.into(),
    ];
    for round in 0..150 {
        let mut bytes = samples[below(samples.len())].clone().into_bytes();
        for _ in 0..below(6) {
            let at = below(bytes.len());
            match below(4) {
                0 => bytes[at] = below(256) as u8,
                1 => bytes.truncate(at + 1),
                2 => bytes.insert(at, b"[]{}\",\\\0\xff\n"[below(10)]),
                _ => bytes.extend_from_within(at..),
            }
        }
        for line in [
            "POST /push",
            "POST /_domcast/sse",
            "POST /_domcast/poll",
            "PUT /views/nothing/html",
            "POST /_domcast/sse/x",
        ] {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            let head = format!("{line} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", server.address);
            let head = format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", bytes.len());
            stream.write_all(&[head.as_bytes(), &bytes].concat()).await.unwrap();
            let mut answer = Vec::new();
            // An event stream that was opened goes on.
            while !answer.windows(2).any(|end| end == b"\n\n" || end == b"}}" || end == b"\"}") {
                assert_ne!(
                    stream.read_buf(&mut answer).await.unwrap(),
                    0,
                    "{line}: {}",
                    String::from_utf8_lossy(&answer)
                );
            }
            let answer = String::from_utf8_lossy(&answer);
            let (status, body) = (&answer[9..12], answer.split_once("\r\n\r\n").unwrap().1);
            let is_typed = match status {
                "200" => line.contains("_domcast") && body.contains("data:[\"session\""),
                _ if line.contains("_domcast") => {
                    body.starts_with("data:[\"bye\",4") || body.starts_with("data:[\"bye\",1009")
                }
                "400" | "404" | "422" => body.starts_with("{\"error\":\""),
                _ => false,
            };
            assert!(is_typed, "{line} {}: {answer}", String::from_utf8_lossy(&bytes));
        }
        let mut client = server.connect().await;
        let message = match String::from_utf8(bytes.clone()) {
            Ok(text) if round % 8 > 0 => Message::text(text),
            _ => Message::binary(bytes),
        };
        client.socket.send(message).await.unwrap();
        // It may be closed already.
        _ = client.socket.send(Message::text("[]")).await;
        assert!([4400, 4426].contains(&client.close_code().await.0));
    }
    // Not even HTTP.
    for text in ["\0\0\0\0", "GET", "GET / HTTP/9.9\r\n\r\n", "POST /push HTTP/1.1\r\nContent-Length: -1\r\n\r\n"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        // It closes, with or without a word.
        _ = stream.read_to_end(&mut Vec::new()).await;
    }
    assert_eq!(server.push(PUSH, &[]).await.0, 200);
    assert_eq!(bystander.hear().await, json!(["p", 0, 1, [["t", 2, "1"]]]), "nothing else came");
    assert_eq!(server.metric("domcast_drops_total{view=\"counter\"}").await, 0.0);
}

/// S20: a client that never reads costs a bounded amount, and the others nothing.
#[tokio::test]
async fn a_stalled_client_does_not_delay_the_others() {
    let server = start(open()).await;
    let mut stalled = server.connect().await;
    stalled.say(json!(["hello", 1, [["panel", server.position("panel")]]])).await;
    let mut live = server.connect().await;
    live.say(json!(["hello", 1, [["panel", server.position("panel")]]])).await;
    live.hear().await;
    let text = "x".repeat(100_000);
    for n in 1..=150 {
        server.domcast.hub().push(Push::html("panel", format!("<p>{n}{text}{n}</p>"))).await.unwrap();
        while live.hear().await[2] != n {}
    }
    assert!(server.metric("domcast_resyncs_total{view=\"panel\",cause=\"slow\"}").await >= 1.0);
    assert_eq!(server.metric("domcast_drops_total{view=\"panel\"}").await, 0.0);
}

/// S24: what a handler or a template said stays on the server.
#[tokio::test]
async fn no_frame_and_no_public_page_tells_a_secret() {
    let server = start(open()).await;
    let mut client = server.connect().await;
    client.say(json!(["hello", 1, [["counter", null], ["nothing", null]]])).await;
    client.say(json!(["event", 7, 0, "fail", {}])).await;
    let mut heard = Vec::new();
    while heard.last().is_none_or(|frame: &Value| frame[0] != "refused") {
        heard.push(client.hear().await);
    }
    let refused = heard.last().unwrap();
    assert_eq!(refused[2], "the event could not be handled");
    assert!(refused[3].as_str().unwrap().ends_with(".7"), "{refused}");
    let (_, _, page) = server.get("/views/nothing").await;
    let all = format!("{heard:?}{page}");
    for secret in ["hunter2", "fail", "panel", "ticker"] {
        assert!(!all.contains(secret), "`{secret}` in {all}");
    }
    assert_eq!(server.domcast.page("wrong.html", ()).status(), 500);
}

/// S22: the client's delay is random and grows; the browser tests hold it to that. Here: a thousand at once are all served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_reconnects_is_served() {
    let server = Arc::new(start(open()).await);
    let position = server.position("counter");
    let clients: Vec<_> = (0..200)
        .map(|_| {
            let (server, position) = (Arc::clone(&server), position.clone());
            tokio::spawn(async move {
                let mut client = server.connect().await;
                client.say(json!(["hello", 1, [["counter", position]]])).await;
                assert_eq!(client.hear().await[0], "mounted");
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    // Who was there at that position missed nothing: no render and no snapshot.
    assert_eq!(server.metric("domcast_renders_total{view=\"counter\"}").await, 1.0);
    assert_eq!(server.metric("domcast_resyncs_total{view=\"counter\",cause=\"behind\"}").await, 0.0);
}

/// Everybody may look at nothing, but Ann at everything while `may` is set.
fn only_ann(may: Arc<AtomicBool>, time: Duration) -> Config {
    let hook = move |_: &str, _: Option<&str>, user: &str| match user == "ann" && may.load(Ordering::Relaxed) {
        true => Access::Allow(time),
        false => Access::Deny,
    };
    Config { authorization: Some(Authorization::new(hook)), ..open() }
}

impl Server {
    fn token(&self, view: &str, user: &str) -> String {
        let attribute = self.domcast.token_attribute(view, None, user).unwrap();
        attribute.split('"').nth(1).unwrap().to_owned()
    }
}

fn named(user: &str) -> domcast_axum::Client {
    domcast_axum::Client { user: Some(user.into()), ..Default::default() }
}
