//! Which plans a sample takes.

use super::{
    RelatedExec,
    plan::{Input, Tasks},
};
use crate::{
    Result, SynthError,
    exec::sample::{SampleExec, SampleSpec},
    relational::{Reference, Relations, Role, degree_column, is_hidden, owner_column},
    store::{Manifest, ModelStore},
};
use datafusion::physical_plan::ExecutionPlan;
use futures::future::BoxFuture;
use std::{ops::Range, sync::Arc};

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

/// The plan of the columns `columns` (by place in the sample's schema) of a related table, in `partitions` partitions.
pub(in crate::exec::sample) async fn plan_related(
    spec: &SampleSpec,
    manifest: Arc<Manifest>,
    projection: Vec<usize>,
    partitions: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    let store = ModelStore::open(&spec.store)?;
    let rows = segment_rows(&manifest, spec.scale);
    let segments = spec.start / rows..(spec.start + spec.rows).div_ceil(rows);
    let shift = usize::from(spec.row_id);
    let columns: Vec<String> = projection
        .iter()
        .filter_map(|&column| Some(manifest.schema().field(column.checked_sub(shift)?).name().clone()))
        .collect();
    let tasks = Tasks::new(spec.start..spec.start + spec.rows, rows, partitions);
    let builder = Builder { store: &store, spec, segments };
    let row_id = projection.iter().position(|&column| spec.row_id && column == 0);
    builder.related(&manifest, columns, row_id, tasks, true).await
}

struct Builder<'a> {
    store: &'a ModelStore,
    spec: &'a SampleSpec,
    segments: Range<u64>,
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
            let relations = manifest
                .relations
                .as_ref()
                .ok_or_else(|| SynthError::Internal("a model without relations".to_owned()))?;
            let mut inputs = Vec::new();
            for (number, reference) in relations.references.iter().enumerate() {
                if relations.needs_parents(reference, last) {
                    inputs.push(self.input(manifest, relations, (number, reference), &columns).await?);
                }
            }
            let spec = self.spec_of(manifest, tasks.rows());
            Ok(Arc::new(RelatedExec::try_new(spec, Arc::clone(manifest), columns, row_id, tasks, inputs)?) as _)
        })
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
        let parent = self.store.manifest(&reference.parent, None).await.map_err(|error| match error {
            SynthError::NotFound { .. } => SynthError::Model(format!(
                "`{}` refers to `{}`, which has no model: SELECT * FROM synth_train('{}')",
                child.name, reference.parent, reference.parent
            )),
            error => error,
        })?;
        let mut wanted: Vec<String> = reference.parent_columns.clone();
        match &reference.role {
            Role::Owner => {
                if let Some(context) = &relations.context {
                    wanted.extend(context.owner.schema().fields().iter().map(|field| field.name().clone()));
                }
                // What the children of the children need of this owner.
                wanted
                    .extend(columns.iter().filter_map(|name| name.strip_prefix(&owner_column(""))).map(str::to_owned));
            }
            Role::Matched(Some(attributes)) => {
                wanted.extend(attributes.encoder.schema().fields().iter().map(|field| field.name().clone()));
            }
            _ => {}
        }
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
        wanted.push(degree_column(counted));
        let mut distinct: Vec<String> = Vec::new();
        for name in wanted {
            if !distinct.contains(&name) {
                distinct.push(name);
            }
        }
        self.check_columns(&parent, &distinct, child)?;
        let degree = distinct.iter().position(|name| *name == degree_column(counted));
        let plan = self.segments_of(&parent, distinct).await?;
        Ok(Input { reference: number, degree, first: self.segments.start, plan })
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
