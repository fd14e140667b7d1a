//! Tables that hang together: their rows and references, looked up once for all trainings of a statement.

use super::scan::Scan;
use crate::{
    Result, SynthError,
    exec::keys::{KnownKeys, Tables, check_keys, schema_graph},
    relational::{
        Children, NONE, ReferenceFacts, ReferenceShape, Roles, TableFacts, any_null, child_counts, choose_roles,
        degree_column, look_up, owner_column,
    },
    schema::{ColumnRole, KeyKind, OrphanPolicy, TableName},
};
use arrow::{
    array::{ArrayRef, BooleanArray, Int32Array, RecordBatch, RecordBatchOptions, UInt32Array},
    compute::{concat_batches, filter_record_batch, take},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use datafusion::{
    execution::{
        SessionState,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    physical_plan::ExecutionPlan,
};
use futures::future::BoxFuture;
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};
use tokio::sync::Mutex;

/// The keys between the tables of a training and those around them, and how to read them.
#[derive(Clone)]
pub(super) struct SchemaPlan {
    /// The keys of these tables.
    pub(super) keys: Arc<KnownKeys>,
    /// The tables that the trained ones refer to or that refer to them, with their scans.
    pub(super) tables: Vec<RelatedScan>,
    /// Places in `keys.foreign_keys` of references that are filled in last.
    pub(super) deferred: Vec<usize>,
    pub(super) orphans: OrphanPolicy,
    pub(super) state: Arc<SessionState>,
}

/// How to read a table.
#[derive(Debug, Clone)]
pub(super) struct RelatedScan {
    pub(super) table: TableName,
    /// All of its columns.
    pub(super) schema: SchemaRef,
    /// Of tables that only refer to others, the columns of foreign keys alone.
    pub(super) scan: Arc<dyn ExecutionPlan>,
}

impl fmt::Debug for SchemaPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemaPlan").field("keys", &self.keys).field("orphans", &self.orphans).finish_non_exhaustive()
    }
}

impl SchemaPlan {
    /// The keys that matter to `targets`: theirs, those of the tables they refer to (and so on), and the references to them.
    /// The tables that these keys are about come with the columns that are wanted of them; all, where none are named.
    pub(super) async fn new(
        state: &SessionState,
        keys: KnownKeys,
        orphans: OrphanPolicy,
        targets: &[TableName],
    ) -> Result<(Self, Vec<(TableName, Option<Vec<String>>)>)> {
        let tables = Tables::of(state);
        let mut present = Vec::new();
        for (key, source) in keys.foreign_keys {
            if tables.find(&key.table).await?.is_some() && tables.find(&key.parent).await?.is_some() {
                present.push((key, source));
            } else if targets.contains(&key.table) {
                // Let the check say what is missing.
                present.push((key, source));
            }
        }
        // Upwards from the targets, then one step down from all that were found.
        let mut related: Vec<TableName> = targets.to_vec();
        let mut at = 0;
        while at < related.len() {
            let table = related[at].clone();
            for (key, _) in present.iter().filter(|(key, _)| key.table == table) {
                if !related.contains(&key.parent) {
                    related.push(key.parent.clone());
                }
            }
            at += 1;
        }
        let above = related.clone();
        present.retain(|(key, _)| above.contains(&key.table) || above.contains(&key.parent));
        for (key, _) in &present {
            if !related.contains(&key.table) {
                related.push(key.table.clone());
            }
        }
        let mut keys = KnownKeys { keys: keys.keys, foreign_keys: present };
        keys.keys.retain(|(key, _)| related.contains(&key.table));
        let (_, graph) = schema_graph(&tables, keys.foreign_keys.iter().map(|(key, _)| key), &[]).await?;
        // The check reports cycles that cannot be cut.
        let deferred = graph.order().map(|order| order.deferred).unwrap_or_default();
        let plan = Self { keys: Arc::new(keys), tables: Vec::new(), deferred, orphans, state: Arc::new(state.clone()) };
        let wanted = related.into_iter().map(|table| {
            let of_keys = || plan.keys.foreign_keys.iter().filter(|(key, _)| key.table == table);
            let columns = || of_keys().flat_map(|(key, _)| key.columns.clone()).collect();
            let only = (!above.contains(&table)).then(columns);
            (table, only)
        });
        let wanted = wanted.collect();
        Ok((plan, wanted))
    }

    /// Whether a table is more than its own rows.
    pub(super) fn is_related(&self, table: &TableName) -> bool {
        self.keys.foreign_keys.iter().any(|(key, _)| key.table == *table || key.parent == *table)
            || self.keys.keys.iter().any(|(key, _)| key.table == *table && key.columns.len() > 1)
    }

    /// Checks the keys against the data, and that there are rows of all of `targets` that keys are about.
    pub(super) async fn check(&self, targets: &[TableName]) -> Result<()> {
        let report = check_keys(&self.state, &self.keys, self.orphans).await?;
        report.verify()?;
        let without_rows = report.empty_tables();
        let (empty, full): (Vec<_>, Vec<_>) = targets.iter().partition(|table| without_rows.contains(table));
        if empty.is_empty() {
            return Ok(());
        }
        let listed = |tables: &[&TableName]| tables.iter().map(|t| t.table.as_str()).collect::<Vec<_>>().join(", ");
        let way_out = match full.as_slice() {
            [] => "fill them".to_owned(),
            full => format!("fill them, or train the others: synth_train('{}')", listed(full)),
        };
        let reason = format!("no rows in {}; {way_out}", listed(&empty));
        Err(SynthError::NoRows { reason })
    }

    /// Columns of the table that are keys by themselves.
    pub(super) fn single_keys(&self, table: &TableName) -> Vec<String> {
        let keys = self.keys.keys.iter().filter(|(key, _)| key.table == *table && key.columns.len() == 1);
        keys.flat_map(|(key, _)| key.columns.clone()).collect()
    }
}

/// What was read and looked up so far.
#[derive(Debug, Default)]
struct Known {
    tables: HashMap<TableName, RecordBatch>,
    /// By place in `keys.foreign_keys`: per row of the child, the parent's.
    indices: HashMap<usize, Arc<Vec<u32>>>,
    /// The foreign keys of a table, by place, and what they do.
    references: HashMap<TableName, Vec<(usize, Roles)>>,
    held: Option<MemoryReservation>,
}

/// The tables of a [`SchemaPlan`], read when they are first needed.
#[derive(Debug, Clone)]
pub(super) struct SchemaData {
    pub(super) plan: SchemaPlan,
    pub(super) context: Arc<datafusion::execution::TaskContext>,
    known: Arc<Mutex<Known>>,
    /// Tables that are trained side by side look things up in turns, and once.
    turn: Arc<Mutex<()>>,
}

impl SchemaData {
    pub(super) fn new(plan: SchemaPlan, context: Arc<datafusion::execution::TaskContext>) -> Self {
        Self { plan, context, known: Arc::default(), turn: Arc::default() }
    }

    /// All that is known of `table`.
    pub(super) async fn facts(&self, table: &TableName, declared: BTreeMap<String, ColumnRole>) -> Result<TableFacts> {
        let _turn = self.turn.lock().await;
        let rows = self.table(table).await?;
        let references = self.references(table).await?;
        let mut facts = Vec::with_capacity(references.len());
        for (at, role) in references {
            let (key, _) = &self.plan.keys.foreign_keys[at];
            let parent = self.table(&key.parent).await?;
            let wanted = matches!(role, Roles::Owner | Roles::Matched);
            facts.push(ReferenceFacts {
                parent: key.parent.table.clone(),
                columns: key.columns.clone(),
                parent_columns: key.parent_columns.clone(),
                role,
                rows: if wanted { Some(self.flattened(&key.parent).await?) } else { None },
                parents: parent.num_rows(),
                index: self.index(at).await?.to_vec(),
            });
        }
        let mut children = Vec::new();
        for at in self.children(table).await? {
            let (key, _) = &self.plan.keys.foreign_keys[at];
            let counts = self.counts(at, rows.num_rows()).await?;
            children.push((Children { table: key.table.table.clone(), columns: key.columns.clone() }, counts));
        }
        let mut uniques: Vec<Vec<String>> = Vec::new();
        let mut keys: Vec<_> =
            self.plan.keys.keys.iter().map(|(key, _)| key).filter(|key| key.table == *table).collect();
        keys.sort_by_key(|key| key.kind != KeyKind::Primary);
        for key in keys {
            if !uniques.iter().any(|columns| columns.iter().all(|column| key.columns.contains(column))) {
                uniques.push(key.columns.clone());
            }
        }
        Ok(TableFacts { table: rows, roles: declared, references: facts, children, uniques })
    }

    /// The rows of a table, without those that are dropped as orphans.
    fn table<'a>(&'a self, table: &'a TableName) -> BoxFuture<'a, Result<RecordBatch>> {
        Box::pin(async move {
            if let Some(rows) = self.known.lock().await.tables.get(table) {
                return Ok(rows.clone());
            }
            let mut rows = self.read(table).await?;
            if self.plan.orphans == OrphanPolicy::Drop {
                let mut kept = vec![true; rows.num_rows()];
                for (at, (key, _)) in self.plan.keys.foreign_keys.iter().enumerate() {
                    if key.table != *table || key.is_self_reference() || self.plan.deferred.contains(&at) {
                        continue;
                    }
                    let parent = self.table(&key.parent).await?;
                    let found = look_up((&rows, &key.columns), (&parent, &key.parent_columns))?;
                    let null = any_null(&rows, &key.columns)?;
                    for ((kept, found), null) in kept.iter_mut().zip(found).zip(null) {
                        *kept &= null || found != NONE;
                    }
                }
                rows = filter_record_batch(&rows, &BooleanArray::from(kept))?;
            }
            self.known.lock().await.tables.insert(table.clone(), rows.clone());
            Ok(rows)
        })
    }

    fn related(&self, table: &TableName) -> Result<&RelatedScan> {
        let scan = self.plan.tables.iter().find(|related| related.table == *table);
        scan.ok_or_else(|| SynthError::Internal(format!("no scan of `{}`", table.table)))
    }

    async fn read(&self, table: &TableName) -> Result<RecordBatch> {
        let plan = &self.related(table)?.scan;
        let scan = Scan { plan: Arc::clone(plan), context: Arc::clone(&self.context) };
        let (batches, bytes) = scan.collect().await?;
        let mut known = self.known.lock().await;
        let held = known
            .held
            .get_or_insert_with(|| MemoryConsumer::new("TrainExec[schema]").register(self.context.memory_pool()));
        held.try_grow(bytes)?;
        Ok(concat_batches(&plan.schema(), &batches)?)
    }

    /// Per row of the child of foreign key `at`, the row of its parent.
    async fn index(&self, at: usize) -> Result<Arc<Vec<u32>>> {
        if let Some(index) = self.known.lock().await.indices.get(&at) {
            return Ok(Arc::clone(index));
        }
        let (key, _) = &self.plan.keys.foreign_keys[at];
        let (child, parent) = (self.table(&key.table).await?, self.table(&key.parent).await?);
        let index = Arc::new(look_up((&child, &key.columns), (&parent, &key.parent_columns))?);
        self.known.lock().await.indices.insert(at, Arc::clone(&index));
        Ok(index)
    }

    async fn counts(&self, at: usize, parents: usize) -> Result<Vec<u32>> {
        Ok(child_counts(&self.index(at).await?, parents))
    }

    /// The foreign keys of a table and what they do, by the place of their columns.
    async fn references(&self, table: &TableName) -> Result<Vec<(usize, Roles)>> {
        if let Some(references) = self.known.lock().await.references.get(table) {
            return Ok(references.clone());
        }
        let rows = self.table(table).await?;
        let schema = rows.schema();
        let mut shapes = Vec::new();
        for (at, (key, _)) in self.plan.keys.foreign_keys.iter().enumerate().filter(|(_, (key, _))| key.table == *table)
        {
            let index = self.index(at).await?;
            let nulls = index.iter().filter(|&&parent| parent == NONE).count() as u64;
            let mut referenced: Vec<u32> = index.iter().copied().filter(|&parent| parent != NONE).collect();
            referenced.sort_unstable();
            referenced.dedup();
            let columns = key.columns.iter().map(|name| schema.index_of(name)).collect::<Result<_, _>>()?;
            let itself = key.is_self_reference();
            let shape = ReferenceShape {
                columns,
                rows: index.len() as u64 - nulls,
                nulls,
                referenced: referenced.len() as u64,
                itself,
                deferred: !itself && self.plan.deferred.contains(&at),
            };
            shapes.push((at, shape));
        }
        shapes.sort_by(|a, b| a.1.columns.cmp(&b.1.columns));
        let (places, shapes): (Vec<usize>, Vec<ReferenceShape>) = shapes.into_iter().unzip();
        let references: Vec<_> = places.into_iter().zip(choose_roles(&shapes)).collect();
        self.known.lock().await.references.insert(table.clone(), references.clone());
        Ok(references)
    }

    /// The foreign keys that refer to a table: those of most rows first.
    async fn children(&self, table: &TableName) -> Result<Vec<usize>> {
        let mut children = Vec::new();
        for (at, (key, _)) in
            self.plan.keys.foreign_keys.iter().enumerate().filter(|(_, (key, _))| key.parent == *table)
        {
            let child = self.table(&key.table).await?;
            let schema = &self.related(&key.table)?.schema;
            let columns = key.columns.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>()?;
            children.push((std::cmp::Reverse(child.num_rows()), schema.fields().len(), columns, key.table.clone(), at));
        }
        children.sort();
        Ok(children.into_iter().map(|(.., at)| at).collect())
    }

    /// A table's rows as its children see them: its columns that are no foreign keys, how many children they have, and
    /// the same of its owner.
    fn flattened<'a>(&'a self, table: &'a TableName) -> BoxFuture<'a, Result<RecordBatch>> {
        Box::pin(async move {
            let rows = self.table(table).await?;
            let references = self.references(table).await?;
            let in_key = |name: &String| {
                references.iter().any(|(at, _)| self.plan.keys.foreign_keys[*at].0.columns.contains(name))
            };
            let schema = rows.schema();
            let own = schema.fields().iter().zip(rows.columns()).filter(|(field, _)| !in_key(field.name()));
            let (mut fields, mut arrays): (Vec<Arc<Field>>, Vec<ArrayRef>) =
                own.map(|(field, array)| (Arc::clone(field), Arc::clone(array))).unzip();
            for (number, at) in self.children(table).await?.into_iter().enumerate() {
                let counts = self.counts(at, rows.num_rows()).await?;
                fields.push(Arc::new(Field::new(degree_column(number), DataType::Int32, true)));
                arrays.push(Arc::new(Int32Array::from_iter_values(counts.into_iter().map(u32::cast_signed))));
            }
            if let Some((at, _)) = references.iter().find(|(_, role)| *role == Roles::Owner) {
                let owner = self.flattened(&self.plan.keys.foreign_keys[*at].0.parent).await?;
                let index: UInt32Array =
                    self.index(*at).await?.iter().map(|&row| (row != NONE).then_some(row)).collect();
                for (field, array) in owner.schema().fields().iter().zip(owner.columns()) {
                    fields.push(Arc::new(Field::new(owner_column(field.name()), field.data_type().clone(), true)));
                    arrays.push(take(array, &index, None)?);
                }
            }
            let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
            Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)?)
        })
    }
}
