//! A model per group: the state of the aggregate `synth_fit`, and the training at its end.

use super::train::{Fitting, FittingJob};
use crate::{
    Result, SynthError,
    encode::{EncodedRows, TableProfile},
    models::{FitOptions, ModelKind, kind},
    store::{ModelStore, NewModel, blocking},
    torch::cores,
};
use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, StringArray, StructArray},
    compute::{cast, concat_batches},
    datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef},
    ipc::{reader::StreamReader, writer::StreamWriter},
    record_batch::RecordBatch,
};
use datafusion::{
    common::{ScalarValue, exec_err, internal_err},
    error::{DataFusionError, Result as DataFusionResult},
    logical_expr::Accumulator,
};
use parking_lot::{Condvar, Mutex};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Batches to gather before small ones are joined.
const BATCHES: usize = 64;
/// Rows from which a batch is no longer small.
const SMALL: usize = 1024;

/// Times that [`interrupt_group_fits`] was called.
static INTERRUPTS: AtomicU64 = AtomicU64::new(0);

/// Cancels every `synth_fit` that is training in this process. An aggregate is not told that its query was dropped, so
/// whoever drops one (Ctrl-C) calls this.
pub fn interrupt_group_fits() {
    INTERRUPTS.fetch_add(1, Ordering::Relaxed);
}

fn interrupted(since: u64) -> bool {
    INTERRUPTS.load(Ordering::Relaxed) != since
}

/// What the groups of one query are trained with: frozen when the query is planned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GroupFit {
    store: String,
    kind: String,
    /// [`FitOptions`] as JSON, which compares and hashes.
    options: String,
    /// Names of the columns to learn.
    columns: Vec<String>,
}

impl GroupFit {
    /// Models of `kind` with `options`, stored in `store`, of columns with these names.
    ///
    /// # Errors
    /// The kind does not accept the options, or they cannot be written down.
    pub fn try_new(store: &str, kind: &dyn ModelKind, options: &FitOptions, columns: Vec<String>) -> Result<Self> {
        kind.check(options)?;
        let options = serde_json::to_string(options).map_err(|error| SynthError::Internal(error.to_string()))?;
        Ok(Self { store: store.to_owned(), kind: kind.name().to_owned(), options, columns })
    }

    /// The fields of a group's result: `model`, `version`, `rows`, `score`.
    #[must_use]
    pub fn result_fields() -> Fields {
        vec![
            Field::new("model", DataType::Utf8, false),
            Field::new("version", DataType::Int32, false),
            Field::new("rows", DataType::Int64, false),
            Field::new("score", DataType::Float64, false),
        ]
        .into()
    }

    /// The state of one group. `arguments` are the fields of the model's name and of the columns.
    ///
    /// # Errors
    /// Another number of columns than was frozen.
    pub fn accumulator(&self, arguments: &[FieldRef]) -> DataFusionResult<Box<dyn Accumulator>> {
        let fields = arguments.get(1..).unwrap_or_default();
        if fields.len() != self.columns.len() {
            return internal_err!("synth_fit was planned with {} columns, not {}", self.columns.len(), fields.len());
        }
        let fields: Vec<Field> =
            fields.iter().zip(&self.columns).map(|(field, name)| field.as_ref().clone().with_name(name)).collect();
        Ok(Box::new(GroupAccumulator {
            fit: self.clone(),
            schema: Arc::new(Schema::new(fields)),
            model: None,
            batches: Vec::new(),
        }))
    }

    /// Trains and stores; on the calling thread, which may be any.
    fn train(&self, model: &str, rows: &RecordBatch) -> Result<ScalarValue> {
        let since = INTERRUPTS.load(Ordering::Relaxed);
        let options: FitOptions =
            serde_json::from_str(&self.options).map_err(|error| SynthError::Internal(error.to_string()))?;
        let kind = kind(&self.kind)?;
        let store = ModelStore::open(&self.store)?;
        blocking(store.check_writable())?;
        let _cores = Cores::take(options.threads);
        if interrupted(since) {
            return Err(SynthError::Cancelled);
        }
        let mut profile = TableProfile::new(rows.schema(), &blocking(store.roles_for(model))?)?;
        profile.update(rows)?;
        let encoder = profile.finish(kind.scheme(), options.threads)?;
        let mut codes = EncodedRows::with_capacity(encoder.layout(), rows.num_rows());
        encoder.encode(rows, &mut codes)?;
        let job = FittingJob {
            kind,
            layout: encoder.layout().clone(),
            rows: codes.into(),
            options: options.clone(),
            resume: None,
            checkpoints: None,
        };
        let fitted = Fitting::start(job, ())?.wait(|| interrupted(since))?;
        let manifest = blocking(store.save(NewModel {
            name: model,
            kind: kind.name(),
            source: "synth_fit",
            encoder: &encoder,
            relations: None,
            model: fitted.model.as_ref(),
            options: &options,
            report: &fitted.report,
        }))?;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![model])),
            Arc::new(Int32Array::from(vec![manifest.version.cast_signed()])),
            Arc::new(Int64Array::from(vec![rows.num_rows() as i64])),
            Arc::new(Float64Array::from(vec![fitted.report.score])),
        ];
        Ok(ScalarValue::Struct(Arc::new(StructArray::try_new(Self::result_fields(), columns, None)?)))
    }
}

/// The rows of one group, as they came.
#[derive(Debug)]
struct GroupAccumulator {
    fit: GroupFit,
    schema: SchemaRef,
    model: Option<String>,
    batches: Vec<RecordBatch>,
}

impl GroupAccumulator {
    fn take_name(&mut self, names: &ArrayRef) -> DataFusionResult<()> {
        let names = cast(names, &DataType::Utf8)?;
        for name in names.as_string::<i32>() {
            match (name, &self.model) {
                (None, _) => return exec_err!("synth_fit: the model's name is null in a group of rows"),
                (Some(name), None) => {
                    crate::store::check_name(name)?;
                    self.model = Some(name.to_owned());
                }
                (Some(name), Some(before)) if name != before => {
                    return exec_err!(
                        "synth_fit: a group of rows has two names of models, '{before}' and '{name}'; \
                        group by what the name is made of"
                    );
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn take_rows(&mut self, batch: RecordBatch) -> DataFusionResult<()> {
        self.batches.push(batch);
        if self.batches.len() > BATCHES && self.rows() < BATCHES * SMALL {
            self.batches = vec![self.joined()?];
        }
        Ok(())
    }

    fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    fn joined(&self) -> DataFusionResult<RecordBatch> {
        Ok(concat_batches(&self.schema, &self.batches)?)
    }
}

impl Accumulator for GroupAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        let [names, columns @ ..] = values else { return internal_err!("synth_fit without arguments") };
        if names.is_empty() {
            return Ok(());
        }
        self.take_name(names)?;
        self.take_rows(RecordBatch::try_new(Arc::clone(&self.schema), columns.to_vec())?)
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        if self.batches.is_empty() {
            return Ok(vec![ScalarValue::Utf8(None), ScalarValue::LargeBinary(None)]);
        }
        let mut writer = StreamWriter::try_new(Vec::new(), &self.schema)?;
        writer.write(&self.joined()?)?;
        let bytes = writer.into_inner()?;
        self.batches.clear();
        Ok(vec![ScalarValue::Utf8(self.model.take()), ScalarValue::LargeBinary(Some(bytes))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        let [names, rows] = states else { return internal_err!("synth_fit has two state columns") };
        let rows = rows.as_binary::<i64>();
        for index in (0..rows.len()).filter(|&index| rows.is_valid(index)) {
            self.take_name(&names.slice(index, 1))?;
            for batch in StreamReader::try_new(rows.value(index), None)? {
                let columns = batch?.columns().to_vec();
                self.take_rows(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        let rows = self.joined()?;
        self.batches.clear();
        let Some(model) = self.model.take() else {
            let reason = "no rows reached synth_fit".to_owned();
            return Err(SynthError::NoRows { reason }.into());
        };
        let train = || self.fit.train(&model, &rows);
        // Aggregates run on the workers of the query's runtime, which others may be waiting for.
        let multi_thread = tokio::runtime::Handle::try_current()
            .is_ok_and(|handle| handle.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread);
        let outcome = if multi_thread { tokio::task::block_in_place(train) } else { train() };
        outcome.map_err(|error| DataFusionError::from(error).context(format!("synth_fit: model `{model}`")))
    }

    fn size(&self) -> usize {
        let rows: usize = self.batches.iter().map(RecordBatch::get_array_memory_size).sum();
        size_of::<Self>() + rows + self.model.as_ref().map_or(0, String::capacity)
    }
}

/// The cores that running trainings of groups share: as many run at once as their threads allow.
struct Cores {
    taken: usize,
}

static FREE: Mutex<Option<usize>> = Mutex::new(None);
static GIVEN_BACK: Condvar = Condvar::new();

impl Cores {
    fn take(threads: usize) -> Self {
        let all = cores();
        let taken = threads.clamp(1, all);
        let mut free = FREE.lock();
        while *free.get_or_insert(all) < taken {
            GIVEN_BACK.wait(&mut free);
        }
        *free = free.map(|free| free - taken);
        Self { taken }
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        let mut free = FREE.lock();
        *free = free.map(|free| free + self.taken);
        GIVEN_BACK.notify_all();
    }
}
