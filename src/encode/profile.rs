//! The streaming, mergeable sketch of a table, from which its encoder is finished.

use super::{
    Scheme, TableEncoder,
    columns::{self, ColumnEncoder, Sketch},
    follows::{Equal, Follows, Functions, OneHot, Since, difference_field},
    physical::{Lane, Physical, for_each_bytes, plain, value_type},
    sketch::{BytesSketch, Limits, NumberSketch},
};
use crate::{Result, SynthError, schema::ColumnRole};
use arrow::{
    array::{Array, ArrayRef},
    datatypes::{DataType, Field, SchemaRef},
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
    functions: Functions,
    one_hot: OneHot,
    equal: Vec<Equal>,
    rows: u64,
}

#[derive(Debug, Clone)]
pub(super) struct ColumnProfile {
    declared: Option<ColumnRole>,
    nulls: u64,
    sketch: Sketch,
}

type Fitted = Result<(ColumnRole, ColumnEncoder)>;

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
        let free = |at: usize| !roles.contains_key(schema.field(at).name());
        let (since, functions) = (Since::pairs(&schema, free)?, Functions::new(&schema, free));
        let (one_hot, equal) = (OneHot::new(&schema, free), Equal::pairs(&schema, free)?);
        Ok(Self { schema, columns, since, functions, one_hot, equal, rows: 0 })
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
        self.functions.update(batch.columns())?;
        self.one_hot.update(batch.columns())?;
        for equal in &mut self.equal {
            equal.update(batch.columns())?;
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
        self.functions.merge(other.functions);
        self.one_hot.merge(&other.one_hot);
        for (mine, theirs) in self.equal.iter_mut().zip(other.equal) {
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
        let since = self.since.iter().map(Since::memory_size).sum::<usize>();
        let equal = self.equal.iter().map(Equal::memory_size).sum::<usize>();
        columns + since + equal + self.functions.memory_size() + self.one_hot.memory_size()
    }

    /// Decides roles and fits every column's encoder (in parallel over columns, `threads` at a time).
    ///
    /// # Errors
    /// No rows; a column that cannot be learned in its role.
    pub fn finish(self, scheme: Scheme, threads: usize) -> Result<TableEncoder> {
        if self.rows == 0 {
            return Err(SynthError::NoRows { reason: "the input has no rows".into() });
        }
        let Self { schema, mut columns, since, functions, one_hot, equal, rows } = self;
        let mut bases = vec![None; columns.len()];
        for (column, base, difference) in Since::best(since, &columns) {
            let nulls = columns[column].nulls;
            columns[column] = ColumnProfile { nulls, ..difference };
            bases[column] = Some(base);
        }
        let field = |at: usize| match bases[at] {
            None => Field::clone(schema.field(at)),
            Some(_) => difference_field(schema.field(at)),
        };
        let results: Vec<Mutex<Option<Fitted>>> = columns.iter().map(|_| Mutex::new(None)).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let (Some(profile), Some(result)) = (columns.get(at), results.get(at)) else { return };
                let fitted = profile.fit(&field(at), scheme);
                *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(fitted);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads.clamp(1, columns.len().max(1)) {
                scope.spawn(work);
            }
            work();
        });
        let mut fitted = Vec::with_capacity(columns.len());
        for (result, base) in results.into_iter().zip(&bases) {
            let result = result.into_inner().unwrap_or_else(PoisonError::into_inner);
            let (role, encoder) =
                result.unwrap_or_else(|| Err(SynthError::Internal("a column was not fitted".into())))?;
            let role = if base.is_some() { ColumnRole::Datetime } else { role };
            fitted.push((role, encoder, base.map(Follows::Since)));
        }
        let by_value = |at: usize| bases[at].is_none() && matches!(fitted[at].1, ColumnEncoder::Values(_));
        let learned = |at: usize| {
            use ColumnRole as R;
            bases[at].is_none() && matches!(fitted[at].0, R::Categorical | R::Numeric | R::Datetime)
        };
        for function in functions.found(by_value, learned) {
            let (at, of) = (function.column, function.of);
            let Some(mut encoder) = columns[at].by_value() else { continue };
            encoder.prepare(schema.field(at))?;
            let mut base = fitted[of].1.clone();
            base.prepare(schema.field(of))?;
            let (Some(from), Some(to)) = (base.all(schema.field(of)), encoder.all(schema.field(at))) else { continue };
            if let Some(codes) = function.codes(&from?, &to?)? {
                (fitted[at].1, fitted[at].2) = (encoder, Some(Follows::Function { of, codes }));
            }
        }
        for category in one_hot.found(rows) {
            // The category itself is beside them, if all are functions of it. One alone that is a function would leave the others
            // to contradict it.
            if category.iter().all(|&at| fitted[at].2.is_some()) {
                continue;
            }
            let Some(encoders) = category.iter().map(|&at| columns[at].by_value()).collect::<Option<Vec<_>>>() else {
                continue;
            };
            for ((code, &at), encoder) in (0..).zip(&category).zip(encoders) {
                (fitted[at].1, fitted[at].2) = (encoder, Some(Follows::OneHot { of: category[0], code }));
            }
            // What is a function of one of the columns is one of the category.
            for (.., follows) in &mut fitted {
                let Some(Follows::Function { of, codes }) = follows else { continue };
                if let Some(place) = category.iter().position(|at| at == of) {
                    *codes = (0..category.len()).map(|code| codes[usize::from(code == place)]).collect();
                    *of = category[0];
                }
            }
        }
        let mut best: Vec<Option<(f64, usize)>> = vec![None; columns.len()];
        for pair in equal {
            let (encoder, follows) = (&fitted[pair.column].1, &fitted[pair.column].2);
            let learned = matches!(fitted[pair.base].1, ColumnEncoder::Values(_) | ColumnEncoder::Bins(_));
            let complete = learned && columns[pair.base].nulls == 0;
            if !complete || follows.is_some() || !matches!(encoder, ColumnEncoder::Bins(_)) {
                continue;
            }
            if let Some(share) = pair.share(encoder, rows, &schema)?
                && best[pair.column].is_none_or(|(most, _)| share > most)
            {
                best[pair.column] = Some((share, pair.base));
            }
        }
        for (fitted, best) in fitted.iter_mut().zip(best) {
            if let Some((_, base)) = best {
                fitted.2 = Some(Follows::Equal(base));
            }
        }
        TableEncoder::new(schema, scheme, fitted)
    }
}

impl ColumnProfile {
    fn new(field: &Field, declared: Option<ColumnRole>) -> Result<Self> {
        let limits = if declared == Some(ColumnRole::Categorical) { Limits::CATEGORICAL } else { Limits::INFERRED };
        Self::with_limits(field, declared, limits)
    }

    fn with_limits(field: &Field, declared: Option<ColumnRole>, limits: Limits) -> Result<Self> {
        let physical = Physical::of(field.data_type());
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
    pub(super) fn of_numbers(field: &Field, limits: Limits) -> Result<Self> {
        Self::with_limits(field, Some(ColumnRole::Numeric), limits)
    }

    /// The numbers seen, and about how often each.
    pub(super) fn distribution(&self, data_type: &DataType) -> Result<Option<(ArrayRef, Vec<f64>)>> {
        fn of<W: Lane>(sketch: &NumberSketch<W>, data_type: &DataType) -> Result<Option<(ArrayRef, Vec<f64>)>> {
            let (values, weights) = sketch.values.distribution().into_iter().map(|(v, n)| (*v, n)).unzip();
            Ok(Some((W::write(values, None, data_type)?, weights)))
        }
        match &self.sketch {
            Sketch::Int(sketch) => of(sketch, data_type),
            Sketch::Wide(sketch) => of(sketch, data_type),
            Sketch::Huge(sketch) => of(sketch, data_type),
            Sketch::Float(sketch) => of(sketch, data_type),
            Sketch::None | Sketch::Bytes(_) => Ok(None),
        }
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

    fn fit(&self, field: &Field, scheme: Scheme) -> Result<(ColumnRole, ColumnEncoder)> {
        columns::fit(field, &self.sketch, self.nulls, self.declared, scheme)
    }

    /// An encoder with a code per value, whatever the column means; none where not every value is known.
    fn by_value(&self) -> Option<ColumnEncoder> {
        columns::by_value(&self.sketch, self.nulls > 0)
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
