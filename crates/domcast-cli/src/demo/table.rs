//! The stock of a shop: 1,000 items, of which a few are sold at every tick.

use domcast_axum::{Empty, Handlers, View};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const N_ROWS: u64 = 1000;
/// Rows that a window shows without scrolling: some of the sales are among them.
const N_VISIBLE: u64 = 9;

const KINDS: [&str; 10] =
    ["Amber", "Birch", "Cobalt", "Dune", "Ember", "Fern", "Granite", "Hazel", "Indigo", "Juniper"];
const THINGS: [&str; 10] = ["kettle", "lamp", "stool", "vase", "clock", "bowl", "shelf", "rug", "mirror", "tray"];

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Table {
    rows: Vec<Row>,
    n_sold: u64,
    seed: u64,
}

#[derive(Clone, Serialize, Deserialize)]
struct Row {
    id: u64,
    name: String,
    stock: u64,
    sold: u64,
    /// Whether the last change touched it.
    is_changed: bool,
}

#[derive(Deserialize)]
struct Restock {
    id: u64,
    by: u64,
}

impl Default for Table {
    fn default() -> Table {
        let row = |idx: u64| {
            let (kind, thing) = (KINDS[idx as usize / 10 % 10], THINGS[idx as usize % 10]);
            let series = match idx / 100 {
                0 => String::new(),
                series => format!(" {}", series + 1),
            };
            Row {
                id: idx + 1,
                name: format!("{kind} {thing}{series}"),
                stock: 3 + idx * 7 % 40,
                sold: 0,
                is_changed: false,
            }
        };
        Table { rows: (0..N_ROWS).map(row).collect(), n_sold: 0, seed: 1 }
    }
}

impl Table {
    /// A pseudo-random number below `end` (Knuth's MMIX generator): a demonstration needs no better one.
    fn random(&mut self, end: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % end.max(1)
    }

    fn sell(&mut self, row_idx: u64) {
        let Some(row) = self.rows.get_mut(row_idx as usize) else { return };
        row.is_changed = true;
        if row.stock == 0 {
            row.stock = 40;
        } else {
            row.stock -= 1;
            row.sold += 1;
            self.n_sold += 1;
        }
    }

    fn forget_changes(&mut self) {
        self.rows.iter_mut().for_each(|row| row.is_changed = false);
    }
}

impl View for Table {
    const TEMPLATE: &'static str = "table.html";

    fn handlers(handlers: &mut Handlers<Self>) {
        handlers.on("rotate", |view: &mut Self, _: Empty| {
            if !view.rows.is_empty() {
                view.rows.rotate_left(1);
            }
            Ok(())
        });
        handlers.on_push("restock", |view: &mut Self, Restock { id, by }: Restock| {
            view.forget_changes();
            let row = view.rows.iter_mut().find(|row| row.id == id).ok_or_else(|| format!("there is no item {id}"))?;
            row.stock = row.stock.checked_add(by).ok_or("the shelf is full")?;
            row.is_changed = true;
            Ok(())
        });
    }

    fn tick_interval(&self) -> Option<Duration> {
        Some(Duration::from_secs(2))
    }

    fn handle_tick(&mut self) {
        self.forget_changes();
        for n_rows in [N_VISIBLE, N_VISIBLE, self.rows.len() as u64, self.rows.len() as u64] {
            let row_idx = self.random(n_rows);
            self.sell(row_idx);
        }
    }
}
