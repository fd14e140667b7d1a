//! Proposes keys that the data keeps and that the names, the order of columns or the values speak for.
//!
//! A value that lies in a key proves nothing: every small number is an `id` somewhere. So each proposal needs evidence of
//! its own kind, and each is checked against all rows.
//!
//! Primary keys: one column, unique and never null, called like a key or standing first; or else the first columns that
//! identify a row together, out of those that can (names, codes, dates, numbers of things, numbers that count within
//! a group), less those that do not contribute.
//!
//! Foreign keys: values that lie in a primary key, and a name that says whose; or, for text alone, values that all lie in
//! the key of one table and look like it. Keys of several columns by the names of all of them.

use super::{
    KnownKeys, SessionKeys, Tables,
    declare::comparable,
    plans::{Row, column, foreign_key_counts, key_counts, scan},
    tables::quoted,
};
use crate::{
    Result, SynthError,
    exec::report::{Report, ReportTable},
    schema::{
        ForeignKey, TableName, calendar_rank, is_identifier, key_strength, name_stem, name_words, names_table,
        reference_strength, show_columns,
    },
    store::ModelStore,
};
use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, StringArray, UInt64Array},
    datatypes::{DataType, Field, Float64Type, Schema, SchemaRef},
    record_batch::RecordBatch,
};
use async_trait::async_trait;
use datafusion::{
    common::{ScalarValue, TableReference},
    execution::SessionState,
    functions::unicode::expr_fn::character_length,
    functions_aggregate::expr_fn::{approx_distinct, avg, count, max, min, sum},
    logical_expr::{Expr, cast},
    prelude::{lit, when},
};
use futures::{StreamExt, TryStreamExt};
use std::sync::{Arc, LazyLock};

/// Tables, and references, that are looked at at a time.
const AT_A_TIME: usize = 4;
/// Columns that a proposed key has at most.
const WIDEST: usize = 8;
/// Columns, from the first one on, among which counters of a group are looked for.
const COUNTERS: usize = 8;
/// Share of references that must find their parent where the name speaks for it.
const INCLUSION: f64 = 0.9;
/// Evidence that a single column needs to be a key: a name that identifies, or the first place.
const ENOUGH: f64 = 0.3;

/// A proposed key.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// The table.
    pub table: TableName,
    /// Its columns.
    pub columns: Vec<String>,
    /// The parent and its columns, for a foreign key.
    pub parent: Option<(TableName, Vec<String>)>,
    /// Rows of the table.
    pub rows: u64,
    /// Rows with a null in the key.
    pub nulls: u64,
    /// Distinct keys.
    pub keys: u64,
    /// Rows that refer to no row of the parent.
    pub orphans: Option<u64>,
    /// How much the names speak for it, from 0 to 1.
    pub name: f64,
    /// Everything that speaks for it, from 0 to 1: proposals can be ordered by it.
    pub score: f64,
    /// The same in words.
    pub evidence: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Values {
    Whole,
    Text,
    Date,
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    position: usize,
    data_type: DataType,
    values: Values,
    filled: u64,
    /// Estimated.
    distinct: u64,
    lowest: ScalarValue,
    highest: ScalarValue,
    /// Mean length of texts.
    length: f64,
}

#[derive(Debug, Clone)]
struct Profile {
    table: TableName,
    rows: u64,
    columns: Vec<Column>,
}

/// What identifies the rows of a table.
#[derive(Debug, Clone)]
struct Identity {
    columns: Vec<Column>,
    keys: u64,
    /// Whether a column only counts the rows of a group: others seldom refer to such a key.
    counts: bool,
    proposal: Option<Proposal>,
}

struct Detector<'a> {
    state: &'a SessionState,
    tables: &'a Tables,
    names: Vec<String>,
}

/// Proposes primary and foreign keys of `names` that are not among `known`.
///
/// # Errors
/// A table is not there or cannot be read.
pub async fn detect_keys(state: &SessionState, names: &[TableName], known: &KnownKeys) -> Result<Vec<Proposal>> {
    let tables = Tables::of(state);
    let detector = Detector { state, tables: &tables, names: names.iter().map(|name| name.table.clone()).collect() };
    let profiles: Vec<Profile> = futures::stream::iter(names.to_vec())
        .map(|name| detector.profile(name))
        .buffered(AT_A_TIME)
        .try_collect()
        .await?;
    let identities: Vec<Option<Identity>> = futures::stream::iter(profiles.clone())
        .map(|profile| detector.identity(profile, known))
        .buffered(AT_A_TIME)
        .try_collect()
        .await?;
    let mut proposals: Vec<Proposal> =
        identities.iter().flatten().filter_map(|identity| identity.proposal.clone()).collect();
    let parents: Vec<(Profile, Identity)> =
        profiles.iter().cloned().zip(identities).filter_map(|(profile, found)| Some((profile, found?))).collect();
    let references: Vec<Vec<Proposal>> = futures::stream::iter(profiles)
        .map(|profile| detector.references(profile, &parents))
        .buffered(AT_A_TIME)
        .try_collect()
        .await?;
    proposals.extend(references.into_iter().flatten().filter(|proposal| {
        let Some((parent, parent_columns)) = &proposal.parent else { return true };
        let key = ForeignKey {
            name: String::new(),
            table: proposal.table.clone(),
            columns: proposal.columns.clone(),
            parent: parent.clone(),
            parent_columns: parent_columns.clone(),
        };
        !known.foreign_keys.iter().any(|(other, _)| other.same_as(&key))
    }));
    Ok(proposals)
}

impl Detector<'_> {
    /// One pass over a table.
    async fn profile(&self, table: TableName) -> Result<Profile> {
        let schema = self.tables.get(&table).await?.schema();
        let candidates: Vec<(usize, String, DataType, Values)> = schema
            .fields()
            .iter()
            .enumerate()
            .filter_map(|(position, field)| {
                Some((position, field.name().clone(), field.data_type().clone(), values_of(field.data_type())?))
            })
            .collect();
        let names: Vec<String> = match (candidates.is_empty(), schema.fields().first()) {
            (true, None) => return Ok(Profile { table, rows: 0, columns: Vec::new() }),
            (true, Some(first)) => vec![first.name().clone()],
            (false, _) => candidates.iter().map(|(_, name, ..)| name.clone()).collect(),
        };
        let mut expressions = vec![count(lit(1_i64)).alias("rows")];
        for (number, (_, _, data_type, values)) in candidates.iter().enumerate() {
            let value = column(&format!("k{number}"));
            let value = match (values, data_type) {
                (Values::Date, _) => cast(value, DataType::Int64),
                (Values::Text, DataType::Dictionary(..)) => cast(value, DataType::Utf8),
                (Values::Whole, DataType::Dictionary(_, inner)) => cast(value, inner.as_ref().clone()),
                _ => value,
            };
            expressions.extend([
                count(value.clone()).alias(format!("n{number}")),
                approx_distinct(value.clone()).alias(format!("d{number}")),
                min(value.clone()).alias(format!("l{number}")),
                max(value.clone()).alias(format!("h{number}")),
            ]);
            if *values == Values::Text {
                expressions.push(avg(character_length(value)).alias(format!("c{number}")));
            }
        }
        let plan = scan(self.tables, &table, &names, "k").await?.aggregate(Vec::<Expr>::new(), expressions)?.build()?;
        let row = Row::of(self.state, &plan).await?;
        let mut columns = Vec::with_capacity(candidates.len());
        for (number, (position, name, data_type, values)) in candidates.into_iter().enumerate() {
            let value = |letter: &str| {
                Ok::<_, SynthError>(ScalarValue::try_from_array(row.column(&format!("{letter}{number}"))?, 0)?)
            };
            let length = match values {
                Values::Text => {
                    let mean = row.column(&format!("c{number}"))?.as_primitive::<Float64Type>();
                    if mean.is_valid(0) { mean.value(0) } else { 0.0 }
                }
                _ => 0.0,
            };
            columns.push(Column {
                name,
                position,
                data_type,
                values,
                filled: row.count(&format!("n{number}"))?.unwrap_or(0),
                distinct: row.count(&format!("d{number}"))?.unwrap_or(0),
                lowest: value("l")?,
                highest: value("h")?,
                length,
            });
        }
        Ok(Profile { table, rows: row.count("rows")?.unwrap_or(0), columns })
    }

    /// Distinct keys without a null.
    async fn keys(&self, table: &TableName, columns: &[Column]) -> Result<u64> {
        let row = Row::of(self.state, &key_counts(self.tables, table, &names(columns)).await?).await?;
        Ok(row.count("keys")?.unwrap_or(0))
    }

    /// What identifies the rows of a table: what was declared, or what can be found.
    async fn identity(&self, profile: Profile, known: &KnownKeys) -> Result<Option<Identity>> {
        if let Some(key) = known.primary_key(&profile.table) {
            let columns: Option<Vec<Column>> = key
                .columns
                .iter()
                .map(|name| profile.columns.iter().find(|column| column.name == *name).cloned())
                .collect();
            return Ok(columns.map(|columns| Identity { columns, keys: profile.rows, counts: false, proposal: None }));
        }
        if profile.rows < 2 {
            return Ok(None);
        }
        if let Some((column, evidence)) = self.single(&profile).await? {
            let name = key_strength(&column.name, &profile.table.table);
            let columns = vec![column];
            return Ok(Some(Identity {
                proposal: Some(primary_key(&profile, &columns, name, 0.6 + 0.4 * name, evidence)),
                columns,
                keys: profile.rows,
                counts: false,
            }));
        }
        let Some((columns, counts)) = self.composite(&profile).await? else { return Ok(None) };
        let strengths = columns.iter().map(|column| self.strength(column, &profile));
        let name = strengths.sum::<f64>() / columns.len() as f64;
        let evidence =
            format!("the first columns that identify every one of {} rows; no part of them does", profile.rows);
        Ok(Some(Identity {
            proposal: Some(primary_key(&profile, &columns, name, 0.5 + 0.3 * name, evidence)),
            columns,
            keys: profile.rows,
            counts,
        }))
    }

    /// How much the name of a column speaks for its being part of a key.
    fn strength(&self, column: &Column, profile: &Profile) -> f64 {
        let named = key_strength(&column.name, &profile.table.table);
        let other = self.names.iter().any(|table| names_table(&column.name, table));
        let part = calendar_rank(&column.name).is_some();
        named.max(if other || part { 0.7 } else { 0.0 })
    }

    /// A column called after another table is a reference first of all.
    fn is_reference(&self, column: &Column, profile: &Profile) -> bool {
        !names_table(&column.name, &profile.table.table)
            && self.names.iter().any(|table| *table != profile.table.table && names_table(&column.name, table))
    }

    async fn single(&self, profile: &Profile) -> Result<Option<(Column, String)>> {
        let mut candidates: Vec<(f64, &Column)> = Vec::new();
        for column in &profile.columns {
            if column.filled != profile.rows || (column.distinct as f64) < 0.9 * profile.rows as f64 {
                continue;
            }
            let name = key_strength(&column.name, &profile.table.table);
            let first = if column.position == 0 { 0.3 } else { 0.0 };
            let reference = if self.is_reference(column, profile) { 0.5 } else { 0.0 };
            let prose = if column.length > 40.0 { 0.3 } else { 0.0 };
            // A number that happens not to repeat in a few rows.
            let chance = if column.values == Values::Whole && name == 0.0 && profile.rows < 20 { 0.3 } else { 0.0 };
            let score = name + first - reference - prose - chance;
            if score >= ENOUGH {
                candidates.push((score, column));
            }
        }
        candidates.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        for (_, column) in candidates {
            if self.keys(&profile.table, std::slice::from_ref(column)).await? == profile.rows {
                let mut evidence = format!("unique in {} rows, never null", profile.rows);
                let why = [
                    (key_strength(&column.name, &profile.table.table) > 0.0, "named as a key"),
                    (column.position == 0, "the first column"),
                ];
                for (_, why) in why.into_iter().filter(|(holds, _)| *holds) {
                    evidence.push_str(&format!(", {why}"));
                }
                return Ok(Some((column.clone(), evidence)));
            }
        }
        Ok(None)
    }

    /// The first columns that identify a row together; whether one of them only counts the rows of a group.
    async fn composite(&self, profile: &Profile) -> Result<Option<(Vec<Column>, bool)>> {
        let mut chosen: Vec<Column> = Vec::new();
        let mut counters: Vec<String> = Vec::new();
        for column in &profile.columns {
            if column.filled != profile.rows || chosen.len() == WIDEST {
                continue;
            }
            let constant = column.distinct <= 1;
            let named = self.strength(column, profile) > 0.0;
            let fits = match column.values {
                _ if constant => calendar_rank(&column.name).is_some(),
                Values::Whole => named || self.is_counter(profile, &chosen, column).await?,
                Values::Text => column.length <= 32.0,
                Values::Date => true,
            };
            if !fits {
                continue;
            }
            if column.values == Values::Whole && !named {
                counters.push(column.name.clone());
            }
            chosen.push(column.clone());
            // More rows than combinations: cannot be, yet.
            let combinations: f64 = chosen.iter().map(|column| 1.1 * column.distinct as f64).product();
            if chosen.len() < 2 || combinations < profile.rows as f64 {
                continue;
            }
            let keys = self.keys(&profile.table, &chosen).await?;
            if keys == profile.rows {
                let columns = self.reduced(profile, chosen).await?;
                let counts = columns.iter().any(|column| counters.contains(&column.name));
                return Ok((columns.len() > 1).then_some((columns, counts)));
            }
            // Whatever tells the last few rows apart was never meant to: this is the key, and it has duplicates.
            if keys as f64 > 0.999 * profile.rows as f64 {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// The same key without the columns that do not contribute.
    async fn reduced(&self, profile: &Profile, mut columns: Vec<Column>) -> Result<Vec<Column>> {
        let mut at = 0;
        while at < columns.len() {
            let mut without = columns.clone();
            let column = without.remove(at);
            let rank = calendar_rank(&column.name);
            // A month is a month of a year, be it of the same year in all rows.
            let needed = rank.is_some_and(|rank| {
                without.iter().any(|other| calendar_rank(&other.name).is_some_and(|finer| finer > rank))
            });
            // Two references make a row of a table of pairs, even where one is unique so far.
            let pair =
                without.len() == 1 && without.iter().chain([&column]).all(|column| self.is_reference(column, profile));
            if needed || pair || without.is_empty() || self.keys(&profile.table, &without).await? != profile.rows {
                at += 1;
            } else {
                columns = without;
            }
        }
        Ok(columns)
    }

    /// Whether the values of `counter` are 1, 2, 3 … in each group of `columns` (of all of them, or all but one).
    async fn is_counter(&self, profile: &Profile, columns: &[Column], counter: &Column) -> Result<bool> {
        let starts =
            |value: &ScalarValue| matches!(value.cast_to(&DataType::Int64), Ok(ScalarValue::Int64(Some(0 | 1))));
        if columns.is_empty() || counter.position >= COUNTERS || !starts(&counter.lowest) {
            return Ok(false);
        }
        let mut groupings = vec![columns.to_vec()];
        for left_out in 0..columns.len() {
            let mut fewer = columns.to_vec();
            fewer.remove(left_out);
            if !fewer.is_empty() {
                groupings.push(fewer);
            }
        }
        for grouping in groupings {
            let mut all = names(&grouping);
            all.push(counter.name.clone());
            let number = cast(column(&format!("k{}", grouping.len())), DataType::Int64);
            let keys: Vec<Expr> = (0..grouping.len()).map(|number| column(&format!("k{number}"))).collect();
            let mut both = keys.clone();
            both.push(column(&format!("k{}", grouping.len())));
            let values = scan(self.tables, &profile.table, &all, "k").await?.aggregate(both, Vec::<Expr>::new())?;
            let groups = values.aggregate(
                keys,
                [count(lit(1_i64)).alias("n"), min(number.clone()).alias("l"), max(number).alias("h")],
            )?;
            let several = column("n").gt(lit(1_i64));
            let counted = several
                .clone()
                .and(column("l").between(lit(0_i64), lit(1_i64)))
                .and((column("h") - column("l") + lit(1_i64)).eq(column("n")));
            let tally = groups.aggregate(
                Vec::<Expr>::new(),
                [
                    sum(when(several, lit(1_i64)).end()?).alias("several"),
                    sum(when(counted, lit(1_i64)).end()?).alias("counted"),
                    min(column("n")).alias("fewest"),
                    max(column("n")).alias("most"),
                ],
            )?;
            let row = Row::of(self.state, &tally.build()?).await?;
            let (several, counted) = (row.count("several")?.unwrap_or(0), row.count("counted")?.unwrap_or(0));
            // In groups that another column splits, a category fills the same range everywhere; a counter does not.
            let varied = grouping.len() == columns.len() || row.count("fewest")? < row.count("most")?;
            if several >= 5 && varied && counted as f64 >= 0.95 * several as f64 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The foreign keys of one table.
    async fn references(&self, profile: Profile, parents: &[(Profile, Identity)]) -> Result<Vec<Proposal>> {
        let own_key: Vec<String> = parents
            .iter()
            .find(|(parent, _)| parent.table == profile.table)
            .map(|(_, identity)| names(&identity.columns))
            .unwrap_or_default();
        let mut found = Vec::new();
        for column in profile.columns.iter().filter(|column| column.filled > 0) {
            let is_key = own_key == [column.name.clone()];
            if let Some(reference) = self.reference(&profile, column, is_key, parents).await? {
                found.push(reference);
            }
        }
        for (parent, identity) in parents {
            if identity.columns.len() < 2 || identity.counts || parent.table == profile.table {
                continue;
            }
            if let Some(reference) = self.composite_reference(&profile, parent, identity).await? {
                found.push(reference);
            }
        }
        Ok(found)
    }

    /// The table that one column refers to, if the evidence suffices for one.
    async fn reference(
        &self,
        profile: &Profile,
        column: &Column,
        is_key: bool,
        parents: &[(Profile, Identity)],
    ) -> Result<Option<Proposal>> {
        let mut candidates: Vec<(f64, &Profile, &Column, u64)> = Vec::new();
        for (parent, identity) in parents {
            let [key] = identity.columns.as_slice() else { continue };
            let same_table = parent.table == profile.table;
            if !comparable(&column.data_type, &key.data_type) || (same_table && (is_key || key.name == column.name)) {
                continue;
            }
            let name = reference_strength(&column.name, &profile.table.table, &parent.table.table, &key.name);
            // Of two tables with one key, the one that the key is called after is the parent, or else the larger one.
            if is_key
                && (names_table(&column.name, &profile.table.table)
                    || (!names_table(&key.name, &parent.table.table) && parent.rows <= profile.rows))
            {
                continue;
            }
            if name == 0.0 && (is_key || same_table || !looks_like(column, key)) {
                continue;
            }
            if name < 0.8 && !within(column, key) {
                continue;
            }
            candidates.push((name, parent, key, identity.keys));
        }
        // The name decides; among equals the smallest table, of which the values cover most.
        candidates.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.3.cmp(&b.3)).then(a.1.table.cmp(&b.1.table)));
        for (name, parent, key, _) in candidates {
            let pair = [(column.clone(), key.clone())];
            let Some((proposal, inclusion)) = self.included(profile, &pair, parent, name).await? else { continue };
            let enough = match name {
                strong if strong >= 0.8 => inclusion >= INCLUSION,
                _ => inclusion >= 1.0 && proposal.keys >= 2,
            };
            if enough {
                return Ok(Some(proposal));
            }
        }
        Ok(None)
    }

    /// A key of several columns, referred to by columns of the same names.
    async fn composite_reference(
        &self,
        profile: &Profile,
        parent: &Profile,
        identity: &Identity,
    ) -> Result<Option<Proposal>> {
        let mut pairs: Vec<(Column, Column)> = Vec::with_capacity(identity.columns.len());
        for key in &identity.columns {
            let stem = name_stem(&name_words(&key.name));
            let fits = |column: &&Column| {
                comparable(&column.data_type, &key.data_type) && !pairs.iter().any(|(own, _)| own.name == column.name)
            };
            let exact = profile.columns.iter().filter(fits).find(|column| column.name == key.name);
            let alike = || {
                let stems = |column: &&Column| !stem.is_empty() && name_stem(&name_words(&column.name)) == stem;
                let mut alike = profile.columns.iter().filter(fits).filter(stems);
                alike.next().filter(|_| alike.next().is_none())
            };
            let Some(column) = exact.or_else(alike) else { return Ok(None) };
            let column = column.clone();
            pairs.push((column, key.clone()));
        }
        let Some((proposal, inclusion)) = self.included(profile, &pairs, parent, 1.0).await? else { return Ok(None) };
        Ok((inclusion >= INCLUSION).then_some(proposal))
    }

    /// Counts the references of `pairs`, and the share of them that find a parent.
    async fn included(
        &self,
        profile: &Profile,
        pairs: &[(Column, Column)],
        parent: &Profile,
        name: f64,
    ) -> Result<Option<(Proposal, f64)>> {
        let columns: Vec<String> = pairs.iter().map(|(own, _)| own.name.clone()).collect();
        let parent_columns: Vec<String> = pairs.iter().map(|(_, key)| key.name.clone()).collect();
        let key = ForeignKey {
            name: String::new(),
            table: profile.table.clone(),
            columns: columns.clone(),
            parent: parent.table.clone(),
            parent_columns: parent_columns.clone(),
        };
        let row = Row::of(self.state, &foreign_key_counts(self.tables, &key).await?).await?;
        let count = |name| Ok::<_, SynthError>(row.count(name)?.unwrap_or(0));
        let (nulls, orphans, keys, parents) = (count("nulls")?, count("orphans")?, count("keys")?, count("parents")?);
        let references = profile.rows.saturating_sub(nulls);
        if references == 0 || count("parent_duplicates")? > 0 {
            return Ok(None);
        }
        let inclusion = (references - orphans) as f64 / references as f64;
        let said = match name {
            strong if strong >= 0.8 => "the name says so",
            some if some > 0.0 => "the name suggests it",
            _ => "its texts have the form of these keys, and all are among them",
        };
        let evidence = format!(
            "{} of {references} references find one of {parents} keys, {keys} distinct; {said}",
            references - orphans
        );
        let proposal = Proposal {
            table: profile.table.clone(),
            columns,
            parent: Some((parent.table.clone(), parent_columns)),
            rows: profile.rows,
            nulls,
            keys,
            orphans: Some(orphans),
            name,
            score: 0.5 * inclusion + 0.5 * name.max(0.2),
            evidence,
        };
        Ok(Some((proposal, inclusion)))
    }
}

fn primary_key(profile: &Profile, columns: &[Column], name: f64, score: f64, evidence: String) -> Proposal {
    Proposal {
        table: profile.table.clone(),
        columns: names(columns),
        parent: None,
        rows: profile.rows,
        nulls: 0,
        keys: profile.rows,
        orphans: None,
        name,
        score,
        evidence,
    }
}

fn names(columns: &[Column]) -> Vec<String> {
    columns.iter().map(|column| column.name.clone()).collect()
}

fn values_of(data_type: &DataType) -> Option<Values> {
    use DataType as T;
    match data_type {
        T::Dictionary(_, values) => values_of(values).filter(|values| *values != Values::Date),
        T::Utf8 | T::LargeUtf8 | T::Utf8View => Some(Values::Text),
        T::Date32 | T::Date64 | T::Timestamp(..) => Some(Values::Date),
        t if t.is_integer() => Some(Values::Whole),
        _ => None,
    }
}

/// Whether texts look like the keys of a table: codes of one length, more than a handful of them to choose from.
fn looks_like(column: &Column, key: &Column) -> bool {
    column.values == Values::Text
        && key.values == Values::Text
        && !is_identifier(&name_words(&column.name))
        && (2.0..=40.0).contains(&key.length)
        && (column.length - key.length).abs() <= 0.5
        && column.distinct >= 2
        && key.distinct >= 20
        && (key.length >= 3.0 || column.distinct >= 10)
}

/// Whether the values may all lie in the key, by the lowest and the highest.
fn within(column: &Column, key: &Column) -> bool {
    let not_beyond = |low: &ScalarValue, high: &ScalarValue| {
        let high = high.cast_to(&low.data_type());
        !high.is_ok_and(|high| low.partial_cmp(&high) == Some(std::cmp::Ordering::Greater))
    };
    not_beyond(&key.lowest, &column.lowest) && not_beyond(&column.highest, &key.highest)
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("kind", DataType::Utf8, false),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("columns", DataType::Utf8, false),
        Field::new("parent_table", DataType::Utf8, true),
        Field::new("parent_columns", DataType::Utf8, true),
        Field::new("rows", DataType::UInt64, false),
        Field::new("nulls", DataType::UInt64, false),
        Field::new("distinct_keys", DataType::UInt64, false),
        Field::new("orphans", DataType::UInt64, true),
        Field::new("inclusion", DataType::Float64, true),
        Field::new("name_similarity", DataType::Float64, false),
        Field::new("score", DataType::Float64, false),
        Field::new("evidence", DataType::Utf8, false),
        Field::new("statement", DataType::Utf8, false),
    ]))
});

#[derive(Debug)]
struct DetectReport {
    store: ModelStore,
    tables: Option<Vec<TableReference>>,
}

/// Proposals for `tables` (for all of the default schema, if there is no list), made when they are read.
#[must_use]
pub fn detected_keys(store: ModelStore, tables: Option<Vec<TableReference>>) -> ReportTable {
    ReportTable::new(DetectReport { store, tables })
}

#[async_trait]
impl Report for DetectReport {
    fn title(&self) -> String {
        "synth_detect_keys".to_owned()
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    async fn rows(&self, state: &SessionState) -> Result<RecordBatch> {
        let tables = Tables::of(state);
        let names = match &self.tables {
            Some(references) => references.iter().map(|reference| tables.resolve(reference.clone())).collect(),
            None => tables.all().await?,
        };
        let known = KnownKeys::gather(&tables, SessionKeys::of(state).as_deref(), &self.store).await?;
        batch(&tables, &detect_keys(state, &names, &known).await?)
    }
}

fn batch(tables: &Tables, proposals: &[Proposal]) -> Result<RecordBatch> {
    let texts = |get: &dyn Fn(&Proposal) -> Option<String>| -> ArrayRef {
        Arc::new(proposals.iter().map(get).collect::<StringArray>())
    };
    let whole = |get: &dyn Fn(&Proposal) -> Option<u64>| -> ArrayRef {
        Arc::new(proposals.iter().map(get).collect::<UInt64Array>())
    };
    let float = |get: &dyn Fn(&Proposal) -> Option<f64>| -> ArrayRef {
        Arc::new(proposals.iter().map(get).collect::<Float64Array>())
    };
    let columns = vec![
        texts(&|found| Some(if found.parent.is_some() { "foreign key" } else { "primary key" }.to_owned())),
        texts(&|found| Some(tables.show(&found.table))),
        texts(&|found| Some(show_columns(&found.columns))),
        texts(&|found| Some(tables.show(&found.parent.as_ref()?.0))),
        texts(&|found| Some(show_columns(&found.parent.as_ref()?.1))),
        whole(&|found| Some(found.rows)),
        whole(&|found| Some(found.nulls)),
        whole(&|found| Some(found.keys)),
        whole(&|found| found.orphans),
        float(&|found| {
            let references = (found.rows - found.nulls) as f64;
            Some(1.0 - found.orphans? as f64 / references)
        }),
        float(&|found| Some(found.name)),
        float(&|found| Some(found.score)),
        texts(&|found| Some(found.evidence.clone())),
        texts(&|found| Some(statement(tables, found))),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
}

/// The statement that declares a proposal.
fn statement(tables: &Tables, Proposal { table, columns, parent, .. }: &Proposal) -> String {
    let list = |columns: &[String]| columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ");
    let (table, columns) = (tables.reference(table), list(columns));
    match parent {
        None => format!("ALTER TABLE {table} ADD PRIMARY KEY ({columns})"),
        Some((parent, keys)) => format!(
            "ALTER TABLE {table} ADD FOREIGN KEY ({columns}) REFERENCES {} ({})",
            tables.reference(parent),
            list(keys)
        ),
    }
}
