//! Rows that no model generated: how many children its model would give them.

use super::{Draft, Family, ParentRows, Segment, no_column};
use crate::{
    Result, SynthError,
    encode::{EncodedRows, KnownCodes, Unseen},
    models::SamplerSettings,
    noise::{BLOCK_ROWS, blocks},
    relational::{degree_column, order::Order},
};
use arrow::{
    array::{ArrayRef, RecordBatch, UInt32Array},
    compute::{cast, take, take_record_batch},
};
use std::collections::BTreeMap;

impl Family {
    /// By foreign key that refers to the table, the number of children that each of `rows` would have: drawn from what the
    /// model has learned, given all that it knows of them. `owner` has the rows of their owner, hidden columns included, and
    /// for each of `rows` its owner's, or [`NONE`](crate::relational::NONE).
    ///
    /// # Errors
    /// A model that does not know every order; no owner, where rows depend on one; libtorch failed.
    pub fn adopt(
        &self,
        rows: &RecordBatch,
        owner: Option<(&ParentRows, &[u32])>,
        settings: &SamplerSettings,
    ) -> Result<Vec<ArrayRef>> {
        let count = rows.num_rows();
        let mut segment = Segment::new(0, count as u64);
        let order = match (&self.relations.context, owner) {
            (Some(context), Some(owner)) => self.under_owners(&mut segment, rows, context, owner)?,
            (Some(_), None) => return Err(SynthError::Internal("rows that depend on an owner without one".to_owned())),
            (None, _) => Order::unchanged(count),
        };
        let known = self.known_of(rows, &order.indices())?;
        let noise = self.noise.part("adopted");
        let mut sampler = self.model.any_order_sampler(settings)?;
        let own = if self.relations.context.is_some() {
            let chunk = segment.all();
            let mut draft = Draft::new(&segment, &chunk);
            let first = self.joint.own.start;
            let known: Vec<_> = known.into_iter().map(|(at, codes)| (first + at, codes)).collect();
            self.rounds(&mut *sampler, &mut draft, &noise, &known)?;
            self.own_codes(&draft, count)
        } else {
            let layout = self.encoder.layout();
            let mut own = EncodedRows::with_capacity(layout, count);
            let mut drawn = EncodedRows::with_capacity(layout, BLOCK_ROWS);
            let mut first = 0;
            for (block, part) in blocks(0..count as u64) {
                let mut question = KnownCodes::nothing(layout.subcolumns.len(), part.len());
                for (at, codes) in &known {
                    question.set(*at, codes[first..first + part.len()].to_vec());
                }
                sampler.complete(block, &noise, &question, &mut drawn)?;
                own.extend(&drawn, part.clone());
                first += part.len();
            }
            own
        };
        let names: Vec<String> = (0..self.relations.children.len()).map(degree_column).collect();
        let drawn = self.decode(&own, 0, &names, &BTreeMap::new())?;
        let places = order.places();
        let degrees = names.iter().map(|name| {
            let degrees = drawn.column_by_name(name).ok_or_else(|| no_column(name))?;
            Ok(take(degrees, &places, None)?)
        });
        degrees.collect()
    }

    /// The codes, by sub-column, of what is known of `rows` in the order `order`: of columns that are the model's own.
    fn known_of(&self, rows: &RecordBatch, order: &UInt32Array) -> Result<Vec<(usize, Vec<u32>)>> {
        let (columns, arrays) = self.own_values(&take_record_batch(rows, order)?)?;
        self.known_codes(&columns, &arrays, rows.num_rows())
    }

    /// The columns of `rows` that are the model's own, by their place in the encoder's schema, as what they are there.
    pub(super) fn own_values(&self, rows: &RecordBatch) -> Result<(Vec<usize>, Vec<ArrayRef>)> {
        let (mut columns, mut arrays) = (Vec::new(), Vec::new());
        for (at, field) in self.encoder.schema().fields().iter().enumerate() {
            if let Some(values) = rows.column_by_name(field.name()).filter(|_| !self.relations.refers(field.name())) {
                columns.push(at);
                arrays.push(cast(values, field.data_type())?);
            }
        }
        Ok((columns, arrays))
    }

    /// The codes, by own sub-column, that values of the encoder's columns `columns` say.
    pub(super) fn known_codes(
        &self,
        columns: &[usize],
        values: &[ArrayRef],
        rows: usize,
    ) -> Result<Vec<(usize, Vec<u32>)>> {
        let known = self.encoder.known(columns, values, rows, Unseen::Ignore)?;
        let all = 0..self.encoder.layout().subcolumns.len();
        Ok(all.filter_map(|at| Some((at, known.subcolumn(at)?.to_vec()))).collect())
    }
}
