//! What makes the rows of a sample, block by block: a model by itself, or one that is told what is given.

use super::{Given, SampleSpec};
use crate::{
    Result, SynthError,
    encode::{EncodedRows, TableEncoder},
    models::{AnyOrderSampler, BlockSampler, Condition, ConditionTable, SamplerSettings, tilt},
    noise::Noise,
    store::StoredModel,
};
use arrow::record_batch::RecordBatch;
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
    Condition { shares: shares.collect(), balance }
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
    let mut values = BTreeMap::new();
    for restriction in given.iter().flat_map(|given| &given.restrictions) {
        let column = restriction.column;
        if encoder.layout().columns[column].subcolumns.is_empty() {
            continue;
        }
        let mut bits = vec![0u32; rows.end];
        noise.purpose(&format!("decode/{}", encoder.schema().field(column).name())).fill_u32(block, &mut bits);
        values.insert(column, encoder.restricted(restriction, encoded, rows.clone(), &bits[rows.clone()])?);
    }
    encoder.decode_given(block, encoded, rows, columns, noise, &values)
}
