//! What a page must know to number its nodes as the server does: the checksum and the runs of ids.

use crate::node::VNode;
use crate::tree::{NodeId, Tree};

impl Tree {
    /// Returns the checksum over the kinds, depths and element names of all nodes but the root.
    ///
    /// 32-bit FNV-1a over the units that PROTOCOL.md, section 1, lists. Linear in the tree.
    pub fn checksum(&self) -> u32 {
        let mut hash = 2_166_136_261_u32;
        let mut add = |unit: u32| hash = (hash ^ unit).wrapping_mul(16_777_619);
        for (id, depth) in self.descendants(NodeId::ROOT).skip(1) {
            let Some(node) = self.get(id) else { continue };
            add(match node {
                VNode::Element(_) => 1,
                VNode::Text(_) => 3,
                VNode::Comment(_) => 8,
                VNode::Root | VNode::Doctype(_) => 10,
            });
            add(depth as u32);
            if let VNode::Element(element) = node {
                element.name.local.encode_utf16().for_each(|unit| add(u32::from(unit)));
            }
        }
        hash
    }

    /// Returns the ids of all nodes but the root in document order, as runs of first id and count.
    ///
    /// Empty if they are 1, 2, 3 … without a gap, as in a tree that was just parsed.
    pub fn numbering(&self) -> Vec<(NodeId, u32)> {
        let mut runs: Vec<(NodeId, u32)> = Vec::new();
        for (id, _) in self.descendants(NodeId::ROOT).skip(1) {
            match runs.last_mut() {
                Some((first, count)) if first.0 + *count == id.0 => *count += 1,
                _ => runs.push((id, 1)),
            }
        }
        match runs[..] {
            [(NodeId(1), count)] if count + 1 == self.next_id().0 => Vec::new(),
            _ => runs,
        }
    }
}
