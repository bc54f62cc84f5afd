//! Random pushes, slow readers, lost connections and bad pushes: every page ends equal to the server's rendering.
//!
//! Each step is drawn from a seeded generator, so a failure names the seed that repeats it.

use crate::client::{Page, content, unlimited};
use domcast_push::template::Templates;
use domcast_push::{DeclaredView, Edits, HistoryLimits, Hub, MailboxLimits, Options, Push};
use serde_json::{Value, json};

const LIST: &str = "<ul>{% for item in items %}<li dc-key=k{{ item }}>{{ item }}{% if item is odd %}<b>odd</b>{% endif %}</li>\
     {% endfor %}</ul>{% if note %}<p title=\"{{ note }}\">{{ note }}</p>{% endif %}";

#[test]
fn every_page_ends_equal_to_the_server() {
    for seed in 0..50 {
        simulate(seed);
    }
}

fn simulate(seed: u64) {
    let mut random = Random(seed);
    let hub = hub();
    let mut pages: Vec<Page> = Vec::new();
    let mut n_appended = 0;
    for _ in 0..200 {
        match random.below(10) {
            0 | 1 => {
                let n_items = random.below(12);
                let items: Vec<u64> = random.distinct(n_items);
                hub.push_blocking(Push::state("list", [("items", json!(items))])).unwrap();
            }
            2 => {
                let note = ["", "tea", "milk & sugar"][random.below(3) as usize];
                hub.push_blocking(Push::state("list", [("note", note)])).unwrap();
            }
            3 => {
                n_appended += 1;
                hub.push_blocking(Push::handler("list", "append", json!({"item": 1000 + n_appended}))).unwrap();
            }
            4 => {
                let before = hub.html("list").unwrap();
                let bad = [Push::state("list", [("items", 1)]), Push::handler("list", "fail", json!({}))];
                hub.push_blocking(bad[random.below(2) as usize].clone()).unwrap_err();
                assert_eq!(hub.html("list").unwrap(), before, "seed {seed}");
            }
            5 if pages.len() < 5 => {
                let page = Page::load(&hub, "list");
                pages.push(page);
            }
            6 => on_one(&mut pages, &mut random, |page, _| page.connect(&hub)),
            7 => on_one(&mut pages, &mut random, |page, _| page.disconnect()),
            _ => on_one(&mut pages, &mut random, |page, random| {
                page.read(random.below(6) as usize);
            }),
        }
    }
    let expected = content(&hub, "list");
    for mut page in pages {
        if page.session.is_none() {
            page.connect(&hub);
        }
        assert_eq!(page.read(usize::MAX), [] as [Value; 0], "seed {seed}");
        assert_eq!(page.tree.to_html(), expected, "seed {seed}");
        assert_eq!(page.position.as_deref(), Some(hub.views()[0].position.to_string().as_str()), "seed {seed}");
    }
}

/// Small limits, so that histories end and mailboxes overflow.
fn hub() -> Hub {
    let options = Options {
        history: HistoryLimits { n_updates: 8, n_bytes: 2000 },
        mailbox: MailboxLimits { n_frames: 4, ..MailboxLimits::default() },
        ..unlimited()
    };
    let hub = Hub::with_options(Templates::from_sources([("list.html", LIST)]), options);
    let view = DeclaredView::new("list.html")
        .state("items", json!([]))
        .state("note", "")
        .handler("append", Edits::new().set("items", "items + [payload.item]"))
        .handler("fail", Edits::new().set("items", "items.missing.attribute"));
    hub.register_declared("list", view).unwrap();
    hub
}

fn on_one(pages: &mut [Page], random: &mut Random, change: impl FnOnce(&mut Page, &mut Random)) {
    if !pages.is_empty() {
        let idx = random.below(pages.len() as u64) as usize;
        change(&mut pages[idx], random);
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn distinct(&mut self, n_items: u64) -> Vec<u64> {
        let mut items: Vec<u64> = (0..20).collect();
        (0..n_items).map(|_| items.swap_remove(self.below(items.len() as u64) as usize)).collect()
    }
}
