//! Keys whose columns the model draws: every combination once.

use super::{
    Draft, Family,
    assemble::{Columns, columns},
    no_column,
};
use crate::{
    Result,
    encode::EncodedRows,
    noise::Noise,
    relational::{
        Role, Unique, row_converter,
        unique::{distinct_tuples, in_wished_order},
    },
};
use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array, StringArray, UInt32Array},
    compute::{CastOptions, cast, cast_with_options, concat, max, min, take},
    datatypes::{DataType, Int64Type},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// The parts of a key that the model draws, no two rows having the same as far as there are enough of them.
struct Distinct {
    values: Vec<ArrayRef>,
    /// Whether a row was moved.
    moved: bool,
    /// Rows for which there was no free one.
    exhausted: Vec<u32>,
    /// Whether the model draws all of the key.
    alone: bool,
}

impl Family {
    /// Sub-columns, by their place among all, and codes of the drawn parts of keys, once those that other rows have were moved:
    /// what the rest of the rows is then drawn given. Nothing where none had to move.
    pub(super) fn known_keys(
        &self,
        draft: &Draft<'_>,
        own: &EncodedRows,
        first: u64,
        noise: &Noise,
    ) -> Result<Vec<(usize, Vec<u32>)>> {
        let trees = self.relations.references.iter().filter(|reference| matches!(reference.role, Role::Tree(_)));
        let in_tree: Vec<&String> = trees.flat_map(|reference| &reference.columns).collect();
        let of_tree = |key: &Unique| key.columns.iter().any(|name| in_tree.contains(&name));
        let uniques: Vec<_> = self.drawn_keys().filter(|(_, key)| !of_tree(key)).collect();
        if uniques.is_empty() {
            return Ok(Vec::new());
        }
        let rows = own.rows;
        let decoded = self.decode(own, first, &[], &BTreeMap::new())?;
        let mut own = columns(&decoded);
        let keys = self.keys(draft, &mut own)?;
        let mut moved = false;
        for (number, unique) in uniques {
            let distinct = self.distinct((number, unique), &keys, &own, draft, noise)?;
            moved |= distinct.moved;
            own.extend(unique.drawn.iter().cloned().zip(distinct.values));
        }
        if !moved {
            return Ok(Vec::new());
        }
        let schema = self.encoder.schema();
        let drawn = |name: &String| self.drawn_keys().any(|(_, unique)| unique.drawn.contains(name));
        let (places, arrays): (Vec<usize>, Vec<ArrayRef>) = own
            .into_iter()
            .filter(|(name, _)| drawn(name))
            .filter_map(|(name, values)| Some((schema.index_of(&name).ok()?, values)))
            .unzip();
        let known = self.known_codes(&places, &arrays, rows)?.into_iter();
        Ok(known.map(|(at, codes)| (self.joint.own.start + at, codes)).collect())
    }

    /// The keys of which the model draws something.
    pub(super) fn drawn_keys(&self) -> impl Iterator<Item = (usize, &Unique)> {
        self.relations.uniques.iter().enumerate().filter(|(_, unique)| !unique.drawn.is_empty())
    }

    /// Puts what makes the drawn parts of a key distinct into `own`.
    pub(super) fn keep_unique(
        &self,
        (number, unique): (usize, &Unique),
        keys: &Columns,
        own: &mut Columns,
        draft: &Draft<'_>,
        noise: &Noise,
    ) -> Result<()> {
        let Distinct { values, exhausted, alone, .. } = self.distinct((number, unique), keys, own, draft, noise)?;
        let segment = draft.segment.number;
        for (column, (name, mut values)) in unique.drawn.iter().zip(values).enumerate() {
            let domain = unique.domain.0.column(column);
            if column == 0 && !exhausted.is_empty() {
                values = beyond(&values, domain, &exhausted)?;
            }
            if alone && column == 0 && segment > 0 {
                values = in_segment(&values, domain, segment)?;
            }
            own.insert(name.clone(), values);
        }
        Ok(())
    }

    /// Moves drawn parts of a key that other rows have to the nearest free ones.
    fn distinct(
        &self,
        (number, unique): (usize, &Unique),
        keys: &Columns,
        own: &Columns,
        draft: &Draft<'_>,
        noise: &Noise,
    ) -> Result<Distinct> {
        let others: Vec<ArrayRef> = unique
            .columns
            .iter()
            .filter(|name| !unique.drawn.contains(name))
            .filter_map(|name| keys.get(name).cloned())
            .collect();
        let drawn = |name: &String| own.get(name).cloned().ok_or_else(|| no_column(name));
        let mine: Vec<ArrayRef> = unique.drawn.iter().map(drawn).collect::<Result<_>>()?;
        let rows = mine.first().map_or(0, |values| values.len());
        let groups = numbered(&others, rows)?;
        let domain = &unique.domain.0;
        let converter = row_converter(domain.columns())?;
        let known = converter.convert_columns(domain.columns())?;
        let given = converter.convert_columns(&mine)?;
        let last = domain.num_rows().saturating_sub(1);
        let at = |row: usize| partition(domain.num_rows(), |n| known.row(n) < given.row(row)).min(last) as u32;
        let tuples: Vec<u32> = (0..rows).map(at).collect();
        let mut bits = vec![0u32; rows];
        noise.purpose(&format!("unique/{number}")).fill_u32(0, &mut bits);
        let (mut moved, exhausted) = distinct_tuples(&groups, &tuples, domain.num_rows() as u32, &bits);
        if let Some((owner, _)) = self.relations.owner() {
            in_wished_order(&groups, &draft.parents[owner], &tuples, &exhausted, &mut moved);
        }
        let row = |row: usize| if moved[row] == tuples[row] { row as u32 } else { rows as u32 + moved[row] };
        let chosen: UInt32Array = (0..rows).map(row).collect();
        let values = (mine.iter().zip(domain.columns()))
            .map(|(mine, domain)| Ok(take(&concat(&[mine.as_ref(), domain.as_ref()])?, &chosen, None)?))
            .collect::<Result<_>>()?;
        Ok(Distinct { values, moved: moved != tuples, exhausted, alone: others.is_empty() })
    }
}

/// Values for the rows `rows` that the training data does not have: the numbers after its largest, texts with a number.
fn beyond(values: &ArrayRef, domain: &ArrayRef, rows: &[u32]) -> Result<ArrayRef> {
    let more: ArrayRef = if values.data_type().is_integer() {
        let largest = max(cast(domain, &DataType::Int64)?.as_primitive::<Int64Type>()).unwrap_or(0);
        Arc::new((1..=rows.len() as i64).map(|number| largest.checked_add(number)).collect::<Int64Array>())
    } else {
        let texts = take(values, &UInt32Array::from(rows.to_vec()), None)?;
        let texts = cast(&texts, &DataType::Utf8)?;
        let texts =
            texts.as_string::<i32>().iter().zip(1..).map(|(text, number)| text.map(|text| format!("{text}.{number}")));
        Arc::new(texts.collect::<StringArray>())
    };
    let options = CastOptions { safe: false, ..Default::default() };
    let more = cast_with_options(&more, values.data_type(), &options)?;
    let mut chosen: Vec<u32> = (0..values.len() as u32).collect();
    for (number, &row) in rows.iter().enumerate() {
        chosen[row as usize] = (values.len() + number) as u32;
    }
    Ok(take(&concat(&[values.as_ref(), more.as_ref()])?, &UInt32Array::from(chosen), None)?)
}

/// Values that no other segment has: numbers beyond those before, texts with the segment's number.
fn in_segment(values: &ArrayRef, domain: &ArrayRef, segment: u64) -> Result<ArrayRef> {
    let data_type = values.data_type();
    if data_type.is_integer() {
        let domain = cast(domain, &DataType::Int64)?;
        let domain = domain.as_primitive::<Int64Type>();
        let (low, high) = (min(domain).unwrap_or(0), max(domain).unwrap_or(0));
        let step = (high - low + 1).saturating_mul(i64::try_from(segment).unwrap_or(i64::MAX));
        let moved = cast(values, &DataType::Int64)?;
        let moved: Int64Array = moved
            .as_primitive::<Int64Type>()
            .iter()
            .map(|value| value.map(|value| value.saturating_add(step)))
            .collect();
        let options = CastOptions { safe: false, ..Default::default() };
        return Ok(cast_with_options(&moved, data_type, &options)?);
    }
    let texts = cast(values, &DataType::Utf8)?;
    let moved: StringArray =
        texts.as_string::<i32>().iter().map(|text| text.map(|text| format!("{text}-{segment}"))).collect();
    Ok(cast(&moved, data_type)?)
}

/// `n`, if all of `0..n` are below and no other.
fn partition(length: usize, below: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, length);
    while low < high {
        let middle = low + (high - low) / 2;
        if below(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

/// A number for every distinct row of `columns`, by first occurrence.
pub(super) fn numbered(columns: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
    if columns.is_empty() {
        return Ok(vec![0; rows]);
    }
    let converter = row_converter(columns)?;
    let converted = converter.convert_columns(columns)?;
    let mut numbers = HashMap::new();
    Ok((0..rows)
        .map(|row| {
            let next = numbers.len() as u32;
            *numbers.entry(converted.row(row)).or_insert(next)
        })
        .collect())
}
