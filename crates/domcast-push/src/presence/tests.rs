//! Whoever hears of changes knows what who hears of the whole knows.

use super::{MAX_TOLD, Place, Presence, Roll, RollChange};
use crate::audience::{Client, Tab};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

fn tab(id: usize, user: usize) -> Tab {
    // Some are not logged in, and some of these have no session.
    let (user, session) = match user % 3 {
        0 => (Some(format!("u{user}")), None),
        1 => (None, Some(format!("s{user}"))),
        _ => (None, None),
    };
    Tab { id: format!("t{id}").into(), client: Arc::new(Client { user, session, ..Client::default() }) }
}

/// As it travels.
fn sent<T: serde::Serialize + serde::de::DeserializeOwned>(told: &T) -> T {
    serde_json::from_str(&serde_json::to_string(told).unwrap()).unwrap()
}

#[test]
fn who_hears_of_changes_knows_who_is_there() {
    let seed =
        std::env::var("DOMCAST_SEED").map_or_else(|_| RandomState::new().hash_one(0), |seed| seed.parse().unwrap());
    eprintln!("DOMCAST_SEED={seed}");
    let mut random = seed | 1;
    let mut below = |limit: usize| {
        // Xorshift (Marsaglia, 2003).
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % limit as u64) as usize
    };
    let (here, by_changes, by_wholes) = (Presence::default(), Presence::default(), Presence::default());
    let places = [Place::view("n"), Place::keyed("order", "1"), Place::topic("news")];
    let mut entered: Vec<(Tab, Place)> = Vec::new();
    assert!(here.news(false).1.is_some(), "who asks for the first time gets the whole");
    for n in 0..5_000 {
        match below(5) {
            0 | 1 => {
                let (tab, place) = (tab(n, below(20)), places[below(3)].clone());
                here.enter(&tab, place.clone());
                entered.push((tab, place));
            }
            2 | 3 if !entered.is_empty() => {
                let (tab, place) = entered.swap_remove(below(entered.len()));
                here.leave(&tab, place);
            }
            _ => {
                let (n, whole, change): (u64, Option<Roll>, Option<RollChange>) = here.news(true);
                assert_eq!(here.number(), n);
                by_changes.change_elsewhere("here", sent(&change.unwrap()));
                by_wholes.set_elsewhere("here", sent(&whole.unwrap()));
                for place in &places {
                    assert_eq!(by_changes.at(place), here.at(place));
                    assert_eq!(by_wholes.at(place), here.at(place));
                }
            }
        }
    }
}

#[test]
fn who_leaves_a_server_that_has_more_visitors_than_it_tells_of_is_gone_elsewhere() {
    let (here, elsewhere) = (Presence::telling_of(10), Presence::telling_of(10));
    let place = Place::view("n");
    let hear = || {
        let (_, whole, change) = here.news(false);
        whole.into_iter().for_each(|whole| elsewhere.set_elsewhere("here", sent(&whole)));
        change.into_iter().for_each(|change| elsewhere.change_elsewhere("here", sent(&change)));
    };
    let n_elsewhere = || elsewhere.at(&place).users.len() + elsewhere.at(&place).n_anonymous;
    let tabs: Vec<Tab> = (0..30).map(|n| tab(n, n)).collect();
    for (n, tab) in tabs.iter().enumerate() {
        here.enter(tab, place.clone());
        hear();
        assert_eq!(n_elsewhere(), 10.min(n + 1));
    }
    // Those of whom was told leave now and then before others do, and some come back.
    for (n, tab) in tabs.iter().enumerate() {
        here.leave(tab, place.clone());
        hear();
        assert_eq!(n_elsewhere(), 10.min(29 - n), "{n}");
        if n == 19 {
            here.enter(&tabs[0], place.clone());
            hear();
            here.leave(&tabs[0], place.clone());
            hear();
        }
        if n >= 19 {
            assert_eq!(elsewhere.at(&place), here.at(&place), "all that there are");
        }
    }
}

#[test]
fn more_than_may_be_told_are_not_taken() {
    let presence = Presence::default();
    let visitors = |first: usize, n: usize| -> Roll {
        let visitor = |n: usize| super::Visitor::Session(n as u64);
        vec![(Place::view("n"), (first..first + n).map(visitor).collect())]
    };
    presence.set_elsewhere("a", visitors(0, MAX_TOLD - 1));
    presence.change_elsewhere("a", (visitors(MAX_TOLD, 10), visitors(0, 5)));
    assert_eq!(presence.at(&Place::view("n")).n_anonymous, MAX_TOLD);
    presence.change_elsewhere("a", (Roll::new(), visitors(0, 2 * MAX_TOLD)));
    assert_eq!(presence.count(""), []);
}
