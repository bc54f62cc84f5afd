//! A document whose HTML is rendered from a template.
//!
//! An update runs down three steps, each at the cost of the change: the [`Instance`] finds which parts print something else; each part's
//! [`Place`] says which node that is; the [`Editor`](domcast_diff::Editor) makes the patches, and applying them to the document's own tree gives
//! new nodes their ids, by the one rule that clients follow too.
//!
//! Markup that a part prints is parsed within the elements around it, and compared with the nodes that it made before.
//!
//! Where a skeleton cannot say what comes out (the template has none; markup does not close), all is rendered, parsed and compared: the
//! *plain pipeline*. After it the nodes are looked for in the tree, so that the update after that is a small one again.
//!
//! Invariants: the instance renders the present state; the tree is what a parser makes of the instance's HTML; if `is_linked`, the remembered
//! nodes are those of the tree.

use crate::find::Finder;
use crate::irregular::Irregular;
use crate::kept::Kept;
use crate::list::{Inside, children, owner_id};
use crate::printed::{Odd, RunText, attribute_value, markup, parse_tag, slot, tag_element};
use crate::skeleton::{Content, Item, Owner, Place, Skeleton, Tag};
use crate::stamp::{Stamped, Stamper};
use crate::{DocumentError, TOOK_OVER, Trace, Update};
use domcast_diff::{Child, Editor, Name, NodeId, Patch, Patches, Tree, VNode, apply, diff};
use domcast_parser::parse_fragment;
use domcast_template::{
    Changes, Edit, Edits, FragmentId, Instance, Path, Program, Slot, State, TemplateError, Templates,
};
use std::collections::HashSet;
use std::sync::Arc;

/// A template, compiled. Clones share it.
#[derive(Clone, Debug)]
pub struct Template(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    program: Program,
    skeleton: Result<Skeleton, Irregular>,
}

impl Template {
    /// Compiles a template.
    ///
    /// # Errors
    ///
    /// [`TemplateError`]: the template is missing, wrong or too long.
    pub fn new(templates: &Templates, name: &str) -> Result<Template, TemplateError> {
        let program = templates.program(name)?;
        let skeleton = Skeleton::new(&program);
        Ok(Template(Arc::new(Compiled { program, skeleton })))
    }

    /// Its regions and what they read.
    pub fn program(&self) -> &Program {
        &self.0.program
    }

    /// Whether it is what these templates would compile now.
    pub fn is_current(&self, templates: &Templates) -> bool {
        self.0.program.is_current(templates)
    }

    /// Why its documents are rendered and parsed as a whole, if they are.
    pub fn irregular(&self) -> Option<&Irregular> {
        self.0.skeleton.as_ref().err()
    }

    /// Its regions as text, and whether it has skeletons.
    pub fn explain(&self) -> String {
        let mut text = self.0.program.explain();
        match &self.0.skeleton {
            Ok(skeleton) => {
                let n_nodes = skeleton.prototype.n_nodes() - 1;
                text.push_str(&format!("updates cost what changes: the skeletons have {n_nodes} nodes\n"));
            }
            Err(irregular) => text.push_str(&format!("updates cost the whole page, because of {irregular}\n")),
        }
        text
    }
}

/// A template with its state and its present tree.
#[derive(Debug)]
pub struct TemplateDocument {
    template: Template,
    state: State,
    instance: Instance,
    tree: Tree,
    kept: Kept,
    is_linked: bool,
    /// Room for parts of the state that are set.
    room: Vec<(Path, State)>,
    /// Room for what an update has to look at.
    work: Work,
    /// Whether an update began and did not end: code of the template's author panicked, or the new HTML was too long. Then the
    /// instance is made anew from the present state, and the tree compared as a whole.
    is_cut_off: bool,
}

/// A state that a template was rendered over, before the tree knows.
#[derive(Debug)]
#[must_use = "the document waits for `finish`"]
pub struct Evaluated {
    state: State,
    edits: Edits,
    /// Whether the edits are not all that changed.
    was_cut_off: bool,
}

impl Evaluated {
    /// Whether the page looks the same. Then it makes no difference whether the update is finished.
    pub fn is_same(&self) -> bool {
        self.edits.is_empty() && !self.was_cut_off
    }
}

/// What an update has to look at, each with the fragment that it is in.
#[derive(Debug, Default)]
struct Work {
    runs: Vec<(FragmentId, u32)>,
    tags: Vec<(FragmentId, u32)>,
    contents: Vec<(FragmentId, Owner)>,
}

impl Work {
    /// Drops what was looked at. Where that was much, its room goes too.
    fn clear(&mut self) {
        const MAX: usize = 256;
        self.runs.clear();
        self.runs.shrink_to(MAX);
        self.tags.clear();
        self.tags.shrink_to(MAX);
        self.contents.clear();
        self.contents.shrink_to(MAX);
    }
}

impl TemplateDocument {
    /// Renders a template over a state.
    ///
    /// # Errors
    ///
    /// [`DocumentError`]: the template fails, or what it prints exceeds the limits of the parser.
    pub fn new(template: &Template, state: State) -> Result<TemplateDocument, DocumentError> {
        let instance = template.program().instance(&state)?;
        let mut document = TemplateDocument {
            template: template.clone(),
            state,
            instance,
            tree: Tree::new(),
            kept: Kept::default(),
            is_linked: false,
            room: Vec::new(),
            work: Work::default(),
            is_cut_off: false,
        };
        let template = Arc::clone(&template.0);
        if let Ok(skeleton) = &template.skeleton {
            let n_nodes = document.kept.put_in(0, 0, skeleton, &document.instance);
            match Stamper::new(skeleton, &document.instance, &mut document.kept, n_nodes, None).all() {
                Ok(tree) => {
                    (document.tree, document.is_linked) = (tree, true);
                    return Ok(document);
                }
                Err(_) => document.kept.clear(),
            }
        }
        document.tree = parse_fragment(&document.instance.html(), "div")?;
        Ok(document)
    }

    /// The template that it is a document of.
    pub fn template(&self) -> &Template {
        &self.template
    }

    /// The present tree, with the ids that every client knows.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The present state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The present HTML, as the template renders it; after an update that was cut off by a panic, as the tree says it.
    pub fn html(&self) -> String {
        if self.is_cut_off { self.tree.to_html() } else { self.instance.html() }
    }

    /// The bytes of memory that the document holds beside its state, what its instance holds not counted.
    pub fn n_bytes(&self) -> usize {
        self.tree.n_bytes() + self.kept.n_bytes()
    }

    /// Goes on to another state.
    ///
    /// `changes` says what differs from the present state; [`Changes::Unknown`] is always right.
    ///
    /// # Errors
    ///
    /// [`DocumentError`]: the template fails, or what it prints exceeds the limits of the parser. The document is as it was, as it is
    /// where a function of the templates panics.
    pub fn update(&mut self, state: State, changes: &Changes) -> Result<Update, DocumentError> {
        let evaluated = self.evaluate(state, changes)?;
        self.finish(evaluated)
    }

    /// Sets parts of the present state that are there already, one after the other.
    ///
    /// It costs less than to set them in a copy of the state and to [`update`](Self::update) to that: what nobody else holds is changed in
    /// place. A [`state`](Self::state) that was cloned stays as it was.
    ///
    /// # Errors
    ///
    /// [`DocumentError`]: a part is not there, the template fails, or what it prints exceeds the limits of the parser. The document is as it
    /// was, as it is where a function of the templates panics.
    pub fn set(&mut self, parts: impl IntoIterator<Item = (Path, State)>) -> Result<Update, DocumentError> {
        let was_cut_off = self.is_cut_off;
        if was_cut_off {
            self.restore()?;
        }
        let mut room = std::mem::take(&mut self.room);
        room.extend(parts);
        let parts = &mut room;
        self.is_cut_off = true;
        let edits = self.instance.swap(&mut self.state, parts).inspect_err(|_| self.is_cut_off = was_cut_off)?;
        let update = self.bring_tree(&edits, was_cut_off);
        match &update {
            Ok(_) => self.is_cut_off = false,
            Err(_) => {
                for (path, part) in parts.iter_mut().rev() {
                    self.state.swap(path, part).expect("it was there before");
                }
                self.restore()?;
            }
        }
        room.clear();
        self.room = room;
        update
    }

    /// The first half of an [`update`](Self::update): runs the template, and leaves the tree alone.
    ///
    /// Whoever keeps the tree behind a lock of its own need not hold it while code of the template's author runs.
    ///
    /// # Errors
    ///
    /// [`DocumentError`]: the template fails. The document is as it was, as it is where a function of the templates panics, and if
    /// what is returned is dropped.
    pub fn evaluate(&mut self, state: State, changes: &Changes) -> Result<Evaluated, DocumentError> {
        let was_cut_off = std::mem::replace(&mut self.is_cut_off, true);
        if was_cut_off {
            self.restore()?;
        }
        let edits = self.instance.update(&state, changes).inspect_err(|_| self.is_cut_off = was_cut_off)?;
        let evaluated = Evaluated { state, edits, was_cut_off };
        if evaluated.is_same() {
            (self.state, self.is_cut_off) = (evaluated.state.clone(), false);
        }
        Ok(evaluated)
    }

    /// Swaps the tree with another place for it. It must be back for [`finish`](Self::finish).
    pub fn swap_tree(&mut self, tree: &mut Tree) {
        std::mem::swap(&mut self.tree, tree);
    }

    /// Takes over the tree of another document, as where the template was edited: it becomes equal to the present one, and
    /// its nodes keep their ids.
    pub fn take_over(&mut self, mut tree: Tree) -> Update {
        let mut patches = diff(&tree, &self.tree);
        apply(&mut tree, &patches).expect("the patches of a diff fit the tree that it was made for");
        self.tree = tree;
        self.link();
        self.compact_if_sparse(&mut patches);
        let trace = Trace { whole: Some(TOOK_OVER), ..Trace::default() };
        Update { patches, trace }
    }

    /// Finds out anew which node is whose.
    fn link(&mut self) {
        let template = Arc::clone(&self.template.0);
        if let Ok(skeleton) = &template.skeleton {
            self.kept.clear();
            let finder = Finder { skeleton, instance: &self.instance, kept: &mut self.kept, tree: &self.tree };
            self.is_linked = finder.all().is_ok();
        }
    }

    /// The second half of an [`update`](Self::update): brings the tree to what was rendered.
    ///
    /// # Errors
    ///
    /// [`DocumentError::Parse`]: what the template prints exceeds the limits of the parser. The document is as it was.
    pub fn finish(&mut self, evaluated: Evaluated) -> Result<Update, DocumentError> {
        let Evaluated { state, edits, was_cut_off } = evaluated;
        match self.bring_tree(&edits, was_cut_off) {
            Ok(update) => {
                (self.state, self.is_cut_off) = (state, false);
                Ok(update)
            }
            Err(error) => {
                self.restore()?;
                Err(error)
            }
        }
    }

    /// Brings the tree to what was rendered, of which the edits tell all unless something was cut off.
    fn bring_tree(&mut self, edits: &Edits, was_cut_off: bool) -> Result<Update, DocumentError> {
        let mut trace = Trace { n_edits: edits.len(), ..Trace::default() };
        if edits.is_empty() && !was_cut_off {
            return Ok(Update { patches: Patches::default(), trace });
        }
        let template = Arc::clone(&self.template.0);
        let mut patches = match &template.skeleton {
            Ok(skeleton) => {
                self.note_new_fragments(edits, skeleton);
                let patches = match self.is_linked {
                    true => self.update_parts(edits, skeleton, &mut trace),
                    false => Err(Odd::Markup),
                };
                let patches = match patches {
                    Ok(patches) => Ok(patches),
                    Err(odd) => {
                        trace.whole = Some(odd.as_str());
                        self.update_whole()
                    }
                };
                for &fragment in edits.freed() {
                    self.kept.free(fragment, self.instance.fragment(fragment).body);
                }
                patches
            }
            Err(irregular) => {
                trace.whole = Some(irregular.why);
                self.update_whole()
            }
        }?;
        // Who removes much pays for it, and whoever makes something next has its memory.
        self.instance.drop_freed();
        self.compact_if_sparse(&mut patches);
        Ok(Update { patches, trace })
    }

    /// Makes the instance anew from the present state.
    fn restore(&mut self) -> Result<(), TemplateError> {
        self.instance = self.template.program().instance(&self.state)?;
        (self.kept, self.is_linked) = (Kept::default(), false);
        if let Ok(skeleton) = &self.template.0.skeleton {
            self.kept.put_in(0, 0, skeleton, &self.instance);
        }
        Ok(())
    }

    /// About how many nodes new fragments make, those in them not counted.
    fn n_new_nodes(&self, edits: &Edits, skeleton: &Skeleton) -> usize {
        let body = |fragment: FragmentId| &skeleton.bodies[self.instance.fragment(fragment).body as usize];
        edits.added().iter().map(|(new, _)| body(*new).n_nodes).sum()
    }

    fn note_new_fragments(&mut self, edits: &Edits, skeleton: &Skeleton) {
        for &(new, around) in edits.added() {
            self.kept.put_in(new, around, skeleton, &self.instance);
        }
    }

    /// The plain pipeline.
    fn update_whole(&mut self) -> Result<Patches, DocumentError> {
        let new_tree = parse_fragment(&self.instance.html(), "div")?;
        let patches = diff(&self.tree, &new_tree);
        apply(&mut self.tree, &patches).expect("the patches of a diff fit the tree that it was made for");
        self.link();
        Ok(patches)
    }

    fn update_parts(&mut self, edits: &Edits, skeleton: &Skeleton, trace: &mut Trace) -> Result<Patches, Odd> {
        let work = self.work(edits, skeleton);
        let patches = self.work_off(&work, edits, skeleton, trace);
        self.work = work;
        patches
    }

    fn work_off(&mut self, work: &Work, edits: &Edits, skeleton: &Skeleton, trace: &mut Trace) -> Result<Patches, Odd> {
        let Work { runs, tags, contents } = work;
        (trace.n_runs, trace.n_tags, trace.n_contents) = (runs.len(), tags.len(), contents.len());
        let (sets_texts, mut set_elements) = (!runs.is_empty(), Vec::new());
        let mut editor = Editor::new(&self.tree);
        let view = View { skeleton, instance: &self.instance, tree: &self.tree };
        for &(fragment, run) in runs {
            view.set_run(fragment, run, &self.kept, &mut editor)?;
        }
        for &(fragment, node) in tags {
            let id = owner_id(skeleton, &self.kept, fragment, Owner::Node(node));
            view.set_tag(fragment, node, id, &mut self.kept, &mut editor)?;
            set_elements.push(id);
        }
        let (mut places, mut in_islands) = (Vec::new(), Vec::new());
        let mut is_sure_to_differ = true;
        let mut grown = None;
        if !contents.is_empty() {
            let n_new = self.n_new_nodes(edits, skeleton);
            // Where a node without children gets most of the nodes that there will be, all are written once, into the tree, which the
            // patches share. If they are still held when it changes next, it is copied then, which takes no longer than to write twice.
            let bare = match contents[..] {
                [(fragment, owner)] if runs.is_empty() && tags.is_empty() && n_new > self.tree.n_nodes() => {
                    let parent = owner_id(skeleton, &self.kept, fragment, owner);
                    Some(parent).filter(|parent| self.tree.first_child(*parent).is_none())
                }
                _ => None,
            };
            let upon = bare.map(|parent| (&self.tree, parent));
            let mut stamper = Stamper::new(skeleton, &self.instance, &mut self.kept, n_new, upon);
            let mut inside = Inside::default();
            let mut lists: Vec<(NodeId, Vec<Child>)> = Vec::with_capacity(contents.len());
            for &(fragment, owner) in contents {
                lists.push(children(&mut stamper, (fragment, owner), &self.tree, edits.freed(), &mut inside)?);
            }
            let new;
            Stamped { tree: new, places, in_islands } = stamper.finish();
            let Inside { texts, compared } = inside;
            let mut sets_texts = sets_texts;
            for (id, island, new_id) in compared {
                trace.n_islands += 1;
                if editor.make_equal(id, &island, new_id) {
                    sets_texts = true;
                    set_elements.push(id);
                }
            }
            let look = Look { tree: &self.tree, new: &new, texts: &texts, sets_texts, set_elements: &set_elements };
            // What differs within a node says nothing if the node may have changed places with one that it becomes alike.
            let parents: HashSet<NodeId> = lists.iter().map(|(parent, _)| *parent).collect();
            let is_outermost = |parent: NodeId| {
                let mut above = std::iter::successors(self.tree.parent(parent), |&id| self.tree.parent(id));
                parents.len() == 1 || !above.any(|id| parents.contains(&id))
            };
            is_sure_to_differ =
                lists.iter().any(|(parent, children)| is_outermost(*parent) && look.differs(*parent, children));
            for (id, text) in &texts {
                editor.set_text(*id, text);
            }
            for (parent, children) in lists {
                editor.set_children(parent, &children, &new, skeleton.may_lose);
            }
            grown = bare.map(|_| new);
        }
        let mut firsts = Vec::new();
        let patches = editor.finish_with(|new, id| firsts.push((new, id)));
        if !is_sure_to_differ && self.stays_equal(&patches) {
            return Ok(Patches::default());
        }
        if let Some(tree) = grown {
            self.tree = tree;
            return Ok(patches);
        }
        apply(&mut self.tree, &patches).expect("the patches of an editor fit its tree");
        firsts.sort_unstable();
        let present = |id: NodeId| {
            let (first, present) = firsts[firsts.partition_point(|(first, _)| *first <= id) - 1];
            NodeId(present.0 + (id.0 - first.0))
        };
        for place in places {
            let id = self.kept.at(place);
            *id = present(*id);
        }
        for (fragment, part, idx) in in_islands {
            if let Some(nodes) = self.kept.island_mut(fragment, part) {
                nodes[idx] = present(nodes[idx]);
            }
        }
        Ok(patches)
    }

    /// Whether patches lead to a tree that is equal, as where two rows change places that look alike. Then the nodes stay, and
    /// become those of other fragments.
    fn stays_equal(&mut self, patches: &Patches) -> bool {
        let mut patched = self.tree.clone();
        apply(&mut patched, patches).expect("the patches of an editor fit its tree");
        if patched != self.tree {
            return false;
        }
        self.link();
        true
    }

    /// Finds out what is to be looked at.
    fn work(&mut self, edits: &Edits, skeleton: &Skeleton) -> Work {
        let mut work = std::mem::take(&mut self.work);
        work.clear();
        for edit in edits {
            let (fragment, part) = match *edit {
                Edit::Hole { fragment, part }
                | Edit::Html { fragment, part }
                | Edit::Branch { fragment, part, .. }
                | Edit::Items { fragment, part, .. } => (fragment, part),
                _ => unreachable!("the edits are known"),
            };
            self.add_work(&mut work, skeleton, fragment, part);
        }
        sort(&mut work.runs, |(_, run)| *run);
        sort(&mut work.tags, |(_, node)| *node);
        work.runs.retain(|&(fragment, run)| {
            let run = &skeleton.runs[run as usize];
            let is_text = !self.has_island(skeleton, fragment, &run.content);
            if !is_text {
                push(&mut work.contents, self.owner(skeleton, fragment, run.owner));
            }
            is_text
        });
        sort(&mut work.contents, |(_, owner)| match owner {
            Owner::Node(node) => *node,
            _ => u32::MAX,
        });
        if !work.contents.is_empty() {
            // A list of children brings its texts along.
            let contents = &work.contents;
            work.runs.retain(|(fragment, run)| {
                let owner = self.owner(skeleton, *fragment, skeleton.runs[*run as usize].owner);
                !contents.contains(&owner)
            });
        }
        work
    }

    /// Whether a part prints markup among static text and holes, or did.
    fn has_island(&self, skeleton: &Skeleton, fragment: FragmentId, content: &Content) -> bool {
        skeleton.items(content).iter().any(|item| match item {
            Item::Hole(part) => {
                markup(slot(&self.instance, fragment, *part)).is_some() || self.kept.island(fragment, *part).is_some()
            }
            _ => false,
        })
    }

    /// Returns the fragment whose body has the element that owns something, and the owner there.
    fn owner(&self, skeleton: &Skeleton, mut fragment: FragmentId, mut owner: Owner) -> (FragmentId, Owner) {
        while owner == Owner::Around {
            let part = skeleton.bodies[self.instance.fragment(fragment).body as usize].part;
            fragment = self.kept.around(fragment);
            let around = &skeleton.bodies[self.instance.fragment(fragment).body as usize];
            let Place::Content(next) = around.places[part as usize] else { unreachable!("a region is in a content") };
            owner = next;
        }
        (fragment, owner)
    }

    fn add_work(&self, work: &mut Work, skeleton: &Skeleton, mut fragment: FragmentId, mut part: u32) {
        loop {
            let body = &skeleton.bodies[self.instance.fragment(fragment).body as usize];
            match body.places[part as usize] {
                Place::Run(run) => return push(&mut work.runs, (fragment, run)),
                Place::Tag(node) => return push(&mut work.tags, (fragment, node)),
                Place::Content(Owner::Around) => {
                    part = body.part;
                    fragment = self.kept.around(fragment);
                }
                Place::Content(owner) => return push(&mut work.contents, (fragment, owner)),
            }
        }
    }

    fn compact_if_sparse(&mut self, patches: &mut Patches) {
        if patches.is_empty() || !self.tree.is_sparse() {
            return;
        }
        let new_id = self.tree.compact_with_ids();
        self.kept.rename(new_id);
        patches.0.push(Patch::Compact { n_nodes: self.tree.n_nodes() as u32 });
    }
}

/// A look at new lists of children beside the old ones.
struct Look<'a> {
    tree: &'a Tree,
    /// What new children stand in.
    new: &'a Tree,
    /// The texts that change.
    texts: &'a [(NodeId, String)],
    /// Whether texts elsewhere change too.
    sets_texts: bool,
    /// Elements whose attributes change.
    set_elements: &'a [NodeId],
}

impl Look<'_> {
    /// Whether a list of children is another one than before, for all that can be said without making the change.
    fn differs(&self, parent: NodeId, children: &[Child]) -> bool {
        let mut old = self.tree.children(parent);
        let any_differs = children.iter().any(|child| match (old.next(), *child) {
            (None, _) => true,
            (Some(old), Child::Kept(id)) if old == id => self.texts.iter().any(|(text, _)| *text == id),
            (Some(old), Child::Kept(id)) => {
                let is_settled = !self.sets_texts && self.set_elements.is_empty() && self.texts.is_empty();
                self.are_different(old, self.tree, id, is_settled)
            }
            (Some(old), Child::New(id)) => self.are_different(old, self.new, id, true),
        });
        any_differs || old.next().is_some()
    }

    /// Whether two nodes differ. If the new one is not settled, only what cannot change any more counts.
    fn are_different(&self, old: NodeId, tree: &Tree, new: NodeId, is_settled: bool) -> bool {
        match (self.tree.get(old), tree.get(new)) {
            (Some(VNode::Element(old)), Some(VNode::Element(element))) => {
                let has_its_attributes = is_settled || !self.set_elements.contains(&new);
                if old.name != element.name || (has_its_attributes && !old.attributes.same(element.attributes)) {
                    return true;
                }
            }
            (Some(VNode::Text(_)), Some(VNode::Text(_))) | (Some(VNode::Comment(_)), Some(VNode::Comment(_))) => {}
            _ => return true,
        }
        is_settled && !self.tree.is_equal_at(old, tree, new)
    }
}

/// What a hole prints, if that is text which is the same in HTML.
fn plain_text(slot: &Slot) -> Option<&str> {
    match slot {
        Slot::Hole(value) if value.is_plain() => value.as_str(),
        _ => None,
    }
}

/// Adds what was not added right before.
fn push<T: PartialEq>(list: &mut Vec<T>, entry: T) {
    if list.last() != Some(&entry) {
        list.push(entry);
    }
}

/// Sorts entries and drops those that are there twice.
fn sort<T: PartialEq>(list: &mut Vec<(FragmentId, T)>, key: impl Fn(&(FragmentId, T)) -> u32) {
    if list.len() > 1 {
        list.sort_unstable_by_key(|entry| (entry.0, key(entry)));
        list.dedup();
    }
}

/// What changes of single nodes look at.
struct View<'a> {
    skeleton: &'a Skeleton,
    instance: &'a Instance,
    tree: &'a Tree,
}

impl View<'_> {
    /// Sets the text of a closed run.
    fn set_run(&self, fragment: FragmentId, run: u32, kept: &Kept, editor: &mut Editor<'_>) -> Result<(), Odd> {
        let View { skeleton, instance, tree } = *self;
        let run = &skeleton.runs[run as usize];
        let drops_newline = match (run.owner, run.after) {
            (Owner::Node(node), None) => skeleton.nodes[node as usize].drops_newline,
            _ => false,
        };
        let mut text = RunText::new(drops_newline);
        let items = skeleton.items(&run.content);
        // Mostly a run is one hole, whose value is at hand.
        let only = match items {
            [Item::Hole(part)] if !drops_newline => plain_text(slot(instance, fragment, *part)),
            _ => None,
        };
        let text = match only {
            Some(text) => text,
            None => {
                for item in items {
                    match item {
                        Item::Text(piece, id) => text.push_static(piece, *id),
                        Item::Hole(part) => text.push_slot(slot(instance, fragment, *part))?,
                        Item::Region(_) | Item::Node(_) => unreachable!("a closed run has text and holes"),
                    }
                }
                text.as_str()
            }
        };
        let (parent, present) = match run.after {
            None => {
                let parent = owner_id(skeleton, kept, fragment, run.owner);
                (Some(parent), tree.first_child(parent))
            }
            Some(node) => {
                let before = owner_id(skeleton, kept, fragment, Owner::Node(node));
                (tree.parent(before), tree.next_sibling(before))
            }
        };
        let parent = parent.expect("a node beside a run has a parent");
        let present_text = present.filter(|id| matches!(tree.get(*id), Some(VNode::Text(_))));
        match present_text {
            Some(id) if text.is_empty() => editor.remove(id),
            Some(id) => editor.set_text(id, text),
            None if text.is_empty() => {}
            None => editor.insert_text(parent, present, text),
        }
        Ok(())
    }

    /// Sets the attributes of an element with parts in its start tag.
    fn set_tag(
        &self,
        fragment: FragmentId,
        node: u32,
        id: NodeId,
        kept: &mut Kept,
        editor: &mut Editor<'_>,
    ) -> Result<(), Odd> {
        let View { skeleton, instance, tree } = *self;
        let tag = match &skeleton.nodes[node as usize].tag {
            Tag::Values(_, tag) if kept.parses_tags => *tag,
            Tag::Values(values, tag) => {
                let mut texts = Vec::with_capacity(values.len());
                let written = values.iter().try_for_each(|value| {
                    let mut text = String::new();
                    attribute_value(skeleton, instance, fragment, value, &mut text)?;
                    texts.push(text);
                    Ok(())
                });
                match written {
                    Err(Odd::Markup) => kept.parses_tags = true,
                    Err(odd) => return Err(odd),
                    Ok(()) => {
                        for (value, text) in values.iter().zip(&texts) {
                            editor.set_attribute(id, value.name.as_name(), text);
                        }
                        return Ok(());
                    }
                }
                *tag
            }
            Tag::Parsed(tag) => *tag,
            Tag::Static => return Ok(()),
        };
        let name: Option<Name<'_>> = tree.element(id).map(|element| element.name);
        let name = name.expect("a node with a start tag is an element");
        let parsed = parse_tag(skeleton, instance, fragment, tag, name.namespace)?;
        editor.set_attributes(id, tag_element(&parsed).attributes);
        Ok(())
    }
}
