//! What the rows of a segment have in common: their parents, and how many of them each owner has.

use super::Family;
use crate::{
    Result,
    encode::TableEncoder,
    relational::{
        Context, NONE, Reference, Role, Unique, child_counts, degrees::proportional, order::Order, slots::Slots,
    },
};
use arrow::{
    array::{ArrayRef, AsArray, Int32Array, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type},
};
use std::{ops::Range, sync::Arc};

/// Children that a chunk has at least, unless there are no more.
const CHUNK_ROWS: u64 = 16_384;

/// The rows of a parent in a segment.
#[derive(Debug, Clone)]
pub struct ParentRows {
    /// Key columns, columns that children depend on, and the number of children drawn.
    pub rows: RecordBatch,
    /// Which column has the number of children of this foreign key; none if the parent's model does not know it.
    pub degree: Option<usize>,
    /// Whether they are rows of a table, which no model generated.
    pub adopted: bool,
}

/// What the rows of a segment have in common.
#[derive(Debug)]
pub struct Segment {
    pub(super) number: u64,
    pub(super) rows: u64,
    /// Per reference.
    pub(super) parents: Vec<Option<Parents>>,
    /// By owner row: its children. Rows without an owner come last, as children of a row that is none.
    pub(super) degrees: Vec<u32>,
    /// Codes of the context, by sub-column and owner row.
    pub(super) context: Vec<Vec<u32>>,
    pub(super) chunks: Vec<Chunk>,
}

#[derive(Debug)]
pub(super) struct Parents {
    pub(super) rows: RecordBatch,
    pub(super) slots: Option<Slots>,
    /// By attribute: its code per parent row.
    pub(super) attributes: Vec<Vec<u32>>,
}

/// Some owners, and all of their children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    pub(super) owners: Range<usize>,
    pub(super) rows: Range<u64>,
}

impl Family {
    /// Gets ready to generate segment `number` of `rows` rows, whose parents are `parents`, one for each reference that
    /// needs any.
    ///
    /// # Errors
    /// Parents that are missing, or of other columns than those learned from.
    pub fn segment(&self, number: u64, rows: u64, parents: Vec<Option<ParentRows>>) -> Result<Segment> {
        let relations = &*self.relations;
        let mut segment = Segment::new(number, rows);
        let unit = rows as f64 / relations.rows.max(1) as f64;
        for (at, (reference, given)) in relations.references.iter().zip(parents).enumerate() {
            let Some(given) = given else {
                segment.parents.push(None);
                continue;
            };
            let nulls = ((reference.nulls as f64 * unit).round() as u64).min(rows);
            let nulls = if given.rows.num_rows() == 0 { rows } else { nulls };
            let degrees = self.degrees(reference, &given, (at, number), rows - nulls)?;
            let (mut attributes, mut slots) = (Vec::new(), None);
            match &reference.role {
                Role::Owner => {
                    if let Some(context) = &relations.context {
                        segment.context = self.context(&context.owner, &given, &degrees)?;
                    }
                    segment.degrees = degrees;
                    segment.degrees.push(u32::try_from(nulls).unwrap_or(u32::MAX));
                }
                Role::Matched(_) => {
                    attributes = self.attributes(reference, &given.rows)?;
                    slots = Some(Slots::new(&degrees, nulls, rows, self.key("slots", at, number)));
                }
                Role::Deferred | Role::Implied => {
                    slots = Some(Slots::new(&degrees, nulls, rows, self.key("slots", at, number)));
                }
                Role::Tree(_) => {}
            }
            segment.parents.push(Some(Parents { rows: given.rows, slots, attributes }));
        }
        segment.chunks = self.chunks(&segment);
        Ok(segment)
    }

    /// By attribute that rows know of the parents of `reference`: its code per parent row.
    pub(super) fn attributes(&self, reference: &Reference, parents: &RecordBatch) -> Result<Vec<Vec<u32>>> {
        match (&reference.role, &self.relations.context) {
            (Role::Matched(Some(of)), Some(_)) => context_codes(&of.encoder, parents),
            _ => Ok(Vec::new()),
        }
    }

    /// Rows of a segment whose owners are adopted: their children, and as large a share without an owner as there was.
    ///
    /// # Errors
    /// Numbers of children that are no numbers.
    pub fn children_of(&self, parents: &[Option<ParentRows>]) -> Result<u64> {
        let owner = self.relations.owner();
        let given = owner.and_then(|(at, reference)| Some((parents.get(at)?.as_ref()?, reference)));
        let Some((given, reference)) = given else { return Ok(self.relations.rows) };
        let children: f64 = given.drawn()?.into_iter().map(f64::round).sum();
        let rows = self.relations.rows.max(1) as f64;
        Ok((children * rows / (rows - reference.nulls as f64).max(1.0)).round() as u64)
    }

    /// How many children each parent has, `children` in all.
    fn degrees(
        &self,
        reference: &Reference,
        given: &ParentRows,
        (at, number): (usize, u64),
        children: u64,
    ) -> Result<Vec<u32>> {
        let drawn = given.drawn()?;
        let mut bits = vec![0u32; drawn.len()];
        self.noise.purpose(&format!("degrees/{at}")).fill_u32(number, &mut bits);
        if given.adopted {
            return Ok(proportional(&drawn, bits.first().copied().unwrap_or(0), children));
        }
        Ok(reference.degrees.calibrate(&drawn, &bits, children))
    }

    fn key(&self, purpose: &str, at: usize, number: u64) -> u64 {
        let mut bits = [0u32; 2];
        self.noise.purpose(&format!("{purpose}/{at}")).fill_u32(number, &mut bits);
        u64::from(bits[0]) << 32 | u64::from(bits[1])
    }

    /// The owners' codes, with the numbers of children that they have got in place of those drawn; one more row for none.
    pub(super) fn context(&self, encoder: &TableEncoder, given: &ParentRows, degrees: &[u32]) -> Result<Vec<Vec<u32>>> {
        let mut rows = given.rows.clone();
        if let Some(column) = given.degree {
            let mut arrays = rows.columns().to_vec();
            let counts: ArrayRef = Arc::new(Int32Array::from_iter_values(degrees.iter().map(|d| d.cast_signed())));
            arrays[column] = cast(&counts, arrays[column].data_type())?;
            rows = RecordBatch::try_new(rows.schema(), arrays)?;
        }
        let mut codes = context_codes(encoder, &rows)?;
        for (codes, at) in codes.iter_mut().zip(self.joint.owner.clone()) {
            codes.push(self.joint.none(at));
        }
        Ok(codes)
    }

    /// Puts `rows`, which no model generated, under their owners in `segment`: `index` has the owner of each, or [`NONE`].
    pub(super) fn under_owners(
        &self,
        segment: &mut Segment,
        rows: &RecordBatch,
        context: &Context,
        (owners, index): (&ParentRows, &[u32]),
    ) -> Result<Order> {
        segment.degrees = child_counts(index, owners.rows.num_rows());
        segment.context = self.context(&context.owner, owners, &segment.degrees)?;
        segment.degrees.push(index.iter().filter(|&&owner| owner == NONE).count() as u32);
        Order::under_owners(rows, context.order.as_deref(), index)
    }

    /// Whether the rows of a segment can only be had all at once.
    fn whole(&self) -> bool {
        let relations = &*self.relations;
        let Some((_, owner)) = relations.owner() else { return true };
        let of_family = |unique: &Unique| owner.columns.iter().all(|column| unique.columns.contains(column));
        relations.references.iter().any(|reference| matches!(reference.role, Role::Tree(_)))
            || relations.uniques.iter().any(|unique| !unique.drawn.is_empty() && !of_family(unique))
    }

    fn chunks(&self, segment: &Segment) -> Vec<Chunk> {
        if self.whole() {
            return vec![segment.all()];
        }
        let mut chunks = Vec::new();
        let (mut owner, mut row) = (0, 0);
        let (mut next_owner, mut next_row) = (0, 0);
        for &degree in &segment.degrees {
            next_owner += 1;
            next_row += u64::from(degree);
            if next_row - row >= CHUNK_ROWS {
                chunks.push(Chunk { owners: owner..next_owner, rows: row..next_row });
                (owner, row) = (next_owner, next_row);
            }
        }
        if next_row > row || chunks.is_empty() {
            chunks.push(Chunk { owners: owner..next_owner, rows: row..next_row });
        }
        chunks
    }
}

impl ParentRows {
    /// How many children the model has drawn for each.
    fn drawn(&self) -> Result<Vec<f64>> {
        let Some(column) = self.degree else { return Ok(vec![0.0; self.rows.num_rows()]) };
        let values = cast(self.rows.column(column), &DataType::Float64)?;
        Ok(values.as_primitive::<Float64Type>().iter().map(|value| value.unwrap_or(0.0)).collect())
    }
}

impl Segment {
    /// Of `rows` rows, nothing known of their parents.
    pub(super) fn new(number: u64, rows: u64) -> Self {
        let (parents, degrees, context, chunks) = Default::default();
        Self { number, rows, parents, degrees, context, chunks }
    }

    /// All its rows.
    pub(super) fn all(&self) -> Chunk {
        Chunk { owners: 0..self.degrees.len(), rows: 0..self.rows }
    }

    /// The parts that its rows are generated in, in order.
    #[must_use]
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Bytes held.
    #[must_use]
    pub fn memory_size(&self) -> usize {
        let parents = self.parents.iter().flatten().map(|parents| {
            parents.rows.get_array_memory_size() + parents.attributes.iter().map(|codes| 4 * codes.len()).sum::<usize>()
        });
        parents.sum::<usize>()
            + 4 * self.degrees.len()
            + self.context.iter().map(|codes| 4 * codes.len()).sum::<usize>()
    }
}

impl Chunk {
    /// Its rows, within the segment.
    #[must_use]
    pub fn rows(&self) -> Range<u64> {
        self.rows.clone()
    }
}

/// The codes of columns of `rows`, by sub-column of `encoder`.
fn context_codes(encoder: &TableEncoder, rows: &RecordBatch) -> Result<Vec<Vec<u32>>> {
    let arrays: Vec<Option<ArrayRef>> =
        encoder.schema().fields().iter().map(|field| rows.column_by_name(field.name()).cloned()).collect();
    encoder.context(&arrays, rows.num_rows())
}
