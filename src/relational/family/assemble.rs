//! From codes to the columns of the table: own ones decoded, those of keys looked up in the parents.

use super::{Child, Draft, Family, no_column, taken};
use crate::{
    Result, SynthError,
    encode::{EncodedRows, SubColumn},
    noise::{BLOCK_ROWS, Noise, blocks},
    relational::{NONE, Reference, Role, degree_column, depth_column, owner_column, tree},
};
use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array},
    compute::{cast, concat_batches, filter, is_not_null, kernels::zip::zip, take},
    datatypes::{DataType, Field, Int32Type, Schema, SchemaRef},
};
use std::{collections::BTreeMap, sync::Arc};

/// Columns by name.
pub(super) type Columns = BTreeMap<String, ArrayRef>;

impl Family {
    /// The encoder's columns among `columns`, and those that keys and trees need, decoded; columns that follow others follow
    /// the values that are `given` of these, by their place in the encoder's schema.
    pub(super) fn decode(
        &self,
        own: &EncodedRows,
        first: u64,
        columns: &[String],
        given: &BTreeMap<usize, ArrayRef>,
    ) -> Result<RecordBatch> {
        let schema = self.encoder.schema();
        let mut wanted: Vec<usize> = columns.iter().filter_map(|name| schema.index_of(name).ok()).collect();
        for (_, unique) in self.drawn_keys() {
            wanted.extend(unique.drawn.iter().filter_map(|name| schema.index_of(name).ok()));
        }
        for (at, reference) in self.relations.references.iter().enumerate() {
            wanted.extend(reference.spares.iter().filter_map(|name| schema.index_of(name).ok()));
            if let Role::Tree(_) = reference.role {
                let needed = [depth_column(at)].into_iter().chain(self.tree_degrees(reference));
                let needed = needed.chain(reference.parent_columns.iter().cloned());
                wanted.extend(needed.filter_map(|name| schema.index_of(&name).ok()));
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        let mut batches = Vec::new();
        let rows = first..first + own.rows as u64;
        let mut taken = 0;
        for (block, part) in blocks(rows.clone()) {
            let mut encoded = EncodedRows::with_capacity(self.encoder.layout(), BLOCK_ROWS);
            let from = taken..taken + part.len();
            for (to, own) in encoded.subcolumns.iter_mut().zip(&own.subcolumns) {
                to.fill(part.start);
                to.extend(own, from.clone());
                to.fill(BLOCK_ROWS);
            }
            encoded.rows = BLOCK_ROWS;
            let given = given.iter().map(|(&at, values)| (at, values.slice(taken, part.len()))).collect();
            batches.push(self.encoder.decode_given(block, &encoded, part.clone(), &wanted, &self.noise, &given)?);
            taken += part.len();
        }
        let schema = Arc::new(schema.project(&wanted)?);
        concat_rows(&schema, &batches, own.rows)
    }

    /// The column that counts a tree's children.
    fn tree_degrees(&self, reference: &Reference) -> Option<String> {
        self.relations.child(&reference.parent, &reference.columns).map(degree_column)
    }

    /// Puts the columns together: own ones, those of foreign keys, hidden ones.
    pub(super) fn assemble(
        &self,
        draft: &mut Draft<'_>,
        decoded: &RecordBatch,
        wanted: &[String],
        (first, rows): (u64, usize),
        noise: &Noise,
    ) -> Result<Child> {
        let mut own = columns(decoded);
        self.climb(draft, &own, rows, noise)?;
        let keys = self.keys(draft, &mut own)?;
        for (number, unique) in self.drawn_keys() {
            self.keep_unique((number, unique), &keys, &mut own, draft, noise)?;
        }
        let mut fields = Vec::with_capacity(wanted.len());
        let mut arrays = Vec::with_capacity(wanted.len());
        for name in wanted {
            let (field, array) = if let Ok(field) = self.relations.schema.field_with_name(name) {
                let array = own.get(name).or_else(|| keys.get(name)).cloned();
                (field.clone(), array.unwrap_or_else(|| new_null_array(field.data_type(), rows)))
            } else {
                let array = match own.get(name) {
                    Some(array) => Arc::clone(array),
                    None => self.of_owner(draft, name)?,
                };
                (Field::new(name, array.data_type().clone(), true), array)
            };
            if !field.is_nullable() && array.null_count() > 0 {
                return Err(SynthError::Column {
                    column: name.clone(),
                    reason: format!("{} rows have no parent, and the column takes no nulls", array.null_count()),
                    way_out: "generate more parents, or declare the column nullable".to_owned(),
                });
            }
            fields.push(field);
            arrays.push(array);
        }
        let schema = Arc::new(Schema::new_with_metadata(fields, self.relations.schema.metadata().clone()));
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(Child { first, rows: RecordBatch::try_new_with_options(schema, arrays, &options)? })
    }

    /// Finds the parents of rows in trees, by the depths and the numbers of children that the model has drawn.
    fn climb(&self, draft: &mut Draft<'_>, own: &Columns, rows: usize, noise: &Noise) -> Result<()> {
        let numbers = |name: &str| -> Result<Vec<u32>> {
            let values = cast(own.get(name).ok_or_else(|| no_column(name))?, &DataType::Int32)?;
            let values = values.as_primitive::<Int32Type>().iter();
            Ok(values.map(|value| value.unwrap_or(0).max(0).cast_unsigned()).collect())
        };
        for (at, reference) in self.relations.references.iter().enumerate() {
            let Role::Tree(levels) = &reference.role else { continue };
            let depth: Vec<f64> = numbers(&depth_column(at))?.into_iter().map(f64::from).collect();
            let degrees = match self.tree_degrees(reference) {
                Some(name) => numbers(&name)?,
                None => vec![1; rows],
            };
            let mut bits = vec![0u32; rows];
            noise.purpose(&format!("tree/{at}")).fill_u32(0, &mut bits);
            draft.parents[at] = tree::climb(&depth, levels, &degrees, &bits);
        }
        Ok(())
    }

    /// The columns of foreign keys: those of the parents and, of rows without one, what the model has drawn, which is taken
    /// out of `own`.
    pub(super) fn keys(&self, draft: &Draft<'_>, own: &mut Columns) -> Result<Columns> {
        let mut keys = Columns::new();
        for (at, reference) in self.by_width() {
            for (name, parent_name) in reference.columns.iter().zip(&reference.parent_columns) {
                let from = match &reference.role {
                    Role::Tree(_) => own.get(parent_name).cloned(),
                    _ => draft.segment.parents[at].as_ref().and_then(|p| p.rows.column_by_name(parent_name).cloned()),
                };
                let Some(from) = from else { continue };
                let field = self.relations.schema.field_with_name(name)?;
                let values = cast(&taken(&from, &draft.parents[at])?, field.data_type())?;
                fill(&mut keys, name, values)?;
            }
        }
        for (at, reference) in self.by_width() {
            for name in &reference.spares {
                let mut drawn = own.remove(name).ok_or_else(|| no_column(name))?;
                if reference.solid.contains(name) {
                    drawn = filled(&drawn, &draft.parents[at], || self.values_of(name))?;
                }
                fill(&mut keys, name, drawn)?;
            }
            if let Some(broken) = &reference.broken {
                break_off(&mut keys, reference, broken, &draft.parents[at])?;
            }
        }
        Ok(keys)
    }

    /// The values that the model can draw for a column, without null.
    pub(in crate::relational) fn values_of(&self, name: &str) -> Result<ArrayRef> {
        let at = self.encoder.schema().index_of(name)?;
        let layout = self.encoder.layout();
        let codes = layout.columns[at].subcolumns.start;
        let count = match layout.subcolumns.get(codes) {
            Some(SubColumn::Code { cardinality, .. }) => (*cardinality as usize).min(BLOCK_ROWS),
            _ => 1,
        };
        let mut encoded = EncodedRows::with_capacity(layout, BLOCK_ROWS);
        for (subcolumn, data) in encoded.subcolumns.iter_mut().enumerate() {
            if subcolumn == codes {
                (0..count as u32).for_each(|code| data.push_code(code));
            }
            data.fill(BLOCK_ROWS);
        }
        encoded.rows = BLOCK_ROWS;
        let decoded = self.encoder.decode(0, &encoded, 0..count, &[at], &self.noise)?;
        Ok(filter(decoded.column(0), &is_not_null(decoded.column(0))?)?)
    }

    /// The owner's column that is called `name` among its children's.
    fn of_owner(&self, draft: &Draft<'_>, name: &str) -> Result<ArrayRef> {
        let owner =
            self.relations.owner().map(|(at, _)| at).and_then(|at| Some((at, draft.segment.parents[at].as_ref()?)));
        let (at, parents) = owner.ok_or_else(|| no_column(name))?;
        let schema = parents.rows.schema();
        let column = schema.fields().iter().position(|field| owner_column(field.name()) == name);
        taken(parents.rows.column(column.ok_or_else(|| no_column(name))?), &draft.parents[at])
    }

    /// The references, widest first: where two share columns, the wider one says what is in them.
    fn by_width(&self) -> Vec<(usize, &Reference)> {
        let mut references: Vec<_> = self.relations.references.iter().enumerate().collect();
        references.sort_by_key(|(at, reference)| (std::cmp::Reverse(reference.columns.len()), *at));
        references
    }
}

/// The columns of a batch.
pub(super) fn columns(batch: &RecordBatch) -> Columns {
    let schema = batch.schema();
    let named = schema.fields().iter().zip(batch.columns());
    named.map(|(field, array)| (field.name().clone(), Arc::clone(array))).collect()
}

/// Puts `values` where the column called `name` is null.
fn fill(keys: &mut Columns, name: &str, values: ArrayRef) -> Result<()> {
    let filled = match keys.get(name) {
        Some(there) => zip(&is_not_null(there)?, there, &values)?,
        None => values,
    };
    keys.insert(name.to_owned(), filled);
    Ok(())
}

/// Drawn values of rows without a parent; where one should have been drawn and was not, that of such a row before it, or
/// after it; where none was drawn at all, those that `possible` names, in turn.
fn filled(drawn: &ArrayRef, parents: &[u32], possible: impl FnOnce() -> Result<ArrayRef>) -> Result<ArrayRef> {
    let good = |row: &usize| parents[*row] == NONE && drawn.is_valid(*row);
    let mut last = (0..parents.len()).find(good);
    if last.is_none() && parents.contains(&NONE) {
        let possible = possible()?;
        let count = possible.len().max(1);
        let value = |(row, &parent): (usize, &u32)| (parent == NONE).then_some((row % count) as u32);
        let rows: UInt32Array = parents.iter().enumerate().map(value).collect();
        return Ok(if possible.is_empty() { Arc::clone(drawn) } else { take(&possible, &rows, None)? });
    }
    let mut rows = Vec::with_capacity(parents.len());
    for (row, &parent) in parents.iter().enumerate() {
        if good(&row) {
            last = Some(row);
        }
        rows.push(if parent == NONE { last.map(|row| row as u32) } else { None });
    }
    Ok(take(drawn, &UInt32Array::from(rows), None)?)
}

/// Nulls the column `broken` of rows that have no parent and yet no null among the columns of the reference.
fn break_off(keys: &mut Columns, reference: &Reference, broken: &str, parents: &[u32]) -> Result<()> {
    let columns: Vec<&ArrayRef> = reference.columns.iter().filter_map(|name| keys.get(name)).collect();
    let complete = |row: usize| columns.iter().all(|column| column.is_valid(row));
    let kept: UInt32Array = parents
        .iter()
        .enumerate()
        .map(|(row, &parent)| (parent != NONE || !complete(row)).then_some(row as u32))
        .collect();
    if let Some(values) = keys.get(broken) {
        let values = take(values, &kept, None)?;
        keys.insert(broken.to_owned(), values);
    }
    Ok(())
}

fn concat_rows(schema: &SchemaRef, batches: &[RecordBatch], rows: usize) -> Result<RecordBatch> {
    if schema.fields().is_empty() {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        return Ok(RecordBatch::try_new_with_options(Arc::clone(schema), vec![], &options)?);
    }
    Ok(concat_batches(schema, batches)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use arrow::array::Int32Array;

    #[test]
    fn rows_without_a_parent_get_a_value_whatever_was_drawn() {
        let parents = [0, NONE, NONE, 4, NONE];
        let fill = |drawn: [Option<i32>; 5], possible: &[i32]| {
            let drawn: ArrayRef = Arc::new(Int32Array::from(drawn.to_vec()));
            let possible = || -> Result<ArrayRef> { Ok(Arc::new(Int32Array::from(possible.to_vec()))) };
            let filled = filled(&drawn, &parents, possible).unwrap();
            filled.as_primitive::<Int32Type>().iter().collect::<Vec<_>>()
        };
        // A neighbour's; what rows with a parent drew does not count.
        let near = fill([Some(9), None, Some(3), Some(8), None], &[]);
        assert_eq!(near, [None, Some(3), Some(3), None, Some(3)]);
        let none = fill([Some(9), None, None, None, None], &[5, 6, 7]);
        assert_eq!(none, [None, Some(6), Some(7), None, Some(6)]);
    }
}
