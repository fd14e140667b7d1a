//! From a column's sketch to its encoder.

use super::{
    BinEncoder, Bins, ByteValues, ColumnEncoder, Generated, ModeEncoder, Modes, NumberValues, ValueEncoder,
    generated::Maker,
};
use crate::{
    Result, SynthError,
    encode::{
        Scheme,
        physical::{Lane, is_string, value_type},
        sketch::{BytesSketch, NumberSketch},
        text::{Prose, Templates, is_regular},
    },
    schema::{ColumnFacts, ColumnRole, infer_role},
};
use arrow::datatypes::{DataType, Field, i256};
use std::collections::BTreeMap;

/// Neighbours on either side that an atom is compared with.
const NEIGHBOURS: usize = 10;
/// Neighbours on either side of a value whose mean a smooth distribution would have there.
const NEAR: usize = 2;
/// The share of the rows, atoms left out, that makes a distribution rough by lying beside that mean.
const ROUGH: f64 = 0.1;

/// Which values of a number get codes of their own.
struct Rule {
    /// All (exact shares, exact values), if there are no more than this many ...
    few: u64,
    /// ... that occur this often on average, ...
    often: u64,
    /// ... or no more than this many if their frequencies are rough: no mixture says that credit limits are round.
    few_if_rough: u64,
    /// Else atoms: those with this share of the rows at least ...
    share: f64,
    /// ... and so many rows, ...
    rows: f64,
    /// ... that occur this many times as often as their neighbours.
    contrast: f64,
}

impl Rule {
    fn of(scheme: Scheme) -> Self {
        match scheme {
            Scheme::ModeSpecific => {
                Self { few: 32, often: 4, few_if_rough: 128, share: 0.005, rows: 2.0, contrast: 4.0 }
            }
            Scheme::Codes => Self { few: 500, often: 20, few_if_rough: 0, share: 0.004, rows: 10.0, contrast: 0.0 },
        }
    }
}

/// A column, seen whole.
#[derive(Debug, Clone)]
pub(crate) enum Sketch {
    /// Not looked at: excluded, or of the null type.
    None,
    Int(NumberSketch<i64>),
    Wide(NumberSketch<i128>),
    Huge(NumberSketch<i256>),
    Float(NumberSketch<crate::encode::wide::Float>),
    Bytes(BytesSketch),
}

/// Decides the role (unless `declared`) and fits the encoder.
pub(crate) fn fit(
    field: &Field,
    sketch: &Sketch,
    nulls: u64,
    declared: Option<ColumnRole>,
    scheme: Scheme,
) -> Result<(ColumnRole, ColumnEncoder)> {
    if declared == Some(ColumnRole::Exclude) {
        return excluded(field).map(|encoder| (ColumnRole::Exclude, encoder));
    }
    let fitted = match sketch {
        Sketch::None => (ColumnRole::Exclude, ColumnEncoder::Null),
        Sketch::Int(sketch) => {
            numbers((field, sketch, nulls, declared), scheme, ValueEncoder::Int, ModeEncoder::Int, BinEncoder::Int)?
        }
        Sketch::Wide(sketch) => {
            numbers((field, sketch, nulls, declared), scheme, ValueEncoder::Wide, ModeEncoder::Wide, BinEncoder::Wide)?
        }
        Sketch::Huge(sketch) => {
            numbers((field, sketch, nulls, declared), scheme, ValueEncoder::Huge, ModeEncoder::Huge, BinEncoder::Huge)?
        }
        Sketch::Float(sketch) => numbers(
            (field, sketch, nulls, declared),
            scheme,
            ValueEncoder::Float,
            ModeEncoder::Float,
            BinEncoder::Float,
        )?,
        Sketch::Bytes(sketch) => bytes(field, sketch, nulls, declared)?,
    };
    Ok(fitted)
}

fn excluded(field: &Field) -> Result<ColumnEncoder> {
    if field.is_nullable() {
        return Ok(ColumnEncoder::Null);
    }
    Err(SynthError::Column {
        column: field.name().clone(),
        reason: "its role is `exclude`, which makes it null in the output, but it is declared NOT NULL".into(),
        way_out: "leave the column out of the query that is learned, or declare it nullable".into(),
    })
}

fn too_many(field: &Field, distinct: u64, what: &str) -> SynthError {
    SynthError::Column {
        column: field.name().clone(),
        reason: format!("about {distinct} distinct values are too many for {what}"),
        way_out: "set its role to `exclude` in synth.columns, or cast it to a number or a coarser value".into(),
    }
}

fn numbers<W: Lane>(
    (field, sketch, nulls, declared): (&Field, &NumberSketch<W>, u64, Option<ColumnRole>),
    scheme: Scheme,
    by_value: impl Fn(NumberValues<W>) -> ValueEncoder,
    by_mode: impl Fn(Modes<W>) -> ModeEncoder,
    by_bin: impl Fn(Bins<W>) -> BinEncoder,
) -> Result<(ColumnRole, ColumnEncoder)> {
    let values = &sketch.values;
    let grid = sketch.summary().grid;
    let data_type = value_type(field.data_type());
    let facts = ColumnFacts {
        name: field.name(),
        data_type,
        values: values.rows(),
        distinct: values.distinct(),
        singletons: values.singletons(),
        span: grid.filter(|_| !W::REAL).map(|g| g.max.distance(g.min) / g.step as f64 + 1.0),
        regular: false,
        complete: values.is_exact(),
    };
    let mut role = declared.unwrap_or_else(|| infer_role(&facts));
    if values.rows() == 0 {
        return Ok((role, ColumnEncoder::Null));
    }
    // Counting on is done in 128 bits.
    let countable = grid.and_then(|g| g.max.to_string().parse::<i128>().ok()).is_some();
    if role == ColumnRole::Identifier && declared.is_none() && !countable {
        role = ColumnRole::Numeric;
    }
    let nullable = nulls > 0;
    let all = || ColumnEncoder::Values(by_value(all_numbers(sketch, nullable)));
    let opaque = matches!(data_type, DataType::Interval(_));
    if role == ColumnRole::Identifier
        && let Some(grid) = grid.filter(|_| !W::REAL)
    {
        let start = grid.min.to_string().parse().map_err(|_| SynthError::Column {
            column: field.name().clone(),
            reason: format!("identifiers beyond 128 bits ({} …) cannot be counted on", grid.min),
            way_out: "set its role to `numeric` in synth.columns".into(),
        })?;
        let maker = Maker::Sequence { start, step: grid.step };
        let identities = (!facts.is_unique()).then_some(facts.distinct);
        return Ok((role, ColumnEncoder::Generated(Generated::new(maker, nullable, identities))));
    }
    let distinct = values.distinct();
    let rule = Rule::of(scheme);
    let few = values.is_exact() && distinct <= rule.few && (distinct <= 2 || values.rows() >= rule.often * distinct);
    if role == ColumnRole::Categorical || opaque {
        return if values.is_exact() { Ok((role, all())) } else { Err(too_many(field, distinct, "categories")) };
    }
    let Some(grid) = grid.filter(|_| !few) else { return Ok((role, all())) };
    let points: Vec<(W, f64)> = values.distribution().into_iter().map(|(v, n)| (*v, n)).collect();
    let (atoms, rest) = split_atoms(points, values.rows(), &rule);
    let few_if_rough = values.is_exact() && distinct <= rule.few_if_rough && values.rows() >= rule.often * distinct;
    if rest.is_empty() || (few_if_rough && roughness(&rest, values.rows()) >= ROUGH) {
        return Ok((role, all()));
    }
    let encoder = match scheme {
        Scheme::ModeSpecific => ColumnEncoder::Modes(by_mode(Modes::fit(&rest, atoms, &grid, nullable))),
        Scheme::Codes => ColumnEncoder::Bins(by_bin(Bins::fit(&rest, atoms, &grid, nullable, data_type))),
    };
    Ok((role, encoder))
}

/// The share of `rows` by which frequencies differ from the mean of their neighbours'.
fn roughness<W>(points: &[(W, f64)], rows: u64) -> f64 {
    let beside = |i: usize| {
        let around = i.saturating_sub(NEAR)..(i + NEAR + 1).min(points.len());
        let others: Vec<f64> = around.filter(|&j| j != i).map(|j| points[j].1).collect();
        (points[i].1 - others.iter().sum::<f64>() / others.len().max(1) as f64).abs()
    };
    (0..points.len()).map(beside).sum::<f64>() / 2.0 / rows.max(1) as f64
}

/// A code for every value of a column; none where not all are known.
pub(crate) fn by_value(sketch: &Sketch, nullable: bool) -> Option<ColumnEncoder> {
    let encoder = match sketch {
        Sketch::Int(s) if s.values.is_exact() => ValueEncoder::Int(all_numbers(s, nullable)),
        Sketch::Wide(s) if s.values.is_exact() => ValueEncoder::Wide(all_numbers(s, nullable)),
        Sketch::Huge(s) if s.values.is_exact() => ValueEncoder::Huge(all_numbers(s, nullable)),
        Sketch::Float(s) if s.values.is_exact() => ValueEncoder::Float(all_numbers(s, nullable)),
        Sketch::Bytes(s) if s.values.is_exact() => ValueEncoder::Bytes(all_bytes(s, nullable)),
        _ => return None,
    };
    Some(ColumnEncoder::Values(encoder))
}

fn all_numbers<W: Lane>(sketch: &NumberSketch<W>, nullable: bool) -> NumberValues<W> {
    NumberValues::new(sketch.values.sorted().into_iter().map(|(value, _)| *value).collect(), nullable)
}

/// The most frequent value first.
fn all_bytes(sketch: &BytesSketch, nullable: bool) -> ByteValues {
    let mut sorted = sketch.values.sorted();
    sorted.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    ByteValues::new(sorted.into_iter().map(|(value, _)| value.clone()), nullable)
}

/// The atoms of a distribution (in value order), and the rest.
fn split_atoms<W: Lane>(points: Vec<(W, f64)>, rows: u64, rule: &Rule) -> (Vec<W>, Vec<(W, f64)>) {
    let frequent = (rule.share * rows as f64).max(rule.rows);
    let stands_out = |i: usize| {
        let around = i.saturating_sub(NEIGHBOURS)..(i + NEIGHBOURS + 1).min(points.len());
        let mut counts: Vec<f64> = around.filter(|&j| j != i).map(|j| points[j].1).collect();
        counts.sort_by(f64::total_cmp);
        counts.get(counts.len() / 2).is_none_or(|median| points[i].1 >= rule.contrast * median)
    };
    let is_atom: Vec<bool> = points
        .iter()
        .enumerate()
        .map(|(i, (value, count))| !value.is_finite() || (*count >= frequent && stands_out(i)))
        .collect();
    let (mut atoms, mut rest) = (Vec::new(), Vec::new());
    for (point, atom) in points.into_iter().zip(is_atom) {
        if atom { atoms.push(point.0) } else { rest.push(point) }
    }
    (atoms, rest)
}

fn bytes(
    field: &Field,
    sketch: &BytesSketch,
    nulls: u64,
    declared: Option<ColumnRole>,
) -> Result<(ColumnRole, ColumnEncoder)> {
    let values = &sketch.values;
    let sorted = values.sorted();
    let string = is_string(field.data_type());
    let texts: Vec<(&str, u64)> = if string {
        sorted
            .iter()
            .map(|(value, n)| std::str::from_utf8(value).map(|text| (text, *n)))
            .collect::<Result<_, _>>()
            .map_err(|_| SynthError::Internal(format!("column `{}`: a string is not UTF-8", field.name())))?
    } else {
        vec![]
    };
    let facts = ColumnFacts {
        name: field.name(),
        data_type: value_type(field.data_type()),
        values: values.rows(),
        distinct: values.distinct(),
        singletons: values.singletons(),
        span: None,
        regular: is_regular(&texts),
        complete: values.is_exact(),
    };
    let role = declared.unwrap_or_else(|| infer_role(&facts));
    if values.rows() == 0 {
        return Ok((role, ColumnEncoder::Null));
    }
    let nullable = nulls > 0;
    let identities = (!facts.is_unique()).then_some(facts.distinct);
    let maker = match role {
        ColumnRole::Categorical if !values.is_exact() => return Err(too_many(field, values.distinct(), "categories")),
        ColumnRole::Categorical => {
            return Ok((role, ColumnEncoder::Values(ValueEncoder::Bytes(all_bytes(sketch, nullable)))));
        }
        ColumnRole::FreeText => {
            let encoder = Generated::new(Maker::Prose(Box::new(Prose::fit(&texts))), nullable, None);
            return Ok((role, ColumnEncoder::Generated(encoder)));
        }
        _ if string => Maker::Templates(Templates::fit(&texts)),
        _ => {
            let lengths = sorted.iter().fold(BTreeMap::new(), |mut lengths, (value, n)| {
                *lengths.entry(u32::try_from(value.len()).unwrap_or(u32::MAX)).or_insert(0) += n;
                lengths
            });
            Maker::Random { lengths: lengths.into_iter().collect() }
        }
    };
    Ok((role, ColumnEncoder::Generated(Generated::new(maker, nullable, identities))))
}
