//! The encoder of a table.

use super::{
    ColumnLayout, EncodedRows, KnownCodes, Layout, SubColumn, SubColumnData, UNKNOWN,
    columns::{ColumnEncoder, DecodeInput, EncodeInput, PartCodes, invalid, push, unseen},
    follows::{Follows, difference, difference_field, equal, later},
    physical::plain,
    schema_serde,
};
use crate::{Result, SynthError, noise::Noise, schema::ColumnRole};
use arrow::{
    array::{Array, ArrayRef, BooleanArray},
    compute::{is_not_null, kernels::zip::zip},
    datatypes::{Field, SchemaRef},
    record_batch::{RecordBatch, RecordBatchOptions},
};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, cell::RefCell, collections::BTreeMap, sync::Arc};

/// What a model wants numbers to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// Mode-specific normalisation (Xu et al. 2019, §4.2): a mode code and a scalar within it.
    ModeSpecific,
    /// One code: of a value where there are not many, else of a quantile bin.
    Codes,
}

/// What to do with a value that was not there when the table was profiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unseen {
    /// It is an error that names it.
    Refuse,
    /// Nothing is known of it.
    Ignore,
}

/// Turns rows of a table into codes and back. Complete: what it takes to decode is all in here.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Repr", into = "Repr")]
pub struct TableEncoder {
    schema: SchemaRef,
    scheme: Scheme,
    columns: Arc<Vec<Column>>,
    layout: Layout,
}

/// What is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Repr {
    #[serde(with = "schema_serde")]
    schema: SchemaRef,
    scheme: Scheme,
    columns: Vec<Column>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Column {
    role: ColumnRole,
    encoder: ColumnEncoder,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    follows: Option<Follows>,
}

impl Column {
    /// The column that it is equal to at times.
    fn equal_to(&self) -> Option<usize> {
        match self.follows {
            Some(Follows::Equal(base)) => Some(base),
            _ => None,
        }
    }

    /// The code for being equal to another column: the one after its encoder's.
    fn equal_code(&self) -> Option<u32> {
        match (self.equal_to(), self.encoder.subcolumns().first()) {
            (Some(_), Some(&SubColumn::Code { cardinality, .. })) => Some(cardinality),
            _ => None,
        }
    }

    /// The codes of its values in its first sub-column, given those of the column that it is equal to at times, where these
    /// are known; and in the others.
    fn codes(&self, array: &ArrayRef, base: Option<&ArrayRef>) -> Result<(Vec<Option<u32>>, PartCodes)> {
        let mut codes = self.encoder.codes(array.as_ref())?;
        let parts = self.encoder.part_codes(array.as_ref(), &codes)?;
        if let (Some(base), Some(same)) = (base, self.equal_code()) {
            for (code, equal) in codes.iter_mut().zip(equal(array, base)?.values()) {
                if equal && code.is_some_and(|code| self.encoder.is_bin(code)) {
                    *code = Some(same);
                }
            }
        }
        Ok((codes, parts))
    }

    /// Whether it, column `at`, has the codes of a category that it is one-hot of.
    fn has_codes_of_category(&self, at: usize) -> bool {
        matches!(self.follows, Some(Follows::OneHot { of, .. }) if of == at)
    }

    /// The column that it is learned as the time since.
    fn base(&self) -> Option<usize> {
        match self.follows {
            Some(Follows::Since(base)) => Some(base),
            _ => None,
        }
    }
}

impl From<TableEncoder> for Repr {
    fn from(encoder: TableEncoder) -> Self {
        let columns = Arc::unwrap_or_clone(encoder.columns);
        Self { schema: encoder.schema, scheme: encoder.scheme, columns }
    }
}

impl TryFrom<Repr> for TableEncoder {
    type Error = SynthError;

    fn try_from(repr: Repr) -> Result<Self> {
        let columns = repr.columns.into_iter().map(|c| (c.role, c.encoder, c.follows)).collect();
        Self::new(repr.schema, repr.scheme, columns)
    }
}

impl TableEncoder {
    /// Of fitted (or stored) column encoders, which it checks.
    pub(super) fn new(
        schema: SchemaRef,
        scheme: Scheme,
        columns: Vec<(ColumnRole, ColumnEncoder, Option<Follows>)>,
    ) -> Result<Self> {
        if columns.len() != schema.fields().len() {
            return Err(SynthError::Schema(format!(
                "{} column encoders for {} columns",
                columns.len(),
                schema.fields().len()
            )));
        }
        let mut layout = Layout { columns: Vec::new(), subcolumns: Vec::new(), given: 0, siblings: 0..0 };
        let mut prepared = Vec::with_capacity(columns.len());
        let mut sizes: BTreeMap<usize, u32> = BTreeMap::new();
        for (.., follows) in &columns {
            if let Some(Follows::OneHot { of, .. }) = follows {
                *sizes.entry(*of).or_default() += 1;
            }
        }
        let categories = |at: usize| sizes.get(&at).copied().unwrap_or(0);
        for (at, (field, (role, mut encoder, follows))) in schema.fields().iter().zip(columns).enumerate() {
            let column = match follows {
                Some(Follows::Since(base) | Follows::Equal(base))
                    if base >= at || schema.field(base).data_type() != field.data_type() =>
                {
                    return Err(invalid(field, "it follows no other"));
                }
                Some(Follows::Since(_)) => &difference_field(field),
                _ => field.as_ref(),
            };
            encoder.prepare(column)?;
            let start = layout.subcolumns.len();
            let mut subcolumns = match follows {
                Some(Follows::OneHot { of, .. }) if of == at => vec![SubColumn::codes(categories(at))],
                Some(Follows::Function { .. } | Follows::OneHot { .. }) => vec![],
                _ => encoder.subcolumns(),
            };
            if let Some(Follows::Equal(_)) = follows {
                match (&encoder, subcolumns.as_mut_slice()) {
                    (ColumnEncoder::Bins(_), [code, ..]) => *code = code.with_one_more(),
                    _ => return Err(invalid(field, "it cannot have a code for the value of another")),
                }
            }
            let discrete = !subcolumns.is_empty() && encoder.discrete();
            layout.subcolumns.extend(subcolumns);
            layout.columns.push(ColumnLayout { subcolumns: start..layout.subcolumns.len(), discrete });
            prepared.push(Column { role, encoder, follows });
        }
        let values = |column: &Column| column.encoder.cardinality_by_value();
        let mut next: BTreeMap<usize, u32> = BTreeMap::new();
        for (at, (field, column)) in schema.fields().iter().zip(&prepared).enumerate() {
            match &column.follows {
                Some(Follows::Function { of, codes }) => {
                    let base = match prepared.get(*of) {
                        Some(base) if base.follows.is_none() => values(base),
                        Some(base) if base.has_codes_of_category(*of) => Some(categories(*of)),
                        _ => None,
                    };
                    let fits = values(column).is_some_and(|count| codes.iter().all(|&code| code < count));
                    if base != u32::try_from(codes.len()).ok() || !fits {
                        return Err(invalid(field, "it is a function of no other"));
                    }
                }
                Some(Follows::OneHot { of, code }) => {
                    let next = next.entry(*of).or_default();
                    let first = prepared.get(*of).is_some_and(|first| first.has_codes_of_category(*of));
                    if *of > at || !first || code != next || values(column) != Some(2) {
                        return Err(invalid(field, "it is no column of a category"));
                    }
                    *next += 1;
                }
                Some(Follows::Since(_) | Follows::Equal(_)) | None => {}
            }
        }
        Ok(Self { schema, scheme, columns: Arc::new(prepared), layout })
    }

    /// The table's Arrow schema, metadata included; decoded batches have exactly it.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What the encoder was made for.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The shape of encoded rows.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The role of each column, in schema order.
    #[must_use]
    pub fn roles(&self) -> Vec<ColumnRole> {
        self.columns.iter().map(|c| c.role).collect()
    }

    /// Bytes held.
    #[must_use]
    pub fn memory_size(&self) -> usize {
        self.columns.iter().map(|c| size_of::<Column>() + c.encoder.memory_size()).sum()
    }

    /// Appends the codes of `batch` (of the encoder's schema) to `out`.
    ///
    /// Deterministic: where the encoding is sampled (the mode of a number), the choice depends on the
    /// value and on the row's place in `out` alone.
    ///
    /// # Errors
    /// The batch is of another schema, or holds a category that was not there when the table was
    /// profiled. `out` is then as before.
    pub fn encode(&self, batch: &RecordBatch, out: &mut EncodedRows) -> Result<()> {
        check_schema(&self.schema, batch)?;
        if out.subcolumns.len() != self.layout.subcolumns.len() {
            return Err(SynthError::Internal("encoded rows of another layout".into()));
        }
        let rows = out.rows;
        let mut encode = || {
            for (at, column) in self.columns.iter().enumerate() {
                let array = match column.base() {
                    None => plain(batch.column(at))?,
                    Some(base) => difference(batch.column(at), batch.column(base))?,
                };
                let (field, first_row) = (self.schema.field(at), rows as u64);
                let out = &mut out.subcolumns[self.layout.columns[at].subcolumns.clone()];
                match &column.follows {
                    Some(Follows::Function { of, codes }) => {
                        self.check_function((at, &array), *of, codes, batch)?;
                        continue;
                    }
                    Some(Follows::OneHot { .. }) => {
                        if let Some(out) = out.first_mut() {
                            self.category_codes(at, batch)?.into_iter().for_each(|code| out.push_code(code));
                        }
                        continue;
                    }
                    _ => {}
                }
                if let Some(base) = column.equal_to() {
                    let (codes, parts) = column.codes(&array, Some(batch.column(base)))?;
                    push(&EncodeInput { field, array, first_row }, codes, parts, out)?;
                    continue;
                }
                column.encoder.encode(&EncodeInput { field, array, first_row }, out)?;
            }
            Ok(())
        };
        let result = encode();
        match &result {
            Ok(()) => out.rows += batch.num_rows(),
            Err(_) => out.subcolumns.iter_mut().for_each(|s| s.truncate(rows)),
        }
        result
    }

    /// Decodes rows `range` of the block `block` (`encoded` holds the whole block), only the columns in
    /// `projection` (schema indices, in that order). Values that the codes do not determine (identifiers,
    /// text) come from `noise` and the row's number `block * BLOCK_ROWS + i`.
    ///
    /// # Errors
    /// Codes that the encoder never made; an identifier beyond its type's range.
    pub fn decode(
        &self,
        block: u64,
        encoded: &EncodedRows,
        range: std::ops::Range<usize>,
        projection: &[usize],
        noise: &Noise,
    ) -> Result<RecordBatch> {
        self.decode_given(block, encoded, range, projection, noise, &BTreeMap::new())
    }

    /// As [`TableEncoder::decode`], with the values of some columns (by schema index) given where they are not null: columns
    /// that follow them follow these.
    ///
    /// # Errors
    /// As [`TableEncoder::decode`].
    pub fn decode_given(
        &self,
        block: u64,
        encoded: &EncodedRows,
        range: std::ops::Range<usize>,
        projection: &[usize],
        noise: &Noise,
        given: &BTreeMap<usize, ArrayRef>,
    ) -> Result<RecordBatch> {
        if range.start > range.end || range.end > encoded.rows {
            return Err(SynthError::Internal(format!("rows {range:?} of a block of {}", encoded.rows)));
        }
        let schema = Arc::new(self.schema.project(projection)?);
        let of = Decoding { block, encoded, rows: range.clone(), noise, given, decoded: RefCell::default() };
        let arrays = projection.iter().map(|&at| self.decode_column(at, &of)).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(range.len()));
        Ok(RecordBatch::try_new_with_options(schema, arrays, &options)?)
    }

    /// A column's values, once: others may follow it.
    fn decode_column(&self, at: usize, of: &Decoding<'_>) -> Result<ArrayRef> {
        if let Some(decoded) = of.decoded.borrow().get(&at) {
            return Ok(Arc::clone(decoded));
        }
        let decoded = self.decode_anew(at, of)?;
        of.decoded.borrow_mut().insert(at, Arc::clone(&decoded));
        Ok(decoded)
    }

    fn decode_anew(&self, at: usize, of: &Decoding<'_>) -> Result<ArrayRef> {
        let codes = self.encoded(at, of)?;
        let (field, column) = (self.schema.field(at), &self.columns[at]);
        let input = |field| DecodeInput { field, codes, block: of.block, rows: of.rows.clone(), noise: of.noise };
        let decoded = match &column.follows {
            None => column.encoder.decode(&input(field))?,
            Some(Follows::Since(base)) => {
                let difference = column.encoder.decode(&input(&difference_field(field)))?;
                later(&self.decode_column(*base, of)?, &difference)?
            }
            Some(Follows::Equal(base)) => {
                let unfit = || invalid(field, "it cannot have a code for the value of another");
                let same = column.equal_code().ok_or_else(unfit)?;
                let codes = input(field).codes(same + 1)?;
                let base = self.decode_column(*base, of)?;
                // Values that the column never has are not taken over.
                let taken = column.encoder.covers(&base)?;
                let taken: BooleanArray =
                    codes.iter().zip(taken).map(|(&code, covered)| Some(code == same && covered)).collect();
                let mut kept = vec![0; of.rows.start];
                kept.extend(codes.into_iter().map(|code| if code == same { same - 1 } else { code }));
                let parts = input(field).codes.iter().skip(1).cloned();
                let kept: Vec<_> = std::iter::once(SubColumnData::Code32(kept)).chain(parts).collect();
                let decoded = column.encoder.decode(&DecodeInput { codes: &kept, ..input(field) })?;
                zip(&taken, &base, &decoded)?
            }
            Some(Follows::Function { .. } | Follows::OneHot { .. }) => {
                let (base, codes) = self.function(at).ok_or_else(|| invalid(field, "it is a function of no other"))?;
                let value = |&code: &u32| codes.get(code as usize).copied().unwrap_or(UNKNOWN);
                let looked_up = [SubColumnData::Code32(self.codes_of(base, of)?.iter().map(value).collect())];
                let rows = 0..of.rows.len();
                column.encoder.decode(&DecodeInput { codes: &looked_up, rows, ..input(field) })?
            }
        };
        match of.given.get(&at) {
            None => Ok(decoded),
            Some(given) => Ok(zip(&is_not_null(given)?, given, &decoded)?),
        }
    }
}

impl TableEncoder {
    /// The sub-columns of a column.
    fn encoded<'a>(&self, at: usize, of: &Decoding<'a>) -> Result<&'a [SubColumnData]> {
        let codes = of.encoded.subcolumns.get(self.layout.columns[at].subcolumns.clone());
        codes.ok_or_else(|| SynthError::Model("encoded rows of another layout".into()))
    }

    /// The codes of a column with a code per value: of what is given, else of what is encoded. Those of a category are what
    /// is encoded.
    fn codes_of(&self, at: usize, of: &Decoding<'_>) -> Result<Vec<u32>> {
        let (field, encoder) = self.encoder(at);
        let codes = self.encoded(at, of)?;
        let input = DecodeInput { field, codes, block: of.block, rows: of.rows.clone(), noise: of.noise };
        if let Some(categories) = self.categories(at) {
            return input.codes(categories);
        }
        let cardinality = encoder.cardinality_by_value().unwrap_or(0);
        let mut codes = input.codes(cardinality)?;
        if let Some(given) = of.given.get(&at) {
            let known = encoder.codes(plain(given)?.as_ref())?;
            for ((row, code), known) in codes.iter_mut().enumerate().zip(known) {
                if let Some(known) = known.filter(|_| given.is_valid(row)) {
                    *code = known;
                }
            }
        }
        Ok(codes)
    }

    /// Whether values of a column are what they were for the values of the column `of` that it is a function of.
    fn check_function(
        &self,
        (at, array): (usize, &ArrayRef),
        of: usize,
        codes: &[u32],
        batch: &RecordBatch,
    ) -> Result<()> {
        let base = self.schema.field(of);
        let base_codes = if self.categories(of).is_some() {
            self.category_codes(of, batch)?
        } else {
            self.value_codes(of, batch.column(of))?
        };
        for (value, base_code) in self.value_codes(at, array)?.into_iter().zip(base_codes) {
            if codes.get(base_code as usize) != Some(&value) {
                return Err(SynthError::Column {
                    column: self.schema.field(at).name().clone(),
                    reason: format!(
                        "it was a function of `{}` when the column was profiled, and is none now",
                        base.name()
                    ),
                    way_out: "profile and encode the same rows (train again if the table has changed)".into(),
                });
            }
        }
        Ok(())
    }
}

impl TableEncoder {
    /// The codes of a column that has one per value.
    fn value_codes(&self, at: usize, array: &ArrayRef) -> Result<Vec<u32>> {
        let (field, encoder) = self.encoder(at);
        let array = plain(array)?;
        let codes = encoder.codes(array.as_ref())?.into_iter().enumerate();
        codes.map(|(row, code)| code.ok_or_else(|| unseen(field, array.as_ref(), row))).collect()
    }

    /// The categories that a column is the first one-hot column of.
    fn categories(&self, at: usize) -> Option<u32> {
        let column = self.columns.get(at).filter(|column| column.has_codes_of_category(at));
        match column.and(self.layout.subcolumns.get(self.layout.columns.get(at)?.subcolumns.start)) {
            Some(SubColumn::Code { cardinality, .. }) => Some(*cardinality),
            _ => None,
        }
    }

    /// The one-hot columns of the category whose first column is `first`, by code.
    fn one_hot(&self, first: usize) -> impl Iterator<Item = usize> {
        let of = move |column: &Column| matches!(column.follows, Some(Follows::OneHot { of, .. }) if of == first);
        self.columns.iter().enumerate().filter(move |(_, column)| of(column)).map(|(at, _)| at)
    }

    /// The category of each row of a batch, of the one whose first column is `first`.
    fn category_codes(&self, first: usize, batch: &RecordBatch) -> Result<Vec<u32>> {
        let mut codes = vec![UNKNOWN; batch.num_rows()];
        let name = |at: usize| self.schema.field(at).name();
        let wrong = |row: usize, number: String| SynthError::Column {
            column: name(first).clone(),
            reason: format!(
                "one of it and the columns up to `{}` was set in every row when they were profiled, and {number} set in \
                 row {row} now",
                name(self.one_hot(first).last().unwrap_or(first))
            ),
            way_out: "profile and encode the same rows (train again if the table has changed)".into(),
        };
        for (code, at) in (0..).zip(self.one_hot(first)) {
            for (row, value) in self.value_codes(at, batch.column(at))?.into_iter().enumerate() {
                match (value, codes[row]) {
                    (0, _) => {}
                    (_, UNKNOWN) => codes[row] = code,
                    (_, other) => {
                        let other = name(self.one_hot(first).nth(other as usize).unwrap_or(first));
                        return Err(wrong(row, format!("`{other}` and `{}` are", name(at))));
                    }
                }
            }
        }
        match codes.iter().position(|&code| code == UNKNOWN) {
            Some(row) => Err(wrong(row, "none is".to_owned())),
            None => Ok(codes),
        }
    }
}

/// Rows being decoded.
struct Decoding<'a> {
    block: u64,
    encoded: &'a EncodedRows,
    rows: std::ops::Range<usize>,
    noise: &'a Noise,
    given: &'a BTreeMap<usize, ArrayRef>,
    /// What is decoded already.
    decoded: RefCell<BTreeMap<usize, ArrayRef>>,
}

impl TableEncoder {
    /// The column that column `at` is equal to at times, and its code for that.
    pub(super) fn equal_to(&self, at: usize) -> Option<(usize, u32)> {
        let column = &self.columns[at];
        column.equal_to().zip(column.equal_code())
    }

    /// In which of the rows `rows` column `at` has the code for being equal to another.
    pub(crate) fn is_equal(&self, at: usize, encoded: &EncodedRows, rows: std::ops::Range<usize>) -> BooleanArray {
        let first = self.layout.columns[at].subcolumns.clone().next().and_then(|first| encoded.subcolumns.get(first));
        let code = self.equal_to(at).map(|(_, code)| code);
        rows.map(|row| Some(code.is_some() && first.map(|codes| codes.code(row)) == code)).collect()
    }

    /// What is known of the rows of a batch whose columns `columns` (schema indices) are `arrays`: nothing of nulls and of
    /// columns that are not there.
    ///
    /// # Errors
    /// An array of another type; with [`Unseen::Refuse`] a value that was not there when the table was profiled.
    pub fn known(&self, columns: &[usize], arrays: &[ArrayRef], rows: usize, unseen: Unseen) -> Result<KnownCodes> {
        let mut known = KnownCodes::nothing(self.layout.subcolumns.len(), rows);
        for (&at, array) in columns.iter().zip(arrays) {
            let field = self.schema.field(at);
            if array.data_type() != field.data_type() {
                return Err(SynthError::Schema(format!(
                    "column `{}` is {}, the model's is {}",
                    field.name(),
                    array.data_type(),
                    field.data_type()
                )));
            }
            if self.categories(at).is_some() {
                continue; // what all columns of a category tell is told by `among`
            }
            let array = match self.columns[at].base() {
                None => plain(array)?,
                Some(base) => match columns.iter().position(|&column| column == base) {
                    Some(base) => difference(array, &arrays[base])?,
                    None => continue,
                },
            };
            let nulls = array.logical_nulls();
            let is_null = |row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
            let Some(subcolumn) = self.layout.columns[at].subcolumns.clone().next() else { continue };
            let code = |(row, code): (usize, Option<u32>)| match code {
                _ if is_null(row) => Ok(UNKNOWN),
                Some(code) => Ok(code),
                None if unseen == Unseen::Ignore => Ok(UNKNOWN),
                None => Err(super::columns::unseen(field, array.as_ref(), row)),
            };
            let base = self.columns[at].equal_to();
            let place = base.and_then(|base| columns.iter().position(|&column| column == base));
            let (codes, parts) = self.columns[at].codes(&array, place.map(|place| &arrays[place]))?;
            let codes = codes.into_iter().enumerate().map(code).collect::<Result<Vec<_>>>()?;
            for (subcolumn, mut part) in (subcolumn + 1..).zip(parts) {
                part.iter_mut().zip(&codes).filter(|(_, code)| **code == UNKNOWN).for_each(|(part, _)| *part = UNKNOWN);
                known.set(subcolumn, part);
            }
            known.set(subcolumn, codes);
        }
        Ok(known)
    }

    /// The codes of rows that are the context of others, by sub-column: `arrays` has an array for each column of the schema,
    /// or none where that is not known. Values that were not there when the table was profiled are [`UNKNOWN`].
    ///
    /// # Errors
    /// An array of another type; a column that is not encoded as codes.
    pub fn context(&self, arrays: &[Option<ArrayRef>], rows: usize) -> Result<Vec<Vec<u32>>> {
        let mut out = vec![vec![UNKNOWN; rows]; self.layout.subcolumns.len()];
        for ((at, column), array) in self.columns.iter().enumerate().zip(arrays) {
            let Some(subcolumn) = self.layout.columns[at].subcolumns.clone().next() else { continue };
            let of_type = |array, at: usize| arrow::compute::cast(array, self.schema.field(at).data_type());
            if self.categories(at).is_some() {
                for (code, at) in (0..).zip(self.one_hot(at)) {
                    let Some(Some(array)) = arrays.get(at) else { continue };
                    let values = self.columns[at].encoder.codes(plain(&of_type(array, at)?)?.as_ref())?;
                    let set = out[subcolumn].iter_mut().zip(values).filter(|(_, value)| *value == Some(1));
                    set.for_each(|(out, _)| *out = code);
                }
                continue;
            }
            let Some(array) = array else { continue };
            let array = match column.base() {
                None => plain(&of_type(array, at)?)?,
                Some(base) => match arrays.get(base) {
                    Some(Some(other)) => difference(&of_type(array, at)?, &of_type(other, base)?)?,
                    _ => continue,
                },
            };
            let nulls = array.logical_nulls();
            let null = column.encoder.null_code().unwrap_or(UNKNOWN);
            let code = |(row, code): (usize, Option<u32>)| {
                if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) { null } else { code.unwrap_or(UNKNOWN) }
            };
            let base = column.equal_to().and_then(|base| arrays.get(base)?.as_ref());
            let base = base.map(|base| of_type(base, at)).transpose()?;
            let (codes, parts) = column.codes(&array, base.as_ref())?;
            let codes: Vec<u32> = codes.into_iter().enumerate().map(code).collect();
            for (out, part) in out[subcolumn + 1..].iter_mut().zip(parts) {
                let part = part.into_iter().zip(&codes);
                *out = part.map(|(part, code)| if *code == UNKNOWN { UNKNOWN } else { part }).collect();
            }
            out[subcolumn] = codes;
        }
        Ok(out)
    }

    /// The code of null in each sub-column that has one, as (sub-column, code).
    #[must_use]
    pub fn null_codes(&self) -> Vec<(usize, u32)> {
        let columns = self.columns.iter().zip(&self.layout.columns);
        columns
            .filter_map(|(column, layout)| Some((layout.subcolumns.clone().next()?, column.encoder.null_code()?)))
            .collect()
    }

    /// Whether the codes of column `column` are values, each one of its own.
    #[must_use]
    pub fn is_by_value(&self, column: usize) -> bool {
        matches!(self.columns.get(column), Some(Column { encoder: ColumnEncoder::Values(_), .. }))
    }

    /// The column that a column is learned as the time since.
    pub(super) fn base(&self, column: usize) -> Option<&Field> {
        Some(self.schema.field(self.columns.get(column)?.base()?))
    }

    /// Whether a column has a code for the value of another.
    pub(super) fn is_equal_at_times(&self, column: usize) -> bool {
        self.columns.get(column).is_some_and(|column| column.equal_to().is_some())
    }

    /// The column that a column is a function of, and the code of its value by the other's code.
    /// A column that is one-hot is a function of a category, whose codes are those of its first column.
    #[must_use]
    pub fn function(&self, column: usize) -> Option<(usize, Cow<'_, [u32]>)> {
        match &self.columns.get(column)?.follows {
            Some(Follows::Function { of, codes }) => Some((*of, Cow::Borrowed(codes))),
            Some(Follows::OneHot { of, code }) => {
                let categories = 0..self.categories(*of)?;
                Some((*of, categories.map(|category| u32::from(category == *code)).collect()))
            }
            _ => None,
        }
    }

    pub(super) fn encoder(&self, column: usize) -> (&Field, &ColumnEncoder) {
        (self.schema.field(column), &self.columns[column].encoder)
    }
}

/// Whether a batch has the schema's columns; metadata and nullability may differ.
pub(super) fn check_schema(schema: &SchemaRef, batch: &RecordBatch) -> Result<()> {
    let given = batch.schema_ref();
    let same = schema.fields().len() == given.fields().len()
        && schema
            .fields()
            .iter()
            .zip(given.fields())
            .all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type());
    if same {
        return Ok(());
    }
    let list = |s: &SchemaRef| {
        s.fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect::<Vec<_>>().join(", ")
    };
    Err(SynthError::Schema(format!("got columns ({}), expected ({})", list(given), list(schema))))
}
