//! What makes the rows of a sample, block by block: a model by itself, or one that is told what is given.

use super::{Given, SampleSpec};
use crate::{
    Result, SynthError,
    encode::{EncodedRows, Restriction, TableEncoder},
    models::{AnyOrderSampler, BlockSampler, Condition, ConditionTable, EqualTo, SamplerSettings, tilt},
    noise::Noise,
    store::StoredModel,
};
use arrow::{
    array::ArrayRef,
    compute::{kernels::zip::zip, not, nullif},
    record_batch::RecordBatch,
};
use std::{collections::BTreeMap, ops::Range};

/// Makes blocks of rows.
pub(super) enum Generator {
    /// As they come.
    Free(Box<dyn BlockSampler>),
    /// Under a condition.
    Given(Box<dyn AnyOrderSampler>, Box<ConditionTable>),
}

impl Generator {
    pub(super) fn new(stored: &StoredModel, spec: &SampleSpec, threads: usize) -> Result<Self> {
        let settings = SamplerSettings { temperature: spec.temperature, ..SamplerSettings::new(spec.device, threads) };
        let of_model = |error| match error {
            SynthError::Model(reason) => SynthError::Model(format!("`{}`: {reason}", spec.model)),
            other => other,
        };
        let Some(given) = &spec.given else {
            return Ok(Self::Free(stored.model.sampler(&settings)?));
        };
        let encoder = &stored.manifest.encoder;
        let mut sampler = stored.model.any_order_sampler(&settings)?;
        let table = ConditionTable::new(&mut *sampler, encoder.layout(), &condition(given, encoder));
        let mut table = table.map_err(of_model)?;
        let sure = table.sure(&mut *sampler)?;
        sampler.draw_first(&sure);
        tilt::set_right(&mut table, &mut *sampler, encoder.layout(), &sure)?;
        Ok(Self::Given(sampler, Box::new(table)))
    }

    pub(super) fn memory_size(&self) -> usize {
        match self {
            Self::Free(_) => 0,
            Self::Given(_, table) => table.memory_size(),
        }
    }

    /// Fills `out` with block `block`.
    pub(super) fn sample(&mut self, block: u64, noise: &Noise, out: &mut EncodedRows) -> Result<()> {
        match self {
            Self::Free(sampler) => sampler.sample(block, noise, out),
            Self::Given(sampler, table) => sampler.complete(block, noise, &table.draw(block, noise), out),
        }
    }
}

/// The condition in the model's terms. A column of one value is no question to the model.
fn condition(given: &Given, encoder: &TableEncoder) -> Condition {
    let layout = encoder.layout();
    let subcolumn = |column: usize| layout.columns[column].subcolumns.clone().next();
    let shares = given.restrictions.iter().filter_map(|restriction| {
        let at = subcolumn(restriction.column)?;
        Some((at, restriction.shares(layout.cardinality(at))))
    });
    let balance = given.balance.and_then(subcolumn).map(|at| {
        let null = encoder.null_codes().into_iter().find(|(subcolumn, _)| *subcolumn == at);
        (at, null.map(|(_, code)| code))
    });
    let equal = given.restrictions.iter().filter_map(|restriction| {
        let (own, base) = (subcolumn(restriction.column)?, restriction.base()?);
        let at = subcolumn(base.column)?;
        let in_any_case = given.restrictions.iter().find(|other| other.column == base.column);
        let in_any_case = in_any_case.map(|other| other.shares(layout.cardinality(at)));
        let mut shares = base.shares(layout.cardinality(at));
        for (share, of) in shares.iter_mut().zip(in_any_case.unwrap_or_default()) {
            *share = if of > 0.0 { *share / of } else { 0.0 };
        }
        let equal = u32::try_from(layout.cardinality(own)).ok()?.checked_sub(1)?;
        Some(EqualTo { subcolumn: (own, equal), base: at, shares })
    });
    Condition { shares: shares.collect(), equal: equal.collect(), balance }
}

/// Decodes rows `rows` of block `block`; restricted columns only to values that are allowed.
pub(super) fn decode(
    encoder: &TableEncoder,
    given: Option<&Given>,
    (block, encoded): (u64, &EncodedRows),
    rows: Range<usize>,
    columns: &[usize],
    noise: &Noise,
) -> Result<RecordBatch> {
    let mut values: BTreeMap<usize, ArrayRef> = BTreeMap::new();
    let restricted = |restriction: &Restriction| {
        let mut bits = vec![0u32; rows.end];
        let name = encoder.schema().field(restriction.column).name();
        noise.purpose(&format!("decode/{name}")).fill_u32(block, &mut bits);
        encoder.restricted(restriction, encoded, rows.clone(), &bits[rows.clone()])
    };
    let restrictions = given.map_or(&[][..], |given| given.restrictions.as_slice());
    for restriction in restrictions {
        if !encoder.layout().columns[restriction.column].subcolumns.is_empty() {
            values.insert(restriction.column, restricted(restriction)?);
        }
    }
    for restriction in restrictions {
        let Some(base) = restriction.base() else { continue };
        let equal = encoder.is_equal(restriction.column, encoded, rows.clone());
        let of_base = restricted(base)?;
        let of_base = match values.get(&base.column) {
            Some(others) => zip(&equal, &of_base, others)?,
            None => nullif(of_base.as_ref(), &not(&equal)?)?,
        };
        values.insert(base.column, of_base);
    }
    encoder.decode_given(block, encoded, rows, columns, noise, &values)
}
