//! Which plans a sample takes.

use super::{
    AdoptExec, CompleteExec, RelatedExec,
    adopt::Owner,
    plan::{Input, Tasks},
};
use crate::{
    Result, SynthError,
    encode::Unseen,
    exec::{
        sample::{Parent, Parents, SampleExec, SampleSpec},
        source::ordered_scan,
    },
    models,
    relational::{Reference, Relations, Role, degree_column, is_hidden, owner_column},
    store::{Manifest, ModelStore},
};
use datafusion::{catalog::Session, common::TableReference, physical_plan::ExecutionPlan};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::{collections::BTreeSet, ops::Range, sync::Arc};

/// Whether the rows of a model need more than the model.
pub(in crate::exec::sample) fn is_related(manifest: &Manifest) -> bool {
    let relations = manifest.relations.as_ref();
    relations.is_some_and(|relations| {
        !relations.references.is_empty() || relations.uniques.iter().any(|unique| !unique.drawn.is_empty())
    })
}

/// Rows of a segment of `manifest`'s table.
pub(in crate::exec) fn segment_rows(manifest: &Manifest, scale: f64) -> u64 {
    let rows = manifest.relations.as_ref().map_or(manifest.report.rows, |relations| relations.rows);
    ((rows as f64 * scale.min(1.0)).round() as u64).max(1)
}

/// Which rows a plan has.
#[derive(Debug, Clone, Copy)]
pub(in crate::exec::sample) enum Part {
    /// The first `limit` of the sample's, in about so many partitions.
    Rows { limit: u64, partitions: usize },
    /// All from the sample's first one on, a partition for about so many.
    Windows(u64),
}

/// The plan of the columns `projection` (by place in the sample's schema) of a related table.
pub(in crate::exec::sample) async fn plan_related(
    spec: &SampleSpec,
    manifest: Arc<Manifest>,
    (parents, session): (&Parents, Option<&dyn Session>),
    projection: Vec<usize>,
    part: Part,
) -> Result<Arc<dyn ExecutionPlan>> {
    let store = ModelStore::open(&spec.store)?;
    let rows = segment_rows(&manifest, spec.scale);
    let told = (spec.rows != SampleSpec::ALL).then_some(spec.rows);
    let tasks = match (parents.own(&manifest), part) {
        (true, Part::Rows { limit, partitions }) => Tasks::whole(limit, told, partitions),
        (true, Part::Windows(_)) => Tasks::whole(SampleSpec::ALL, None, SHARES),
        (false, Part::Rows { limit, partitions }) => Tasks::new(spec.start..spec.start + limit, rows, partitions),
        (false, Part::Windows(window)) => Tasks::windows(spec.start, rows, window),
    };
    let segments = tasks.segments();
    let shift = usize::from(spec.row_id);
    let columns: Vec<String> = projection
        .iter()
        .filter_map(|&column| Some(manifest.schema().field(column.checked_sub(shift)?).name().clone()))
        .collect();
    let builder =
        Builder { function: "synth_sample", store: &store, spec, segments, parents, session, used: Mutex::default() };
    let row_id = projection.iter().position(|&column| spec.row_id && column == 0);
    let plan = builder.related(&manifest, columns, row_id, tasks, true).await?;
    builder.check_used(&manifest)?;
    Ok(plan)
}

/// The plan of the columns `projection` of the rows of `given`, completed. Their parents are those of the first segment, or
/// tables.
pub(in crate::exec::sample) async fn plan_completed(
    spec: &SampleSpec,
    manifest: Arc<Manifest>,
    (parents, session): (&Parents, &dyn Session),
    projection: Vec<usize>,
    given: (Arc<dyn ExecutionPlan>, Unseen),
) -> Result<CompleteExec> {
    let store = ModelStore::open(&spec.store)?;
    let session = Some(session);
    let (function, segments) = ("synth_sample", 0..1);
    let builder = Builder { function, store: &store, spec, segments, parents, session, used: Mutex::default() };
    let needed = |relations: &Relations, reference: &Reference| relations.needs_parents(reference, true);
    let inputs = builder.inputs(&manifest, &[], needed).await?;
    builder.check_used(&manifest)?;
    let rows = segment_rows(&manifest, spec.scale);
    CompleteExec::try_new(spec.clone(), manifest, projection, rows, given, inputs)
}

/// The plans of the parents that tell the rows of `manifest`'s table something, for `function`: rows of the tables `parents`.
pub(in crate::exec) async fn plan_parents(
    function: &'static str,
    spec: &SampleSpec,
    manifest: &Manifest,
    (parents, session): (&Parents, &dyn Session),
) -> Result<Vec<Input>> {
    let store = ModelStore::open(&spec.store)?;
    let (segments, session) = (0..1, Some(session));
    let builder = Builder { function, store: &store, spec, segments, parents, session, used: Mutex::default() };
    let inputs = builder.inputs(manifest, &[], Relations::tells).await?;
    builder.check_used(manifest)?;
    Ok(inputs)
}

/// What is wanted of the owner of rows of which `columns` are wanted: what they are drawn given, and what children of theirs
/// know of it.
fn wanted_of_owner(relations: &Relations, columns: &[String]) -> Vec<String> {
    let context = relations.context.iter().flat_map(|context| context.owner.schema().fields());
    let of_children = columns.iter().filter_map(|name| name.strip_prefix(&owner_column(""))).map(str::to_owned);
    context.map(|field| field.name().clone()).chain(of_children).collect()
}

/// Parts that the children of a given table come in, where they are looked through.
const SHARES: usize = 64;

struct Builder<'a> {
    /// The SQL function, for errors.
    function: &'static str,
    store: &'a ModelStore,
    spec: &'a SampleSpec,
    segments: Range<u64>,
    /// Tables that stand for parents, and the session that reads them.
    parents: &'a Parents,
    session: Option<&'a dyn Session>,
    /// Those of them that were asked for.
    used: Mutex<BTreeSet<String>>,
}

impl Builder<'_> {
    /// `manifest`'s table, with its parents below it.
    fn related<'a>(
        &'a self,
        manifest: &'a Arc<Manifest>,
        columns: Vec<String>,
        row_id: Option<usize>,
        tasks: Tasks,
        last: bool,
    ) -> BoxFuture<'a, Result<Arc<dyn ExecutionPlan>>> {
        Box::pin(async move {
            let needed = |relations: &Relations, reference: &Reference| relations.needs_parents(reference, last);
            let inputs = self.inputs(manifest, &columns, needed).await?;
            let spec = self.spec_of(manifest, tasks.rows());
            Ok(Arc::new(RelatedExec::try_new(spec, Arc::clone(manifest), columns, row_id, tasks, inputs)?) as _)
        })
    }

    /// The parents of `manifest`'s table, of which `columns` are wanted: those of references that are `needed`.
    async fn inputs(
        &self,
        manifest: &Manifest,
        columns: &[String],
        needed: impl Fn(&Relations, &Reference) -> bool,
    ) -> Result<Vec<Input>> {
        let relations =
            manifest.relations.as_ref().ok_or_else(|| SynthError::Internal("a model without relations".to_owned()))?;
        let mut inputs = Vec::new();
        for (number, reference) in relations.references.iter().enumerate() {
            if needed(relations, reference) {
                inputs.push(self.input(manifest, relations, (number, reference), columns).await?);
            }
        }
        Ok(inputs)
    }

    fn fault(&self, given: String, expected: String) -> SynthError {
        SynthError::Argument { function: self.function.to_owned(), argument: "parent".to_owned(), given, expected }
    }

    /// Every table that stands for a parent must have been asked for.
    fn check_used(&self, manifest: &Manifest) -> Result<()> {
        let used = self.used.lock();
        let Some(parent) = self.parents.0.iter().find(|parent| !parent.by_name && !used.contains(&parent.name)) else {
            return Ok(());
        };
        let relations = manifest.relations.iter();
        let names: BTreeSet<&str> =
            relations.flat_map(|relations| &relations.references).map(|key| key.parent.as_str()).collect();
        let names: Vec<&str> = names.into_iter().filter(|name| *name != manifest.name).collect();
        Err(self.fault(
            format!("`{}` as `{}`", parent.table, parent.name),
            format!(
                "tables that stand for parents of `{}`: {} (`my_table AS {}`)",
                manifest.name,
                names.join(", "),
                names.first().copied().unwrap_or("parent")
            ),
        ))
    }

    fn spec_of(&self, manifest: &Manifest, rows: Range<u64>) -> SampleSpec {
        SampleSpec {
            model: manifest.name.clone(),
            version: manifest.version,
            content_hash: manifest.content_hash.clone(),
            start: rows.start,
            rows: rows.end - rows.start,
            row_id: false,
            given: None,
            // Parents are those that other samples refer to.
            temperature: if manifest.name == self.spec.model { self.spec.temperature } else { 1.0 },
            ..self.spec.clone()
        }
    }

    /// The parents of reference `number`: its key, what the child depends on, and how many children it has.
    async fn input(
        &self,
        child: &Manifest,
        relations: &Relations,
        (number, reference): (usize, &Reference),
        columns: &[String],
    ) -> Result<Input> {
        let mut wanted = Vec::new();
        match &reference.role {
            Role::Owner => wanted = wanted_of_owner(relations, columns),
            Role::Matched(Some(attributes)) => {
                wanted.extend(attributes.encoder.schema().fields().iter().map(|field| field.name().clone()));
            }
            _ => {}
        }
        let (parent, wanted, degree) = self.parent(child, reference, wanted).await?;
        let degree = Some(degree);
        if let Some(given) = self.given(&reference.parent) {
            let plan = self.adopted(&parent, (given, reference), wanted).await?;
            return Ok(Input { reference: number, degree, first: None, plan });
        }
        self.check_columns(&parent, &wanted, child)?;
        let plan = self.segments_of(&parent, wanted).await?;
        Ok(Input { reference: number, degree, first: Some(self.segments.start), plan })
    }

    /// The model of the parent of `reference`, what is wanted of it (its key, `wanted`, its number of children), and where
    /// among that the number of children is.
    async fn parent(
        &self,
        child: &Manifest,
        reference: &Reference,
        wanted: Vec<String>,
    ) -> Result<(Arc<Manifest>, Vec<String>, usize)> {
        let parent = self.store.manifest(&reference.parent, None).await.map_err(|error| match error {
            SynthError::NotFound { .. } => SynthError::Model(format!(
                "`{}` refers to `{}`, which has no model: SELECT * FROM synth_train('{}')",
                child.name, reference.parent, reference.parent
            )),
            error => error,
        })?;
        let counted = parent.relations.as_ref().and_then(|relations| {
            let names = [child.name.as_str(), child.source.as_str()];
            names.iter().find_map(|name| relations.child(name, &reference.columns))
        });
        let counted = counted.ok_or_else(|| {
            SynthError::Model(format!(
                "the model of `{}` does not know how many `{}` its rows have by ({}); train it again, with this foreign key: \
                 SELECT * FROM synth_train('{}')",
                parent.name,
                child.name,
                reference.columns.join(", "),
                parent.name
            ))
        })?;
        let mut distinct: Vec<String> = Vec::new();
        for name in reference.parent_columns.iter().cloned().chain(wanted).chain([degree_column(counted)]) {
            if !distinct.contains(&name) {
                distinct.push(name);
            }
        }
        let degree = distinct.iter().position(|name| *name == degree_column(counted)).unwrap_or(distinct.len());
        Ok((parent, distinct, degree))
    }

    /// The table that stands for a parent.
    fn given(&self, parent: &str) -> Option<&Parent> {
        let given = self.parents.of(parent)?;
        self.used.lock().insert(parent.to_owned());
        Some(given)
    }

    /// A table instead of what the model of `manifest` would generate: `columns` of it, hidden ones included. Children name
    /// its rows by `reference`.
    fn adopted<'a>(
        &'a self,
        manifest: &'a Arc<Manifest>,
        (given, reference): (&'a Parent, &'a Reference),
        columns: Vec<String>,
    ) -> BoxFuture<'a, Result<Arc<dyn ExecutionPlan>>> {
        Box::pin(async move {
            if !models::kind(&manifest.kind)?.any_order() {
                let given = format!("`{}` as `{}`, whose model is of kind {}", given.table, given.name, manifest.kind);
                let expected = "a parent whose model can say how many children a row of a table would have: \
                                train it with model => 'argn'";
                return Err(self.fault(given, expected.to_owned()));
            }
            let session =
                self.session.ok_or_else(|| SynthError::Internal("a table without a session to read it".to_owned()))?;
            let relations = manifest
                .relations
                .as_ref()
                .ok_or_else(|| SynthError::Internal("a model without relations".to_owned()))?;
            let of_owner = wanted_of_owner(relations, &columns);
            let schema = given.provider.schema();
            let mut needed: Vec<&String> = columns.iter().filter(|name| !is_hidden(name)).collect();
            let mut owner = None;
            if relations.context.is_some() || !of_owner.is_empty() {
                let (_, reference) =
                    relations.owner().ok_or_else(|| SynthError::Internal("a context without an owner".to_owned()))?;
                needed.extend(&reference.columns);
                let Some(grand) = self.given(&reference.parent) else {
                    return Err(self.fault(
                        format!(
                            "`{}` as `{}`, whose rows depend on those of `{}`",
                            given.table, given.name, reference.parent
                        ),
                        format!(
                            "a table for these, too: '{} AS {}, … AS {}'",
                            given.table, given.name, reference.parent
                        ),
                    ));
                };
                let (parent, wanted, degree) = self.parent(manifest, reference, of_owner).await?;
                owner = Some(Owner {
                    plan: self.adopted(&parent, (grand, reference), wanted).await?,
                    columns: reference.columns.clone(),
                    parent_columns: reference.parent_columns.clone(),
                    degree: Some(degree),
                });
            }
            let missing: Vec<String> = needed
                .into_iter()
                .filter(|name| schema.field_with_name(name).is_err())
                .map(|name| format!("`{name}`"))
                .collect();
            if !missing.is_empty() {
                return Err(self.fault(
                    format!("`{}` as `{}`, without {}", given.table, given.name, missing.join(", ")),
                    format!("a table with the columns of `{}` that its children refer to and depend on", given.name),
                ));
            }
            let provider = Arc::clone(&given.provider);
            let rows = ordered_scan(session, TableReference::bare("given"), provider, None).await?;
            let spec = self.spec_of(manifest, 0..0);
            let key = reference.parent_columns.clone();
            Ok(Arc::new(AdoptExec::try_new(spec, (given.table.clone(), rows), key, owner, columns)?) as _)
        })
    }

    fn check_columns(&self, parent: &Manifest, names: &[String], child: &Manifest) -> Result<()> {
        let has = |name: &String| {
            name.starts_with(&owner_column(""))
                || parent.schema().field_with_name(name).is_ok()
                || parent.encoder.schema().field_with_name(name).is_ok()
        };
        match names.iter().find(|name| !has(name)) {
            None => Ok(()),
            Some(name) if is_hidden(name) => Err(SynthError::Model(format!(
                "`{}` was trained with other foreign keys to `{}` than that was; train both again: \
                 SELECT * FROM synth_train('{}, {}')",
                child.name, parent.name, parent.name, child.name
            ))),
            Some(name) => Err(SynthError::Schema(format!(
                "`{}` depends on column `{name}` of `{}`, which its model does not have; train both again: \
                 SELECT * FROM synth_train('{}, {}')",
                child.name, parent.name, parent.name, child.name
            ))),
        }
    }

    /// `columns` of a parent, a partition per segment.
    async fn segments_of(&self, manifest: &Arc<Manifest>, columns: Vec<String>) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = segment_rows(manifest, self.spec.scale);
        let range = self.segments.start * rows..self.segments.end * rows;
        if is_related(manifest) {
            return self.related(manifest, columns, None, Tasks::by_segment(self.segments.clone(), rows), false).await;
        }
        let schema = manifest.encoder.schema();
        let projection = columns.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>()?;
        let spec = self.spec_of(manifest, range);
        Ok(Arc::new(SampleExec::of_segments(spec, schema, projection, rows)?))
    }
}
