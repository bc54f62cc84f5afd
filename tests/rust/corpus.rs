//! Other people's pages: pairs from the test suites of other libraries, and the histories of real pages.

use domcast_tests::data::{self, corpus, histories, pairs};
use domcast_tests::laws::{self, LiveTree};

#[test]
fn every_pair_is_patched_in_both_directions() {
    let Some(corpus) = corpus("the pairs of HTML texts") else { return };
    let mut failures = Vec::new();
    let pairs = pairs(&corpus);
    assert_eq!(pairs.len(), 1_926);
    for pair in &pairs {
        let [from, to] = [&pair.from, &pair.to].map(|html| data::parse(html).expect("the pairs are within the limits"));
        for (old, new, direction) in [(&from, &to, ""), (&to, &from, " backwards")] {
            if let Err(reason) = laws::update(old, new) {
                failures.push(format!("{}: {}{direction}: {reason}", pair.source, pair.name));
            }
        }
    }
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_page_history_is_followed_on_one_tree() {
    let Some(corpus) = corpus("the page histories") else { return };
    let mut failures = Vec::new();
    let mut n_updates = 0;
    for history in histories(&corpus) {
        let mut versions =
            history.versions.iter().map(|html| data::parse(html).expect("the pages are within the limits"));
        let Some(first) = versions.next() else { continue };
        let mut live = LiveTree::new(&first);
        for (idx, version) in versions.enumerate() {
            n_updates += 1;
            if let Err(reason) = live.update(&version) {
                failures.push(format!("{}: {}, version {}: {reason}", history.source, history.path, idx + 2));
                live = LiveTree::new(&version);
            }
        }
    }
    assert_eq!(n_updates, 1_075);
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}
