//! Random changes to markup: what authors do between two versions, and what they do not.

use crate::markup::{Kind, Maker, Piece};

/// The way from the top to a piece: an index for every level.
type Way = Vec<usize>;

/// Changes the markup once, somewhere.
pub(crate) fn edit(pieces: &mut Vec<Piece>, maker: &mut Maker<'_>) {
    let mut ways = Vec::new();
    collect_ways(pieces, &mut Vec::new(), &mut ways);
    if ways.is_empty() {
        pieces.extend(maker.piece_for(None));
        return;
    }
    let way = maker.random.pick(&ways).clone();
    let (last, above) = way.split_last().expect("no way is empty");
    let idx = *last;
    match maker.random.below(16) {
        0 | 1 => {
            let name = name_of(pieces, above);
            if let Some(piece) = maker.piece_for(name) {
                let siblings = children(pieces, above);
                let at = if maker.random.one_in(2) { idx } else { idx + 1 };
                siblings.insert(at, piece);
            }
        }
        2 => {
            let name = name_of(pieces, &way);
            if let Some(piece) = maker.piece_for(name) {
                children(pieces, &way).push(piece);
            }
        }
        3 => drop(children(pieces, above).remove(idx)),
        4 => {
            // To anywhere that is not inside the piece itself.
            let targets: Vec<&Way> = ways.iter().filter(|target| !target.starts_with(&way)).collect();
            if targets.is_empty() {
                return;
            }
            let target = (*maker.random.pick(&targets)).clone();
            let moved = children(pieces, above).remove(idx);
            let mut place = target;
            // The removal shifted later siblings of the piece and what is in them.
            if place.len() >= way.len() && place[..above.len()] == *above && place[above.len()] > idx {
                place[above.len()] -= 1;
            }
            let (at, into) = place.split_last().expect("no way is empty");
            let siblings = children(pieces, into);
            let at = (*at).min(siblings.len());
            siblings.insert(at, moved);
        }
        5 => {
            let siblings = children(pieces, above);
            let other = maker.random.below(siblings.len());
            siblings.swap(idx, other);
        }
        6 => {
            let siblings = children(pieces, above);
            let taken = siblings.remove(idx);
            let name = *maker.random.pick(&[
                "div", "span", "b", "section", "td", "table", "a", "template", "svg", "label", "form", "x-card",
            ]);
            let mut around = maker.element(name, 20);
            around.children = vec![taken];
            children(pieces, above).insert(idx, around);
        }
        7 => {
            let siblings = children(pieces, above);
            let inner = std::mem::take(&mut siblings[idx].children);
            if !inner.is_empty() {
                siblings.splice(idx..=idx, inner);
            }
        }
        8 => {
            if let Kind::Element(tag) = &mut children(pieces, above)[idx].kind {
                let names = [
                    "div", "span", "p", "li", "tr", "td", "option", "i", "h2", "button", "textarea", "pre", "select",
                    "g", "x-card",
                ];
                tag.name = maker.random_of(&names);
                tag.has_end_tag = true;
            }
        }
        9 | 10 => match &mut children(pieces, above)[idx].kind {
            Kind::Text(text) | Kind::Comment(text) => change_text(text, maker),
            Kind::Element(_) => change_attribute(&mut children(pieces, above)[idx], maker),
            Kind::Broken(_) => {}
        },
        11 | 12 => change_attribute(&mut children(pieces, above)[idx], maker),
        13 => {
            let mut copy = children(pieces, above)[idx].clone();
            renumber(&mut copy, maker);
            let siblings = children(pieces, above);
            let at = maker.random.below(siblings.len() + 1);
            siblings.insert(at, copy);
        }
        14 => {
            let siblings = children(pieces, above);
            match maker.random.below(3) {
                0 => siblings.reverse(),
                1 => siblings.rotate_left(1),
                _ => {
                    for idx in (1..siblings.len()).rev() {
                        siblings.swap(idx, maker.random.below(idx + 1));
                    }
                }
            }
        }
        _ => match maker.random.below(4) {
            0 => children(pieces, &way).clear(),
            _ => {
                let name = name_of(pieces, &way);
                let new: Vec<Piece> = (0..3).filter_map(|_| maker.piece_for(name)).collect();
                *children(pieces, &way) = new;
            }
        },
    }
}

fn change_text(text: &mut String, maker: &mut Maker<'_>) {
    let boundaries: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let at = *maker.random.pick(&boundaries);
    match maker.random.below(4) {
        0 => *text = maker.text(),
        1 => text.truncate(at),
        _ => text.insert_str(at, maker.word()),
    }
    // What would end a comment or start a tag was kept out of it; an edit may put it together.
    *text = text.replace("<!", "").replace("--", "").replace("->", "").replace('<', "&lt;");
}

fn change_attribute(piece: &mut Piece, maker: &mut Maker<'_>) {
    let Kind::Element(tag) = &mut piece.kind else { return };
    let n_attributes = tag.attributes.len();
    match maker.random.below(5) {
        0 | 1 if n_attributes > 0 => {
            let idx = maker.random.below(n_attributes);
            let (name, value) = &mut tag.attributes[idx];
            let (other, new_value) = maker.attribute(tag.name);
            if *name == other || maker.random.one_in(2) {
                *value = new_value;
            } else {
                let boundaries: Vec<usize> = value.char_indices().map(|(at, _)| at).chain([value.len()]).collect();
                let at = *maker.random.pick(&boundaries);
                value.insert_str(at, maker.word());
            }
        }
        2 if n_attributes > 0 => drop(tag.attributes.remove(maker.random.below(n_attributes))),
        3 => tag.attributes.reverse(),
        _ => {
            let attribute = maker.attribute(tag.name);
            tag.attributes.push(attribute);
        }
    }
}

fn renumber(piece: &mut Piece, maker: &mut Maker<'_>) {
    maker.next += 1;
    piece.number = maker.next;
    piece.children.iter_mut().for_each(|child| renumber(child, maker));
}

fn collect_ways(pieces: &[Piece], way: &mut Way, ways: &mut Vec<Way>) {
    for (idx, piece) in pieces.iter().enumerate() {
        way.push(idx);
        ways.push(way.clone());
        collect_ways(&piece.children, way, ways);
        way.pop();
    }
}

fn children<'a>(pieces: &'a mut Vec<Piece>, way: &[usize]) -> &'a mut Vec<Piece> {
    way.iter().fold(pieces, |pieces, &idx| &mut pieces[idx].children)
}

fn name_of(pieces: &[Piece], way: &[usize]) -> Option<&'static str> {
    let (last, above) = way.split_last()?;
    let pieces = above.iter().fold(pieces, |pieces, &idx| &pieces[idx].children);
    match &pieces[*last].kind {
        Kind::Element(tag) => Some(tag.name),
        _ => None,
    }
}
