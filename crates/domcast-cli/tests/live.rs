//! The servers and `domcast push` as a shell and an HTTP client see them. Every server listens on a free port of its own.

#[path = "live/behind.rs"]
mod behind;
#[path = "live/readme.rs"]
mod readme_in_rust;

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite;

const ANY_PORT: &str = "127.0.0.1:0";

/// Runs `domcast` to its end; returns its exit code, standard output and standard error.
#[track_caller]
fn run(args: &[&str], input: &[u8]) -> (i32, String, String) {
    let mut command = domcast(args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().expect("no signal ended it"), text(output.stdout), text(output.stderr))
}

fn domcast(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_domcast"));
    command.args(args).env_remove("DOMCAST_URL").env_remove("DOMCAST_TOKEN").env_remove("DOMCAST_LOG");
    command
}

/// A running server, killed at the end of its test.
struct Server {
    process: Child,
    address: SocketAddr,
    log: mpsc::Receiver<String>,
}

impl Server {
    #[track_caller]
    fn start(args: &[&str]) -> Server {
        let mut process = domcast(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, log) = mpsc::channel();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut first = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let Some((_, address)) = first.trim_end().split_once("http://") else {
            panic!("`{first}` names no address: {:?}", log.iter().collect::<Vec<_>>());
        };
        Server { process, address: address.parse().unwrap(), log }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends a request; returns the status and the body.
    #[track_caller]
    fn request(&self, head: &str, headers: &[&str], body: &str) -> (u16, String) {
        request(self.address, head, headers, body)
    }

    /// Posts a push as JSON.
    #[track_caller]
    fn post(&self, body: &str) -> (u16, String) {
        self.request("POST /push", &["Content-Type: application/json"], body)
    }

    /// Runs `domcast push` against the server.
    #[track_caller]
    fn push(&self, args: &[&str], input: &str) -> (i32, String, String) {
        let url = self.url();
        run(&[&["push", "--url", &url], args].concat(), input.as_bytes())
    }

    fn html(&self, view: &str) -> String {
        self.request(&format!("GET /views/{view}/html"), &[], "").1
    }

    /// Waits for a line of the log; returns those before it.
    #[track_caller]
    fn logged(&self, part: &str) -> Vec<String> {
        let mut before = Vec::new();
        for line in &self.log {
            if line.contains(part) {
                return before;
            }
            before.push(line);
        }
        panic!("the log ended without `{part}`: {before:#?}");
    }
}

#[track_caller]
fn request(server: SocketAddr, head: &str, headers: &[&str], body: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(server).unwrap();
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let request = format!(
        "{head} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    // The server may answer and close before it has read all.
    _ = socket.write_all(request.as_bytes());
    let mut answer = Vec::new();
    _ = socket.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

fn demo() -> Server {
    Server::start(&["demo", "--bind", ANY_PORT])
}

/// Makes a new folder with these files.
fn folder(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    _ = std::fs::remove_dir_all(&dir);
    for (name, text) in [("templates/list.html", "<b>{{ n }}</b>")].iter().chain(files) {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

/// Serves a folder that cannot be served, and returns the error without the name of the folder.
#[track_caller]
fn refused(name: &str, files: &[(&str, &str)]) -> String {
    let dir = folder(name, files);
    let dir = dir.to_str().unwrap();
    let (code, out, err) = run(&["serve", dir, "--bind", ANY_PORT], b"");
    assert_eq!((code, &*out), (2, ""), "{err}");
    err.replace(&format!("{dir}/"), "")
}

#[test]
fn push_prints_where_the_view_stands() {
    let server = demo();
    let (code, out, err) = server.push(&["dashboard", "--state", r#"{"visitors": 7}"#], "");
    assert_eq!((code, &*err), (0, ""));
    assert!(out.starts_with(r#"{"epoch":""#) && out.ends_with("\",\"version\":1,\"subscribers\":0}\n"), "{out}");
    assert!(server.html("dashboard").contains("<dd>7</dd>"));

    let (code, _, err) = server.push(&["dashboard", "--state", "-"], r#"{"visitors": 8}"#);
    assert_eq!((code, &*err), (0, ""));
    assert!(server.html("dashboard").contains("<dd>8</dd>"));

    let (code, _, err) = server.push(&["counter", "--handler", "increment"], "");
    assert_eq!((code, &*err), (0, ""));
    let (code, _, err) = server.push(&["counter", "--handler", "add", "--payload", "-"], r#"{"by": 10}"#);
    assert_eq!((code, &*err), (0, ""));
    assert!(server.html("counter").contains(">11</output>"));

    let (code, _, err) = server.push(&["panel", "--html", "-"], "<p>posted ✓</p>");
    assert_eq!((code, &*err), (0, ""));
    assert!(server.html("panel").contains("<p>posted ✓</p>"));
}

#[test]
fn push_repeats_what_the_server_says_and_answers_1() {
    let server = demo();
    let cases: [(&[&str], &str); 7] = [
        (
            &["dashbord", "--state", "{}"],
            "there is no view `dashbord` (views: `chat`, `counter`, `dashboard`, `note`, `panel`, `table`, `ticker`)",
        ),
        (
            &["dashboard", "--state", r#"{"visitor": 1}"#],
            "view `dashboard` has no state key `visitor` (declared: `visitors`, `orders`, `revenue`, `load`, `status`)",
        ),
        (
            &["dashboard", "--state", r#"{"visitors": "many"}"#],
            "state key `visitors` of view `dashboard` does not take this value: found a string, expected a number",
        ),
        (
            &["counter", "--handler", "ad"],
            "view `counter` has no handler `ad` (declared: `add`, `decrement`, `increment`, `reset`)",
        ),
        (
            &["counter", "--handler", "add"],
            "handler `add` of view `counter` does not take this payload: missing field `by`",
        ),
        (&["counter", "--html", "-"], "view `counter` is rendered from a template and takes no HTML"),
        (
            &["no/such?view", "--html", "-"],
            "there is no view `no/such?view` (views: `chat`, `counter`, `dashboard`, `note`, `panel`, `table`, `ticker`)",
        ),
    ];
    for (args, message) in cases {
        let before = server.html("counter");
        assert_eq!(server.push(args, "<p>"), (1, String::new(), format!("domcast: {message}\n")));
        assert_eq!(server.html("counter"), before);
    }
}

#[test]
fn push_answers_2_to_what_it_cannot_send() {
    let nobody = TcpListener::bind(ANY_PORT).unwrap().local_addr().unwrap();
    let url = format!("http://{nobody}");
    let cases: [(&[&str], &str); 8] = [
        (&["--state", "{\"a\": }"], "`--state` is not JSON: expected value at line 1 column 7"),
        (&["--state", "[1]"], "`--state` is not a JSON object"),
        (&["--state", "-"], "standard input, for `--state`, is not JSON: EOF while parsing a value at line 1 column 0"),
        (&["--handler", "h", "--payload", "x"], "`--payload` is not JSON: expected value at line 1 column 1"),
        (&["--html", "no-such-file"], "`no-such-file` cannot be read: No such file or directory (os error 2)"),
        (&["--state", "{}"], &format!("`{url}` cannot be reached: ")),
        (
            &["--state", "{}", "--url", "https://example.org"],
            "`https://example.org` is no address of a server, expected one such as `http://127.0.0.1:8000` (http only)",
        ),
        (&["--state", "{}", "--html", "-"], "the argument '--state <JSON>' cannot be used with '--html <FILE>'"),
    ];
    for (args, message) in cases {
        let url = if args.contains(&"--url") { &[][..] } else { &["--url", &url] };
        let (code, out, err) = run(&[&["push", "view"], url, args].concat(), b"");
        assert_eq!((code, &*out), (2, ""), "{args:?}");
        assert!(err.contains(message), "{args:?}: {err}");
    }
}

#[test]
fn pushes_over_http_are_refused_with_a_status_and_a_reason() {
    let server = demo();
    let before = server.html("counter");
    let cases = [
        (
            r#"{"view": "counter", "state": {"count": }}"#,
            400,
            "the body is no push: expected value at line 1 column 40",
        ),
        (
            r#"{"view": "counter", "handler": "add", "html": ""}"#,
            400,
            "the body is no push: a push has `view` and one of `state`, `merge`, `patch`, `html`, `handler` with `payload`; or `topic` and `data`; or `revoke`; found `view` and `handler` and `html`",
        ),
        (
            r#"{"view": "x", "state": {}}"#,
            404,
            "there is no view `x` (views: `chat`, `counter`, `dashboard`, `note`, `panel`, `table`, `ticker`)",
        ),
        (
            r#"{"view": "counter", "state": {"count": 1, "step": 2}}"#,
            422,
            "view `counter` has no state key `step` (declared: `count`)",
        ),
        (
            r#"{"view": "chat", "handler": "shout", "payload": {}}"#,
            422,
            "view `chat` has no handler `shout` (declared: `on_new_message`)",
        ),
        (
            r#"{"view": "chat", "handler": "on_new_message", "payload": {"name": "a", "text": " "}}"#,
            422,
            "handler `on_new_message` of view `chat` failed: `text` has 0 characters, expected 1 to 500",
        ),
    ];
    for (body, status, message) in cases {
        assert_eq!(server.post(body), (status, serde_json::json!({ "error": message }).to_string()));
    }
    let large = format!(r#"{{"view": "note", "state": {{"text": "{}"}}}}"#, "x".repeat(1 << 20));
    let message = format!(r#"{{"error":"push of {} bytes exceeds the limit of 1048576"}}"#, large.len());
    assert_eq!(server.post(&large), (413, message));
    let message = r#"{"error":"a push has the content type `application/json`, found `text/plain`"}"#;
    assert_eq!(server.request("POST /push", &["Content-Type: text/plain"], "{}"), (415, message.to_owned()));
    assert_eq!(server.html("counter"), before);
}

#[test]
fn a_push_needs_the_token() {
    let server = Server::start(&["demo", "--bind", ANY_PORT, "--token", "s3cret"]);
    let push = r#"{"view": "counter", "state": {"count": 5}}"#;
    let json = "Content-Type: application/json";
    let without = r#"{"error":"a push needs the header `Authorization: Bearer` with the push token"}"#;
    assert_eq!(server.post(push), (401, without.to_owned()));
    let wrong = r#"{"error":"this is not the push token"}"#;
    let answer = server.request("POST /push", &[json, "Authorization: Bearer s3cre"], push);
    assert_eq!(answer, (401, wrong.to_owned()));
    assert_eq!(server.request("POST /push", &[json, "Authorization: Bearer s3cret"], push).0, 200);

    let args = ["counter", "--handler", "increment"];
    let (code, _, err) = server.push(&args, "");
    let message = "domcast: a push needs the header `Authorization: Bearer` with the push token\n";
    assert_eq!((code, &*err), (1, message));
    let (code, _, err) = server.push(&[&args[..], &["--token", "wrong"]].concat(), "");
    assert_eq!((code, &*err), (1, "domcast: this is not the push token\n"));
    assert_eq!(server.push(&[&args[..], &["--token", "s3cret"]].concat(), "").0, 0);
    assert!(server.html("counter").contains(">6</output>"));
}

#[test]
fn an_open_door_is_refused_at_start() {
    let message = "domcast: other machines reach `0.0.0.0:0`, and without a push token all may push: set one, or bind to 127.0.0.1\n";
    assert_eq!(run(&["demo", "--bind", "0.0.0.0:0"], b""), (2, String::new(), message.to_owned()));
    let dir = folder("open", &[("domcast.toml", "bind = \"0.0.0.0:0\"")]);
    assert_eq!(run(&["serve", dir.to_str().unwrap()], b""), (2, String::new(), message.to_owned()));
}

#[test]
fn without_a_token_nobody_pushes_through_a_proxy() {
    let server = demo();
    let push = r#"{"view": "counter", "state": {"count": 7}}"#;
    for header in ["X-Forwarded-For: 8.8.8.8", "Forwarded: for=8.8.8.8", "Via: 1.1 edge", "X-Real-IP: 8.8.8.8"] {
        let (status, answer) = server.request("POST /push", &["Content-Type: application/json", header], push);
        assert!(status == 401 && answer.contains("set a push token"), "{header}: {status} {answer}");
        assert_eq!(server.request("GET /metrics", &[header], "").0, 401, "{header}");
    }
    assert_eq!(server.post(push).0, 200);
}

#[test]
fn views_that_are_no_list_are_named_as_that() {
    let hint = "views are a list, each begins with `[[views]]`";
    let error = refused("no-list", &[("domcast.toml", "[views]\nname = 'a'\n")]);
    assert!(error.contains("line 1: ") && error.contains(hint), "{error}");
    let error = refused("no-other-list", &[("domcast.toml", "topics = { a = 1 }\n")]);
    assert!(error.contains("`topics`: invalid type: map, expected a list") && !error.contains(hint), "{error}");
}

#[test]
fn an_empty_token_is_refused_wherever_it_comes_from() {
    let (code, _, err) = run(&["demo", "--bind", ANY_PORT, "--token", ""], b"");
    assert!(code == 2 && err.contains("it is empty: anybody could guess it"), "{err}");
}

#[test]
fn all_that_the_help_lists_may_be_in_the_file() {
    let toml = include_str!("../src/serve/domcast.toml");
    // These reach for other servers, or answer to others only.
    let is_alone = |line: &&str| {
        !["redis", "upstream", "identify", "signals", "allowed_hosts", "load", "handlers.save.forward"]
            .iter()
            .any(|key| line.starts_with(key))
    };
    let lines = toml.lines().filter(is_alone);
    let toml: String = lines.map(|line| format!("{line}\n")).collect();
    let files = [
        ("domcast.toml", &*toml),
        ("counter.json", r#"{"count": 0}"#),
        ("panel.html", "<p>first</p>"),
        ("templates/counter.html", "{{ count }}"),
        ("templates/order.html", "{{ key }}"),
    ];
    let dir = folder("all-keys", &files);
    let server = Server::start(&["serve", dir.to_str().unwrap(), "--bind", "localhost:0"]);
    assert!(server.html("counter").contains("<div dc-view=\"counter\""));
    let help = String::from_utf8(domcast(&["serve", "--help"]).output().unwrap().stdout).unwrap();
    assert!(help.contains("all pages get") && help.contains("frames_per_second"), "{help}");
}

#[test]
fn nothing_on_standard_input_empties_no_view() {
    let server = demo();
    let (code, _, err) = server.push(&["panel", "--html", "-"], "");
    assert!(code == 2 && err.contains("standard input is empty: did what renders fail?"), "{err}");
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind(ANY_PORT).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, err) = run(&["demo", "--bind", &address], b"");
    let message = format!("domcast: `{address}` cannot be listened on: Address already in use (os error 98)\n");
    assert_eq!((code, err), (2, message));
}

#[test]
fn a_wrong_configuration_is_named_with_its_line() {
    let view = "[[views]]\nname = \"list\"\ntemplate = \"list.html\"\n";
    let with = |rest: &str| format!("{view}{rest}\n");
    let cases = [
        (
            "bnid = \"x\"".into(),
            "line 1: unknown key `bnid`, expected one of `bind`, `token`, `allowed_origins`, `allowed_hosts`, `topics`, `development`, `redis`, `redis_key`, `upstream`, `identify`, `identify_for`, `signals`, `content_security_policy`, `limits`, `views`",
        ),
        (
            "\nbind = \"localhost\"".into(),
            "line 2: `bind` is `localhost`, expected an address and a port such as `127.0.0.1:8000` or `localhost:8000`",
        ),
        ("bind = 8000".into(), "line 1: `bind`: invalid type: integer `8000`, expected a string"),
        ("\nbind = \"127".into(), "line 2: invalid basic string, expected `\"`"),
        ("token = \"\"".into(), "line 1: `token` is empty: anybody could guess it"),
        (
            "allowed_origins = [\n\"https://a.org\",\n\"b.org\",\n]".into(),
            "line 3: `b.org` is no origin, expected one such as `https://example.org`",
        ),
        (
            "allowed_hosts = [\"b.org:80\"]".into(),
            "line 1: `b.org:80` is no host, expected one such as `example.org`, without a port",
        ),
        (
            "[limits]\npush_byte = 1".into(),
            "line 2: unknown key `push_byte`, expected one of `push_bytes`, `html_bytes`, `frame_bytes`, `write_buffer_bytes`, `template_bytes`, `output_bytes`, `fuel`, `n_events`, `n_connections`, `frames_per_second`, `pushes_per_second`, `hello`, `idle`, `write`",
        ),
        (
            "[limits]\nidle = \"soon\"".into(),
            "line 2: `soon` is no duration, expected a number and `ms`, `s`, `m` or `h`, as in `2s`",
        ),
        ("[[views]]\ntemplate = \"list.html\"".into(), "line 1: missing key `name`"),
        (
            with("tempo = 1"),
            "line 4: unknown key `tempo`, expected one of `name`, `template`, `html`, `state`, `keyed`, `topic`, `load`, `tick`, `handlers`",
        ),
        (with("keyed = \"yes\""), "line 4: `keyed`: invalid type: string \"yes\", expected a boolean"),
        ("topics = \"chat\"".into(), "line 1: `topics`: invalid type: string \"chat\", expected a list"),
        (with("state = 3"), "line 4: `state` is of type integer, expected a table or the name of a JSON file"),
        (with("state = \"no.json\""), "line 4: `no.json` cannot be read: No such file or directory (os error 2)"),
        (
            with("state = \"templates/list.html\""),
            "line 4: `templates/list.html` is not JSON: expected value at line 1 column 1",
        ),
        (with("state = \"list.json\""), "line 4: `list.json` is not a JSON object"),
        (with("state = { n = nan }"), "line 4: `NaN` is no number of JSON"),
        (with("html = \"x.html\""), "line 4: view `list` has `html` and `template`, expected one of them"),
        (with("tick = { every = \"1ms\", set = {} }"), "line 4: a tick every `1ms`, expected at least `10ms`"),
        (with("tick = { evry = \"1s\", set = {} }"), "line 4: unknown key `evry`, expected `every` or `set`"),
        (
            with("state = { n = 1 }\nhandlers.add.set = { m = \"1\" }"),
            "line 5: view `list` has no state key `m` (declared: `n`)",
        ),
        (
            with("state = { n = 1 }\nhandlers.add.set = { n = \"[n] | upsrt(payload)\" }"),
            "line 5: handler `add` of view `list` cannot be declared: unknown filter: there is none called `upsrt` in the expression `[n] | upsrt(payload)`",
        ),
        (
            with("state = { n = 1 }\nhandlers.add.set = { n = \"n +\" }"),
            "line 5: handler `add` of view `list` cannot be declared: syntax error: unexpected end of input, expected expression in the expression `n +`",
        ),
        (
            "[[views]]\nname = \"a view\"".into(),
            "line 2: `a view` cannot name a view (1 to 128 letters, digits, `-`, `_`, `.` and `:` can)",
        ),
        ("[[views]]\nname = \"a\"\n[[views]]\nname = \"a\"".into(), "line 4: there is a view `a` already"),
        (
            "[[views]]\nname = \"a\"\nstate = { n = 1 }".into(),
            "line 2: view `a` has no `template`: `state`, `keyed`, `load`, `tick` and `handlers` that do not `forward` need one",
        ),
        ("redis = \"http://example.org\"".into(), "line 1: "),
        (
            "\nupstream = \"localhost:8001\"".into(),
            "line 2: `upstream` is `localhost:8001`, expected an address such as `http://127.0.0.1:8001`, without TLS",
        ),
    ];
    for (idx, (source, message)) in cases.iter().enumerate() {
        let found = refused(&format!("wrong-{idx}"), &[("domcast.toml", source), ("list.json", "[1]")]);
        let message = format!("domcast: `domcast.toml` {message}");
        assert!(
            found.starts_with(&message) && (found.trim_end() == message || message.ends_with(": ")),
            "{found}\n{message}"
        );
    }
    let missing = refused("wrong-none", &[]);
    assert_eq!(missing, "domcast: `domcast.toml` cannot be read: No such file or directory (os error 2)\n");
}

#[test]
fn a_view_that_cannot_be_rendered_stops_a_server_that_is_not_in_development() {
    let config = "development = false\n[[views]]\nname = \"list\"\ntemplate = \"broken.html\"\n";
    let files = [("domcast.toml", config), ("templates/broken.html", "fine\n{{ n | nope }}\n")];
    let message = "domcast: `domcast.toml` line 3: view `list` cannot be rendered: unknown filter: filter nope is unknown, in template `broken.html` at line 2\n   1 | fine\n   2 > {{ n | nope }}\n";
    assert_eq!(refused("broken", &files), message);

    let dir = folder("broken-development", &[("domcast.toml", &config[20..]), files[1]]);
    let server = Server::start(&["serve", dir.to_str().unwrap(), "--bind", ANY_PORT]);
    server.logged("in template `broken.html` at line 2");
    server.logged("2 > {{ n | nope }}");
    std::fs::write(dir.join("templates/broken.html"), "mended").unwrap();
    server.logged("templates read again n_errors=0");
    assert!(server.html("list").contains(">mended</div>"));
}

#[test]
fn declared_handlers_edit_the_state_and_push_only_ones_are_for_pushes() {
    let config = r#"
[limits]
push_bytes = 100

[[views]]
name = "list"
template = "list.html"
state = "list.json"
handlers.add = { set = { n = "n + payload.by" }, push_only = true }

[[views]]
name = "panel"
html = "panel.html"
"#;
    let files = [("domcast.toml", config), ("list.json", r#"{"n": 40}"#), ("panel.html", "<i>first</i>")];
    let dir = folder("declared", &files);
    let server = Server::start(&["serve", dir.to_str().unwrap(), "--bind", ANY_PORT]);
    assert!(server.html("panel").ends_with("<i>first</i></div>"));
    assert_eq!(server.push(&["list", "--handler", "add", "--payload", r#"{"by": 2}"#], "").0, 0);
    assert!(server.html("list").ends_with("<b>42</b></div>"));
    let large = format!(r#"{{"view": "list", "state": {{"n": 1{}}}}}"#, " ".repeat(100));
    assert_eq!(server.post(&large).0, 413);
    assert!(server.html("list").ends_with("<b>42</b></div>"));
}

/// Starts a Redis server; `None`, and a loud word about it, if there is none on this machine.
fn redis() -> Option<(Killed, String)> {
    let port = TcpListener::bind(ANY_PORT).unwrap().local_addr().unwrap().port().to_string();
    let args = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
    let Ok(redis) = Command::new("redis-server").args(args).stdout(Stdio::piped()).spawn() else {
        println!("LEFT OUT: `redis-server` is not installed, so a test of `domcast serve` did not run");
        return None;
    };
    let mut redis = Killed(redis);
    let lines = BufReader::new(redis.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut lines = lines.skip_while(|line| !line.contains("Ready to accept connections"));
    assert!(lines.next().is_some(), "redis-server starts");
    std::thread::spawn(move || lines.for_each(drop));
    Some((redis, format!("redis://127.0.0.1:{port}")))
}

const LIST: &str = "[[views]]\nname = \"list\"\ntemplate = \"list.html\"\nstate = { n = 1 }\n";

#[test]
fn pushes_through_redis_arrive() {
    let Some((redis, url)) = redis() else { return };
    let config = format!("redis = \"{url}\"\n{LIST}");
    let dir = folder("redis", &[("domcast.toml", &config)]);
    let server = Server::start(&["serve", dir.to_str().unwrap(), "--bind", ANY_PORT]);
    // The server takes what is added from the moment on that it follows, which is soon.
    while !server.html("list").contains("<b>77</b>") {
        let push = r#"{"view": "list", "state": {"n": 77}}"#;
        let added = Command::new("redis-cli").args(["-u", &url, "XADD", "domcast:pushes", "*", "push", push]).output();
        assert!(added.unwrap().status.success());
    }
    let ready = || server.request("GET /readyz", &[], "");
    while ready() != (200, r#"{"ready":true,"blockers":{},"troubles":{}}"#.into()) {
        std::thread::yield_now();
    }
    // Local pushes go on without it, so the server stays ready, and says what is wrong.
    drop(redis);
    loop {
        let (status, body) = ready();
        assert_eq!(status, 200, "{body}");
        if body.contains("\"troubles\":{\"redis\":\"redis at `") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(server.post(r#"{"view": "list", "state": {"n": 78}}"#).0, 200);
}

#[test]
fn the_redis_command_of_the_readme_works_as_written() {
    let Some((_redis, url)) = redis() else { return };
    let server = Server::start(&["demo", "--bind", ANY_PORT, "--redis", &url]);
    let mut commands = readme("Push from anywhere").into_iter().filter(|line| line.starts_with("    redis-cli "));
    let command = commands.next().unwrap().replace("redis-cli", &format!("redis-cli -u {url}"));
    // The server takes what is added from the moment on that it follows, which is soon.
    while !server.html("dashboard").contains("<dd>44</dd>") {
        assert!(Command::new("sh").arg("-c").arg(&command).output().unwrap().status.success());
    }
}

#[test]
fn with_a_key_only_sealed_pushes_through_redis_count() {
    let Some((_redis, url)) = redis() else { return };
    let view = "[[views]]\nname = \"list\"\ntemplate = \"list.html\"\nstate = { n = 1, items = [] }\n";
    let config = format!("redis = \"{url}\"\nredis_key = \"a key\"\n{view}");
    let template = ("templates/list.html", "<b>{{ n }}</b>{{ items|join }}");
    let dir = folder("redis-key", &[("domcast.toml", &config), template]);
    let server = Server::start(&["serve", dir.to_str().unwrap(), "--bind", ANY_PORT]);
    let script = r#"
        redis-cli -u "$URL" XADD domcast:pushes '*' push '{"view": "list", "state": {"n": 66}}'
        push='{"view": "list", "merge": {"items": ["sealed"]}}' at=$(date +%s%3N) nonce=$(openssl rand -hex 16)
        seal=$(printf 'push\ndomcast:pushes\n%s\n%s\n\n\n%s' $at $nonce "$push" | openssl dgst -sha256 -hmac "a key" -r | cut -d' ' -f1)
        redis-cli -u "$URL" XADD domcast:pushes '*' push "$push" seal "$at $nonce $seal"
    "#;
    while !server.html("list").contains("sealed") {
        let output = Command::new("bash").args(["-ec", script]).env("URL", &url).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    assert!(server.html("list").contains("<b>1</b>"), "what has no seal changes nothing");
}

#[test]
fn a_server_is_not_ready_before_it_has_reached_redis() {
    let port = TcpListener::bind(ANY_PORT).unwrap().local_addr().unwrap().port();
    let config =
        format!("redis = \"redis://127.0.0.1:{port}\"\n[[views]]\nname = \"list\"\ntemplate = \"list.html\"\n");
    let dir = folder("no-redis", &[("domcast.toml", &config)]);
    let server = Server::start(&["serve", dir.to_str().unwrap(), "--bind", ANY_PORT]);
    let (status, body) = server.request("GET /readyz", &[], "");
    assert_eq!(status, 503, "{body}");
    assert!(body.contains(r#""blockers":{"redis":"it was not reached yet"}"#), "{body}");
    assert_eq!(server.request("GET /healthz", &[], ""), (200, "ok".into()));
}

#[test]
fn only_the_hosts_of_the_server_are_answered() {
    let config = "allowed_hosts = [\"dev.internal\"]\n[[views]]\nname = \"list\"\ntemplate = \"list.html\"\n";
    let dir = folder("hosts", &[("domcast.toml", config)]);
    let server = Server::start(&["serve", dir.to_str().unwrap(), "--bind", ANY_PORT]);
    for (host, status) in [("evil.net", 421), ("dev.internal:8000", 200), ("localhost", 200)] {
        for path in ["/", "/views/list", "/static/x", "/_domcast/serve.css"] {
            let mut socket = TcpStream::connect(server.address).unwrap();
            write!(socket, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            socket.read_to_string(&mut answer).unwrap();
            let found: u16 = answer.split(' ').nth(1).unwrap().parse().unwrap();
            let status = if path == "/static/x" && status == 200 { 404 } else { status };
            assert_eq!(found, status, "{path} of {host}");
        }
    }
}

#[test]
fn servers_over_redis_share_a_view_and_one_goes_on_when_the_other_is_killed() {
    let Some((_redis, url)) = redis() else { return };
    let dir = folder("cluster", &[("domcast.toml", LIST)]);
    let serve = || Server::start(&["serve", dir.to_str().unwrap(), "--bind", ANY_PORT, "--redis", &url]);
    let push = |server: &Server, n: i64| server.post(&json!({"view": "list", "state": {"n": n}}).to_string());
    let at =
        |server: &Server| server.html("list").split_once("dc-at=\"").unwrap().1.split_once('"').unwrap().0.to_owned();
    let mut first = serve();
    while push(&first, 2).0 != 200 {}
    let second = serve();
    while at(&second) != at(&first) {}
    let (status, receipt) = push(&second, 3);
    let receipt: Value = serde_json::from_str(&receipt).unwrap();
    assert_eq!((status, format!("{}:{}", receipt["epoch"].as_str().unwrap(), receipt["version"])), (200, at(&second)));
    first.process.kill().unwrap();
    let (status, queued) = push(&second, 4);
    assert_eq!(status, 202, "{queued}");
    while !server_shows(&second, 4) {}
    let version = receipt["version"].as_u64().unwrap() + 1;
    assert_eq!(at(&second), format!("{}:{version}", receipt["epoch"].as_str().unwrap()));
}

fn server_shows(server: &Server, n: i64) -> bool {
    server.html("list").contains(&format!("<b>{n}</b>"))
}

/// Kills a process when the test ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

#[test]
#[cfg(unix)]
fn a_server_asked_to_stop_ends_well() {
    for signal in ["-TERM", "-INT"] {
        let mut server = demo();
        let pid = server.process.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        assert_eq!(server.process.wait().unwrap().code(), Some(0));
        server.logged("stopping");
    }
}

/// The answer is an event stream that says goodbye, and the process ends although its client still listens.
#[test]
#[cfg(unix)]
fn a_server_asked_to_stop_under_pushes_says_goodbye_and_ends_well() {
    let mut server = demo();
    let address = server.address;
    let hello = r#"["hello", 1, [["counter", null]]]"#;
    let head = format!("POST /_domcast/sse HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n", hello.len());
    let mut socket = TcpStream::connect(address).unwrap();
    write!(socket, "{head}{hello}").unwrap();
    let mut events = BufReader::new(socket).lines().map_while(Result::ok);
    assert!(events.any(|line| line.contains("\"snapshot\"")));
    let pushers: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(move || {
                let body = r#"{"view": "counter", "handler": "increment"}"#;
                let mut n_accepted = 0_u64;
                loop {
                    let mut answer = String::new();
                    let Ok(mut socket) = TcpStream::connect(address) else { return n_accepted };
                    let n_bytes = body.len();
                    let head = "POST /push HTTP/1.1\r\nConnection: close\r\nContent-Type: application/json";
                    _ = write!(socket, "{head}\r\nHost: {address}\r\nContent-Length: {n_bytes}\r\n\r\n{body}");
                    _ = socket.read_to_string(&mut answer);
                    n_accepted += u64::from(answer.starts_with("HTTP/1.1 200"));
                }
            })
        })
        .collect();
    assert!(events.any(|line| line.contains("[\"p\",")));
    let pid = server.process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let rest: Vec<String> = events.collect();
    assert_eq!(server.process.wait().unwrap().code(), Some(0));
    let bye = rest.iter().find(|line| line.contains("\"bye\"")).expect("the stream ends with a goodbye");
    assert!(bye.starts_with("data:[\"bye\",1012,"), "{bye}");
    let n_accepted: u64 = pushers.into_iter().map(|pusher| pusher.join().unwrap()).sum();
    assert!(n_accepted > 0, "it answered until then");
}

/// The server reads a push's body only once it has said so, so each push is in its hands before the signal.
#[test]
#[cfg(unix)]
fn every_push_that_a_server_has_begun_to_take_is_rendered_and_answered_though_it_is_asked_to_stop() {
    let mut server = demo();
    let (address, body) = (server.address, r#"{"view": "counter", "handler": "increment"}"#);
    let mut sockets: Vec<_> = (0..20).map(|_| BufReader::new(TcpStream::connect(address).unwrap())).collect();
    for socket in &mut sockets {
        let head = "POST /push HTTP/1.1\r\nConnection: close\r\nContent-Type: application/json\r\nExpect: 100-continue";
        write!(socket.get_mut(), "{head}\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
        let mut line = String::new();
        socket.read_line(&mut line).unwrap();
        assert_eq!(line, "HTTP/1.1 100 Continue\r\n");
    }
    let pid = server.process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    server.logged("stopping");
    sockets.iter_mut().for_each(|socket| write!(socket.get_mut(), "{body}").unwrap());
    assert_eq!(server.process.wait().unwrap().code(), Some(0));
    for socket in &mut sockets {
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("HTTP/1.1 200") && answer.contains("\"version\":"), "{answer}");
    }
}

#[test]
fn pages_carry_a_policy_against_scripts_that_are_not_ours() {
    let server = demo();
    let mut socket = TcpStream::connect(server.address).unwrap();
    write!(socket, "GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\r\ncontent-security-policy: default-src 'self'\r\n"));
    assert!(answer.contains("\r\nx-content-type-options: nosniff\r\n"));
    // Nothing in the page needs more than that.
    assert!(!answer.contains(" style=") && !answer.contains("<style") && !answer.contains(" onclick"));
}

/// Returns the lines of README.md below a title.
fn readme(title: &str) -> Vec<&'static str> {
    let readme = include_str!("../../../README.md");
    let (_, section) = readme.split_once(&format!("\n## {title}\n")).expect("README.md has this section");
    section.lines().take_while(|line| !line.starts_with("## ")).collect()
}

#[test]
fn the_pushes_of_the_readme_work_as_written() {
    let server = demo();
    let (domcast, port) = (Path::new(env!("CARGO_BIN_EXE_domcast")), format!(":{}/", server.address.port()));
    let path = format!("{}:{}", domcast.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let has_curl = Command::new("curl").arg("--version").output().is_ok();
    if !has_curl {
        println!("LEFT OUT: `curl` is not installed, so its commands in README.md did not run");
    }
    let commands = readme("Push from anywhere").into_iter().filter_map(|line| line.strip_prefix("    "));
    let commands: Vec<&str> = commands.filter(|line| line.contains("curl ") || line.contains("domcast push")).collect();
    assert_eq!(commands.len(), 9);
    for command in commands.into_iter().filter(|command| has_curl || !command.contains("curl ")) {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(command.replace(":8000/", &port)).env("PATH", &path).env("DOMCAST_URL", server.url());
        let output = shell.env_remove("DOMCAST_TOKEN").output().unwrap();
        let answer = String::from_utf8_lossy(&output.stdout);
        let expected = match command {
            _ if command.contains("--topic") => r#"{"documents":0,"subscribers":0}"#,
            _ if command.contains("refused") => "refused\n",
            _ => r#"{"epoch":""#,
        };
        assert!(answer.starts_with(expected), "{command}: {answer}");
    }
    assert!(server.html("dashboard").contains("<dd>43</dd>") && server.html("counter").contains(">10</output>"));
    assert!(server.html("dashboard").contains("Busy"));
    assert!(server.html("chat").contains("Backup done") && server.html("panel").contains("program"));
}

/// Returns the first block of a language in these lines of README.md.
fn block(lines: &[&str], language: &str) -> String {
    let start = lines.iter().position(|line| *line == format!("```{language}")).expect("there is such a block") + 1;
    lines[start..].iter().take_while(|line| **line != "```").map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_models_of_the_readme_change_one_row() {
    let toml = block(&readme("Bound to your models"), "toml");
    let template = "{% for order in orders %}<p dc-key={{ order.id }}>{{ order.what }}</p>{% endfor %}";
    let dir = folder("models", &[("domcast.toml", &toml), ("templates/orders.html", template)]);
    let server = Server::start(&["serve", dir.to_str().unwrap(), "--bind", ANY_PORT]);
    let tell = |handler: &str, row: &str| {
        assert_eq!(server.push(&["orders", "--handler", handler, "--payload", row], "").0, 0);
    };
    tell("saved", r#"{"id": 1, "what": "tea"}"#);
    tell("saved", r#"{"id": 2, "what": "milk"}"#);
    tell("saved", r#"{"id": 1, "what": "green tea"}"#);
    assert!(server.html("orders").contains("<p dc-key=\"1\">green tea</p><p dc-key=\"2\">milk</p></div>"));
    tell("deleted", r#"{"id": 1}"#);
    assert!(server.html("orders").contains("><p dc-key=\"2\">milk</p></div>"));
    let (code, _, err) = server.push(&["orders", "--handler", "saved", "--payload", "{}"], "");
    assert!(code == 1 && err.contains("the row has no `id` to find its place by"), "{err}");
}

#[test]
fn the_folder_of_the_readme_is_served() {
    let lines = readme("Views from a folder, with no Rust code");
    let (toml, html) = (block(&lines, "toml"), block(&lines, "html"));
    let dir = folder("readme", &[("domcast.toml", &toml), ("templates/counter.html", &html)]);
    let server = Server::start(&["serve", dir.to_str().unwrap(), "--bind", ANY_PORT]);
    assert_eq!(server.push(&["counter", "--handler", "add", "--payload", r#"{"by": 3}"#], "").0, 0);
    assert!(server.html("counter").contains("<p>3 clicks in 0 s</p>"));
}

#[test]
fn pushes_name_documents_and_patch_their_state() {
    let toml = r#"
[[views]]
name = "order"
template = "order.html"
keyed = true
state = { paid = false, items = ["tea"] }
handlers.add = { set = { items = "items + [payload.item]" }, reply = "items | length" }
"#;
    let template = "{{ key }}: {{ items|join(',') }}{% if paid %} paid{% endif %}";
    let dir = folder("keyed", &[("domcast.toml", toml), ("templates/order.html", template)]);
    let server = Server::start(&["serve", dir.to_str().unwrap(), "--bind", ANY_PORT]);
    let push = |args: &[&str]| server.push(&[&["order", "--key", "42"], args].concat(), "");
    assert_eq!(push(&["--merge", r#"{"paid": true}"#]).0, 0);
    assert_eq!(push(&["--patch", r#"[{"op": "add", "path": "/items/-", "value": "milk"}]"#]).0, 0);
    let (code, out, _) = push(&["--handler", "add", "--payload", r#"{"item": "salt"}"#]);
    assert!(code == 0 && out.ends_with("\"reply\":3}\n"), "{out}");
    let (code, _, err) = push(&["--patch", r#"[{"op": "remove", "path": "/items/9"}]"#]);
    let message = "operation 0 of the patch does not fit view `order` at `/items/9`: `/items` is a list of 3";
    assert_eq!((code, err), (1, format!("domcast: {message}\n")));
    let html = |key: &str| server.request(&format!("GET /views/order/html?key={key}"), &[], "").1;
    assert!(html("42").contains(">42: tea,milk,salt paid<"), "{}", html("42"));
    assert!(html("7").contains(">7: tea<"), "{}", html("7"));
    let (code, out, _) = server.push(&["order", "--state", r#"{"paid": true}"#], "");
    assert_eq!((code, &*out), (0, "{\"documents\":2,\"subscribers\":0}\n"));
    let (code, _, err) = server.push(&["order", "--state", "{}", "--user", "ann"], "");
    let message = "view `order` shows everybody the same: a push to some of its viewers needs a private view";
    assert_eq!((code, err), (1, format!("domcast: {message}\n")));
}

/// An application that answers every request with what it was sent, until it is asked for `/stop`; `GET /signals` with the signals that it got.
fn application() -> (SocketAddr, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind(ANY_PORT).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        let mut signals = String::new();
        for socket in listener.incoming() {
            let mut socket = BufReader::new(socket.unwrap());
            let (mut head, mut n_bytes) = (String::new(), 0);
            loop {
                let start = head.len();
                socket.read_line(&mut head).unwrap();
                let line = head[start..].to_ascii_lowercase();
                if let Some(length) = line.strip_prefix("content-length:") {
                    n_bytes = length.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; n_bytes];
            socket.read_exact(&mut body).unwrap();
            if head.starts_with("POST /signals ") {
                let line = |name| head.lines().find(|line| line.to_ascii_lowercase().starts_with(name)).unwrap_or("-");
                let token = line("authorization:").trim_start_matches("authorization: ");
                signals += &format!("{} {token} {}\n", line("cookie:"), std::str::from_utf8(&body).unwrap());
            }
            let answer = match head.split_once(" HTTP").map(|(start, _)| start) {
                Some("GET /signals") => signals.clone(),
                Some("GET /who") => r#"{"user": "ann", "topics": ["orders"]}"#.to_owned(),
                _ => format!("{head}{}", String::from_utf8(body).unwrap()),
            };
            let status = match &*head {
                head if head.starts_with("POST /items") => "201 Created",
                head if head.starts_with("GET /who") && head.contains("broken") => "500 Internal Server Error",
                head if head.starts_with("GET /who") && !head.contains("login=ann") => "401 Unauthorized",
                _ => "200 OK",
            };
            let cookie = "Set-Cookie: seen=1\r\nConnection: close";
            let head = format!("HTTP/1.1 {status}\r\n{cookie}\r\nContent-Length: {}\r\n\r\n", answer.len());
            write!(socket.get_mut(), "{head}{answer}").unwrap();
            if answer.starts_with("GET /stop ") {
                return;
            }
        }
    };
    (address, std::thread::spawn(serve))
}

#[test]
fn the_application_says_from_the_cookies_who_a_page_is_for() {
    let (application, thread) = application();
    let toml = format!(
        "upstream = 'http://{application}'\nidentify = '/who'\ntopics = ['news']\n[[views]]\nname = 'panel'\nhtml = 'panel.html'\n"
    );
    let dir = folder("who", &[("domcast.toml", &toml), ("panel.html", "<p>first</p>")]);
    let server = Server::start(&["serve", dir.to_str().unwrap(), "--bind", ANY_PORT]);
    let hello = r#"["hello", 1, [["panel", null]]]"#;
    let connect = |cookie: &str| server.request("POST /_domcast/poll", &[cookie], hello);
    assert_eq!(connect("Cookie: login=ann").0, 200);
    assert_eq!(connect("Cookie: login=nobody").0, 200);
    let told = |args: &[&str]| {
        let (code, out, err) = server.push(&[&["--data", "1"], args].concat(), "");
        assert_eq!((code, &*err), (0, ""));
        out
    };
    assert_eq!(told(&["--topic", "news"]), "{\"documents\":0,\"subscribers\":2}\n");
    assert_eq!(told(&["--topic", "news", "--user", "ann"]), "{\"documents\":0,\"subscribers\":1}\n");
    assert_eq!(told(&["--topic", "orders"]), "{\"documents\":0,\"subscribers\":1}\n");
    assert!(server.request("GET /presence?prefix=panel", &[], "").1.contains(r#""users":1,"anonymous":1"#));
    // Whom the application cannot name now is not somebody else.
    assert_eq!(connect("Cookie: broken").0, 503);
    // It is not asked about pages of other origins.
    let foreign = ["Cookie: broken", "Origin: https://evil.net"];
    for opening in ["POST /_domcast/poll", "POST /_domcast/sse", "GET /_domcast/ws"] {
        let (status, _) = server.request(opening, &foreign, hello);
        assert!(status == 403 || opening.ends_with("ws") && status == 400, "{opening}: {status}");
    }
    server.logged("`/who` of the application did not say who a page is for: it answered 500");
    assert!(server.request("GET /stop", &[], "").1.contains("GET /stop"));
    thread.join().unwrap();
    assert_eq!(connect("Cookie: login=ann").0, 503);
    let alone = refused("who-alone", &[("domcast.toml", "identify = '/who'\n")]);
    assert!(alone.contains("line 1: `identify` asks the upstream, and there is none"), "{alone}");
}

#[test]
fn a_view_with_a_topic_is_for_those_who_get_it() {
    let (application, thread) = application();
    let toml = format!(
        "development = false\ntoken = 'secret'\nupstream = 'http://{application}'\nidentify = '/who'\n\
         [[views]]\nname = 'list'\ntemplate = 'o.html'\ntopic = 'orders'\n\
         [[views]]\nname = 'order'\ntemplate = 'o.html'\nkeyed = true\ntopic = 'order{{key}}'\n"
    );
    let dir = folder("topics", &[("domcast.toml", &toml), ("templates/o.html", "{{ key }}")]);
    let server = Server::start(&["serve", dir.to_str().unwrap(), "--bind", ANY_PORT]);
    // The application gives Ann `orders`: the list, and the order whose key makes its topic the same.
    let views = json!([["list", null], ["order", null, "s"], ["order", null, "42"]]);
    let heard = |cookies: &str| {
        let mut page = behind::Page::open(&server, cookies, &views);
        let mut told = Vec::new();
        while told.len() < 3 {
            let frame = page.hear();
            assert_ne!(frame[0], "closed", "{frame}");
            if frame[0] == "mounted" || frame[0] == "unknown" {
                told.push(format!("{} {}", frame[0].as_str().unwrap(), frame[1].as_str().unwrap()));
            }
        }
        told.sort();
        told.join(", ")
    };
    assert_eq!(heard("login=ann"), "mounted list, mounted order, unknown order");
    assert_eq!(heard("login=nobody"), "unknown list, unknown order, unknown order");
    let html = |path: &str, headers: &[&str]| server.request(&format!("GET /views/{path}"), headers, "").0;
    for path in ["list/html", "order/html?key=42", "order?key=42"] {
        assert_eq!(html(path, &["Cookie: login=ann"]), 404, "{path}");
        assert_eq!(html(path, &["Authorization: Bearer wrong"]), 404, "{path}");
        assert_eq!(html(path, &["Authorization: Bearer secret"]), 200, "{path}");
    }
    server.request("GET /stop", &[], "");
    thread.join().unwrap();
}

#[test]
fn the_application_is_told_who_subscribes_with_the_cookies() {
    let (application, thread) = application();
    let toml = format!(
        "token = 'secret'\nupstream = 'http://{application}'\nidentify = '/who'\nsignals = '/signals'\n[[views]]\nname = 'order'\ntemplate = 'o.html'\nkeyed = true\n"
    );
    let dir = folder("signals", &[("domcast.toml", &toml), ("templates/o.html", "{{ key }}")]);
    let mut server = Server::start(&["serve", dir.to_str().unwrap(), "--bind", ANY_PORT]);
    let hello = r#"["hello", 1, [["order", null, "42"]]]"#;
    let session = "0123456789abcdef0123456789abcdef";
    let cookies = format!("cookie: login=ann; domcast-session={session}");
    let (status, opened) = server.request("POST /_domcast/poll", &[&cookies], hello);
    assert_eq!(status, 200, "{opened}");
    let name = opened.split('"').nth(3).expect("the session has a name");
    let told = |expected: &[&str]| {
        let of = |signal| {
            let body = json!({"signal": signal, "view": "order", "key": "42", "user": "ann", "session": session, "tab": "TAB"});
            format!("{cookies} Bearer secret {body}\n")
        };
        let start = "- Bearer secret {\"signal\":\"start\"}\n".to_owned();
        let expected: String = std::iter::once(start).chain(expected.iter().map(of)).collect();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let (_, found) = server.request("GET /signals", &[], "");
            // Each tells the same tab, by the name that a push for it has.
            let tab = found.split_once("\"tab\":\"").map(|(_, rest)| rest.split('"').next().unwrap().to_owned());
            let found = tab.filter(|tab| tab.contains('-')).map_or(found.clone(), |tab| found.replace(&tab, "TAB"));
            if found == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{found}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    told(&["subscribe"]);
    assert_eq!(server.request(&format!("DELETE /_domcast/poll/{name}"), &[], "").0, 204);
    told(&["subscribe", "unsubscribe"]);
    // Who leaves because the server stops is told of too.
    assert_eq!(server.request("POST /_domcast/poll", &[&cookies], hello).0, 200);
    let pid = server.process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(server.process.wait().unwrap().success());
    let signals = |path: &str| {
        let mut socket = TcpStream::connect(application).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    };
    assert_eq!(signals("/signals").matches("unsubscribe").count(), 2);
    signals("/stop");
    thread.join().unwrap();
    let alone = refused("signals-alone", &[("domcast.toml", "signals = '/signals'\n")]);
    assert!(alone.contains("line 1: `signals` are for the upstream, and there is none"), "{alone}");
    let path = refused("signals-path", &[("domcast.toml", "signals = 'signals'\n")]);
    assert!(path.contains("line 1: `signals` is `signals`, expected a path such as `/signals`"), "{path}");
}

#[test]
fn an_application_serves_what_the_folder_does_not() {
    let (application, thread) = application();
    let toml = format!(
        "upstream = \"http://{application}\"\n[[views]]\nname = \"list\"\ntemplate = \"list.html\"\nstate = {{ n = 1 }}\n"
    );
    let files = [("domcast.toml", &*toml), ("templates/pages/about.html", "about {{ view('list') }}")];
    let dir = folder("upstream", &files);
    let server = Server::start(&["serve", dir.to_str().unwrap(), "--bind", ANY_PORT]);
    let headers = ["Cookie: session=7", "X-Other: a", "Content-Type: text/plain"];
    let (status, answer) = server.request("POST /items/1?full=%20yes", &headers, "a body");
    assert_eq!(status, 201);
    assert!(
        answer.starts_with("POST /items/1?full=%20yes HTTP/1.1\r\n") && answer.ends_with("\r\n\r\na body"),
        "{answer}"
    );
    let sent = answer.to_ascii_lowercase();
    let host = format!("host: {}\r\n", server.address);
    for header in ["cookie: session=7\r\n", "x-other: a\r\n", &host, "x-forwarded-for: 127.0.0.1\r\n"] {
        assert!(sent.contains(header), "`{header}` is missing in {answer}");
    }
    assert!(server.request("GET /", &[], "").1.starts_with("GET / "));
    assert!(server.request("GET /favicon.ico", &[], "").1.starts_with("GET /favicon.ico "));
    assert!(server.request("GET /static/site.css", &[], "").1.starts_with("GET /static/site.css "));

    // What is ours stays ours.
    assert!(server.request("GET /about", &[], "").1.starts_with("about <div"));
    assert_eq!(server.post(r#"{"view": "list", "state": {"n": 2}}"#).0, 200);
    assert!(server.html("list").contains("<b>2</b>"));
    // Our policy is not about its pages.
    let head = |path: &str| {
        let mut socket = TcpStream::connect(server.address).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().0.to_ascii_lowercase()
    };
    assert!(head("/about").contains("content-security-policy"));
    let theirs = head("/any");
    assert!(theirs.contains("set-cookie: seen=1") && !theirs.contains("content-security-policy"), "{theirs}");

    assert_eq!(server.request("GET /stop", &[], "").0, 200);
    thread.join().unwrap();
    let (status, answer) = server.request("GET /", &[], "");
    assert!(status == 502 && answer.contains(&format!("{application} does not answer")), "{status} {answer}");
    assert!(server.html("list").contains("<b>2</b>"));
}

/// What is sent must not wait for what comes later: each half waits for the other side's.
#[test]
fn web_sockets_and_answers_in_pieces_pass_to_an_application() {
    let listener = TcpListener::bind(ANY_PORT).unwrap();
    let upstream = format!("http://{}", listener.local_addr().unwrap());
    let (go_on, may_go_on) = mpsc::channel();
    let application = std::thread::spawn(move || {
        let mut socket = tungstenite::accept(listener.accept().unwrap().0).unwrap();
        let text = socket.read().unwrap().into_text().unwrap();
        socket.send(format!("heard {text}").into()).unwrap();
        assert!(socket.read().unwrap().is_close());
        let mut answer = listener.accept().unwrap().0;
        let _ = BufReader::new(&answer).lines().take_while(|line| !line.as_ref().unwrap().is_empty()).count();
        answer.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").unwrap();
        may_go_on.recv().unwrap();
        answer.write_all(b"4\r\nlast\r\n0\r\n\r\n").unwrap();
    });
    let dir = folder("pieces", &[("domcast.toml", "")]);
    let server = Server::start(&["serve", dir.to_str().unwrap(), "--bind", ANY_PORT, "--upstream", &upstream]);

    let url = format!("ws://{}/socket?room=1", server.address);
    let (mut socket, _) = tungstenite::client(url, TcpStream::connect(server.address).unwrap()).unwrap();
    socket.send("tea".into()).unwrap();
    assert_eq!(socket.read().unwrap().into_text().unwrap().as_str(), "heard tea");
    socket.close(None).unwrap();

    let mut answer = TcpStream::connect(server.address).unwrap();
    write!(answer, "GET /slow HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address).unwrap();
    let (mut found, mut bytes) = (String::new(), [0; 1024]);
    while !found.contains("first") {
        let n_bytes = answer.read(&mut bytes).unwrap();
        assert_ne!(n_bytes, 0, "{found}");
        found.push_str(str::from_utf8(&bytes[..n_bytes]).unwrap());
    }
    go_on.send(()).unwrap();
    answer.read_to_string(&mut found).unwrap();
    assert!(found.contains("last"), "{found}");
    application.join().unwrap();
}

#[test]
fn a_server_that_is_its_own_upstream_says_so() {
    let taken = TcpListener::bind(ANY_PORT).unwrap().local_addr().unwrap().to_string();
    let dir = folder("loop", &[("domcast.toml", "")]);
    let upstream = format!("http://{taken}");
    let server = Server::start(&["serve", dir.to_str().unwrap(), "--bind", &taken, "--upstream", &upstream]);
    assert_eq!(server.request("GET /", &[], "").0, 508);
    let (code, _, err) = run(&["serve", dir.to_str().unwrap(), "--bind", ANY_PORT, "--upstream", "ftp://a"], b"");
    let message =
        "domcast: `--upstream` is `ftp://a`, expected an address such as `http://127.0.0.1:8001`, without TLS\n";
    assert_eq!((code, &*err), (2, message));
}

#[test]
fn names_that_no_state_has_are_told_of_once_with_what_may_be_meant() {
    let toml = r#"
[[views]]
name = "counter"
template = "counter.html"
state = { count = 0, seconds = 0 }
tick = { every = "1h", set = { seconds = "seconds + payload.by" } }
handlers.add.set = { count = "cuont + payload.by" }
handlers.tell.reply = "payload.x + nothing_like_it"

[[views]]
name = "order"
template = "order.html"
keyed = true
"#;
    let files = [
        ("domcast.toml", toml),
        ("templates/counter.html", "<p>\n{{ count }} {{ secnods }} {% include 'part.html' %}</p>"),
        ("templates/part.html", "{{ title | default('-') }}{% for n in range(2) %}{{ n }}{{ loop.index }}{% endfor %}"),
        ("templates/order.html", "{{ key }}"),
    ];
    let dir = folder("names", &files);
    let server = Server::start(&["serve", dir.to_str().unwrap(), "--bind", ANY_PORT]);
    let edit = |text: &str| std::fs::write(dir.join("templates/order.html"), text).unwrap();
    edit("{{ kye }}");
    let warnings = |lines: Vec<String>| -> Vec<String> {
        let warnings = lines.iter().filter_map(|line| line.split_once("WARN "));
        warnings.map(|(_, text)| text.replace(&format!("{}/", dir.display()), "")).collect()
    };
    let expected = [
        "template `counter.html` line 2 reads `secnods`, which the state of view `counter` does not have: it shows nothing (did you mean `seconds`?)",
        "`domcast.toml` line 6: handler `handle_tick` of view `counter` reads `payload`, which its state does not have",
        "`domcast.toml` line 7: handler `add` of view `counter` reads `cuont`, which its state does not have (did you mean `count`?)",
        "`domcast.toml` line 8: handler `tell` of view `counter` reads `nothing_like_it`, which its state does not have",
    ];
    assert_eq!(warnings(server.logged("templates read again")), expected);
    server.logged("template `order.html` line 1 reads `kye`, which the state of view `order` does not have: it shows nothing (did you mean `key`?)");
    edit("{{ kye }}, still");
    assert_eq!(warnings(server.logged("templates read again")), [] as [&str; 0]);
    edit("{{ key }}");
    assert_eq!(warnings(server.logged("templates read again")), [] as [&str; 0], "each is told of once");
}

#[test]
fn an_edit_of_the_configuration_is_told_of_once() {
    let dir = folder("edited", &[("domcast.toml", "")]);
    let server = Server::start(&["serve", dir.to_str().unwrap(), "--bind", ANY_PORT]);
    let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
    write("domcast.toml", "topics = ['news']");
    server.logged("domcast.toml` was edited: restart the server to apply it");
    write("notes.txt", "nothing of it");
    write("domcast.toml", "topics = 'news'");
    let before = server.logged("domcast.toml` line 1: `topics`: invalid type: string \"news\", expected a list");
    assert_eq!(before, [] as [&str; 0]);
    write("domcast.toml", "");
    server.logged("domcast.toml` is what is served again");
}

#[test]
fn a_push_that_is_too_large_is_told_the_limit() {
    let toml = "[limits]\npush_bytes = 100000\nhtml_bytes = 200000\n[[views]]\nname = \"list\"\ntemplate = \"list.html\"\nstate = { n = \"\" }\n[[views]]\nname = \"panel\"\n";
    let dir = folder("large", &[("domcast.toml", toml)]);
    let server = Server::start(&["serve", dir.to_str().unwrap(), "--bind", ANY_PORT]);
    let state = |n_bytes: usize| format!("{{\"n\":\"{}\"}}", "x".repeat(n_bytes));
    // More than a socket takes in without a reader.
    let (code, _, err) = server.push(&["list", "--state", "-"], &state(20_000_000));
    let message = "domcast: push of 20000032 bytes exceeds the limit of 100000\n";
    assert_eq!((code, &*err), (1, message));
    let (code, _, err) = server.push(&["panel", "--html", "-"], &"x".repeat(20_000_000));
    assert_eq!((code, &*err), (1, "domcast: HTML of 20000000 bytes exceeds the limit of 200000\n"));
    assert_eq!(server.push(&["list", "--state", "-"], &state(90_000)).0, 0);
    assert_eq!(server.push(&["panel", "--html", "-"], &"x".repeat(190_000)).0, 0);
    assert!(server.html("list").contains(&"x".repeat(90_000)));
}

#[test]
fn the_tabs_of_a_browser_that_nobody_knows_count_as_one() {
    let dir = folder("tabs", &[("domcast.toml", "[[views]]\nname = \"list\"\ntemplate = \"list.html\"\n")]);
    let server = Server::start(&["serve", dir.to_str().unwrap(), "--bind", ANY_PORT]);
    let hello = r#"["hello", 1, [["list", null]]]"#;
    let connect = |cookie: &str| {
        let mut socket = TcpStream::connect(server.address).unwrap();
        let head = format!("POST /_domcast/poll HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", server.address);
        write!(socket, "{head}Cookie: {cookie}\r\nContent-Length: {}\r\n\r\n{hello}", hello.len()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("mounted"), "{answer}");
        let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: "));
        cookie.map(|cookie| cookie.split_once("; ").map(|(pair, rest)| (pair.to_owned(), rest.to_owned())).unwrap())
    };
    let (cookie, attributes) = connect("theme=dark").expect("a browser that brings none is given one");
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(connect(&format!("theme=dark; {cookie}")), None);
    assert_eq!(connect(&cookie), None);
    let here = || server.request("GET /presence?prefix=list", &[], "").1;
    assert_eq!(here(), r#"[{"view":"list","users":0,"anonymous":1}]"#);
    assert!(connect("domcast-session=made-up").is_some(), "what is none of ours counts for nothing");
    assert_eq!(here(), r#"[{"view":"list","users":0,"anonymous":2}]"#);
    let session = cookie.split_once('=').unwrap().1;
    let (code, out, _) = server.push(&["--topic", "t", "--data", "1", "--session", session], "");
    assert_eq!((code, &*out), (0, "{\"documents\":0,\"subscribers\":3}\n"));
}

#[test]
fn ticks_that_fail_are_told_of_once_and_again_when_they_succeed() {
    let toml = "[[views]]\nname = \"list\"\ntemplate = \"list.html\"\nstate = { n = 0, by = 0 }\ntick = { every = \"10ms\", set = { n = \"n + 6 // by\" } }\n";
    let dir = folder("ticks", &[("domcast.toml", toml)]);
    let server = Server::start(&["serve", dir.to_str().unwrap(), "--bind", ANY_PORT]);
    let (mut page, _) = tungstenite::client(
        format!("ws://{}/_domcast/ws", server.address),
        TcpStream::connect(server.address).unwrap(),
    )
    .unwrap();
    page.send(r#"["hello", 1, [["list", null]]]"#.into()).unwrap();
    server.logged("handler `handle_tick` of view `list` failed: `n`: invalid operation: unable to calculate 6 // 0");
    // Time for a few more.
    let n_refused = || -> u64 {
        let metrics = server.request("GET /metrics", &[], "").1;
        let line = metrics.lines().find_map(|line| line.strip_prefix("domcast_refused_total{view=\"list\"} "));
        line.expect("there is such a metric").parse().unwrap()
    };
    while n_refused() < 5 {}
    assert_eq!(server.push(&["list", "--state", r#"{"by": 2}"#], "").0, 0);
    assert_eq!(server.logged("ticks succeed again view=list"), [] as [&str; 0]);
    assert_eq!(server.push(&["list", "--state", r#"{"by": 0}"#], "").0, 0);
    assert_eq!(server.logged("ticks fail"), [] as [&str; 0]);
}

#[test]
fn what_is_refused_is_in_the_log_with_its_span() {
    let toml = "[[views]]\nname = \"list\"\ntemplate = \"list.html\"\nstate = { n = 0 }\nhandlers.fail.set = { n = \"1 // n\" }\n";
    let dir = folder("spans", &[("domcast.toml", toml)]);
    let server = Server::start(&["serve", dir.to_str().unwrap(), "--bind", ANY_PORT]);
    assert_eq!(server.push(&["list", "--handler", "fail"], "").0, 1);
    server.logged("push{view=list}: push refused error=handler `fail` of view `list` failed");
    let url = format!("ws://{}/_domcast/ws", server.address);
    let (mut page, _) = tungstenite::client(url, TcpStream::connect(server.address).unwrap()).unwrap();
    page.send(r#"["hello", 1, [["list", null]]]"#.into()).unwrap();
    page.send(r#"["event", 1, 0, "fail", {}]"#.into()).unwrap();
    server.logged(
        "session{id=0 transport=\"WebSocket\"}: event refused id=\"0.1\" error=handler `fail` of view `list` failed",
    );
}
