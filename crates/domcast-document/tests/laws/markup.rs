//! Templates that are mostly regular, over the states of `draw`.

use crate::draw::Draw;

/// Writes a template: elements that close, with parts anywhere in them, and now and then something odd.
pub(crate) fn template(draw: &mut Draw<'_>) -> String {
    let mut writer = Writer {
        draw,
        names: vec!["a", "b", "text", "flag", "user.name", "xs[0]", "rows[0].label"],
        out: String::new(),
        n_odd: 0,
    };
    writer.n_odd = if writer.draw.pick(&[0, 0, 0, 1]) == 1 { 1 } else { 0 };
    writer.content(Context::Flow, 4);
    writer.out
}

struct Writer<'d, 'a> {
    draw: &'d mut Draw<'a>,
    names: Vec<&'static str>,
    out: String,
    /// How many odd things may still be written.
    n_odd: usize,
}

/// What may stand in an element.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Context {
    Flow,
    Phrasing,
    List,
    Table,
    Rows,
    Cells,
    Options,
    Svg,
}

impl Writer<'_, '_> {
    fn content(&mut self, context: Context, depth: usize) {
        for _ in 0..self.draw.pick(&[1, 2, 3, 1, 2, 4]) {
            self.item(context, depth);
        }
    }

    fn item(&mut self, context: Context, depth: usize) {
        if depth == 0 {
            return self.leaf(context);
        }
        match self.draw.pick(&[0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 5]) {
            0 => self.leaf(context),
            1 => self.element(context, depth - 1),
            2 => self.branch(context, depth - 1),
            3 => self.list(context, depth - 1),
            4 => self.space(),
            _ => self.odd(context, depth),
        }
    }

    fn leaf(&mut self, context: Context) {
        match context {
            Context::Flow | Context::Phrasing | Context::Svg => {
                let text =
                    self.draw.pick(&["", " ", "text ", "a &amp; b", "\n  ", "tail", "<!-- note -->", "&lt;x", "> "]);
                self.out.push_str(text);
                self.hole();
            }
            _ => self.space(),
        }
    }

    fn space(&mut self) {
        let text = self.draw.pick(&["\n  ", " ", "", "\n", "<!--c-->"]);
        self.out.push_str(text);
    }

    fn name(&mut self) -> &'static str {
        let idx = self.draw.pick(&[0, 0, 0, 1, 2, 3, 4, 5, 6]);
        self.names[self.names.len() - 1 - idx.min(self.names.len() - 1)]
    }

    fn hole(&mut self) {
        let name = self.name();
        let filter = self.draw.pick(&["", "", "", "", "|upper", "|default('d')", "|length", "|string"]);
        let trims = self.draw.pick(&["", "", "", "-"]);
        self.out.push_str(&format!("{{{{{trims} {name}{filter} }}}}"));
    }

    fn element(&mut self, context: Context, depth: usize) {
        let (name, inner) = match context {
            Context::Flow => self.draw.pick(&[
                ("div", Context::Flow),
                ("p", Context::Phrasing),
                ("ul", Context::List),
                ("table", Context::Table),
                ("section", Context::Flow),
                ("b", Context::Phrasing),
                ("select", Context::Options),
                ("textarea", Context::Flow),
                ("pre", Context::Phrasing),
                ("svg", Context::Svg),
                ("input", Context::Flow),
                ("span", Context::Phrasing),
                ("h2", Context::Phrasing),
                ("form", Context::Flow),
                ("video", Context::Flow),
                ("a", Context::Phrasing),
            ]),
            Context::Phrasing => self.draw.pick(&[
                ("b", Context::Phrasing),
                ("span", Context::Phrasing),
                ("br", Context::Flow),
                ("i", Context::Phrasing),
                ("input", Context::Flow),
            ]),
            Context::List => ("li", Context::Flow),
            Context::Table => self.draw.pick(&[("tbody", Context::Rows), ("thead", Context::Rows)]),
            Context::Rows => ("tr", Context::Cells),
            Context::Cells => ("td", Context::Flow),
            Context::Options => ("option", Context::Phrasing),
            Context::Svg => self.draw.pick(&[("g", Context::Svg), ("circle", Context::Svg), ("text", Context::Svg)]),
        };
        self.out.push_str(&format!("<{name}"));
        for _ in 0..self.draw.pick(&[0, 0, 1, 2]) {
            self.attribute();
        }
        self.out.push('>');
        match name {
            "input" | "br" => return,
            "textarea" => {
                let text = self.draw.pick(&["", "\n", "t "]);
                self.out.push_str(text);
                self.hole();
            }
            "option" => self.leaf(Context::Phrasing),
            _ => self.content(inner, depth),
        }
        self.out.push_str(&format!("</{name}>"));
    }

    fn attribute(&mut self) {
        let name = self.draw.pick(&["class", "id", "title", "data-x", "dc-key", "viewBox", "dc-stay"]);
        self.out.push_str(&format!(" {name}"));
        match self.draw.pick(&[0, 0, 0, 1, 2, 3, 4, 5, 6, 7]) {
            0 => {
                self.out.push_str("=\"");
                let text = self.draw.pick(&["", "a ", "x-", "&amp;"]);
                self.out.push_str(text);
                self.hole();
                self.out.push_str(self.draw.pick(&["", " z", "&quot;"]));
                self.out.push('"');
            }
            1 => self.out.push_str("='fixed'"),
            2 => {
                self.out.push_str("=\"on{% if ");
                let test = self.name();
                self.out.push_str(test);
                self.out.push_str(" %} extra {{ a }}{% else %} &amp;less{% endif %}\"");
            }
            3 => {
                let test = self.name();
                self.out.push_str(&format!("{{% if {test} %}} checked data-y='{{{{ b }}}}'{{% endif %}}"));
            }
            4 => {
                self.out.push('=');
                self.hole();
            }
            5 => self.out.push_str("=\"{% for x in xs %}{{ x }} {% endfor %}\""),
            6 => {
                self.out.push_str("{{ flag }}=\"v\"");
            }
            _ => {}
        }
    }

    fn branch(&mut self, context: Context, depth: usize) {
        let test = self.name();
        let test = match self.draw.pick(&[0, 0, 1, 2]) {
            0 => test.to_owned(),
            1 => format!("{test} == a"),
            _ => format!("not {test}"),
        };
        self.out.push_str(&format!("{{% if {test} %}}"));
        self.content(context, depth);
        if self.draw.pick(&[true, false]) {
            self.out.push_str("{% else %}");
            self.content(context, depth);
        }
        self.out.push_str("{% endif %}");
    }

    fn list(&mut self, context: Context, depth: usize) {
        let (target, iter, names): (_, _, &[&'static str]) = self.draw.pick(&[
            ("r", "rows", &["r.n", "r.id", "r.label"] as &[&'static str]),
            ("r", "rows", &["r.n", "r.id", "r.label"]),
            ("r", "rows if r.n", &["r.n", "r.id", "r.label"]),
            ("x", "xs", &["x"]),
            ("k, v", "user|items", &["k", "v"]),
            ("x", "xs|reverse", &["loop.index", "x"]),
        ]);
        self.out.push_str(&format!("{{% for {target} in {iter} %}}"));
        let n_names = self.names.len();
        self.names.extend(names);
        if context == Context::List && target == "r" {
            self.out.push_str("<li dc-key=\"{{ r.id }}\">");
            self.content(Context::Flow, depth);
            self.out.push_str("</li>");
        } else {
            self.content(context, depth);
        }
        self.out.push_str(self.draw.pick(&["", "", "", "{% if not loop.last %}{% endif %}"]));
        if matches!(context, Context::Flow | Context::Phrasing) {
            self.out.push_str(self.draw.pick(&["", "", "", "{% if not loop.last %}, {% endif %}", "{{ loop.index }}"]));
        }
        self.names.truncate(n_names);
        if self.draw.pick(&[0, 0, 0, 1]) == 1 {
            self.out.push_str("{% else %}");
            self.content(context, depth);
        }
        self.out.push_str("{% endfor %}");
    }

    fn odd(&mut self, context: Context, depth: usize) {
        if self.n_odd == 0 {
            let set = self.draw.pick(&["{% set a = b %}", "{# gone #}", "", "{% set s = text ~ a %}{{ s }}"]);
            let is_text = matches!(context, Context::Flow | Context::Phrasing);
            return self.out.push_str(if is_text { set } else { "{# gone #}" });
        }
        self.n_odd -= 1;
        let odd = self.draw.pick(&[
            "{{ text|safe }}",
            "{{ a|tojson }}",
            "<li>",
            "</b>",
            "&{{ a }};",
            "<{{ a }}",
            "<script>{{ a }}</script>",
            "<tr><td>{{ a }}",
            "<p>{% if a %}</p>{% endif %}",
            "<!-- {{ a }} -->",
            "<table>{{ a }}</table>",
            "<table><tr><td>{{ a }}</table>",
            "<i class=\"{{ a }}>",
            "<template>{{ a }}</template>",
            "<a{{ a }}>x</a>",
            "<pre>{% if a %}{% endif %}\n{{ text }}</pre>",
            "{% autoescape false %}{{ text }}{% endautoescape %}",
            "<math><mi>{{ a }}</mi></math>",
            "&#{{ a }}",
            "{% if a %}<b>{% endif %}",
            "<b {% if a %}>{% endif %}title=x>",
            "<b title=\"{% if a %}\"{% endif %}x\">",
            "<p>{{ a }}<div>{{ b }}</div>",
            "<xmp>{{ a }}</xmp>",
            "<b class='{{ text|safe }}'>x</b>",
            "\r\n",
            "<p>{% for x in xs %}<p>{{ x }}{% endfor %}",
            "<textarea>{% if a %}x{% endif %}</textarea>",
            "<option>{{ a }}",
            "<ul>{% for x in xs %}<li>{{ x }}{% endfor %}</ul>",
            "<select><option>{{ a }}<option>b</select>",
            "{% macro m(x) %}<b>{{ x }}</b>{% endmacro %}{{ m(a) }}",
            "<b title={{ text }}/>x</b>",
            "<i a='1' a='{{ a }}'>x</i>",
        ]);
        self.out.push_str(odd);
        if self.draw.pick(&[true, false]) {
            self.item(context, depth - 1);
        }
    }
}
