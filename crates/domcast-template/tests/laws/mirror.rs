//! A copy of an instance that sees nothing but its edits: what a joiner keeps.

use domcast_template::{Edit, Edits, FragmentId, Instance, PartKind, Program, Slot};
use std::collections::HashMap;

pub(crate) struct Mirror {
    program: Program,
    fragments: HashMap<FragmentId, (u32, Vec<Copied>)>,
}

/// What a part holds.
enum Copied {
    Text(String),
    /// The fragments inside: at most one of a branch; the items of a loop, and its `else`.
    Inside(Vec<FragmentId>, Option<FragmentId>),
}

impl Mirror {
    pub(crate) fn new(instance: &Instance) -> Mirror {
        let mut mirror = Mirror { program: instance.program().clone(), fragments: HashMap::new() };
        mirror.copy(0, instance);
        mirror
    }

    fn copy(&mut self, id: FragmentId, instance: &Instance) {
        let fragment = instance.fragment(id);
        let mut copied = Vec::new();
        for (part, slot) in self.program.clone().body(fragment.body).parts.iter().zip(&fragment.slots) {
            copied.push(match slot {
                Slot::Text => match &part.kind {
                    PartKind::Text(text) => Copied::Text(text.to_string()),
                    _ => panic!("only text holds nothing"),
                },
                Slot::Hole(_) | Slot::Html(_) => Copied::Text(text_of(slot)),
                Slot::Branch(branch) => Copied::Inside(Vec::new(), branch.map(|(_, id)| id)),
                Slot::Items(items) => {
                    Copied::Inside(items.iter().map(|item| item.fragment).collect(), items.otherwise())
                }
                _ => Copied::Text(String::new()),
            });
        }
        let inside: Vec<FragmentId> = copied
            .iter()
            .flat_map(|copied| match copied {
                Copied::Inside(items, one) => items.iter().copied().chain(*one).collect(),
                Copied::Text(_) => Vec::new(),
            })
            .collect();
        assert!(
            self.fragments.insert(id, (fragment.body, copied)).is_none(),
            "fragment {id} is new, and there already"
        );
        inside.into_iter().for_each(|id| self.copy(id, instance));
    }

    pub(crate) fn apply(&mut self, edits: &Edits, instance: &Instance) {
        // Fragments that come may be read only once those that go have left.
        let mut coming = Vec::new();
        for edit in edits {
            match *edit {
                Edit::Hole { fragment, part } | Edit::Html { fragment, part } => {
                    let text = text_of(&instance.fragment(fragment).slots[part as usize]);
                    *self.part(fragment, part) = Copied::Text(text);
                }
                Edit::Branch { fragment, part, old, new } => {
                    let (_, one) = self.inside(fragment, part);
                    assert_eq!(*one, old);
                    *one = new;
                    coming.extend(new);
                }
                Edit::Remove { fragment, part, item } => _ = take(self.inside(fragment, part).0, item),
                Edit::Insert { fragment, part, item, before } => {
                    put(self.inside(fragment, part).0, item, before);
                    coming.push(item);
                }
                Edit::Move { fragment, part, item, before } => {
                    let items = self.inside(fragment, part).0;
                    take(items, item);
                    put(items, item, before);
                }
                _ => panic!("an unknown edit"),
            }
        }
        for id in edits.freed() {
            assert!(self.fragments.remove(id).is_some(), "fragment {id} goes, and was not there");
        }
        coming.into_iter().for_each(|id| self.copy(id, instance));
    }

    pub(crate) fn html(&self) -> String {
        let mut html = String::new();
        self.write(0, &mut html);
        html
    }

    fn write(&self, id: FragmentId, html: &mut String) {
        for copied in &self.fragments[&id].1 {
            match copied {
                Copied::Text(text) => html.push_str(text),
                Copied::Inside(items, one) => items.iter().chain(one).for_each(|id| self.write(*id, html)),
            }
        }
    }

    fn part(&mut self, fragment: FragmentId, part: u32) -> &mut Copied {
        &mut self.fragments.get_mut(&fragment).expect("the fragment is known").1[part as usize]
    }

    fn inside(&mut self, fragment: FragmentId, part: u32) -> (&mut Vec<FragmentId>, &mut Option<FragmentId>) {
        match self.part(fragment, part) {
            Copied::Inside(items, one) => (items, one),
            Copied::Text(_) => panic!("the part has nothing inside"),
        }
    }
}

fn text_of(slot: &Slot) -> String {
    let mut text = String::new();
    match slot {
        Slot::Hole(value) => value.write_html(&mut text),
        Slot::Html(html) => text.push_str(html),
        _ => panic!("the part is no text"),
    }
    text
}

fn take(items: &mut Vec<FragmentId>, item: FragmentId) {
    let at = items.iter().position(|other| *other == item).expect("the item is there");
    items.remove(at);
}

fn put(items: &mut Vec<FragmentId>, item: FragmentId, before: Option<FragmentId>) {
    let at = match before {
        Some(before) => items.iter().position(|other| *other == before).expect("the item is there"),
        None => items.len(),
    };
    items.insert(at, item);
}
