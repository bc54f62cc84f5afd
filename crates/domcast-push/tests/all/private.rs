//! Private views at random: sessions that part, meet again, come and go, and are let go in between. Whatever they share, each page shows
//! what the plain pipeline makes of its own state.

use crate::client::{Page, unlimited};
use crate::simulation::Random;
use domcast_parser::parse_fragment;
use domcast_push::template::Templates;
use domcast_push::{Client, Handlers, Hub, Options, Push, View, ViewStatistics};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

const REGULAR: &str = "<h1>{{ title }}</h1><ul>{% for row in rows %}<li dc-key=\"{{ row.id }}\"{% if row.done %} class=done{% endif %}>\
     {{ row.label }}{{ row.note|safe }}</li>{% else %}<li>none</li>{% endfor %}</ul>{% if rows|length > 3 %}<p>{{ rows|length }}</p>{% endif %}\
     {% if title == 'poison' %}{{ title.x.y }}{% endif %}";
/// Tags that do not balance within the body of the loop.
const IRREGULAR: &str = "<table>{% for row in rows %}<tr id={{ row.id }}><td>{{ row.label }}{{ row.note|safe }}{% endfor %}</table>\
     {{ title }}{% if title == 'poison' %}{{ title.x.y }}{% endif %}";

#[derive(Clone, Serialize, Deserialize)]
struct Board {
    title: String,
    rows: Vec<Row>,
    n_hidden: u64,
}

#[derive(Clone, Serialize, Deserialize)]
struct Row {
    id: u64,
    label: String,
    note: String,
    done: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Edit {
    Title(String),
    Label(u64, String),
    Note(u64, String),
    Done(u64),
    Add(u64),
    Remove(u64),
    Swap(u64, u64),
    Hidden,
    Reset,
}

impl View for Board {
    const TEMPLATE: &'static str = "board.html";

    fn handlers(handlers: &mut Handlers<Board>) {
        handlers.on("edit", |board: &mut Board, edit: Edit| {
            board.edit(&edit);
            Ok(())
        });
    }
}

impl Board {
    fn new(n_rows: u64) -> Board {
        Board { title: "tea".into(), rows: (0..n_rows).map(Row::new).collect(), n_hidden: 0 }
    }

    /// Ann and Bob begin alike.
    fn of(client: &Client) -> Board {
        Board::new(if client.user.as_deref() == Some("cid") { 2 } else { 5 })
    }

    fn edit(&mut self, edit: &Edit) {
        let n_rows = self.rows.len().max(1) as u64;
        let at = |idx: &u64| (*idx % n_rows) as usize;
        match edit {
            Edit::Title(title) => self.title.clone_from(title),
            Edit::Label(idx, label) if !self.rows.is_empty() => self.rows[at(idx)].label.clone_from(label),
            Edit::Note(idx, note) if !self.rows.is_empty() => self.rows[at(idx)].note.clone_from(note),
            Edit::Done(idx) if !self.rows.is_empty() => self.rows[at(idx)].done ^= true,
            Edit::Add(id) if self.rows.iter().all(|row| row.id != *id) => {
                self.rows.insert(at(id).min(self.rows.len()), Row::new(*id));
            }
            Edit::Remove(idx) if !self.rows.is_empty() => _ = self.rows.remove(at(idx)),
            Edit::Swap(a, b) if !self.rows.is_empty() => self.rows.swap(at(a), at(b)),
            Edit::Hidden => self.n_hidden += 1,
            Edit::Reset => *self = Board::new(5),
            // There is no such row, or there is one already.
            _ => {}
        }
    }
}

impl Row {
    fn new(id: u64) -> Row {
        Row { id, label: format!("row {id}"), note: String::new(), done: false }
    }
}

/// Few choices, so that states become equal again.
fn any_edit(random: &mut Random) -> Edit {
    let pick = |random: &mut Random, texts: &[&str]| texts[random.below(texts.len() as u64) as usize].to_owned();
    match random.below(12) {
        0 => Edit::Title(pick(random, &["tea", "coffee", "poison"])),
        1..4 => Edit::Label(random.below(3), pick(random, &["", "one", "a & b"])),
        4 => Edit::Note(random.below(3), pick(random, &["", "<i>new</i>", "<b>old</b> too"])),
        5 => Edit::Done(random.below(3)),
        6 => Edit::Add(random.below(9)),
        7 => Edit::Remove(random.below(9)),
        8 => Edit::Swap(random.below(9), random.below(9)),
        9 => Edit::Hidden,
        _ => Edit::Reset,
    }
}

/// A page, its user, and what it must show.
struct Visit {
    page: Page,
    user: &'static str,
    model: Board,
    html: String,
}

fn hub(template: &str, private_bytes: usize) -> Hub {
    let templates = Templates::from_sources([("board.html", template)]);
    let hub = Hub::with_options(templates, Options { private_bytes, ..unlimited() });
    hub.register_private("board", |client| Ok(Board::of(client))).unwrap();
    hub
}

fn client(user: &str) -> Client {
    Client { user: Some(user.into()), ..Client::default() }
}

fn open(hub: &Hub, user: &'static str) -> Visit {
    let page = Page::open(hub, "board", None, client(user));
    let html = page.tree.to_html();
    Visit { page, user, model: Board::of(&client(user)), html }
}

fn edit(edit: &Edit) -> Push {
    Push::handler("board", "edit", json!(edit))
}

fn statistics(hub: &Hub) -> Arc<ViewStatistics> {
    Arc::clone(&hub.views()[0].statistics)
}

#[test]
fn every_page_of_a_private_view_shows_its_own_state_whatever_it_shares() {
    let n_seeds = std::env::var("DOMCAST_SEEDS").ok().map_or(12, |n| n.parse().unwrap());
    for seed in 0..n_seeds {
        for template in [REGULAR, IRREGULAR] {
            for private_bytes in [0, 20_000, Options::default().private_bytes] {
                let run = std::panic::catch_unwind(|| visit(seed, template, private_bytes));
                assert!(run.is_ok(), "seed {seed} with {private_bytes} bytes of {template}");
            }
        }
    }
}

fn visit(seed: u64, template: &str, private_bytes: usize) {
    let mut random = Random(seed);
    let hub = hub(template, private_bytes);
    let mut visits: Vec<Visit> = Vec::new();
    for _ in 0..150 {
        match random.below(10) {
            0 if visits.len() < 8 => visits.push(open(&hub, ["ann", "bob", "cid"][random.below(3) as usize])),
            1 if !visits.is_empty() => _ = visits.swap_remove(random.below(visits.len() as u64) as usize),
            _ if visits.is_empty() => {}
            kind => {
                let change = any_edit(&mut random);
                let idx = random.below(visits.len() as u64) as usize;
                let user = visits[idx].user;
                let (push, meant): (Push, Vec<usize>) = match kind {
                    2..6 => (edit(&change).tab(visits[idx].page.session.as_ref().unwrap().tab()), vec![idx]),
                    6 => {
                        (edit(&change).user(user), (0..visits.len()).filter(|idx| visits[*idx].user == user).collect())
                    }
                    _ => (edit(&change), (0..visits.len()).collect()),
                };
                let is_refused = matches!(&change, Edit::Title(title) if title == "poison");
                assert_eq!(hub.push_blocking(push).is_err(), is_refused, "{change:?}");
                if !is_refused {
                    meant.into_iter().for_each(|idx| visits[idx].model.edit(&change));
                }
            }
        }
        visits.iter_mut().for_each(|visit| check(&hub, visit));
    }
}

#[track_caller]
fn check(hub: &Hub, visit: &mut Visit) {
    let html = hub.templates().render("board.html", &visit.model).unwrap();
    let n_patches = visit.page.n_patches;
    visit.page.read(usize::MAX);
    assert_eq!(visit.page.tree, parse_fragment(&html, "div").unwrap(), "{html}");
    if html == visit.html {
        assert_eq!(visit.page.n_patches, n_patches, "equal pages are sent nothing");
    }
    visit.html = visit.page.tree.to_html();
}

#[test]
fn a_session_of_its_own_is_updated_at_the_cost_of_what_changes() {
    let hub = hub(REGULAR, Options::default().private_bytes);
    let mut visits = [open(&hub, "ann"), open(&hub, "bob")];
    // The first that goes its own way takes along what the other then has to make anew, once.
    for (n, expected) in [(1, 1), (2, 1), (3, 1)] {
        for visit in &mut visits {
            let change = Edit::Label(1, format!("{} {n}", visit.user));
            hub.push_blocking(edit(&change).user(visit.user)).unwrap();
            visit.model.edit(&change);
            check(&hub, visit);
        }
        assert_eq!(statistics(&hub).wholes.get(), expected);
    }
}

#[test]
fn a_session_that_was_let_go_is_rendered_as_a_whole_once_more() {
    let hub = hub(REGULAR, 0);
    let mut visits = [open(&hub, "ann"), open(&hub, "bob")];
    for n in 1..=3 {
        for visit in &mut visits {
            let change = Edit::Label(1, format!("{} {n}", visit.user));
            hub.push_blocking(edit(&change).user(visit.user)).unwrap();
            visit.model.edit(&change);
            check(&hub, visit);
        }
    }
    assert_eq!(statistics(&hub).wholes.get(), 5, "all but the first, which takes along what rendered the first page");
}
