//! The table of js-framework-benchmark: a key and a label a row, one row selected, about 250 bytes of HTML each.

use serde::Serialize;
use std::fmt::Write;

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What the row is known by.
    pub id: u32,
    /// What the row says.
    pub label: String,
}

/// The state that the HTML is rendered from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Table {
    /// The rows in order.
    pub rows: Vec<Row>,
    /// The id of the row that is highlighted.
    pub selected: Option<u32>,
}

/// What happens to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// No rows, then all.
    Create,
    /// All rows, then as many others.
    Replace,
    /// ` !!!` after every tenth label.
    EveryTenth,
    /// Another row is highlighted.
    Select,
    /// The second row and the last but one change places.
    Swap,
    /// ` !!!` after the label in the middle.
    One,
    /// The row in the middle goes.
    Remove,
    /// 1,000 rows more at the end.
    Append,
    /// All rows go.
    Clear,
    /// The same output again.
    Nothing,
    /// All rows in another order.
    Shuffle,
    /// One row more at the start.
    Prepend,
}

impl Change {
    /// Every change, in the order of js-framework-benchmark, then our own.
    pub const ALL: [Change; 12] = [
        Change::Create,
        Change::Replace,
        Change::EveryTenth,
        Change::Select,
        Change::Swap,
        Change::One,
        Change::Remove,
        Change::Append,
        Change::Clear,
        Change::Nothing,
        Change::Shuffle,
        Change::Prepend,
    ];

    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Change::Create => "create",
            Change::Replace => "replace",
            Change::EveryTenth => "every 10th",
            Change::Select => "select",
            Change::Swap => "swap",
            Change::One => "one label",
            Change::Remove => "remove",
            Change::Append => "append 1,000",
            Change::Clear => "clear",
            Change::Nothing => "no-op",
            Change::Shuffle => "shuffle",
            Change::Prepend => "prepend",
        }
    }

    /// The table before and after.
    pub fn tables(self, n_rows: usize) -> (Table, Table) {
        let full = Table { rows: rows(1, n_rows), selected: Some(5) };
        let next_id = n_rows + 1;
        let mut new = full.clone();
        match self {
            Change::Create => return (Table::default(), full),
            Change::Replace => new = Table { rows: rows(next_id, n_rows), selected: None },
            Change::EveryTenth => new.rows.iter_mut().step_by(10).for_each(|row| row.label.push_str(" !!!")),
            Change::Select => new.selected = Some(n_rows as u32 / 2),
            Change::Swap => new.rows.swap(1, n_rows - 2),
            Change::One => new.rows[n_rows / 2].label.push_str(" !!!"),
            Change::Remove => _ = new.rows.remove(n_rows / 2),
            Change::Append => new.rows.extend(rows(next_id, 1_000)),
            Change::Clear => new = Table::default(),
            Change::Nothing => {}
            Change::Shuffle => shuffle(&mut new.rows),
            Change::Prepend => _ = new.rows.splice(..0, rows(next_id, 1)),
        }
        (full, new)
    }
}

impl Row {
    /// The value of the attribute `id`, which is the key.
    pub fn key(&self) -> String {
        format!("r-{}", self.id)
    }
}

impl Table {
    /// Whether the row is the highlighted one.
    pub fn is_selected(&self, row: &Row) -> bool {
        self.selected == Some(row.id)
    }

    /// The template that writes what [`to_html`](Self::to_html) writes.
    pub const TEMPLATE: &str = r#"<table class="table table-hover table-striped test-data"><tbody>{% for row in rows %}<tr id="r-{{ row.id }}" class="{% if row.id == selected %}danger{% endif %}"><td class="col-md-1">{{ row.id }}</td><td class="col-md-4"><a class="lbl">{{ row.label }}</a></td><td class="col-md-1"><a class="remove"><span class="glyphicon glyphicon-remove" aria-hidden="true"></span></a></td><td class="col-md-6"></td></tr>{% endfor %}</tbody></table>"#;

    /// Writes the table without a template.
    pub fn to_html(&self) -> String {
        let mut html = String::from(r#"<table class="table table-hover table-striped test-data"><tbody>"#);
        for row in &self.rows {
            let (id, label) = (row.id, &row.label);
            let class = if self.is_selected(row) { "danger" } else { "" };
            _ = write!(
                html,
                r#"<tr id="r-{id}" class="{class}"><td class="col-md-1">{id}</td><td class="col-md-4"><a class="lbl">{label}</a></td><td class="col-md-1"><a class="remove"><span class="glyphicon glyphicon-remove" aria-hidden="true"></span></a></td><td class="col-md-6"></td></tr>"#,
            );
        }
        html.push_str("</tbody></table>");
        html
    }
}

/// Rows with the words of js-framework-benchmark; the same ones in every run.
fn rows(first_id: usize, n_rows: usize) -> Vec<Row> {
    const ADJECTIVES: [&str; 8] = ["pretty", "large", "big", "small", "tall", "short", "long", "handsome"];
    const COLOURS: [&str; 5] = ["red", "yellow", "blue", "green", "pink"];
    const NOUNS: [&str; 7] = ["table", "chair", "house", "bbq", "desk", "car", "pony"];
    let row = |id: usize| {
        let label = [ADJECTIVES[id % 8], COLOURS[id % 5], NOUNS[id % 7]].join(" ");
        Row { id: id as u32, label }
    };
    (first_id..first_id + n_rows).map(row).collect()
}

/// Fisher and Yates, with numbers by xorshift (Marsaglia 2003) that are the same in every run.
fn shuffle(rows: &mut [Row]) {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for last in (1..rows.len()).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        rows.swap(last, (random % (last as u64 + 1)) as usize);
    }
}
