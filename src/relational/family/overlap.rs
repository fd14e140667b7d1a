//! Foreign keys that share a column without one having all columns of the other: the customer and the product of an order
//! are of the same tenant, `(tenant, customer)` and `(tenant, product)`.
//!
//! The first of them says what is in the shared columns. For the others, rows choose among the parents that have the same
//! there: each group by itself, with the slots that fall to its parents.

use super::{Draft, Family, distinct::numbered, taken};
use crate::{
    Result,
    encode::hash::mix,
    relational::{
        NONE, Reference, Role,
        matching::{Assignment, Attribute, assign},
    },
};
use arrow::{
    array::{Array, ArrayRef},
    compute::{cast, concat},
};
use std::collections::BTreeMap;

/// Which rows and which parents have the same in the shared columns.
pub(super) struct Groups {
    /// By row: its group, [`NONE`] where a shared column is null.
    rows: Vec<u32>,
    /// By parent: its group.
    parents: Vec<u32>,
}

impl Family {
    /// The references in the order in which their parents are chosen: the owner first.
    pub(super) fn by_turn(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.relations.references.len()).collect();
        order.sort_by_key(|&at| (!matches!(self.relations.references[at].role, Role::Owner), at));
        order
    }

    /// The groups within which rows choose a parent of reference `at`; none if it shares no column with those before it.
    pub(super) fn groups(&self, draft: &Draft<'_>, at: usize) -> Result<Option<Groups>> {
        let reference = &self.relations.references[at];
        let Some(parents) = draft.segment.parents.get(at).and_then(Option::as_ref) else { return Ok(None) };
        let mut shared: Vec<[ArrayRef; 2]> = Vec::new();
        for (name, parent_name) in reference.columns.iter().zip(&reference.parent_columns) {
            let Some(values) = self.chosen_before(draft, at, name)? else { continue };
            let Some(own) = parents.rows.column_by_name(parent_name) else { continue };
            shared.push([cast(&values, own.data_type())?, ArrayRef::clone(own)]);
        }
        let [first, ..] = shared.as_slice() else { return Ok(None) };
        let (rows, all) = (first[0].len(), first[0].len() + first[1].len());
        let both =
            shared.iter().map(|[rows, own]| Ok(concat(&[rows.as_ref(), own.as_ref()])?)).collect::<Result<Vec<_>>>()?;
        let mut groups = numbered(&both, all)?;
        for (row, group) in groups[..rows].iter_mut().enumerate() {
            if shared.iter().any(|[values, _]| values.is_null(row)) {
                *group = NONE;
            }
        }
        let parents = groups.split_off(rows);
        Ok(Some(Groups { rows: groups, parents }))
    }

    /// What column `name` has by a reference whose parents were chosen before those of `at`.
    fn chosen_before(&self, draft: &Draft<'_>, at: usize, name: &String) -> Result<Option<ArrayRef>> {
        let reference = &self.relations.references[at];
        let turn = self.by_turn();
        let before =
            turn.into_iter().take_while(|&other| other != at).map(|other| (other, &self.relations.references[other]));
        let chooses = |other: &Reference| matches!(other.role, Role::Owner | Role::Matched(_) | Role::Deferred);
        for (number, other) in before.filter(|(_, other)| chooses(other) && !reference.covers(other)) {
            let place = other.columns.iter().position(|column| column == name);
            let parents = draft.segment.parents.get(number).and_then(Option::as_ref);
            if let (Some(place), Some(parents)) = (place, parents)
                && let Some(values) = parents.rows.column_by_name(&other.parent_columns[place])
            {
                return Ok(Some(taken(values, &draft.parents[number])?));
            }
        }
        Ok(None)
    }
}

impl Groups {
    /// As [`assign`], each group by itself. A group whose parents have more slots than it has rows leaves some of them; one
    /// whose parents have fewer uses them again. Rows without a parent to choose from have none.
    pub(super) fn assign(
        &self,
        slots: &[u32],
        wants_none: &[bool],
        attributes: &[Attribute<'_>],
        distinct: Option<&[u32]>,
        bits: &[u32],
    ) -> Assignment {
        let count = self.rows.len();
        let mut out = Assignment { parents: vec![NONE; count], unplaced: Vec::new() };
        // Slots without parent first: to rows that can have none, then to those that want none, then to any.
        let mut rows: Vec<u32> = (0..count as u32).collect();
        let first = |row: u32| {
            let row = row as usize;
            (self.rows[row] != NONE, !wants_none[row], bits.get(row).copied().unwrap_or(0), row)
        };
        rows.sort_unstable_by_key(|&row| first(row));
        let empty = slots.iter().filter(|&&slot| slot == NONE).count();
        let mut of_group: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for &row in &rows[empty.min(count)..] {
            of_group.entry(self.rows[row as usize]).or_default().push(row);
        }
        of_group.remove(&NONE);
        let mut pools: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for &parent in slots.iter().filter(|&&slot| slot != NONE) {
            pools.entry(self.parents[parent as usize]).or_default().push(parent);
        }
        for (parent, group) in self.parents.iter().enumerate() {
            // Parents without slots serve where nobody has any.
            if of_group.contains_key(group) && !pools.contains_key(group) {
                let others = self.parents.iter().enumerate().skip(parent).filter(|(_, other)| *other == group);
                pools.insert(*group, others.map(|(parent, _)| parent as u32).collect());
            }
        }
        for (group, mut members) in of_group {
            let Some(pool) = pools.get(&group) else { continue };
            members.sort_unstable();
            let mut pool: Vec<(u64, u32)> = (pool.iter().zip(0u64..))
                .map(|(&parent, place)| (mix(place ^ (u64::from(bits.first().copied().unwrap_or(0)) << 32)), parent))
                .collect();
            pool.sort_unstable();
            let slots: Vec<u32> = pool.iter().cycle().take(members.len()).map(|&(_, parent)| parent).collect();
            let of =
                |codes: &[u32]| members.iter().map(|&row| codes.get(row as usize).copied().unwrap_or(NONE)).collect();
            let wanted: Vec<Vec<u32>> = attributes.iter().map(|attribute| of(attribute.wanted)).collect();
            let attributes: Vec<Attribute<'_>> = (attributes.iter().zip(&wanted))
                .map(|(attribute, wanted)| Attribute { wanted, ..*attribute })
                .collect();
            let owners: Option<Vec<u32>> = distinct.map(of);
            let bits: Vec<u32> = of(bits);
            let parents = self.parents.len() as u32;
            let none = vec![false; members.len()];
            let assigned = assign(&slots, &none, &attributes, owners.as_deref(), parents, &bits);
            for (&row, parent) in members.iter().zip(assigned.parents) {
                // Telling siblings apart may reach beyond the group, where the key would be another's.
                let fits = self.parents.get(parent as usize) == Some(&group);
                out.parents[row as usize] = if fits { parent } else { slots[0] };
                if !fits && distinct.is_some() {
                    out.unplaced.push(row);
                }
            }
            out.unplaced.extend(assigned.unplaced.iter().map(|&place| members[place as usize]));
        }
        out.unplaced.sort_unstable();
        out.unplaced.dedup();
        out
    }
}
