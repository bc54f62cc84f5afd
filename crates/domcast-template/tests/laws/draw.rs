//! Templates, states and changes from numbers. No numbers are left: the simplest of each.

use domcast_template::{Changes, Operation, Path, State, Step};
use serde_json::{Map, Value, json};

pub(crate) struct Draw<'a> {
    numbers: std::slice::Iter<'a, u16>,
    /// Variables in scope, beside those of the state.
    names: Vec<String>,
    macros: Vec<String>,
    n_loops: usize,
    /// Whether a `break` may stand here: the engine panics at one that leaves a `with` or a capture.
    can_break: bool,
}

const STATE_NAMES: [&str; 8] = ["a", "b", "text", "flag", "xs", "rows", "user", "missing"];

impl<'a> Draw<'a> {
    pub(crate) fn new(numbers: &'a [u16]) -> Draw<'a> {
        Draw { numbers: numbers.iter(), names: Vec::new(), macros: Vec::new(), n_loops: 0, can_break: false }
    }

    fn below(&mut self, n: usize) -> usize {
        self.numbers.next().map_or(0, |number| usize::from(*number) % n)
    }

    fn is_over(&self) -> bool {
        self.numbers.len() == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    // Templates

    pub(crate) fn templates(&mut self) -> Vec<(String, String)> {
        let macros = "{% macro cell(v, c='x') %}<i class=\"{{ c }}\">{{ v }}{{ a }}</i>{% endmacro %}{% set title = 'T' ~ text %}";
        let mut sources = vec![("macros.html".to_owned(), macros.to_owned())];
        let part = self.part();
        sources.push(("part.html".to_owned(), part));
        let base = self.fresh(|draw| {
            let head = draw.body(1);
            let (title, main) = (draw.body(1), draw.body(1));
            let inner = draw.body(1);
            format!(
                "<html>{head}<title>{{% block title %}}{title}{{% endblock %}}</title>\
                 {{% block main %}}<main>{main}{{% block inner %}}{inner}{{% endblock %}}</main>{{% endblock %}}</html>"
            )
        });
        sources.push(("base.html".to_owned(), base));
        let page = match self.below(4) {
            0 => self.fresh(|draw| {
                let set = if draw.below(2) == 1 { format!("{{% set s0 = {} %}}", draw.expr(1)) } else { String::new() };
                let main = draw.body(2);
                let with_super = draw.pick(&["", "{{ super() }}"]);
                let block = draw.pick(&["title", "main", "inner"]);
                format!("{{% extends 'base.html' %}}\n{set}{{% block {block} %}}{main}{with_super}{{% endblock %}}")
            }),
            _ => self.fresh(|draw| draw.body(3)),
        };
        sources.push(("page.html".to_owned(), page));
        sources
    }

    fn part(&mut self) -> String {
        self.fresh(|draw| draw.body(1))
    }

    fn fresh(&mut self, write: impl FnOnce(&mut Self) -> String) -> String {
        self.names.clear();
        self.macros.clear();
        self.n_loops = 0;
        write(self)
    }

    fn body(&mut self, depth: usize) -> String {
        let n = 1 + self.below(4);
        (0..n).map(|_| self.statement(depth)).collect()
    }

    /// A body whose names end with it.
    fn scope(&mut self, depth: usize) -> String {
        let (n_names, n_macros) = (self.names.len(), self.macros.len());
        let body = self.body(depth);
        self.names.truncate(n_names);
        self.macros.truncate(n_macros);
        body
    }

    fn statement(&mut self, depth: usize) -> String {
        let kind = if depth == 0 || self.is_over() { self.below(4) } else { self.below(40) };
        let could_break = self.can_break;
        self.can_break = could_break && matches!(kind, 9..=12 | 28);
        let statement = self.statement_of(kind, depth);
        self.can_break = could_break;
        statement
    }

    fn statement_of(&mut self, kind: usize, depth: usize) -> String {
        match kind {
            0 => self.pick(&["<p>", "</p>", "text & ", "<li class=\"x\">", "\n  ", "<br>", "{# gone #}"]).to_owned(),
            1 | 2 => format!("<b>{{{{ {} }}}}</b>", self.expr(2)),
            3 => format!("<i class=\"{{{{- {} }}}}\">", self.expr(1)),
            4..=8 | 30..=36 => self.for_loop(depth - 1),
            9..=12 => {
                let test = self.expr(2);
                let body = self.body(depth - 1);
                match self.below(3) {
                    0 => format!("{{% if {test} %}}{body}{{% endif %}}"),
                    1 => format!("{{% if {test} -%}} {body}{{% else %}}{}{{% endif %}}", self.body(depth - 1)),
                    _ => {
                        let (other, body2, body3) = (self.expr(1), self.body(depth - 1), self.body(depth - 1));
                        format!("{{% if {test} %}}{body}{{% elif {other} %}}{body2}{{% else %}}{body3}{{% endif %}}")
                    }
                }
            }
            13 | 14 => {
                let value = self.expr(2);
                let name = self.pick(&["s0", "s1", "a", "text"]);
                self.names.push(name.to_owned());
                format!("{{% set {name} = {value} %}}")
            }
            15 => {
                let value = self.expr(2);
                self.names.push("w0".to_owned());
                let body = self.scope(depth - 1);
                self.names.pop();
                format!("{{% with w0 = {value} %}}{body}{{% endwith %}}")
            }
            16 | 17 => {
                let body = {
                    self.names.push("p0".to_owned());
                    let body = self.scope(depth - 1);
                    self.names.pop();
                    body
                };
                let name = format!("m{}", self.macros.len());
                self.macros.push(name.clone());
                format!("{{% macro {name}(p0, p1='d') %}}{body}{{{{ p1 }}}}{{% endmacro %}}")
            }
            18 => "{% include 'part.html' %}".to_owned(),
            19 => self
                .pick(&[
                    "{% include 'nothing.html' ignore missing %}",
                    "{% include ['no.html', 'part.html'] ignore missing %}",
                    "{% include text ignore missing %}",
                ])
                .to_owned(),
            20 => {
                let how = self.pick(&["false", "true", "'html'", "'none'", "flag"]);
                format!("{{% autoescape {how} %}}{}{{% endautoescape %}}", self.body(depth - 1))
            }
            21 => format!("{{% filter upper %}}{}{{% endfilter %}}", self.body(depth - 1)),
            22 => {
                let body = self.scope(depth - 1);
                self.names.push("s1".to_owned());
                format!("{{% set s1 %}}{body}{{% endset %}}")
            }
            23 => {
                self.macros.push("cell".to_owned());
                self.pick(&[
                    "{% from 'macros.html' import cell, title %}{{ title }}",
                    "{% from 'macros.html' import cell %}",
                ])
                .to_owned()
            }
            24 => format!("{{% import 'macros.html' as lib %}}{{{{ lib.cell({}) }}}}", self.expr(1)),
            25 => {
                let body = self.scope(depth - 1);
                format!(
                    "{{% macro outer() %}}<u>{{{{ caller() }}}}</u>{{% endmacro %}}{{% call outer() %}}{body}{{% endcall %}}"
                )
            }
            26 if self.below(3) == 0 => {
                let set = self.expr(1);
                format!(
                    "{{% set ns = namespace(n=0) %}}{{% for x in xs %}}{{% set ns.n = {set} %}}{{% endfor %}}{{{{ ns.n }}}}"
                )
            }
            29 => {
                // One that calls itself: with itself twice it has no end that anybody would wait for.
                let (body, n) = (self.scope(depth - 1), self.expr(1));
                let call = self.pick(&["{{ again(n - 1) }}", "{{ again(n - 1) }}{{ again(n - 1) }}", "{{ s0 ~ s0 }}"]);
                format!(
                    "{{% macro again(n) %}}{{% if n > 0 %}}{body}{{% set s0 = again(n - 1) %}}{call}{{% endif %}}{{% endmacro %}}{{{{ again({n}) }}}}"
                )
            }
            27 => "{% raw %}{{ raw }}{% endraw %}".to_owned(),
            28 if self.can_break => {
                let test = self.expr(1);
                let what = self.pick(&["break", "continue"]);
                format!("{{% if {test} %}}{{% {what} %}}{{% endif %}}")
            }
            _ => format!("{{{{ {} }}}}", self.expr(3)),
        }
    }

    fn for_loop(&mut self, depth: usize) -> String {
        let (target, names, iter): (&str, &[&str], String) = match self.below(8) {
            0..=2 => ("r", &["r"], "rows".to_owned()),
            3 => ("x", &["x"], "xs".to_owned()),
            4 => ("k, v", &["k", "v"], "user|items".to_owned()),
            5 => (
                "t",
                &["t"],
                if self.names.iter().any(|name| name == "r") { "r.tags" } else { "rows[0].tags" }.to_owned(),
            ),
            6 => {
                ("k", &["k"], self.pick(&["user", "range(3)", "text", "rows|reverse", "xs|sort", "missing"]).to_owned())
            }
            _ => ("y", &["y"], self.expr(1)),
        };
        let n_names = self.names.len();
        self.names.extend(names.iter().map(|name| (*name).to_owned()));
        let filter = if self.below(5) == 4 { format!(" if {}", self.expr(1)) } else { String::new() };
        self.n_loops += 1;
        let key = match (target, self.below(3)) {
            ("r", 0) => "<li id=\"r-{{ r.id }}\">",
            ("r", 1) => "<li dc-key={{ r.id }} class=\"{% if r.id == a %}on{% endif %}\">",
            _ => "",
        };
        self.can_break = true;
        let mut body = self.scope(depth);
        self.can_break = false;
        if self.below(12) == 11 {
            let odd = ["{{ loop.previtem }}", "{{ loop.changed(a) }}", "{{ loop }}", "{{ loop.nextitem is defined }}"];
            body.push_str(self.pick(&odd));
        }
        self.n_loops -= 1;
        self.names.truncate(n_names);
        let otherwise = if self.below(4) == 3 { format!("{{% else %}}{}", self.body(depth)) } else { String::new() };
        let recursive = if self.below(20) == 19 { " recursive" } else { "" };
        format!("{{% for {target} in {iter}{filter}{recursive} %}}{key}{body}{otherwise}{{% endfor %}}")
    }

    fn expr(&mut self, depth: usize) -> String {
        let kind = if depth == 0 || self.is_over() { self.below(6) } else { self.below(24) };
        match kind {
            0 => self.pick(&STATE_NAMES).to_owned(),
            1 | 2 => match self.names.len() {
                0 => self.pick(&STATE_NAMES).to_owned(),
                n => {
                    let at = self.below(n);
                    self.names[n - 1 - at].clone()
                }
            },
            3 => {
                let of = if self.names.iter().any(|name| name == "r") { "r" } else { "user" };
                format!("{of}.{}", self.pick(&["id", "label", "n", "tags", "none"]))
            }
            4 => self.pick(&["1", "0", "'t'", "'<&>'", "none", "true", "2.5", "'r1'"]).to_owned(),
            5 => match self.n_loops {
                0 => self
                    .pick(&["user.name", "user['name']", "user.x", "xs[0]", "xs[1]", "text[0]", "xs[-1]"])
                    .to_owned(),
                _ => {
                    let field =
                        ["index", "index0", "first", "last", "length", "revindex", "revindex0", "depth", "depth0"];
                    format!("loop.{}", self.pick(&field))
                }
            },
            6..=9 => {
                let op = self.pick(&["==", "!=", "<", ">=", "and", "or", "and", "or"]);
                format!("({} {op} {})", self.expr(depth - 1), self.expr(depth - 1))
            }
            10 => format!("(not {})", self.expr(depth - 1)),
            11 => format!("({} if {} else {})", self.expr(depth - 1), self.expr(depth - 1), self.expr(depth - 1)),
            12 => format!("({} if {})", self.expr(depth - 1), self.expr(depth - 1)),
            13..=15 => {
                let filters = [
                    "upper",
                    "length",
                    "default('d')",
                    "safe",
                    "escape",
                    "tojson",
                    "string",
                    "first",
                    "title",
                    "list",
                    "int(0)",
                    "join('-')",
                    "sort",
                    "unique|list",
                    "dictsort",
                    "map(attribute='id')|join",
                    "trim",
                    "pprint",
                ];
                format!("{}|{}", self.expr(depth - 1), self.pick(&filters))
            }
            16 | 17 => {
                let tests =
                    ["defined", "none", "string", "mapping", "sequence", "number", "true", "undefined", "iterable"];
                format!("({} is {})", self.expr(depth - 1), self.pick(&tests))
            }
            18 => format!("({} ~ {})", self.expr(depth - 1), self.expr(depth - 1)),
            19 => format!("({} in {})", self.expr(depth - 1), self.pick(&["xs", "text", "user", "[1, 'a']"])),
            20 => format!("({} + {})", self.expr(depth - 1), self.expr(depth - 1)),
            21 => match self.macros.last() {
                Some(name) => format!("{}({})", name.clone(), self.expr(depth - 1)),
                None => "xs|length".to_owned(),
            },
            22 if self.n_loops > 0 => format!("loop.cycle('o', {})", self.expr(depth - 1)),
            _ => self
                .pick(&["[a, b]", "{'k': a}", "(a, b)", "xs[:2]", "rows|map(attribute='label')|list", "1 < a < 3"])
                .to_owned(),
        }
    }

    // States

    pub(crate) fn state(&mut self) -> Value {
        let mut state = Map::new();
        for name in STATE_NAMES {
            if name != "missing" {
                let value = self.value_of(name);
                state.insert(name.to_owned(), value);
            }
        }
        Value::Object(state)
    }

    fn value_of(&mut self, name: &str) -> Value {
        match name {
            "xs" => (0..self.below(4)).map(|_| self.scalar()).collect(),
            "rows" => (0..3 - self.below(4).min(3) + self.below(4)).map(|_| self.row()).collect(),
            "user" => {
                let mut user = Map::new();
                for _ in 0..self.below(3) {
                    let key = self.pick(&["name", "x", "k"]);
                    user.insert(key.to_owned(), self.scalar());
                }
                Value::Object(user)
            }
            "text" => self.pick(&["", "part.html", "a<b>&\"'/", "plain"]).into(),
            "flag" => (self.below(2) == 1).into(),
            _ => self.scalar(),
        }
    }

    fn scalar(&mut self) -> Value {
        let of = [
            json!(0),
            json!(1),
            json!(2),
            json!("r1"),
            json!("<&>"),
            json!(""),
            json!(1.0),
            json!(2.5),
            json!(null),
            json!(true),
            json!(-3),
            json!(18_446_744_073_709_551_615_u64),
            json!([]),
            json!({"k": 1}),
            json!("é"),
        ];
        of[self.below(of.len())].clone()
    }

    fn row(&mut self) -> Value {
        let id = if self.below(8) == 7 { self.scalar() } else { json!(format!("r{}", self.below(6))) };
        let tags: Value = (0..self.below(3)).map(|_| self.scalar()).collect();
        json!({"id": id, "label": self.scalar(), "n": self.below(3), "tags": tags})
    }

    // Changes

    /// Changes both in the same way, and tells what changed, or does not.
    pub(crate) fn change(&mut self, json: &mut Value, state: &mut State) -> Changes {
        let mut changes = Changes::none();
        for _ in 0..1 + self.below(3) {
            changes = changes.and(self.change_once(json, state));
        }
        if self.below(4) == 3 { Changes::Unknown } else { changes }
    }

    fn change_once(&mut self, json: &mut Value, state: &mut State) -> Changes {
        let n_rows = json["rows"].as_array().map_or(0, Vec::len);
        match self.below(14) {
            0 | 1 => {
                let name = self.pick(&STATE_NAMES);
                let value = self.value_of(name);
                self.set(json, state, &[name.into()], value)
            }
            2 | 3 if n_rows > 0 => {
                let row = self.below(n_rows);
                let key = self.pick(&["label", "n", "id"]);
                let value = self.scalar();
                self.set(json, state, &["rows".into(), row.into(), key.into()], value)
            }
            4 if n_rows > 0 => {
                let row = self.below(n_rows);
                let value = self.row();
                self.set(json, state, &["rows".into(), row.into()], value)
            }
            5 if n_rows > 0 => {
                let row = self.below(n_rows);
                json["rows"].as_array_mut().expect("it has rows").remove(row);
                state.remove(Path::from("rows").then(row)).expect("the row is there")
            }
            6 if json["rows"].is_array() => {
                let at = self.below(n_rows + 1);
                let new = |row: &Value| State::new(row).expect("JSON is a state");
                if at < n_rows {
                    let row = self.row();
                    json["rows"].as_array_mut().expect("it is a list").insert(at, row.clone());
                    return state.insert("rows", at, new(&row)).expect("the place is there");
                }
                let rows: Vec<Value> = (0..self.below(4)).map(|_| self.row()).collect();
                json["rows"].as_array_mut().expect("it is a list").extend(rows.iter().cloned());
                state.extend("rows", rows.iter().map(new)).expect("the list is there")
            }
            7 if n_rows > 1 => {
                // Rows change places; their parts stay the same.
                let (a, b) = (self.below(n_rows), self.below(n_rows));
                json["rows"].as_array_mut().expect("it has rows").swap(a, b);
                let (path_a, path_b) = (Path::from("rows").then(a), Path::from("rows").then(b));
                let (row_a, row_b) = (state.at(&path_a).cloned(), state.at(&path_b).cloned());
                let set = state.set(path_a, row_b.expect("the row is there")).expect("the row is there");
                set.and(state.set(path_b, row_a.expect("the row is there")).expect("the row is there"))
            }
            8 => {
                let user = self.value_of("user");
                let patch = json!({"user": user, "b": self.scalar(), "missing": null});
                json_patch_merge(json, &patch);
                state.merge(&State::new(&patch).expect("JSON is a state"))
            }
            9 if n_rows > 0 => {
                let from = self.below(n_rows);
                let rows = json["rows"].as_array_mut().expect("it has rows");
                let row = rows.remove(from);
                rows.insert(0, row);
                let (from, path) = (format!("/rows/{from}"), "/rows/0".to_owned());
                state.patch(&[Operation::Move { from, path }]).expect("the row is there")
            }
            10 => {
                // Handed over whole.
                let name = self.pick(&STATE_NAMES);
                json[name] = self.value_of(name);
                *state = state.renewed(json).expect("JSON is a state");
                Changes::Unknown
            }
            11 if n_rows > 0 && json["rows"][0]["tags"].is_array() => {
                let tag = self.scalar();
                let n_tags = json["rows"][0]["tags"].as_array_mut().map_or(0, |tags| {
                    tags.push(tag.clone());
                    tags.len()
                });
                let tags = Path::from("rows.0.tags");
                state.insert(tags, n_tags - 1, State::new(&tag).expect("JSON is a state")).expect("the row has tags")
            }
            12 if n_rows > 0 => {
                // A row is selected.
                let row = self.below(n_rows);
                let id = json["rows"][row]["id"].clone();
                self.set(json, state, &["a".into()], id)
            }
            13 if n_rows > 0 => {
                // Handed over whole, with a row more, a row less, or in another order.
                let (at, how) = (self.below(n_rows), self.below(4));
                let row = self.row();
                let rows = json["rows"].as_array_mut().expect("it has rows");
                match how {
                    0 => _ = rows.remove(at),
                    1 => rows.insert(at, row),
                    2 => rows.rotate_left(at),
                    _ => rows.reverse(),
                }
                *state = state.renewed(json).expect("JSON is a state");
                Changes::Unknown
            }
            _ => Changes::none(),
        }
    }

    fn set(&mut self, json: &mut Value, state: &mut State, steps: &[Step], value: Value) -> Changes {
        let mut part = json;
        for step in steps {
            part = match step {
                Step::Key(key) if part.is_object() => {
                    part.as_object_mut().expect("it is one").entry(&**key).or_insert(Value::Null)
                }
                Step::Key(_) => return Changes::none(),
                Step::Index(idx) => &mut part[*idx],
            };
        }
        *part = value.clone();
        let path: Path = steps.iter().cloned().collect();
        state.set(path, State::new(&value).expect("JSON is a state")).expect("the way is there")
    }
}

/// The parts that lead from one state to another, if all that changed was there before.
pub(crate) fn parts(old: &State, new: &State, changes: &Changes) -> Option<Vec<(Path, State)>> {
    let Changes::At(paths) = changes else { return None };
    let part = |path: &Path| old.at(path).and(new.at(path)).map(|part| (path.clone(), own(part)));
    // One may have come with another.
    let parts: Vec<_> = paths.iter().map(part).collect::<Option<_>>()?;
    let mut reached = old.clone();
    let is_there = parts.iter().all(|(path, part)| reached.swap(path, &mut part.clone()).is_ok());
    (is_there && !parts.is_empty()).then_some(parts)
}

/// A state that shares nothing with another one.
pub(crate) fn own(state: &State) -> State {
    State::new(state).expect("a state is data")
}

/// RFC 7386, as it is written there.
fn json_patch_merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().expect("it was made one");
    for (key, value) in patch {
        match value {
            Value::Null => _ = target.remove(key),
            value => json_patch_merge(target.entry(key).or_insert(Value::Null), value),
        }
    }
}
