//! The walk over a content of an instance, in document order, whatever is done with what it meets: nodes are stamped, listed as
//! children, or found in a tree.
//!
//! What stands between two nodes is one text, however many pieces, holes and bodies it comes from. So a walk collects a *run* of text,
//! which ends before the next node; whoever begins a walk ends the last run.

use crate::kept::regions;
use crate::printed::{Island, Odd, RunText, markup, slot};
use crate::skeleton::{Content, Item, Skeleton};
use domcast_diff::NodeId;
use domcast_template::{FragmentId, Instance};

pub(crate) trait Walk<'a> {
    /// Where the walk is.
    type Place;

    /// What is walked over.
    fn source(&self) -> (&'a Skeleton, &'a Instance);

    /// The node in the prototype whose content is walked over.
    fn owner(&self, at: &Self::Place) -> NodeId;

    /// Ends a run of text, which may be empty, and clears it.
    fn end_run(&mut self, run: &mut RunText<'a>, at: &mut Self::Place) -> Result<(), Odd>;

    /// Meets an element or a comment of a fragment, after the run before it was ended.
    fn node(&mut self, fragment: FragmentId, node: u32, at: &mut Self::Place) -> Result<(), Odd>;

    /// Meets the nodes that a part of a fragment makes by printing markup.
    fn island(
        &mut self,
        in_part: (FragmentId, u32),
        island: &Island,
        run: &mut RunText<'a>,
        at: &mut Self::Place,
    ) -> Result<(), Odd>;

    /// Meets a hole that prints text.
    fn text(&mut self, _in_part: (FragmentId, u32)) {}

    /// Walks over a content of a fragment.
    fn content(
        &mut self,
        fragment: FragmentId,
        content: &Content,
        run: &mut RunText<'a>,
        at: &mut Self::Place,
    ) -> Result<(), Odd> {
        let (skeleton, instance) = self.source();
        for item in skeleton.items(content) {
            match item {
                Item::Text(text, id) => run.push_static(text, *id),
                Item::Hole(part) => {
                    let slot = slot(instance, fragment, *part);
                    match markup(slot) {
                        None => {
                            run.push_slot(slot)?;
                            self.text((fragment, *part));
                        }
                        Some(html) => {
                            let island = Island::new(skeleton, self.owner(at), &html)?;
                            self.island((fragment, *part), &island, run, at)?;
                        }
                    }
                }
                Item::Region(part) => {
                    for inner in regions(slot(instance, fragment, *part)) {
                        let body = instance.fragment(inner).body;
                        self.content(inner, &skeleton.bodies[body as usize].content, run, at)?;
                    }
                }
                Item::Node(node) => {
                    self.end_run(run, at)?;
                    self.node(fragment, *node, at)?;
                }
            }
        }
        Ok(())
    }
}
