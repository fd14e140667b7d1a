//! The streaming, mergeable sketch of a table, from which its encoder is finished.

use super::{
    Scheme, TableEncoder,
    columns::{self, Column, ColumnEncoder},
    physical::{Lane, Physical, for_each_bytes, plain, value_type},
    since::{Since, difference_field},
    sketch::{BytesSketch, Limits, NumberSketch},
    wide::Float,
};
use crate::{Result, SynthError, schema::ColumnRole};
use arrow::{
    array::{Array, ArrayRef},
    datatypes::{DataType, Field, SchemaRef, i256},
    record_batch::RecordBatch,
};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// What is known of a table while it is scanned: per column counts, null counts, value sketches.
/// Fed batch by batch, one profile per partition, then merged.
///
/// Bounded: up to 65,536 distinct values (16 MiB of strings) of a column are counted exactly,
/// beyond that a uniform sample of the distinct values and the heavy hitters are kept. A column
/// declared categorical is counted exactly up to 8,388,608 values (1 GiB of strings).
#[derive(Debug, Clone)]
pub struct TableProfile {
    schema: SchemaRef,
    columns: Vec<ColumnProfile>,
    /// Dates and times, two by two.
    since: Vec<Since>,
    rows: u64,
}

#[derive(Debug, Clone)]
pub(super) struct ColumnProfile {
    declared: Option<ColumnRole>,
    nulls: u64,
    sketch: Sketch,
}

type Fitted = Result<(ColumnRole, ColumnEncoder)>;

#[derive(Debug, Clone)]
pub(super) enum Sketch {
    /// Not looked at: excluded, or of the null type.
    None,
    Int(NumberSketch<i64>),
    Wide(NumberSketch<i128>),
    Huge(NumberSketch<i256>),
    Float(NumberSketch<Float>),
    Bytes(BytesSketch),
}

impl TableProfile {
    /// A profile of no rows. `roles` overrides what would be inferred, by column name.
    ///
    /// # Errors
    /// A role for a column that does not exist or cannot have it; a column of a type that cannot be learned.
    pub fn new(schema: SchemaRef, roles: &BTreeMap<String, ColumnRole>) -> Result<Self> {
        if let Some(name) = roles.keys().find(|name| schema.field_with_name(name).is_err()) {
            return Err(SynthError::NotFound {
                kind: "column",
                name: name.clone(),
                known: schema.fields().iter().map(|f| f.name().clone()).collect(),
            });
        }
        let columns = schema
            .fields()
            .iter()
            .map(|field| ColumnProfile::new(field, roles.get(field.name()).copied()))
            .collect::<Result<_>>()?;
        let since = Since::pairs(&schema, |at| !roles.contains_key(schema.field(at).name()))?;
        Ok(Self { schema, columns, since, rows: 0 })
    }

    /// Takes in a batch.
    ///
    /// # Errors
    /// The batch is of another schema, or a value cannot be read as the schema's type.
    pub fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        super::table::check_schema(&self.schema, batch)?;
        for (column, array) in self.columns.iter_mut().zip(batch.columns()) {
            column.update(array)?;
        }
        for since in &mut self.since {
            since.update(batch.columns())?;
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Takes in another partition's profile of the same schema.
    ///
    /// # Errors
    /// The other profile is of another schema.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        if self.schema != other.schema {
            return Err(SynthError::Schema("profiles of different schemas cannot be merged".into()));
        }
        for (mine, theirs) in self.columns.iter_mut().zip(other.columns) {
            mine.merge(theirs)?;
        }
        for (mine, theirs) in self.since.iter_mut().zip(other.since) {
            mine.merge(theirs)?;
        }
        self.rows += other.rows;
        Ok(())
    }

    /// Rows seen.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes held.
    #[must_use]
    pub fn memory_size(&self) -> usize {
        let columns = self.columns.iter().map(ColumnProfile::memory_size).sum::<usize>();
        columns + self.since.iter().map(Since::memory_size).sum::<usize>()
    }

    /// Decides roles and fits every column's encoder (in parallel over columns, `threads` at a time).
    ///
    /// # Errors
    /// No rows; a column that cannot be learned in its role.
    pub fn finish(self, scheme: Scheme, threads: usize) -> Result<TableEncoder> {
        if self.rows == 0 {
            return Err(SynthError::NoRows { reason: "the input has no rows".into() });
        }
        let Self { schema, mut columns, since, .. } = self;
        let mut bases = vec![None; columns.len()];
        for (column, base, difference) in Since::best(since, &columns) {
            let nulls = columns[column].nulls;
            columns[column] = ColumnProfile { nulls, ..difference };
            bases[column] = Some(base);
        }
        let jobs: Vec<Mutex<Option<ColumnProfile>>> = columns.into_iter().map(|c| Mutex::new(Some(c))).collect();
        let results: Vec<Mutex<Option<Fitted>>> = jobs.iter().map(|_| Mutex::new(None)).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let (Some(job), Some(result)) = (jobs.get(at), results.get(at)) else { return };
                let profile = job.lock().unwrap_or_else(PoisonError::into_inner).take();
                let fitted = profile.map(|p| match bases[at] {
                    None => p.finish(schema.field(at), scheme),
                    Some(_) => {
                        let (_, encoder) = p.finish(&difference_field(schema.field(at)), scheme)?;
                        Ok((ColumnRole::Datetime, encoder))
                    }
                });
                *result.lock().unwrap_or_else(PoisonError::into_inner) = fitted;
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads.clamp(1, jobs.len().max(1)) {
                scope.spawn(work);
            }
            work();
        });
        let fitted = results
            .into_iter()
            .map(|result| {
                let result = result.into_inner().unwrap_or_else(PoisonError::into_inner);
                result.unwrap_or_else(|| Err(SynthError::Internal("a column was not fitted".into())))
            })
            .collect::<Result<Vec<_>>>()?;
        let fitted = fitted.into_iter().zip(bases).map(|((role, encoder), base)| (role, encoder, base)).collect();
        TableEncoder::new(schema, scheme, fitted)
    }
}

impl ColumnProfile {
    fn new(field: &Field, declared: Option<ColumnRole>) -> Result<Self> {
        let physical = Physical::of(field.data_type());
        let limits = if declared == Some(ColumnRole::Categorical) { Limits::CATEGORICAL } else { Limits::INFERRED };
        let sketch = match physical {
            _ if declared == Some(ColumnRole::Exclude) => Sketch::None,
            Some(Physical::Int) => Sketch::Int(NumberSketch::new(limits)),
            Some(Physical::Wide) => Sketch::Wide(NumberSketch::new(limits)),
            Some(Physical::Huge) => Sketch::Huge(NumberSketch::new(limits)),
            Some(Physical::Float) => Sketch::Float(NumberSketch::new(limits)),
            Some(Physical::Bytes) => Sketch::Bytes(BytesSketch::new(limits)),
            Some(Physical::Null) => Sketch::None,
            None => {
                return Err(SynthError::Column {
                    column: field.name().clone(),
                    reason: format!("the type {} cannot be learned", field.data_type()),
                    way_out: "set its role to `exclude` in synth.columns, or cast it to a plain type".into(),
                });
            }
        };
        if let Some(role) = declared {
            check_role(field, physical, role)?;
        }
        Ok(Self { declared, nulls: 0, sketch })
    }

    /// Of numbers that are no identifiers, whatever they look like.
    pub(super) fn of_numbers(field: &Field) -> Result<Self> {
        Self::new(field, Some(ColumnRole::Numeric))
    }

    pub(super) fn sketch(&self) -> &Sketch {
        &self.sketch
    }

    pub(super) fn update(&mut self, array: &ArrayRef) -> Result<()> {
        fn numbers<W: Lane>(sketch: &mut NumberSketch<W>, array: &dyn Array) -> Result<()> {
            let nulls = array.nulls().filter(|n| n.null_count() > 0);
            for (row, value) in W::read(array)?.into_iter().enumerate() {
                if nulls.is_none_or(|n| n.is_valid(row)) {
                    sketch.add(value);
                }
            }
            Ok(())
        }
        if matches!(self.sketch, Sketch::None) {
            self.nulls += array.len() as u64;
            return Ok(());
        }
        let array = plain(array)?;
        self.nulls += array.null_count() as u64;
        match &mut self.sketch {
            Sketch::None => Ok(()),
            Sketch::Int(sketch) => numbers(sketch, array.as_ref()),
            Sketch::Wide(sketch) => numbers(sketch, array.as_ref()),
            Sketch::Huge(sketch) => numbers(sketch, array.as_ref()),
            Sketch::Float(sketch) => numbers(sketch, array.as_ref()),
            Sketch::Bytes(sketch) => for_each_bytes(array.as_ref(), |value| {
                if let Some(value) = value {
                    sketch.add(value, 1);
                }
            }),
        }
    }

    pub(super) fn merge(&mut self, other: Self) -> Result<()> {
        match (&mut self.sketch, other.sketch) {
            (Sketch::None, Sketch::None) => {}
            (Sketch::Int(a), Sketch::Int(b)) => a.merge(b),
            (Sketch::Wide(a), Sketch::Wide(b)) => a.merge(b),
            (Sketch::Huge(a), Sketch::Huge(b)) => a.merge(b),
            (Sketch::Float(a), Sketch::Float(b)) => a.merge(b),
            (Sketch::Bytes(a), Sketch::Bytes(b)) => a.merge(b),
            _ => return Err(SynthError::Schema("profiles with different roles cannot be merged".into())),
        }
        self.nulls += other.nulls;
        Ok(())
    }

    pub(super) fn memory_size(&self) -> usize {
        match &self.sketch {
            Sketch::None => 0,
            Sketch::Int(s) => s.memory_size(),
            Sketch::Wide(s) => s.memory_size(),
            Sketch::Huge(s) => s.memory_size(),
            Sketch::Float(s) => s.memory_size(),
            Sketch::Bytes(s) => s.memory_size(),
        }
    }

    fn finish(self, field: &Field, scheme: Scheme) -> Result<(ColumnRole, ColumnEncoder)> {
        let column = match self.sketch {
            Sketch::None => Column::Null,
            Sketch::Int(s) => Column::Int(s),
            Sketch::Wide(s) => Column::Wide(s),
            Sketch::Huge(s) => Column::Huge(s),
            Sketch::Float(s) => Column::Float(s),
            Sketch::Bytes(s) => Column::Bytes(s),
        };
        columns::fit(field, &column, self.nulls, self.declared, scheme)
    }
}

/// Whether a column of this type can have this role.
fn check_role(field: &Field, physical: Option<Physical>, role: ColumnRole) -> Result<()> {
    use ColumnRole as R;
    let data_type = value_type(field.data_type());
    let number = data_type.is_numeric() || *data_type == DataType::Boolean;
    let accepted: &[R] = match physical {
        _ if super::physical::is_temporal(data_type) => &[R::Datetime, R::Categorical, R::Exclude],
        Some(Physical::Float) => &[R::Numeric, R::Categorical, R::Exclude],
        Some(Physical::Int | Physical::Wide | Physical::Huge) if number => {
            &[R::Numeric, R::Categorical, R::Identifier, R::Exclude]
        }
        Some(Physical::Int | Physical::Wide) => &[R::Categorical, R::Exclude],
        Some(Physical::Bytes) if super::physical::is_string(data_type) => {
            &[R::Categorical, R::Identifier, R::FreeText, R::Exclude]
        }
        Some(Physical::Bytes) => &[R::Categorical, R::Identifier, R::Exclude],
        _ => &[R::Exclude],
    };
    if accepted.contains(&role) {
        return Ok(());
    }
    let accepted: Vec<_> = accepted.iter().map(|r| r.as_str()).collect();
    Err(SynthError::Column {
        column: field.name().clone(),
        reason: format!("a column of type {} cannot have the role `{role}`", field.data_type()),
        way_out: format!("choose one of: {}", accepted.join(", ")),
    })
}
