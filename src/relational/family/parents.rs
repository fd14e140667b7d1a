//! Which parents the rows of a chunk get.

use super::{Draft, Family, overlap::Groups, segment::Parents};
use crate::{
    Result, SynthError,
    encode::SubColumnData,
    noise::Noise,
    relational::{
        NONE, Reference, Role,
        matching::{Attribute, assign},
        slots::Slots,
    },
};

/// Slots for each row of which something is given.
const PLENTY: usize = 16;

impl Family {
    /// Chooses the parents of all references that have slots.
    pub(super) fn match_parents(&self, draft: &mut Draft<'_>, rows: usize, noise: &Noise) -> Result<()> {
        let owners = self.owners(draft);
        draft.parents = vec![Vec::new(); self.relations.references.len()];
        for at in self.by_turn() {
            let reference = &self.relations.references[at];
            let parents = draft.segment.parents.get(at).and_then(Option::as_ref);
            draft.parents[at] = match (&reference.role, parents) {
                (Role::Owner, Some(parents)) => {
                    let none = parents.rows.num_rows() as u32;
                    owners.iter().map(|&owner| if owner < none { owner } else { NONE }).collect()
                }
                (_, Some(Parents { slots: Some(slots), attributes, rows: of_parents })) => {
                    let parents = of_parents.num_rows() as u32;
                    let groups = if chooses(reference) { self.groups(draft, at)? } else { None };
                    let share = match &groups {
                        None if !draft.named.is_empty() => plenty(slots, rows),
                        _ => slots.share(draft.chunk.rows.clone()),
                    };
                    self.match_one(draft, (at, reference, groups), (&share, attributes, parents), &owners, noise)?
                }
                _ => vec![NONE; rows],
            };
            let named = draft.named.get(at).into_iter().flatten();
            draft.parents[at].iter_mut().zip(named).filter(|(_, named)| **named != NONE).for_each(|(p, &n)| *p = n);
        }
        Ok(())
    }

    /// Per row, the number of its owner in the segment.
    fn owners(&self, draft: &Draft<'_>) -> Vec<u32> {
        let degrees = draft.segment.degrees.get(draft.chunk.owners.clone()).unwrap_or_default();
        let owners = (draft.chunk.owners.start as u32..).zip(degrees);
        owners.flat_map(|(owner, &degree)| std::iter::repeat_n(owner, degree as usize)).collect()
    }

    fn match_one(
        &self,
        draft: &Draft<'_>,
        (at, reference, groups): (usize, &Reference, Option<Groups>),
        (slots, actual, parents): (&[u32], &[Vec<u32>], u32),
        owners: &[u32],
        noise: &Noise,
    ) -> Result<Vec<u32>> {
        let rows = usize::try_from(draft.chunk.rows.end - draft.chunk.rows.start).unwrap_or(usize::MAX);
        let range = self.joint.attributes[at].clone();
        let shift = self.joint.layout.given;
        let codes = |subcolumn: usize| draft.drawn.get(subcolumn - shift).map_or_else(Vec::new, SubColumnData::codes);
        let wanted: Vec<Vec<u32>> = range.clone().map(codes).collect();
        let attributes: Vec<Attribute<'_>> =
            wanted.iter().zip(actual).map(|(wanted, actual)| Attribute { wanted, actual, ordinal: true }).collect();
        let wants_none: Vec<bool> = match wanted.first() {
            Some(codes) if !attributes.is_empty() => {
                codes.iter().map(|&code| code == self.joint.none(range.start)).collect()
            }
            _ => vec![false; rows],
        };
        let mut bits = vec![0u32; slots.len()];
        noise.purpose(&format!("matching/{at}")).fill_u32(0, &mut bits);
        let pair = self.relations.owner().is_some_and(|(_, owner)| {
            self.relations.uniques.iter().any(|unique| {
                unique.drawn.is_empty()
                    && unique
                        .columns
                        .iter()
                        .all(|column| owner.columns.contains(column) || reference.columns.contains(column))
                    && reference.columns.iter().any(|column| unique.columns.contains(column))
            })
        });
        let distinct = pair.then_some(owners);
        let assignment = match groups {
            Some(groups) => groups.assign(slots, &wants_none, &attributes, distinct, &bits),
            None => assign(slots, &wants_none, &attributes, distinct, parents, &bits),
        };
        if !assignment.unplaced.is_empty() {
            return Err(SynthError::Model(format!(
                "{} rows would need another `{}` than their siblings', and there are no more; generate with a larger scale",
                assignment.unplaced.len(),
                reference.parent
            )));
        }
        Ok(assignment.parents)
    }
}

/// Whether rows choose a parent of `reference`.
fn chooses(reference: &Reference) -> bool {
    matches!(reference.role, Role::Matched(_) | Role::Deferred)
}

/// Slots in the parents' proportions, many more than `rows`: rows of which something is given do not wish for parents as
/// often as others do.
fn plenty(slots: &Slots, rows: usize) -> Vec<u32> {
    let all = slots.share(0..slots.rows());
    let count = (PLENTY * rows).max(all.len());
    all.into_iter().cycle().take(count).collect()
}
