//! Rows of a table whose parents and siblings are there: what they lack is drawn, or they are judged.
//!
//! Rows are asked about as they were learned: under their owners, siblings in order, each given its owner, the row before it and
//! what it knows of the other parents that it names. What a sibling lacks is drawn before the next one is asked about.

use super::{Asker, Draft, Family, ParentRows, Segment, complete::Given, segment::Parents};
use crate::{
    Result, SynthError,
    models::{SamplerSettings, told},
    relational::order::Order,
};
use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::{cast, is_not_null, kernels::zip::zip, take},
};

/// Rows under their owners.
struct Kin {
    segment: Segment,
    /// Which of the table's rows each is.
    order: Order,
    /// What is known of them.
    given: Given,
}

impl Family {
    /// The same rows, nulls filled but for those of foreign keys, which say that there is no parent. `parents` has the rows that
    /// they name, one batch for each reference [that tells them something](crate::relational::Relations::tells).
    ///
    /// # Errors
    /// A model that does not know every order; a value that it has never seen; a key that names no parent; libtorch failed.
    pub fn fill(
        &self,
        rows: &RecordBatch,
        parents: &[Option<ParentRows>],
        settings: &SamplerSettings,
        asker: Asker,
    ) -> Result<RecordBatch> {
        let kin = self.kin(rows, parents, asker)?;
        let first = self.joint.own.start;
        // Who has a null filled wants no null for it.
        let never = self.encoder.null_codes().into_iter().map(|(subcolumn, code)| (first + subcolumn, code)).collect();
        let mut sampler = self.model.any_order_sampler(&SamplerSettings { never, ..settings.clone() })?;
        let noise = self.noise.part("filled");
        let chunk = kin.segment.all();
        let mut draft = Draft::new(&kin.segment, &chunk);
        let mut equal = vec![vec![false; rows.num_rows()]; kin.given.may_equal.len()];
        self.each_part(&mut draft, &kin.given.known, |block, part, question, out| {
            let part: Vec<usize> = part.iter().map(|&row| row as usize).collect();
            let drawn = kin.given.draw(&mut *sampler, &part, question, (block, &noise), out)?;
            for (equal, drawn) in equal.iter_mut().zip(drawn) {
                part.iter().zip(drawn).for_each(|(&row, drawn)| equal[row] = drawn);
            }
            Ok(())
        })?;
        let mut values = kin.given.values;
        kin.given.may_equal.iter().zip(equal).try_for_each(|(may, equal)| may.give(&equal, &mut values))?;
        let schema = rows.schema();
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let drawn = self.decode(&self.own_codes(&draft, rows.num_rows()), 0, &names, &values)?;
        let places = kin.order.places();
        let filled = names.iter().zip(rows.columns()).map(|(name, values)| -> Result<ArrayRef> {
            match drawn.column_by_name(name).filter(|_| !self.relations.refers(name)) {
                Some(drawn) => {
                    Ok(zip(&is_not_null(values)?, values, &cast(&take(drawn, &places, None)?, values.data_type())?)?)
                }
                None => Ok(values.clone()),
            }
        });
        Ok(RecordBatch::try_new(schema.clone(), filled.collect::<Result<_>>()?)?)
    }

    /// The natural logarithms of the probabilities of what `rows` have, and of what is like the parents that they name, given
    /// their owners and the rows before them; for `parents`, see [`Family::fill`].
    ///
    /// # Errors
    /// As for [`Family::fill`].
    pub fn judge(
        &self,
        rows: &RecordBatch,
        parents: &[Option<ParentRows>],
        settings: &SamplerSettings,
        asker: Asker,
    ) -> Result<Vec<f64>> {
        let kin = self.kin(rows, parents, asker)?;
        let mut sampler = self.model.any_order_sampler(settings)?;
        let noise = self.noise.part("judged");
        let chunk = kin.segment.all();
        let mut draft = Draft::new(&kin.segment, &chunk);
        let mut logs = vec![0f64; rows.num_rows()];
        let Kin { given, order, .. } = &kin;
        self.each_part(&mut draft, &given.known, |block, part, question, out| {
            let part: Vec<usize> = part.iter().map(|&row| row as usize).collect();
            let told: Vec<_> = given.told.iter().map(|told| told.take(&part)).collect();
            let may_equal: Vec<_> = given.may_equal.iter().map(|may| may.take(&part)).collect();
            let judged = told::log_probability(&mut *sampler, &told, &may_equal, question.clone())?;
            part.iter().zip(judged).for_each(|(&row, log)| logs[order.rows()[row] as usize] = log);
            // The next sibling is to know all of this one.
            given.draw(&mut *sampler, &part, question, (block, &noise), out)?;
            Ok(())
        })?;
        Ok(logs)
    }

    /// Puts rows under their owners.
    fn kin(&self, rows: &RecordBatch, parents: &[Option<ParentRows>], asker: Asker) -> Result<Kin> {
        let count = rows.num_rows();
        let relations = &*self.relations;
        let of_reference = |(reference, given): (_, &Option<ParentRows>)| -> Result<Option<Parents>> {
            let Some(given) = given else { return Ok(None) };
            let attributes = self.attributes(reference, &given.rows)?;
            Ok(Some(Parents { rows: given.rows.clone(), slots: None, attributes }))
        };
        let mut segment = Segment::new(0, count as u64);
        segment.parents = relations.references.iter().zip(parents).map(of_reference).collect::<Result<_>>()?;
        let named = self.named(rows, &segment, (0, asker))?;
        let order = if let (Some(context), Some((at, _))) = (&relations.context, relations.owner()) {
            let (Some(owners), Some(index)) = (&parents[at], named.get(at).filter(|named| named.len() == count)) else {
                return Err(SynthError::Internal("rows that depend on an owner without one".to_owned()));
            };
            self.under_owners(&mut segment, rows, context, (owners, index))?
        } else {
            segment.degrees.push(count as u32);
            Order::unchanged(count)
        };
        let mut given = self.given(rows, &[], &segment, asker)?.in_order(&order)?;
        let named: Vec<Vec<u32>> = named.iter().map(|named| order.put(named)).collect();
        given.known.extend(self.known_attributes(&segment, &named));
        Ok(Kin { segment, order, given })
    }
}
