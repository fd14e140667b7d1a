//! Generation: the parents of a segment, and their children.

mod adopt;
mod overlap;

use super::{
    Joint, NONE, Reference, Relations, Role, Unique,
    chains::{Round, Rounds},
    degree_column,
    degrees::proportional,
    depth_column,
    matching::{Attribute, assign},
    owner_column, place_code, row_converter,
    slots::Slots,
    tree,
    unique::distinct_tuples,
};
use crate::{
    Result, SynthError,
    encode::{EncodedRows, KnownCodes, TableEncoder, UNKNOWN},
    models::{AnyOrderSampler, BlockSampler, SamplerSettings, TableModel},
    noise::{BLOCK_ROWS, Noise, blocks},
};
use arrow::{
    array::{Array, ArrayRef, AsArray, Int32Array, RecordBatch, RecordBatchOptions, UInt32Array},
    compute::{cast, concat, is_not_null, kernels::zip::zip, take},
    datatypes::{DataType, Field, Float64Type, Int32Type, Schema, SchemaRef},
};
use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::Arc,
};

/// Children that a chunk has at least, unless there are no more.
const CHUNK_ROWS: u64 = 16_384;

/// A model of a related table, ready to generate.
#[derive(Debug, Clone)]
pub struct Family {
    relations: Arc<Relations>,
    joint: Joint,
    encoder: TableEncoder,
    model: Arc<dyn TableModel>,
    noise: Noise,
}

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
    number: u64,
    rows: u64,
    /// Per reference.
    parents: Vec<Option<Parents>>,
    /// By owner row: its children. Rows without an owner come last, as children of a row that is none.
    degrees: Vec<u32>,
    /// Codes of the context, by sub-column and owner row.
    context: Vec<Vec<u32>>,
    chunks: Vec<Chunk>,
}

#[derive(Debug)]
struct Parents {
    rows: RecordBatch,
    slots: Option<Slots>,
    /// By attribute: its code per parent row.
    attributes: Vec<Vec<u32>>,
}

/// Some owners, and all of their children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    owners: Range<usize>,
    rows: Range<u64>,
}

/// Runs a family's model, on one thread.
pub struct Generator(Sampler);

enum Sampler {
    /// Given a context.
    Given(Box<dyn AnyOrderSampler>),
    /// Rows by themselves.
    Free(Box<dyn BlockSampler>),
}

/// A child table's rows in a chunk.
#[derive(Debug)]
pub struct Child {
    /// The first row's number in the infinite table.
    pub first: u64,
    /// The columns asked for.
    pub rows: RecordBatch,
}

impl Family {
    /// Of a model and what is kept with it; `noise` is that of its rows.
    ///
    /// # Errors
    /// Parts that do not fit each other.
    pub fn new(
        relations: Arc<Relations>,
        encoder: TableEncoder,
        model: Arc<dyn TableModel>,
        noise: Noise,
    ) -> Result<Self> {
        let joint = relations.joint(&encoder)?;
        Ok(Self { relations, joint, encoder, model, noise })
    }

    /// Gets ready to generate segment `number` of `rows` rows, whose parents are `parents`, one for each reference that
    /// needs any.
    ///
    /// # Errors
    /// Parents that are missing, or of other columns than those learned from.
    pub fn segment(&self, number: u64, rows: u64, parents: Vec<Option<ParentRows>>) -> Result<Segment> {
        let relations = &*self.relations;
        let mut segment = Segment {
            number,
            rows,
            parents: Vec::with_capacity(parents.len()),
            degrees: Vec::new(),
            context: Vec::new(),
            chunks: Vec::new(),
        };
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
                Role::Matched(of) => {
                    if let (Some(of), Some(_)) = (of, &relations.context) {
                        attributes = context_codes(&of.encoder, &given.rows)?;
                    }
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
    fn context(&self, encoder: &TableEncoder, given: &ParentRows, degrees: &[u32]) -> Result<Vec<Vec<u32>>> {
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
            return vec![Chunk { owners: 0..segment.degrees.len(), rows: 0..segment.rows }];
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

/// A chunk under way.
struct Draft<'a> {
    segment: &'a Segment,
    chunk: &'a Chunk,
    /// Codes by sub-column drawn, then by row.
    drawn: Vec<Vec<u32>>,
    /// Per reference, the parent of each row.
    parents: Vec<Vec<u32>>,
}

impl Family {
    /// What runs the model.
    ///
    /// # Errors
    /// The device cannot be had.
    pub fn generator(&self, settings: &SamplerSettings) -> Result<Generator> {
        Ok(Generator(match self.relations.context {
            Some(_) => Sampler::Given(self.model.any_order_sampler(settings)?),
            None => Sampler::Free(self.model.sampler(settings)?),
        }))
    }

    /// Generates the columns `columns` (of the table's schema, or hidden ones) of the rows of a chunk.
    ///
    /// # Errors
    /// libtorch failed; no parents are left to choose from; a column that there is not.
    pub fn chunk(
        &self,
        segment: &Segment,
        number: usize,
        columns: &[String],
        generator: &mut Generator,
    ) -> Result<Child> {
        let chunk = segment.chunks.get(number).ok_or_else(|| SynthError::Internal(format!("no chunk {number}")))?;
        let rows = usize::try_from(chunk.rows.end - chunk.rows.start).unwrap_or(usize::MAX);
        let noise = self.noise.part(&format!("segment {} chunk {number}", segment.number));
        let first = segment.number * segment.rows + chunk.rows.start;
        let mut draft = Draft { segment, chunk, drawn: Vec::new(), parents: Vec::new() };
        let own = match &mut generator.0 {
            Sampler::Given(sampler) => {
                self.rounds(&mut **sampler, &mut draft, &noise.part("wish"), &[])?;
                self.match_parents(&mut draft, rows, &noise)?;
                let known = self.known_attributes(&draft);
                if !known.is_empty() {
                    self.rounds(&mut **sampler, &mut draft, &noise.part("rows"), &known)?;
                }
                self.own_codes(&draft, rows)
            }
            Sampler::Free(sampler) => {
                self.match_parents(&mut draft, rows, &noise)?;
                self.independent(first..first + rows as u64, &mut **sampler)?
            }
        };
        let decoded = self.decode(&own, first, columns)?;
        self.assemble(&mut draft, &decoded, columns, (first, rows), &noise)
    }

    /// Rows that know nothing of each other.
    fn independent(&self, rows: Range<u64>, sampler: &mut dyn BlockSampler) -> Result<EncodedRows> {
        let layout = self.encoder.layout();
        let mut out = EncodedRows::with_capacity(layout, 0);
        let mut block_rows = EncodedRows::with_capacity(layout, BLOCK_ROWS);
        for (block, part) in blocks(rows.clone()) {
            sampler.sample(block, &self.noise, &mut block_rows)?;
            out.extend(&block_rows, part);
        }
        Ok(out)
    }

    /// Draws all rows of the chunk, siblings one after the other; of attributes that are `known`, (sub-column, codes).
    fn rounds(
        &self,
        sampler: &mut dyn AnyOrderSampler,
        draft: &mut Draft<'_>,
        noise: &Noise,
        known: &[(usize, Vec<u32>)],
    ) -> Result<()> {
        let joint = &self.joint;
        let degrees = &draft.segment.degrees[draft.chunk.owners.clone()];
        let rounds = Rounds::new(degrees);
        let drawn = joint.drawn();
        draft.drawn = vec![vec![0; rounds.rows() as usize]; drawn.len()];
        let mut out = EncodedRows::with_capacity(&joint.layout, BLOCK_ROWS);
        for (number, round) in rounds.enumerate() {
            for (piece, first) in (0..round.rows.len()).step_by(BLOCK_ROWS).enumerate() {
                let part = first..(first + BLOCK_ROWS).min(round.rows.len());
                let question = self.question(draft, &round, part.clone(), known);
                let block = (number as u64) << 32 | piece as u64;
                sampler.complete(block, noise, &question, &mut out)?;
                for (to, from) in draft.drawn.iter_mut().zip(&out.subcolumns[drawn.clone()]) {
                    for (at, &row) in round.rows[part.clone()].iter().enumerate() {
                        to[row as usize] = from.code(at);
                    }
                }
            }
        }
        Ok(())
    }

    /// What is known of the rows `part` of a round.
    fn question(
        &self,
        draft: &Draft<'_>,
        round: &Round,
        part: Range<usize>,
        known: &[(usize, Vec<u32>)],
    ) -> KnownCodes {
        let joint = &self.joint;
        let mut question = KnownCodes::nothing(joint.layout.subcolumns.len(), part.len());
        let owner = |&parent: &u32| draft.chunk.owners.start + parent as usize;
        for (at, codes) in joint.owner.clone().zip(&draft.segment.context) {
            let code = |parent| codes.get(owner(parent)).copied().unwrap_or(UNKNOWN);
            question.set(at, round.parents[part.clone()].iter().map(code).collect());
        }
        if let Some(place) = joint.place {
            question.set(place, round.siblings[part.clone()].iter().map(|&number| place_code(number)).collect());
        }
        for (at, codes) in joint.sibling.clone().zip(&draft.drawn) {
            let code = |&before: &u32| codes.get(before as usize).copied().unwrap_or(joint.none(at));
            question.set(at, round.before[part.clone()].iter().map(code).collect());
        }
        for (at, codes) in known {
            question.set(*at, round.rows[part.clone()].iter().map(|&row| codes[row as usize]).collect());
        }
        question
    }

    /// Chooses the parents of all references that have slots.
    fn match_parents(&self, draft: &mut Draft<'_>, rows: usize, noise: &Noise) -> Result<()> {
        let owners = self.owners(draft);
        draft.parents = vec![Vec::new(); self.relations.references.len()];
        for at in self.by_turn() {
            let reference = &self.relations.references[at];
            let parents = draft.segment.parents.get(at).and_then(Option::as_ref);
            draft.parents[at] = match (&reference.role, parents) {
                (Role::Owner, Some(parents)) => {
                    let none = parents.rows.num_rows() as u32;
                    owners.iter().map(|&owner| if owner < none { owner } else { NONE }).collect()
                }
                (_, Some(Parents { slots: Some(slots), attributes, rows })) => {
                    let parents = rows.num_rows() as u32;
                    let share = slots.share(draft.chunk.rows.clone());
                    self.match_one(draft, (at, reference), (&share, attributes, parents), &owners, noise)?
                }
                _ => vec![NONE; rows],
            };
        }
        Ok(())
    }

    /// Per row, the number of its owner in the segment.
    fn owners(&self, draft: &Draft<'_>) -> Vec<u32> {
        let degrees = draft.segment.degrees.get(draft.chunk.owners.clone()).unwrap_or_default();
        let owners = (draft.chunk.owners.start as u32..).zip(degrees);
        owners.flat_map(|(owner, &degree)| std::iter::repeat_n(owner, degree as usize)).collect()
    }

    fn match_one(
        &self,
        draft: &Draft<'_>,
        (at, reference): (usize, &Reference),
        (slots, actual, parents): (&[u32], &[Vec<u32>], u32),
        owners: &[u32],
        noise: &Noise,
    ) -> Result<Vec<u32>> {
        let range = self.joint.attributes[at].clone();
        let shift = self.joint.layout.given;
        let wanted = |subcolumn: usize| draft.drawn.get(subcolumn - shift).map_or(&[][..], Vec::as_slice);
        let attributes: Vec<Attribute<'_>> = range
            .clone()
            .zip(actual)
            .map(|(subcolumn, actual)| Attribute { wanted: wanted(subcolumn), actual, ordinal: true })
            .collect();
        let wants_none: Vec<bool> = match range.clone().next() {
            Some(first) if !attributes.is_empty() => {
                wanted(first).iter().map(|&code| code == self.joint.none(first)).collect()
            }
            _ => vec![false; slots.len()],
        };
        let mut bits = vec![0u32; slots.len()];
        noise.purpose(&format!("matching/{at}")).fill_u32(0, &mut bits);
        let pair = self.relations.owner().is_some_and(|(_, owner)| {
            self.relations.uniques.iter().any(|unique| {
                unique.drawn.is_empty()
                    && unique
                        .columns
                        .iter()
                        .all(|column| owner.columns.contains(column) || reference.columns.contains(column))
                    && reference.columns.iter().any(|column| unique.columns.contains(column))
            })
        });
        let distinct = pair.then_some(owners);
        let chooses = matches!(reference.role, Role::Matched(_) | Role::Deferred);
        let groups = if chooses { self.groups(draft, at)? } else { None };
        let assignment = match groups {
            Some(groups) => groups.assign(slots, &wants_none, &attributes, distinct, &bits),
            None => assign(slots, &wants_none, &attributes, distinct, parents, &bits),
        };
        if !assignment.unplaced.is_empty() {
            return Err(SynthError::Model(format!(
                "{} rows would need another `{}` than their siblings', and there are no more; generate with a larger scale",
                assignment.unplaced.len(),
                reference.parent
            )));
        }
        Ok(assignment.parents)
    }

    /// The attributes of the chosen parents: what the rows are then drawn given.
    fn known_attributes(&self, draft: &Draft<'_>) -> Vec<(usize, Vec<u32>)> {
        let mut known = Vec::new();
        for (range, (parents, chosen)) in
            self.joint.attributes.iter().zip(draft.segment.parents.iter().zip(&draft.parents))
        {
            let Some(parents) = parents else { continue };
            for (subcolumn, codes) in range.clone().zip(&parents.attributes) {
                let none = self.joint.none(subcolumn);
                let code = |&row: &u32| codes.get(row as usize).copied().unwrap_or(none);
                known.push((subcolumn, chosen.iter().map(code).collect()));
            }
        }
        known
    }

    fn own_codes(&self, draft: &Draft<'_>, rows: usize) -> EncodedRows {
        let mut own = EncodedRows::with_capacity(self.encoder.layout(), rows);
        let first = self.joint.own.start - self.joint.layout.given;
        for (to, codes) in own.subcolumns.iter_mut().zip(draft.drawn.iter().skip(first)) {
            codes.iter().for_each(|&code| to.push_code(code));
        }
        own.rows = rows;
        own
    }

    /// The encoder's columns among `columns`, and those that keys and trees need, decoded.
    fn decode(&self, own: &EncodedRows, first: u64, columns: &[String]) -> Result<RecordBatch> {
        let schema = self.encoder.schema();
        let mut wanted: Vec<usize> = columns.iter().filter_map(|name| schema.index_of(name).ok()).collect();
        for unique in self.relations.uniques.iter().filter(|unique| !unique.drawn.is_empty()) {
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
            batches.push(self.encoder.decode(block, &encoded, part.clone(), &wanted, &self.noise)?);
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
    fn assemble(
        &self,
        draft: &mut Draft<'_>,
        decoded: &RecordBatch,
        columns: &[String],
        (first, rows): (u64, usize),
        noise: &Noise,
    ) -> Result<Child> {
        let mut own: BTreeMap<String, ArrayRef> = decoded
            .schema()
            .fields()
            .iter()
            .zip(decoded.columns())
            .map(|(field, array)| (field.name().clone(), Arc::clone(array)))
            .collect();
        for (at, reference) in self.relations.references.iter().enumerate() {
            if let Role::Tree(levels) = &reference.role {
                let numbers = |name: &str| -> Result<Vec<u32>> {
                    let values = own.get(name).ok_or_else(|| SynthError::Internal(format!("no column `{name}`")))?;
                    let values = cast(values, &DataType::Int32)?;
                    Ok(values
                        .as_primitive::<Int32Type>()
                        .iter()
                        .map(|v| v.unwrap_or(0).max(0).cast_unsigned())
                        .collect())
                };
                let depth: Vec<f64> = numbers(&depth_column(at))?.into_iter().map(f64::from).collect();
                let degrees = match self.tree_degrees(reference) {
                    Some(name) => numbers(&name)?,
                    None => vec![1; rows],
                };
                let mut bits = vec![0u32; rows];
                noise.purpose(&format!("tree/{at}")).fill_u32(0, &mut bits);
                draft.parents[at] = tree::climb(&depth, levels, &degrees, &bits);
            }
        }
        let mut keys: BTreeMap<String, ArrayRef> = BTreeMap::new();
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
                    drawn = filled(&drawn, &draft.parents[at])?;
                }
                fill(&mut keys, name, drawn)?;
            }
            if let Some(broken) = &reference.broken {
                break_off(&mut keys, reference, broken, &draft.parents[at])?;
            }
        }
        for (number, unique) in self.relations.uniques.iter().enumerate().filter(|(_, unique)| !unique.drawn.is_empty())
        {
            self.keep_unique((number, unique), &keys, &mut own, (draft.segment.number, rows), noise)?;
        }
        let owner =
            self.relations.owner().and_then(|(at, _)| Some((draft.segment.parents[at].as_ref()?, &draft.parents[at])));
        let mut fields = Vec::with_capacity(columns.len());
        let mut arrays = Vec::with_capacity(columns.len());
        for name in columns {
            let (field, array) = if let Ok(field) = self.relations.schema.field_with_name(name) {
                let array = own.get(name).or_else(|| keys.get(name)).cloned();
                (field.clone(), array.unwrap_or_else(|| arrow::array::new_null_array(field.data_type(), rows)))
            } else if let Some(array) = own.get(name) {
                (Field::new(name, array.data_type().clone(), true), Arc::clone(array))
            } else {
                let (parents, chosen) = owner.ok_or_else(|| no_column(name))?;
                let of_owner = |field: &&Arc<Field>| owner_column(field.name()) == *name;
                let schema = parents.rows.schema();
                let at = schema.fields().iter().position(|field| of_owner(&field)).ok_or_else(|| no_column(name))?;
                let array = taken(parents.rows.column(at), chosen)?;
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

    /// The references, widest first: where two share columns, the wider one says what is in them.
    fn by_width(&self) -> Vec<(usize, &Reference)> {
        let mut references: Vec<_> = self.relations.references.iter().enumerate().collect();
        references.sort_by_key(|(at, reference)| (std::cmp::Reverse(reference.columns.len()), *at));
        references
    }

    /// Moves drawn parts of a key that other rows have to the nearest free ones.
    fn keep_unique(
        &self,
        (number, unique): (usize, &Unique),
        keys: &BTreeMap<String, ArrayRef>,
        own: &mut BTreeMap<String, ArrayRef>,
        (segment, rows): (u64, usize),
        noise: &Noise,
    ) -> Result<()> {
        let others: Vec<ArrayRef> = unique
            .columns
            .iter()
            .filter(|name| !unique.drawn.contains(name))
            .filter_map(|name| keys.get(name).cloned())
            .collect();
        let drawn = |name: &String| own.get(name).cloned().ok_or_else(|| no_column(name));
        let mine: Vec<ArrayRef> = unique.drawn.iter().map(drawn).collect::<Result<_>>()?;
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
        let (moved, exhausted) = distinct_tuples(&groups, &tuples, domain.num_rows() as u32, &bits);
        for (column, name) in unique.drawn.iter().enumerate() {
            let both = concat(&[mine[column].as_ref(), domain.column(column).as_ref()])?;
            let row = |row: usize| if moved[row] == tuples[row] { row as u32 } else { rows as u32 + moved[row] };
            let chosen: UInt32Array = (0..rows).map(row).collect();
            let mut values = take(&both, &chosen, None)?;
            if column == 0 && !exhausted.is_empty() {
                values = beyond(&values, domain.column(column), &exhausted)?;
            }
            if others.is_empty() && column == 0 && segment > 0 {
                values = in_segment(&values, domain.column(column), segment)?;
            }
            own.insert(name.clone(), values);
        }
        Ok(())
    }
}

/// Puts `values` where the column called `name` is null.
fn fill(keys: &mut BTreeMap<String, ArrayRef>, name: &str, values: ArrayRef) -> Result<()> {
    let filled = match keys.get(name) {
        Some(there) => zip(&is_not_null(there)?, there, &values)?,
        None => values,
    };
    keys.insert(name.to_owned(), filled);
    Ok(())
}

/// Drawn values of rows without a parent; where one should have been drawn and was not, that of such a row before it, or
/// after it.
fn filled(drawn: &ArrayRef, parents: &[u32]) -> Result<ArrayRef> {
    let good = |row: &usize| parents[*row] == NONE && drawn.is_valid(*row);
    let mut last = (0..parents.len()).find(good);
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
fn break_off(
    keys: &mut BTreeMap<String, ArrayRef>,
    reference: &Reference,
    broken: &str,
    parents: &[u32],
) -> Result<()> {
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

/// Values for the rows `rows` that the training data does not have: the numbers after its largest, texts with a number.
fn beyond(values: &ArrayRef, domain: &ArrayRef, rows: &[u32]) -> Result<ArrayRef> {
    let more: ArrayRef = if values.data_type().is_integer() {
        use arrow::datatypes::Int64Type;
        let largest = arrow::compute::max(cast(domain, &DataType::Int64)?.as_primitive::<Int64Type>()).unwrap_or(0);
        Arc::new(
            (1..=rows.len() as i64).map(|number| largest.checked_add(number)).collect::<arrow::array::Int64Array>(),
        )
    } else {
        let texts = take(values, &UInt32Array::from(rows.to_vec()), None)?;
        let texts = cast(&texts, &DataType::Utf8)?;
        let texts =
            texts.as_string::<i32>().iter().zip(1..).map(|(text, number)| text.map(|text| format!("{text}.{number}")));
        Arc::new(texts.collect::<arrow::array::StringArray>())
    };
    let options = arrow::compute::CastOptions { safe: false, ..Default::default() };
    let more = arrow::compute::cast_with_options(&more, values.data_type(), &options)?;
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
        use arrow::datatypes::Int64Type;
        let domain = cast(domain, &DataType::Int64)?;
        let domain = domain.as_primitive::<Int64Type>();
        let (low, high) = (arrow::compute::min(domain).unwrap_or(0), arrow::compute::max(domain).unwrap_or(0));
        let step = (high - low + 1).saturating_mul(i64::try_from(segment).unwrap_or(i64::MAX));
        let moved = cast(values, &DataType::Int64)?;
        let moved: arrow::array::Int64Array = moved
            .as_primitive::<Int64Type>()
            .iter()
            .map(|value| value.map(|value| value.saturating_add(step)))
            .collect();
        let options = arrow::compute::CastOptions { safe: false, ..Default::default() };
        return Ok(arrow::compute::cast_with_options(&moved, data_type, &options)?);
    }
    let texts = cast(values, &DataType::Utf8)?;
    let moved: arrow::array::StringArray =
        texts.as_string::<i32>().iter().map(|text| text.map(|text| format!("{text}-{segment}"))).collect();
    Ok(cast(&moved, data_type)?)
}

fn no_column(name: &str) -> SynthError {
    SynthError::Internal(format!("no column `{name}`"))
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
fn numbered(columns: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
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

/// The codes of columns of `rows`, by sub-column of `encoder`.
fn context_codes(encoder: &TableEncoder, rows: &RecordBatch) -> Result<Vec<Vec<u32>>> {
    let arrays: Vec<Option<ArrayRef>> =
        encoder.schema().fields().iter().map(|field| rows.column_by_name(field.name()).cloned()).collect();
    encoder.context(&arrays, rows.num_rows())
}

/// The rows `chosen`, null where that is [`NONE`].
fn taken(values: &ArrayRef, chosen: &[u32]) -> Result<ArrayRef> {
    let chosen: UInt32Array = chosen.iter().map(|&row| (row != NONE).then_some(row)).collect();
    Ok(take(values, &chosen, None)?)
}

fn concat_rows(schema: &SchemaRef, batches: &[RecordBatch], rows: usize) -> Result<RecordBatch> {
    if schema.fields().is_empty() {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        return Ok(RecordBatch::try_new_with_options(Arc::clone(schema), vec![], &options)?);
    }
    Ok(arrow::compute::concat_batches(schema, batches)?)
}
