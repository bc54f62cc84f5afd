//! A copy of an instance that sees nothing but its edits: what a joiner keeps.

use domcast_template::{Edit, Edits, FragmentId, Instance, Program, Slot};
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
        for slot in &fragment.slots {
            copied.push(match slot {
                Slot::Hole(_) | Slot::Html(_) => Copied::Text(text_of(slot)),
                Slot::Branch(branch) => Copied::Inside(Vec::new(), branch.map(|(_, id)| id)),
                Slot::Items(items) => Copied::Inside(items.fragments().to_vec(), items.otherwise()),
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
                }
                Edit::Items { fragment, part, start, n_old, n_new } => {
                    let Slot::Items(now) = &instance.fragment(fragment).slots[part as usize] else {
                        panic!("the part is a loop")
                    };
                    let now = &now.fragments()[start as usize..][..n_new as usize];
                    let (items, _) = self.inside(fragment, part);
                    let was = start as usize..(start + n_old) as usize;
                    let ends = |items: &[FragmentId]| (items.first().copied(), items.last().copied());
                    let (was_ends, now_ends) = (ends(&items[was.clone()]), ends(now));
                    assert!(n_old == 0 || n_new == 0 || was_ends.0 != now_ends.0 && was_ends.1 != now_ends.1);
                    items.splice(was, now.iter().copied());
                }
                _ => panic!("an unknown edit"),
            }
        }
        // Fragments that come may be read only once those that go have left.
        for id in edits.freed() {
            assert!(self.fragments.remove(id).is_some(), "fragment {id} goes, and was not there");
        }
        for &(id, around) in edits.added() {
            self.copy(id, instance);
            let is_there = self.fragments[&around].1.iter().any(|copied| match copied {
                Copied::Inside(items, one) => items.contains(&id) || *one == Some(id),
                Copied::Text(_) => false,
            });
            assert!(is_there, "fragment {id} is new in fragment {around}");
        }
    }

    pub(crate) fn html(&self) -> String {
        let mut html = String::new();
        self.write(0, &mut html);
        html
    }

    fn write(&self, id: FragmentId, html: &mut String) {
        let (body, copied) = &self.fragments[&id];
        let texts = &self.program.body(*body).texts;
        assert_eq!(texts.len(), copied.len() + 1, "there is text around each part");
        for (text, copied) in texts.iter().zip(copied) {
            html.push_str(&text.text);
            match copied {
                Copied::Text(text) => html.push_str(text),
                Copied::Inside(items, one) => items.iter().chain(one).for_each(|id| self.write(*id, html)),
            }
        }
        html.push_str(&texts[copied.len()].text);
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
