//! The training of one table.

use super::{
    TrainSpec,
    fit::{CheckpointSlot, Fitting, FittingJob},
    resume::{self, Found},
    rows::RowMaker,
    scan::Scan,
    schema::SchemaData,
};
use crate::{
    Result, SynthError,
    encode::{CodeMatrix, Layout, TableEncoder},
    models::ModelKind,
    relational::{self, Relations, TableFacts, Ties},
    schema::{ColumnRole, TableName},
    store::{ModelStore, NewModel, off_worker},
};
use arrow::record_batch::RecordBatch;
use chrono::{DateTime, Utc};
use datafusion::{
    error::Result as DataFusionResult,
    execution::memory_pool::{MemoryConsumer, MemoryReservation},
};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};
use tokio::sync::{OwnedMutexGuard, mpsc::Sender};

/// One table to train.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) spec: Arc<TrainSpec>,
    /// The table as the user named it.
    pub(super) table: String,
    /// The model's name.
    pub(super) name: String,
    pub(super) scan: Scan,
    /// The tables around it, and its full name.
    pub(super) schema: Option<(SchemaData, TableName)>,
    /// Columns of the output.
    pub(super) projection: Vec<usize>,
    /// When the statement began.
    pub(super) begun: DateTime<Utc>,
}

impl Job {
    /// Trains and stores; sends a row per epoch and a last one with the version.
    pub(super) async fn run(self, out: &Sender<DataFusionResult<RecordBatch>>) -> Result<()> {
        let table = self.table.clone();
        self.run_inner(out).await.map_err(|error| match error {
            // The user's own faults and DataFusion's errors say what they are about.
            SynthError::Argument { .. } | SynthError::Name { .. } | SynthError::DataFusion(_) => error,
            error => error.in_table(table),
        })
    }

    async fn run_inner(self, out: &Sender<DataFusionResult<RecordBatch>>) -> Result<()> {
        let Self { spec, table, name, scan, schema, projection, begun } = self;
        let store = ModelStore::open(&spec.store)?;
        store.check_writable().await?;
        let turn = turn(&spec.store, &name).await;
        let found = if spec.resume { Some(Found::load(&store, &name, &spec).await?) } else { None };
        let (kind, options, ties) = match &found {
            Some(found) => (found.kind, found.options.clone(), found.ties),
            None => (spec.kind, spec.options.clone(), spec.overrides.context.unwrap_or_default()),
        };
        let ties = if kind.takes_context() { ties } else { Ties::None };

        let related = schema.as_ref().filter(|(data, name)| data.plan.is_related(name));
        let Lesson { encoder, relations, layout, rows, reservation } = match related {
            Some((data, full_name)) => {
                let facts = data.facts(full_name, store.roles_for(&table).await?).await?;
                Lesson::of_facts(facts, kind, (ties, options.threads), &scan).await?
            }
            None => {
                let keys = schema.as_ref().map_or_else(Vec::new, |(data, name)| data.plan.single_keys(name));
                let encoder = Arc::new(learn_encoder(&store, &table, &keys, &scan, kind, options.threads).await?);
                let (rows, reservation) = scan.encode(&encoder).await?;
                Lesson { layout: encoder.layout().clone(), encoder, relations: None, rows, reservation }
            }
        };
        if let Some(found) = &found {
            found.check_encoder(&encoder)?;
        }
        let checkpoints = CheckpointSlot {
            store: store.clone(),
            name: name.clone(),
            spec: Arc::new(resume::remember(kind, &options, ties, &encoder, begun)?),
        };
        let job = FittingJob {
            kind,
            layout,
            rows,
            options: options.clone(),
            resume: found.map(|found| found.checkpoint),
            checkpoints: Some(checkpoints),
        };
        let turn = Arc::new(turn);
        let mut fitting = Fitting::start(job, (reservation, Arc::clone(&turn)))?;
        let rows = RowMaker { table: table.clone(), model: name.clone(), projection };
        while let Some(report) = fitting.epoch().await {
            if out.send(Ok(rows.epoch(&report)?)).await.is_err() {
                return Err(SynthError::Cancelled);
            }
        }
        let fitted = fitting.outcome().await?;

        let model = NewModel {
            name: &name,
            kind: kind.name(),
            source: &table,
            encoder: &encoder,
            relations: relations.as_ref(),
            model: fitted.model.as_ref(),
            options: &options,
            report: &fitted.report,
        };
        let manifest = store.save(model).await?;
        store.drop_checkpoint(&name).await?;
        drop(turn);
        // The version is stored; whether anybody still listens does not matter.
        let _ = out.send(Ok(rows.stored(manifest.version, &fitted.report)?)).await;
        Ok(())
    }
}

/// What a model is to learn.
struct Lesson {
    encoder: Arc<TableEncoder>,
    relations: Option<Relations>,
    layout: Layout,
    rows: CodeMatrix,
    reservation: MemoryReservation,
}

impl Lesson {
    /// Of a table among others.
    async fn of_facts(
        facts: TableFacts,
        kind: &'static dyn ModelKind,
        (ties, threads): (Ties, usize),
        scan: &Scan,
    ) -> Result<Self> {
        let learn = move || relational::learn(facts, kind.scheme(), ties, threads);
        let learned = off_worker(learn).await?;
        let reservation = MemoryConsumer::new("TrainExec[rows]").register(scan.context.memory_pool());
        reservation.try_grow(learned.rows.memory_size())?;
        Ok(Self {
            encoder: Arc::new(learned.encoder),
            relations: Some(learned.relations),
            layout: learned.joint.layout,
            rows: learned.rows,
            reservation,
        })
    }
}

/// The first pass.
async fn learn_encoder(
    store: &ModelStore,
    table: &str,
    keys: &[String],
    scan: &Scan,
    kind: &'static dyn ModelKind,
    threads: usize,
) -> Result<TableEncoder> {
    let mut roles = store.roles_for(table).await?;
    for name in keys {
        if relational::can_be_generated(scan.plan.schema().field_with_name(name)?.data_type()) {
            roles.entry(name.clone()).or_insert(ColumnRole::Identifier);
        }
    }
    let profile = scan.profile(&roles).await?;
    if profile.rows() == 0 {
        return Err(SynthError::NoRows { reason: "it has no rows".to_owned() });
    }
    off_worker(move || profile.finish(kind.scheme(), threads)).await
}

/// The right to train a model of this name in this process: two trainings would overwrite each other's
/// checkpoint, and one that was just cancelled is still writing its last.
async fn turn(store: &str, name: &str) -> OwnedMutexGuard<()> {
    type Turns = HashMap<(String, String), Arc<tokio::sync::Mutex<()>>>;
    static TURNS: LazyLock<Mutex<Turns>> = LazyLock::new(Mutex::default);
    let turns = Arc::clone(TURNS.lock().entry((store.to_owned(), name.to_owned())).or_default());
    turns.lock_owned().await
}
