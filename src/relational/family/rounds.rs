//! Drawing a chunk's codes: siblings one after the other, or rows that know nothing of each other.

use super::{Draft, Family, Segment, places::Place};
use crate::{
    Result,
    encode::{EncodedRows, KnownCodes, SubColumnData, UNKNOWN},
    models::{AnyOrderSampler, BlockSampler, ContextSampler},
    noise::{BLOCK_ROWS, Noise, blocks},
    relational::{
        NONE,
        chains::{Round, Rounds},
        place_code,
    },
};
use std::ops::Range;

impl Family {
    /// Rows that know nothing of each other.
    pub(super) fn independent(&self, rows: Range<u64>, sampler: &mut dyn BlockSampler) -> Result<EncodedRows> {
        let layout = self.encoder.layout();
        let mut out = EncodedRows::with_capacity(layout, 0);
        let mut block_rows = EncodedRows::with_capacity(layout, BLOCK_ROWS);
        for (block, part) in blocks(rows.clone()) {
            sampler.sample(block, &self.noise, &mut block_rows)?;
            out.extend(&block_rows, part);
        }
        Ok(out)
    }

    /// As [`Family::independent`], anew, of sub-columns that are `known`.
    pub(super) fn independent_given(
        &self,
        rows: Range<u64>,
        sampler: &mut dyn AnyOrderSampler,
        known: &[(usize, Vec<u32>)],
    ) -> Result<EncodedRows> {
        let layout = self.encoder.layout();
        let noise = self.noise.part("rows");
        let mut out = EncodedRows::with_capacity(layout, 0);
        let mut block_rows = EncodedRows::with_capacity(layout, BLOCK_ROWS);
        for (block, part) in blocks(rows) {
            let mut question = KnownCodes::nothing(layout.subcolumns.len(), BLOCK_ROWS);
            for (at, codes) in known {
                let mut of_block = vec![UNKNOWN; BLOCK_ROWS];
                of_block[part.clone()].copy_from_slice(&codes[out.rows..out.rows + part.len()]);
                question.set(*at, of_block);
            }
            sampler.complete(block, &noise, &question, &mut block_rows)?;
            out.extend(&block_rows, part);
        }
        Ok(out)
    }

    /// Draws all rows of the chunk, siblings one after the other; of attributes that are `known`, (sub-column, codes).
    pub(super) fn rounds(
        &self,
        sampler: &mut dyn ContextSampler,
        draft: &mut Draft<'_>,
        noise: &Noise,
        known: &[(usize, Vec<u32>)],
    ) -> Result<()> {
        self.each_part(draft, known, |block, _, question, out| sampler.complete(block, noise, question, out))
    }

    /// Has `ask` draw all rows of the chunk, part by part, siblings one after the other: it gets the part's number, its rows, and
    /// what is known of them.
    pub(super) fn each_part(
        &self,
        draft: &mut Draft<'_>,
        known: &[(usize, Vec<u32>)],
        mut ask: impl FnMut(u64, &[u32], &mut KnownCodes, &mut EncodedRows) -> Result<()>,
    ) -> Result<()> {
        let joint = &self.joint;
        let degrees = &draft.segment.degrees[draft.chunk.owners.clone()];
        let rounds = Rounds::new(degrees);
        let drawn = joint.drawn();
        let empty = |&kind| {
            let mut data = SubColumnData::with_capacity(kind, rounds.rows() as usize);
            data.fill(rounds.rows() as usize);
            data
        };
        draft.drawn = joint.layout.subcolumns[drawn.clone()].iter().map(empty).collect();
        let mut out = EncodedRows::with_capacity(&joint.layout, BLOCK_ROWS);
        for (number, round) in rounds.enumerate() {
            for (piece, first) in (0..round.rows.len()).step_by(BLOCK_ROWS).enumerate() {
                let part = first..(first + BLOCK_ROWS).min(round.rows.len());
                let mut question = self.question(draft, &round, part.clone(), known);
                let block = (number as u64) << 32 | piece as u64;
                ask(block, &round.rows[part.clone()], &mut question, &mut out)?;
                for (to, from) in draft.drawn.iter_mut().zip(&out.subcolumns[drawn.clone()]) {
                    for (at, &row) in round.rows[part.clone()].iter().enumerate() {
                        to.set(row as usize, from, at);
                    }
                }
            }
        }
        Ok(())
    }

    /// What is known of the rows `part` of a round.
    fn question(
        &self,
        draft: &Draft<'_>,
        round: &Round,
        part: Range<usize>,
        known: &[(usize, Vec<u32>)],
    ) -> KnownCodes {
        let place = |row: usize| Place {
            owner: draft.chunk.owners.start as u32 + round.parents[row],
            number: round.siblings[row],
            before: round.before[row],
        };
        let there: Vec<Place> = part.clone().map(place).collect();
        let mut question = self.question_at(&there, &draft.segment.context, &draft.drawn);
        for (at, codes) in known {
            question.set(*at, round.rows[part.clone()].iter().map(|&row| codes[row as usize]).collect());
        }
        question
    }

    /// What rows at the places `there` know of their family: of their owner, by its codes `context`, and of the sibling before
    /// them, one of `drawn`.
    pub(super) fn question_at(&self, there: &[Place], context: &[Vec<u32>], drawn: &[SubColumnData]) -> KnownCodes {
        let joint = &self.joint;
        let mut question = KnownCodes::nothing(joint.layout.subcolumns.len(), there.len());
        for (at, codes) in joint.owner.clone().zip(context) {
            let code = |place: &Place| codes.get(place.owner as usize).copied().unwrap_or(UNKNOWN);
            question.set(at, there.iter().map(code).collect());
        }
        if let Some(at) = joint.place {
            question.set(at, there.iter().map(|place| place_code(place.number)).collect());
        }
        for &(at, of) in &joint.sibling {
            let codes = &drawn[of - joint.layout.given];
            let code =
                |place: &Place| if place.before == NONE { joint.none(at) } else { codes.code(place.before as usize) };
            question.set(at, there.iter().map(code).collect());
        }
        question
    }

    /// The attributes of the parents `chosen`, by reference and row: what the rows are then drawn given. Nothing of a reference of
    /// which no parents are chosen.
    pub(super) fn known_attributes(&self, segment: &Segment, chosen: &[Vec<u32>]) -> Vec<(usize, Vec<u32>)> {
        let mut known = Vec::new();
        for (range, (parents, chosen)) in self.joint.attributes.iter().zip(segment.parents.iter().zip(chosen)) {
            let Some(parents) = parents.as_ref().filter(|_| !chosen.is_empty()) else { continue };
            for (subcolumn, codes) in range.clone().zip(&parents.attributes) {
                let none = self.joint.none(subcolumn);
                let code = |&row: &u32| codes.get(row as usize).copied().unwrap_or(none);
                known.push((subcolumn, chosen.iter().map(code).collect()));
            }
        }
        known
    }

    pub(super) fn own_codes(&self, draft: &Draft<'_>, rows: usize) -> EncodedRows {
        let mut own = EncodedRows::with_capacity(self.encoder.layout(), rows);
        let first = self.joint.own.start - self.joint.layout.given;
        for (to, codes) in own.subcolumns.iter_mut().zip(draft.drawn.iter().skip(first)) {
            to.extend(codes, 0..rows);
        }
        own.rows = rows;
        own
    }
}
