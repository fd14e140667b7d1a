//! A table and its parents, made into the rows that a model learns.

use super::{
    Attributes, Children, Context, Domain, Joint, NONE, Reference, Relations, Role, Roles, Ties, Unique, child_counts,
    degree_column, degrees::Degrees, depth_column, importance::information, order::Order, place_code,
    relations::is_degree, row_converter, tree,
};
use crate::{
    Result, SynthError,
    encode::{CodeMatrix, EncodedRows, Scheme, SubColumnData, TableEncoder, TableProfile, is_instant},
    schema::ColumnRole,
};
use arrow::{
    array::{Array, ArrayRef, Int32Array, RecordBatch, UInt32Array},
    compute::{take, take_record_batch},
    datatypes::{DataType, Field, Schema},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

/// Columns of owners that a context has at most.
const CONTEXT: usize = 32;
/// Columns of a matched parent that rows know at most.
const ATTRIBUTES: usize = 8;
/// Nats about the row that a column must tell, all in all, to be among them.
const LEAST: f64 = 0.004;
/// Values of a key's column up to which each is a code.
const KEY_VALUES: usize = 4096;
/// Combinations of a key's columns that are kept, at most.
const DOMAIN: usize = 1 << 16;
/// Share of siblings that a column must tell apart to be one that orders them.
const ORDERING: f64 = 0.9;

/// A table, and all that hangs together with it.
#[derive(Debug, Clone)]
pub struct TableFacts {
    /// Its rows.
    pub table: RecordBatch,
    /// Roles of its columns that the user declared.
    pub roles: BTreeMap<String, ColumnRole>,
    /// Its foreign keys, by the place of their columns.
    pub references: Vec<ReferenceFacts>,
    /// The foreign keys that refer to it, and how many children every row has of each.
    pub children: Vec<(Children, Vec<u32>)>,
    /// Columns of its keys.
    pub uniques: Vec<Vec<String>>,
}

impl TableFacts {
    /// Whether a column is part of a key of several columns.
    fn in_composite_key(&self, name: &str) -> bool {
        self.uniques.iter().any(|columns| columns.len() > 1 && columns.iter().any(|column| column == name))
    }

    /// Whether a column is part of a foreign key.
    fn in_foreign_key(&self, name: &str) -> bool {
        self.references.iter().any(|reference| reference.columns.iter().any(|column| column == name))
    }
}

/// A foreign key, looked up.
#[derive(Debug, Clone)]
pub struct ReferenceFacts {
    /// The parent, by the name of its model.
    pub parent: String,
    /// The child's columns.
    pub columns: Vec<String>,
    /// The parent's.
    pub parent_columns: Vec<String>,
    /// What it does.
    pub role: Roles,
    /// The parent's rows: its own columns, hidden ones, those of its owners. None where the role needs none.
    pub rows: Option<RecordBatch>,
    /// Number of parents.
    pub parents: usize,
    /// Per row of the table, the parent's row, or [`NONE`].
    pub index: Vec<u32>,
}

/// What a model learns, and what has to be kept with it.
#[derive(Debug, Clone)]
pub struct LearnedRows {
    /// The table's place among others.
    pub relations: Relations,
    /// Of the columns that the model draws, hidden ones included.
    pub encoder: TableEncoder,
    /// The parts of a row.
    pub joint: Joint,
    /// The rows.
    pub rows: CodeMatrix,
}

/// Encodes `facts` for a model that wants `scheme`, rows knowing of their family what `ties` says.
///
/// # Errors
/// No rows; a column that cannot be learned.
pub fn learn(mut facts: TableFacts, scheme: Scheme, ties: Ties, threads: usize) -> Result<LearnedRows> {
    if facts.table.num_rows() == 0 {
        return Err(SynthError::NoRows { reason: "it has no rows".to_owned() });
    }
    let owner = facts.references.iter().position(|reference| reference.role == Roles::Owner);
    let order = owner.map(|owner| put_in_order(&mut facts, owner)).transpose()?.flatten();
    let owner = owner.map(|at| &facts.references[at]);
    let mut depths = BTreeMap::new();
    for (at, reference) in facts.references.iter().enumerate().filter(|(_, r)| r.role == Roles::Tree) {
        depths.insert(at, tree::depths(&reference.index));
    }
    let spares = (0..facts.references.len()).map(|at| spare_columns(&facts, at)).collect::<Result<Vec<_>>>()?;
    let own = own_columns(&facts, &depths, &spares)?;
    let encoder = encoder(&own, own_roles(&facts, &own)?, scheme, threads)?;
    let mut own_codes = EncodedRows::with_capacity(encoder.layout(), own.num_rows());
    encoder.encode(&own, &mut own_codes)?;

    let mut context = None;
    let mut owner_codes = None;
    if let (Some(owner), true) = (owner, ties >= Ties::Parents) {
        let about: Vec<&SubColumnData> = own_codes.subcolumns.iter().collect();
        let rows = owner.rows.as_ref().ok_or_else(|| SynthError::Internal("an owner without rows".to_owned()))?;
        let (encoder, codes) = telling(rows, &owner.index, &about, CONTEXT, threads)?;
        let siblings = ties >= Ties::Siblings && owner.index.windows(2).any(|pair| pair[0] == pair[1]);
        context = Some(Context { owner: encoder, siblings, order: order.filter(|_| siblings) });
        owner_codes = Some(codes);
    }
    let mut references = Vec::with_capacity(facts.references.len());
    let mut attribute_codes = Vec::with_capacity(facts.references.len());
    for (at, reference) in facts.references.iter().enumerate() {
        let mut codes = None;
        let role = match reference.role {
            Roles::Owner => Role::Owner,
            Roles::Deferred => Role::Deferred,
            Roles::Implied => Role::Implied,
            Roles::Tree => Role::Tree(Degrees::of(depths.get(&at).map_or(&[], Vec::as_slice))),
            Roles::Matched => match (&reference.rows, ties == Ties::All && context.is_some()) {
                (Some(rows), true) => {
                    let mut about: Vec<SubColumnData> = own_codes.subcolumns.clone();
                    if let (Some(codes), Some(owner)) = (&owner_codes, owner) {
                        about.extend(codes.subcolumns.iter().map(|column| gathered(column, &owner.index)));
                    }
                    let about: Vec<&SubColumnData> = about.iter().collect();
                    let (encoder, of) = telling(rows, &reference.index, &about, ATTRIBUTES, threads)?;
                    codes = Some(of);
                    Role::Matched(Some(Attributes { encoder }))
                }
                _ => Role::Matched(None),
            },
        };
        attribute_codes.push(codes);
        references.push(Reference {
            parent: reference.parent.clone(),
            columns: reference.columns.clone(),
            parent_columns: reference.parent_columns.clone(),
            role,
            degrees: Degrees::of(&child_counts(&reference.index, reference.parents)),
            nulls: reference.index.iter().filter(|&&parent| parent == NONE).count() as u64,
            spares: spares[at].values.iter().map(|(field, _)| field.name().clone()).collect(),
            solid: spares[at].solid.clone(),
            broken: spares[at].broken.clone(),
        });
    }
    let uniques = uniques(&facts)?;
    let relations = Relations {
        schema: facts.table.schema(),
        rows: facts.table.num_rows() as u64,
        references,
        children: facts.children.iter().map(|(children, _)| children.clone()).collect(),
        context,
        uniques,
    };
    let joint = relations.joint(&encoder)?;
    let rows = join(&facts, &joint, own_codes, owner_codes.as_ref(), &attribute_codes);
    Ok(LearnedRows { relations, encoder, joint, rows })
}

/// Puts rows under their owners, and says which column siblings then come in the order of.
fn put_in_order(facts: &mut TableFacts, owner: usize) -> Result<Option<String>> {
    let owner = &facts.references[owner];
    let by = ordering(&facts.table, &owner.columns, &owner.index)?;
    let order = Order::under_owners(&facts.table, by.as_deref(), &owner.index)?;
    facts.table = take_record_batch(&facts.table, &order.indices())?;
    let put = |values: &mut Vec<u32>| *values = order.put(values);
    let places = order.places();
    for reference in &mut facts.references {
        put(&mut reference.index);
        if reference.role == Roles::Tree {
            // These point at rows of this very table, which have moved.
            let moved = |row: &mut u32| *row = places.values().get(*row as usize).copied().unwrap_or(NONE);
            reference.index.iter_mut().for_each(moved);
        }
    }
    facts.children.iter_mut().for_each(|(_, degrees)| put(degrees));
    Ok(by)
}

/// The column that orders siblings: the date or time that tells most of them apart, or else a whole number that tells
/// nearly all apart. None where there is none: then the table's own order stays.
fn ordering(table: &RecordBatch, key: &[String], index: &[u32]) -> Result<Option<String>> {
    let mut best: Option<(bool, f64, &str)> = None;
    for (field, values) in table.schema_ref().fields().iter().zip(table.columns()) {
        let time = is_instant(field.data_type());
        if (!time && !field.data_type().is_integer()) || key.contains(field.name()) {
            continue;
        }
        let share = told_apart(index, values)?;
        let enough = if time { share > 0.0 } else { share >= ORDERING };
        let better = best.as_ref().is_none_or(|(is_time, best, _)| (time, share) > (*is_time, *best));
        if enough && better {
            best = Some((time, share, field.name()));
        }
    }
    Ok(best.map(|(_, _, name)| name.to_owned()))
}

/// The share of siblings, beyond the first ones, whose value no sibling before them has.
fn told_apart(index: &[u32], values: &ArrayRef) -> Result<f64> {
    let column = [Arc::clone(values)];
    let rows = row_converter(&column)?.convert_columns(&column)?;
    let mut seen = HashMap::new();
    let mut parents = BTreeSet::new();
    let (mut new, mut siblings) = (0u64, 0u64);
    for (row, &parent) in index.iter().enumerate().filter(|(_, parent)| **parent != NONE) {
        let first = seen.insert((parent, rows.row(row)), ()).is_none();
        if !parents.insert(parent) {
            siblings += 1;
            new += u64::from(first);
        }
    }
    Ok(if siblings == 0 { 0.0 } else { new as f64 / siblings as f64 })
}

/// The table's columns that are of no foreign key, the numbers of children, and the depths in trees. Parts of keys come
/// first: where rows have to differ in them, the others are drawn anew, given what they became.
fn own_columns(facts: &TableFacts, depths: &BTreeMap<usize, Vec<u32>>, spares: &[Spares]) -> Result<RecordBatch> {
    let schema = facts.table.schema();
    let mut fields: Vec<Arc<Field>> = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    let own = schema.fields().iter().zip(facts.table.columns()).filter(|(f, _)| !facts.in_foreign_key(f.name()));
    let (of_keys, others): (Vec<_>, Vec<_>) = own.partition(|(field, _)| facts.in_composite_key(field.name()));
    for (field, array) in of_keys.into_iter().chain(others) {
        fields.push(Arc::clone(field));
        arrays.push(Arc::clone(array));
    }
    for (field, array) in spares.iter().flat_map(|spares| &spares.values) {
        fields.push(Arc::clone(field));
        arrays.push(Arc::clone(array));
    }
    let mut add = |name: String, values: &[u32]| {
        fields.push(Arc::new(Field::new(name, DataType::Int32, false)));
        arrays.push(Arc::new(Int32Array::from_iter_values(values.iter().map(|value| value.cast_signed()))));
    };
    for (&at, depths) in depths {
        add(depth_column(at), depths);
    }
    for (at, (_, degrees)) in facts.children.iter().enumerate() {
        add(degree_column(at), degrees);
    }
    let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(facts.table.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema, arrays, &options)?)
}

/// What rows without a parent have in the columns of a foreign key, null in all other rows.
#[derive(Debug, Default)]
struct Spares {
    values: Vec<(Arc<Field>, ArrayRef)>,
    /// Names of those that are never null where there is no parent.
    solid: Vec<String>,
    broken: Option<String>,
}

fn spare_columns(facts: &TableFacts, at: usize) -> Result<Spares> {
    let reference = &facts.references[at];
    let alone: Vec<bool> = reference.index.iter().map(|&parent| parent == NONE).collect();
    if reference.role == Roles::Tree || !alone.contains(&true) {
        return Ok(Spares::default());
    }
    let shared = |name: &&String| {
        let others = facts.references.iter().enumerate().filter(|(other, _)| *other != at);
        others.into_iter().any(|(_, other)| other.columns.contains(name))
    };
    let schema = facts.table.schema();
    let column = |name: &String| {
        facts.table.column_by_name(name).cloned().ok_or_else(|| SynthError::Internal(format!("no column `{name}`")))
    };
    let all = reference.columns.iter().map(column).collect::<Result<Vec<_>>>()?;
    let complete: Vec<bool> = (0..alone.len()).map(|row| alone[row] && all.iter().all(|c| c.is_valid(row))).collect();
    // The column that says that there is no parent: best none of another key, and the one that says so most often.
    let in_unique = |name: &&String| facts.uniques.iter().any(|unique| unique.contains(name));
    let mut broken: Option<(bool, usize, &String)> = None;
    for (name, values) in reference.columns.iter().zip(&all).filter(|(name, _)| !shared(name)) {
        let nulls = (0..alone.len()).filter(|&row| alone[row] && values.is_null(row)).count();
        if broken.is_none_or(|(unique, most, _)| (!in_unique(&name), nulls) > (!unique, most)) {
            broken = Some((in_unique(&name), nulls, name));
        }
    }
    let broken = broken.map(|(_, _, name)| name.clone());
    let (mut values, mut solid) = (Vec::new(), Vec::new());
    for (name, column) in reference.columns.iter().zip(&all).filter(|(name, _)| !shared(name)) {
        let is_broken = broken.as_ref() == Some(name);
        let rows: UInt32Array =
            (0..alone.len()).map(|row| (alone[row] && !(is_broken && complete[row])).then_some(row as u32)).collect();
        let kept = take(column, &rows, None)?;
        if (0..alone.len()).all(|row| !alone[row] || kept.is_valid(row)) {
            solid.push(name.clone());
        }
        if kept.null_count() < kept.len() {
            values.push((Arc::new(schema.field_with_name(name)?.clone().with_nullable(true)), kept));
        }
    }
    Ok(Spares { values, solid, broken })
}

/// Roles of the own columns: declared ones, and those that keys and hidden columns need.
fn own_roles(facts: &TableFacts, own: &RecordBatch) -> Result<BTreeMap<String, ColumnRole>> {
    let schema = own.schema();
    let mut roles = facts.roles.clone();
    roles.retain(|name, _| schema.field_with_name(name).is_ok());
    for field in schema.fields().iter().filter(|field| super::is_hidden(field.name())) {
        roles.insert(field.name().clone(), ColumnRole::Numeric);
    }
    for field in schema.fields().iter().filter(|field| facts.in_foreign_key(field.name())) {
        if distinct(own.column(schema.index_of(field.name())?))? <= KEY_VALUES {
            roles.entry(field.name().clone()).or_insert(ColumnRole::Categorical);
        }
    }
    for columns in &facts.uniques {
        let drawn: Vec<&String> =
            columns.iter().filter(|name| schema.field_with_name(name).is_ok() && !facts.in_foreign_key(name)).collect();
        for &name in &drawn {
            let (at, field) =
                schema.column_with_name(name).ok_or_else(|| SynthError::Internal(format!("no column `{name}`")))?;
            let data_type = field.data_type();
            if columns.len() == 1 {
                if can_be_generated(data_type) {
                    roles.entry(name.clone()).or_insert(ColumnRole::Identifier);
                }
            } else if distinct(own.column(at))? <= KEY_VALUES {
                roles.entry(name.clone()).or_insert(ColumnRole::Categorical);
            }
        }
    }
    Ok(roles)
}

/// Whether values of a type can be made up, each once: those of keys are.
#[must_use]
pub fn can_be_generated(data_type: &DataType) -> bool {
    data_type.is_integer() || matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn distinct(values: &ArrayRef) -> Result<usize> {
    let column = [Arc::clone(values)];
    let rows = row_converter(&column)?.convert_columns(&column)?;
    let distinct: BTreeSet<_> = rows.iter().collect();
    Ok(distinct.len())
}

fn encoder(
    batch: &RecordBatch,
    roles: BTreeMap<String, ColumnRole>,
    scheme: Scheme,
    threads: usize,
) -> Result<TableEncoder> {
    let mut profile = TableProfile::new(batch.schema(), &roles)?;
    profile.update(batch)?;
    profile.finish(scheme, threads)
}

/// Of the columns of `rows`, those that say most about `about`, at most `most` of them, the most telling first; and their
/// codes. `index` has the row of `rows` for each row of `about`.
fn telling(
    rows: &RecordBatch,
    index: &[u32],
    about: &[&SubColumnData],
    most: usize,
    threads: usize,
) -> Result<(TableEncoder, EncodedRows)> {
    let coded = |batch: &RecordBatch| -> Result<(TableEncoder, EncodedRows)> {
        let learnable: Vec<usize> = (0..batch.num_columns())
            .filter(|&at| {
                let alone = batch.schema().project(&[at]);
                alone.is_ok_and(|schema| TableProfile::new(Arc::new(schema), &BTreeMap::new()).is_ok())
            })
            .collect();
        let batch = batch.project(&learnable)?;
        let schema = batch.schema();
        let degrees = schema.fields().iter().filter(|field| is_degree(field.name()));
        let roles = degrees.map(|field| (field.name().clone(), ColumnRole::Numeric)).collect();
        let encoder = encoder(&batch, roles, Scheme::Codes, threads)?;
        let mut codes = EncodedRows::with_capacity(encoder.layout(), batch.num_rows());
        encoder.encode(&batch, &mut codes)?;
        Ok((encoder, codes))
    };
    if rows.num_rows() == 0 {
        return Err(SynthError::NoRows { reason: "a parent of it has no rows".to_owned() });
    }
    let (all, codes) = coded(rows)?;
    let said = information(&codes, index, about);
    let mut columns: Vec<(usize, f64)> = (0..all.schema().fields().len())
        .filter(|&at| {
            !matches!(all.roles().get(at), Some(ColumnRole::Identifier | ColumnRole::FreeText | ColumnRole::Exclude))
        })
        .filter_map(|at| Some((at, all.layout().columns[at].subcolumns.clone().next()?)))
        .map(|(at, subcolumn)| (at, said.get(subcolumn).copied().unwrap_or(0.0)))
        .filter(|&(_, said)| said > LEAST)
        .collect();
    columns.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let names: Vec<usize> = columns.iter().take(most).map(|&(at, _)| at).collect();
    let schema = all.schema().project(&names)?;
    let wanted: Vec<usize> =
        schema.fields().iter().map(|f| rows.schema().index_of(f.name())).collect::<Result<_, _>>()?;
    coded(&rows.project(&wanted)?)
}

/// A sub-column's codes for other rows; its highest code and one where there is none.
fn gathered(column: &SubColumnData, index: &[u32]) -> SubColumnData {
    let none = (0..column.len()).map(|row| column.code(row)).max().map_or(0, |most| most + 1);
    let code = |&row: &u32| if (row as usize) < column.len() { column.code(row as usize) } else { none };
    SubColumnData::Code32(index.iter().map(code).collect())
}

/// Puts the parts of the rows side by side.
fn join(
    facts: &TableFacts,
    joint: &Joint,
    own: EncodedRows,
    owner_codes: Option<&EncodedRows>,
    attribute_codes: &[Option<EncodedRows>],
) -> CodeMatrix {
    let rows = own.rows;
    let mut out = EncodedRows::with_capacity(&joint.layout, rows);
    let owner = facts.references.iter().find(|reference| reference.role == Roles::Owner);
    if let (Some(codes), Some(owner)) = (owner_codes, owner) {
        for (to, from) in joint.owner.clone().zip(&codes.subcolumns) {
            push(&mut out.subcolumns[to], from, &owner.index, joint.none(to));
        }
    }
    for ((range, codes), reference) in joint.attributes.iter().zip(attribute_codes).zip(&facts.references) {
        let Some(codes) = codes else { continue };
        for (to, from) in range.clone().zip(&codes.subcolumns) {
            push(&mut out.subcolumns[to], from, &reference.index, joint.none(to));
        }
    }
    for (to, from) in joint.own.clone().zip(own.subcolumns) {
        out.subcolumns[to] = from;
    }
    if let (Some(place), Some(owner)) = (joint.place, owner) {
        let mut number = 0u32;
        let mut before = Vec::with_capacity(rows);
        for row in 0..rows {
            let first = row == 0 || owner.index[row] != owner.index[row - 1];
            number = if first { 0 } else { number + 1 };
            out.subcolumns[place].push_code(place_code(number));
            let chained = !first && !(number as usize).is_multiple_of(super::chains::LENGTH as usize);
            before.push(if chained { row as u32 - 1 } else { NONE });
        }
        for &(to, from) in &joint.sibling {
            let (codes, none) = (out.subcolumns[from].clone(), joint.none(to));
            push(&mut out.subcolumns[to], &codes, &before, none);
        }
    }
    out.rows = rows;
    out.into()
}

fn push(to: &mut SubColumnData, from: &SubColumnData, index: &[u32], none: u32) {
    for &row in index {
        to.push_code(if (row as usize) < from.len() { from.code(row as usize) } else { none });
    }
}

/// The keys that do not keep themselves unique.
fn uniques(facts: &TableFacts) -> Result<Vec<Unique>> {
    let mut uniques = Vec::new();
    for columns in &facts.uniques {
        let drawn: Vec<String> = columns.iter().filter(|name| !facts.in_foreign_key(name)).cloned().collect();
        if columns.len() == 1 && drawn.len() == 1 {
            continue; // generated, each value once
        }
        let schema = facts.table.schema();
        let places: Vec<usize> = drawn.iter().map(|name| schema.index_of(name)).collect::<Result<_, _>>()?;
        let batch = facts.table.project(&places)?;
        uniques.push(Unique { columns: columns.clone(), drawn, domain: Domain(combinations(&batch)?) });
    }
    Ok(uniques)
}

/// The distinct rows of `batch`, in order; evenly thinned out where they are too many.
fn combinations(batch: &RecordBatch) -> Result<RecordBatch> {
    if batch.num_columns() == 0 {
        return Ok(batch.slice(0, 0));
    }
    let rows = row_converter(batch.columns())?.convert_columns(batch.columns())?;
    let mut order: Vec<usize> = (0..batch.num_rows()).collect();
    order.sort_by(|&a, &b| rows.row(a).cmp(&rows.row(b)));
    order.dedup_by(|a, b| rows.row(*a) == rows.row(*b));
    let stride = order.len().div_ceil(DOMAIN).max(1);
    let chosen: UInt32Array = order.into_iter().step_by(stride).map(|row| row as u32).collect();
    let arrays = batch.columns().iter().map(|column| take(column, &chosen, None)).collect::<Result<_, _>>()?;
    Ok(RecordBatch::try_new(batch.schema(), arrays)?)
}
