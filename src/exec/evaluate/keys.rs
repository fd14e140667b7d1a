//! The rows of `synth_evaluate_keys`: what the synthetic tables keep of each foreign key.
//!
//! Everything is counted by queries, in one pass over both sides each: the references of the child, the children of the
//! parents, and the trends between the columns of a child and those of its parent.

use super::Twins;
use crate::{
    Result,
    exec::{
        keys::{KnownKeys, Row, Tables, quoted},
        report::{Report, ReportTable},
    },
    schema::{ForeignKey, TableName, show_columns},
    store::ModelStore,
};
use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, StringArray},
    compute::cast,
    datatypes::{DataType, Field, Float64Type, Schema, SchemaRef},
    record_batch::RecordBatch,
};
use async_trait::async_trait;
use datafusion::{common::TableReference, execution::SessionState};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

/// Values that a column that is no number has at most, to be compared category by category.
const CATEGORIES: f64 = 100.0;
/// Bins of a number, of equal counts in the real table, where it is compared with a category.
const BINS: usize = 10;
/// Trends that one query works out.
const TRENDS: usize = 256;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("table_name", DataType::Utf8, false),
        Field::new("columns", DataType::Utf8, false),
        Field::new("parent_table", DataType::Utf8, false),
        Field::new("parent_columns", DataType::Utf8, false),
        Field::new("metric", DataType::Utf8, false),
        Field::new("column", DataType::Utf8, true),
        Field::new("parent_column", DataType::Utf8, true),
        Field::new("real", DataType::Float64, true),
        Field::new("synthetic", DataType::Float64, true),
        Field::new("score", DataType::Float64, true),
    ]))
});

#[derive(Debug)]
struct KeyEvaluation {
    store: ModelStore,
    tables: Option<Vec<TableReference>>,
    twins: Twins,
}

/// The foreign keys of `tables` (of all tables, if there is no list), compared with those of their twins when it is read.
#[must_use]
pub fn evaluated_keys(store: ModelStore, tables: Option<Vec<TableReference>>, twins: Twins) -> ReportTable {
    ReportTable::new(KeyEvaluation { store, tables, twins })
}

#[async_trait]
impl Report for KeyEvaluation {
    fn title(&self) -> String {
        format!("synth_evaluate_keys synthetic={}", self.twins)
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    async fn rows(&self, state: &SessionState) -> Result<RecordBatch> {
        let tables = Tables::of(state);
        let known = KnownKeys::asked(state, &self.store, self.tables.as_deref()).await?;
        // Everything is there before anything is counted.
        let mut sides: BTreeMap<&TableName, Side> = BTreeMap::new();
        for table in known.foreign_keys.iter().flat_map(|(key, _)| [&key.table, &key.parent]) {
            if !sides.contains_key(table) {
                sides.insert(table, self.side(table, &tables).await?);
            }
        }
        for (table, side) in &mut sides {
            side.features = features(state, side, &key_columns(&known, table)).await?;
        }
        let mut rows: Vec<(&ForeignKey, Finding)> = Vec::new();
        for (key, _) in &known.foreign_keys {
            let ends = Ends { key, child: &sides[&key.table], parent: &sides[&key.parent] };
            rows.extend(ends.findings(state).await?.into_iter().map(|row| (key, row)));
        }
        batch(&tables, &rows)
    }
}

impl KeyEvaluation {
    async fn side(&self, table: &TableName, tables: &Tables) -> Result<Side> {
        let schema = tables.get(table).await?.schema();
        let synthetic = self.twins.of(table, tables, &self.store).await?;
        Ok(Side { schema, real: tables.reference(table), synthetic, features: Vec::new() })
    }
}

/// A table, and what stands for it: as queries read them.
#[derive(Debug)]
struct Side {
    schema: SchemaRef,
    real: String,
    synthetic: String,
    /// The columns that trends are looked for in.
    features: Vec<Feature>,
}

impl Side {
    fn table(&self, is_real: bool) -> &str {
        if is_real { &self.real } else { &self.synthetic }
    }
}

/// A foreign key, with the tables on both ends.
#[derive(Debug)]
struct Ends<'a> {
    key: &'a ForeignKey,
    child: &'a Side,
    parent: &'a Side,
}

/// A row of the report.
#[derive(Debug)]
struct Finding {
    metric: &'static str,
    /// Of child and parent.
    columns: Option<(String, String)>,
    real: Option<f64>,
    synthetic: Option<f64>,
    score: Option<f64>,
}

/// A column that trends are looked for in.
#[derive(Debug, Clone)]
struct Feature {
    name: String,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    /// Its values are categories.
    Category,
    /// A number or an instant of this type; the edges of its bins in the real table.
    Number(DataType, Vec<f64>),
}

impl Ends<'_> {
    async fn findings(&self, state: &SessionState) -> Result<Vec<Finding>> {
        let mut findings = vec![self.cardinality(state).await?];
        findings.extend(self.references(state).await?);
        let (children, parents) = (self.child.features.len(), self.parent.features.len());
        let pairs: Vec<_> = (0..children).flat_map(|c| (0..parents).map(move |p| (c, p))).collect();
        for pairs in pairs.chunks(TRENDS) {
            findings.extend(self.trends(state, pairs).await?);
        }
        Ok(findings)
    }

    fn list(columns: &[String], prefix: &str) -> String {
        let named = columns.iter().enumerate().map(|(at, name)| format!("{} AS {prefix}{at}", quoted(name)));
        named.collect::<Vec<_>>().join(", ")
    }

    /// The distinct keys of the parent.
    fn parents(&self, is_real: bool) -> String {
        let columns = Self::list(&self.key.parent_columns, "p");
        format!("(SELECT DISTINCT {columns} FROM {})", self.parent.table(is_real))
    }

    /// The keys of the child, and how many rows have each.
    fn children(&self, is_real: bool) -> String {
        let columns = Self::list(&self.key.columns, "c");
        let places: Vec<String> = (0..self.key.columns.len()).map(|at| format!("c{at}")).collect();
        let places = places.join(", ");
        let child = self.child.table(is_real);
        format!("(SELECT {places}, count(*) AS n FROM (SELECT {columns} FROM {child}) GROUP BY {places})")
    }

    fn matched(&self) -> String {
        let pairs: Vec<String> = (0..self.key.columns.len()).map(|at| format!("c{at} = p{at}")).collect();
        pairs.join(" AND ")
    }

    /// For both sides, one after the other.
    fn both(query: impl Fn(bool) -> String) -> String {
        format!("({} UNION ALL {})", query(true), query(false))
    }

    /// Children of a parent: their mean, and how far their distributions are from each other.
    async fn cardinality(&self, state: &SessionState) -> Result<Finding> {
        let on = self.matched();
        let complete: Vec<String> = (0..self.key.columns.len()).map(|at| format!("p{at} IS NOT NULL")).collect();
        let complete = complete.join(" AND ");
        let counts = Self::both(|is_real| {
            let (parents, children) = (self.parents(is_real), self.children(is_real));
            format!(
                "SELECT {is_real} AS is_real, coalesce(n, 0) AS children FROM {parents} LEFT JOIN {children} ON {on} \
                 WHERE {complete}"
            )
        });
        let sql = format!(
            "SELECT avg(children) FILTER (WHERE is_real) AS a, avg(children) FILTER (WHERE NOT is_real) AS b, \
             1 - ks_distance(children, is_real) AS s FROM {counts}"
        );
        let row = query(state, &sql).await?;
        Ok(Finding {
            metric: "cardinality",
            columns: None,
            real: value(&row, "a")?,
            synthetic: value(&row, "b")?,
            score: value(&row, "s")?,
        })
    }

    /// The shares of the child's rows that refer to nothing, and to a row that is not there.
    async fn references(&self, state: &SessionState) -> Result<[Finding; 2]> {
        let on = self.matched();
        let nothing: Vec<String> = (0..self.key.columns.len()).map(|at| format!("c{at} IS NULL")).collect();
        let nothing = nothing.join(" OR ");
        let rows = Self::both(|is_real| {
            let (parents, children) = (self.parents(is_real), self.children(is_real));
            format!(
                "SELECT {is_real} AS is_real, n, {nothing} AS nothing, p0 IS NULL AS missing \
                 FROM {children} LEFT JOIN {parents} ON {on}"
            )
        });
        let share = |side: &str, what: &str| {
            format!("coalesce(sum(n) FILTER (WHERE {side} AND {what}), 0) * 1.0 / sum(n) FILTER (WHERE {side})")
        };
        let (real, synthetic, orphan) = ("is_real", "NOT is_real", "NOT nothing AND missing");
        let sql = format!(
            "SELECT {} AS a, {} AS b, {} AS c, {} AS d FROM {rows}",
            share(real, "nothing"),
            share(synthetic, "nothing"),
            share(real, orphan),
            share(synthetic, orphan)
        );
        let row = query(state, &sql).await?;
        let finding = |metric, real: &str, synthetic: &str, score: fn(f64, f64) -> f64| -> Result<Finding> {
            let (real, synthetic) = (value(&row, real)?, value(&row, synthetic)?);
            let score = real.zip(synthetic).map(|(real, synthetic)| score(real, synthetic));
            Ok(Finding { metric, columns: None, real, synthetic, score })
        };
        Ok([
            finding("nulls", "a", "b", |real, synthetic| 1.0 - (real - synthetic).abs())?,
            finding("orphans", "c", "d", |_, synthetic| 1.0 - synthetic)?,
        ])
    }

    /// The trends between `pairs` of columns, of child and parent: of numbers their correlation, of others how the
    /// frequencies of their pairs differ.
    async fn trends(&self, state: &SessionState, pairs: &[(usize, usize)]) -> Result<Vec<Finding>> {
        let (child, parent) = (&self.child.features, &self.parent.features);
        let on: Vec<String> = (self.key.columns.iter().zip(&self.key.parent_columns))
            .map(|(child, parent)| format!("c.{} = p.{}", quoted(child), quoted(parent)))
            .collect();
        let of_child: BTreeSet<usize> = pairs.iter().map(|(child, _)| *child).collect();
        let of_parent: BTreeSet<usize> = pairs.iter().map(|(_, parent)| *parent).collect();
        let columns: Vec<String> = (of_child.into_iter().map(|at| child[at].columns("c", at)))
            .chain(of_parent.into_iter().map(|at| parent[at].columns("p", at)))
            .collect();
        let (columns, on) = (columns.join(", "), on.join(" AND "));
        let rows = Self::both(|is_real| {
            let (child, parent) = (self.child.table(is_real), self.parent.table(is_real));
            format!("SELECT {is_real} AS is_real, {columns} FROM {child} AS c JOIN {parent} AS p ON {on}")
        });
        let measured = |(number, &(c, p)): (usize, &(usize, usize))| {
            let strength = match (&child[c].kind, &parent[p].kind) {
                (Kind::Number(..), Kind::Number(..)) => format!("corr(c{c}n, p{p}n)"),
                _ => format!("cramers_v(c{c}k, p{p}k)"),
            };
            format!(
                "{strength} FILTER (WHERE is_real) AS a{number}, {strength} FILTER (WHERE NOT is_real) AS b{number}, \
                 tvd(struct(c{c}k, p{p}k), is_real) AS d{number}"
            )
        };
        let measured: Vec<String> = pairs.iter().enumerate().map(measured).collect();
        let row = query(state, &format!("SELECT {} FROM {rows}", measured.join(", "))).await?;
        let finding = |(number, &(c, p)): (usize, &(usize, usize))| {
            let (real, synthetic) = (value(&row, &format!("a{number}"))?, value(&row, &format!("b{number}"))?);
            let numbers = matches!((&child[c].kind, &parent[p].kind), (Kind::Number(..), Kind::Number(..)));
            let score = if numbers {
                real.zip(synthetic).map(|(real, synthetic)| 1.0 - (real - synthetic).abs() / 2.0)
            } else {
                value(&row, &format!("d{number}"))?.map(|distance| 1.0 - distance)
            };
            let columns = Some((child[c].name.clone(), parent[p].name.clone()));
            Ok(Finding { metric: "trend", columns, real, synthetic, score })
        };
        pairs.iter().enumerate().map(finding).collect()
    }
}

impl Feature {
    /// As a category (`…k`) and, of numbers, as a number (`…n`).
    fn columns(&self, side: &str, at: usize) -> String {
        let name = format!("{side}.{}", quoted(&self.name));
        match &self.kind {
            Kind::Category => format!("CAST({name} AS VARCHAR) AS {side}{at}k"),
            Kind::Number(data_type, edges) => {
                let number = number(&name, data_type);
                let bins: Vec<String> = edges
                    .iter()
                    .enumerate()
                    .map(|(bin, edge)| format!("WHEN {number} <= {edge:e} THEN '{bin}'"))
                    .collect();
                format!(
                    "CASE WHEN {number} IS NULL THEN NULL {} ELSE 'above' END AS {side}{at}k, {number} AS {side}{at}n",
                    bins.join(" ")
                )
            }
        }
    }
}

/// The columns of all keys of a table: they say who, not what.
fn key_columns<'a>(known: &'a KnownKeys, table: &TableName) -> BTreeSet<&'a str> {
    let own = known.keys.iter().filter(|(key, _)| key.table == *table).flat_map(|(key, _)| &key.columns);
    let foreign = known.foreign_keys.iter().map(|(key, _)| key);
    let of_child = foreign.clone().filter(|key| key.table == *table).flat_map(|key| &key.columns);
    let of_parent = foreign.filter(|key| key.parent == *table).flat_map(|key| &key.parent_columns);
    own.chain(of_child).chain(of_parent).map(String::as_str).collect()
}

/// A number, date or timestamp called `name` as a number.
fn number(name: &str, data_type: &DataType) -> String {
    if data_type.is_temporal() {
        format!("CAST(CAST(arrow_cast({name}, 'Timestamp(Second, None)') AS BIGINT) AS DOUBLE)")
    } else {
        format!("CAST({name} AS DOUBLE)")
    }
}

/// The columns of a table that trends are looked for in: numbers and dates, and others of few values; none of `keys`.
async fn features(state: &SessionState, side: &Side, keys: &BTreeSet<&str>) -> Result<Vec<Feature>> {
    let fields: Vec<_> = side.schema.fields().iter().filter(|field| !keys.contains(field.name().as_str())).collect();
    let is_number = |data_type: &DataType| {
        data_type.is_numeric() || matches!(data_type, DataType::Date32 | DataType::Date64 | DataType::Timestamp(..))
    };
    let asked = |(at, field): (usize, &&Arc<Field>)| {
        let name = quoted(field.name());
        if is_number(field.data_type()) {
            let number = number(&name, field.data_type());
            let edge = |bin: usize| {
                let share = bin as f64 / BINS as f64;
                format!("approx_percentile_cont({share}) WITHIN GROUP (ORDER BY {number}) AS e{at}_{bin}")
            };
            (1..BINS).map(edge).collect::<Vec<_>>().join(", ")
        } else {
            format!("approx_distinct(CAST({name} AS VARCHAR)) AS n{at}")
        }
    };
    let asked: Vec<String> = fields.iter().enumerate().map(asked).collect();
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let row = query(state, &format!("SELECT {} FROM {}", asked.join(", "), side.real)).await?;
    let mut features = Vec::new();
    for (at, field) in fields.into_iter().enumerate() {
        let kind = if is_number(field.data_type()) {
            let edges = (1..BINS).map(|bin| value(&row, &format!("e{at}_{bin}"))).collect::<Result<Vec<_>>>()?;
            let mut edges: Vec<f64> = edges.into_iter().flatten().filter(|edge| edge.is_finite()).collect();
            edges.dedup();
            Kind::Number(field.data_type().clone(), edges)
        } else if value(&row, &format!("n{at}"))?.is_some_and(|values| values <= CATEGORIES) {
            Kind::Category
        } else {
            continue;
        };
        features.push(Feature { name: field.name().clone(), kind });
    }
    Ok(features)
}

/// The one row of `sql`.
async fn query(state: &SessionState, sql: &str) -> Result<Row> {
    Row::of(state, &state.create_logical_plan(sql).await?).await
}

/// The number called `name`; none where it is null or no number.
fn value(row: &Row, name: &str) -> Result<Option<f64>> {
    let values = cast(row.column(name)?, &DataType::Float64)?;
    let values = values.as_primitive::<Float64Type>();
    Ok(values.is_valid(0).then(|| values.value(0)).filter(|value| value.is_finite()))
}

fn batch(tables: &Tables, rows: &[(&ForeignKey, Finding)]) -> Result<RecordBatch> {
    let texts = |get: &dyn Fn(&(&ForeignKey, Finding)) -> Option<String>| -> ArrayRef {
        Arc::new(rows.iter().map(get).collect::<StringArray>())
    };
    let numbers = |get: &dyn Fn(&Finding) -> Option<f64>| -> ArrayRef {
        Arc::new(rows.iter().map(|(_, finding)| get(finding)).collect::<Float64Array>())
    };
    let columns = vec![
        texts(&|(key, _)| Some(tables.show(&key.table))),
        texts(&|(key, _)| Some(show_columns(&key.columns))),
        texts(&|(key, _)| Some(tables.show(&key.parent))),
        texts(&|(key, _)| Some(show_columns(&key.parent_columns))),
        texts(&|(_, finding)| Some(finding.metric.to_owned())),
        texts(&|(_, finding)| Some(finding.columns.as_ref()?.0.clone())),
        texts(&|(_, finding)| Some(finding.columns.as_ref()?.1.clone())),
        numbers(&|finding| finding.real),
        numbers(&|finding| finding.synthetic),
        numbers(&|finding| finding.score),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
}
