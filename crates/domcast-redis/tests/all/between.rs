//! What happens in between: servers whose tasks stand still one by one.

use crate::client::now;
use crate::servers::{Server, hub, patient, until};
use domcast_push::{DeclaredView, Hub, Ledger, MemoryLayer, Push, Work};
use futures_util::FutureExt;
use serde_json::json;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// A server with the views of [`hub`], and `a`, on the runtime of the test.
struct Staged {
    hub: Hub,
    /// In the order in which they were spawned.
    gates: Arc<Mutex<Vec<watch::Sender<bool>>>>,
    logs: watch::Sender<bool>,
}

/// Which task keeps which view: those of the cluster come first, then these in the order of names.
const KEEPER_OF_A: usize = 8;
const KEEPER_OF_N: usize = 9;

impl Staged {
    fn start(ledger: &Arc<MemoryLayer>) -> Staged {
        let hub = hub();
        hub.register_declared("a", DeclaredView::new("n.html").state("n", 0)).unwrap();
        let gates = Arc::new(Mutex::new(Vec::new()));
        let spawned = Arc::clone(&gates);
        let spawn = move |work| {
            let (gate, is_open) = watch::channel(true);
            spawned.lock().unwrap().push(gate);
            tokio::spawn(gated(work, is_open));
        };
        let cluster = domcast_push::join(&hub, Arc::clone(ledger), patient(), spawn, |_| {});
        let (logs, is_open) = watch::channel(true);
        tokio::spawn(gated(cluster, is_open));
        Staged { hub, gates, logs }
    }

    fn gate(&self, task: usize, is_open: bool) {
        self.gates.lock().unwrap()[task].send_replace(is_open);
    }

    fn is_at(&self, server: &Server) -> bool {
        self.hub.views().iter().any(|view| &*view.name == "n" && view.position == server.position())
    }
}

/// Runs a task, but for the time in which its gate is closed.
async fn gated(mut work: Work, mut is_open: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            biased;
            Ok(_) = async { is_open.wait_for(|is_open| !is_open).await.map(drop) } => {}
            () = &mut work => return,
        }
        _ = is_open.wait_for(|is_open| *is_open).await;
    }
}

fn add(by: i64) -> Push {
    Push::handler("n", "add", json!({"by": by}))
}

/// A server that owns `n`, and one that owns `a`.
async fn two(ledger: &Arc<MemoryLayer>) -> (Server, Staged) {
    let owner = Server::start_on(ledger);
    owner.begin().await;
    let staged = Staged::start(ledger);
    until("both share the view", || staged.is_at(&owner)).await;
    staged.hub.push(Push::state("a", [("n", 1)])).await.unwrap();
    (owner, staged)
}

#[tokio::test]
async fn what_is_pushed_while_a_server_leaves_is_forwarded_before_it_has_left() {
    let ledger = Arc::new(MemoryLayer::default());
    let (owner, leaving) = two(&ledger).await;
    leaving.gate(KEEPER_OF_N, false);
    leaving.gate(KEEPER_OF_A, false);
    let mut left = pin!(leaving.hub.leave());
    assert!(now(left.as_mut()).is_none(), "it waits until `a` is given up");
    let _waiting = leaving.hub.submit(add(5)).unwrap();
    leaving.gate(KEEPER_OF_A, true);
    timeout(Duration::from_secs(15), left).await.expect("it leaves");
    // It stands still from now on.
    until("what was pushed is applied", || owner.n() == 5).await;
}

#[tokio::test]
async fn an_answer_in_a_step_that_a_snapshot_made_up_for_is_read() {
    let ledger = Arc::new(MemoryLayer::default());
    let (owner, asking) = two(&ledger).await;
    // So many steps follow the snapshot at most: the next one is written with another.
    let n_steps = async || {
        let kept = ledger.load("n", "x").await.unwrap().unwrap();
        kept.n - kept.snapshot_n
    };
    while n_steps().await < 256 {
        owner.hub.push(add(1)).await.unwrap();
    }
    until("both are there", || asking.is_at(&owner)).await;
    asking.logs.send_replace(false);
    let receipt = timeout(Duration::from_secs(10), asking.hub.push(add(5)).boxed()).await;
    let receipt = receipt.expect("it is answered before it is told that it waits").unwrap();
    assert_eq!(receipt.position, Some(owner.position()));
    assert_eq!(n_steps().await, 0);
    assert!(asking.is_at(&owner));
}
