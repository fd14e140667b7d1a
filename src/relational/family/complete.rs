//! Rows of which something is given, completed.
//!
//! A network that is given a context has learned one order of the columns. What it knows of the first ones given the last is
//! had by sampling-importance-resampling (Rubin 1988, "Using the SIR Algorithm to Simulate Posterior Distributions"): of
//! every row candidates are drawn in the network's order, what is given being put in its place; each weighs as much as what
//! is given is probable after what was drawn before it; one is chosen by weight. Its place in a segment, which says the owner
//! and the sibling before it, is a part of the candidate.

use super::{
    Draft, Family, ParentRows, Segment,
    places::{Place, Places},
    segment::{Chunk, Parents},
};
use crate::{
    Result, SynthError,
    encode::{Among, EncodedRows, KnownCodes, MayEqual, SubColumnData, UNKNOWN, Unseen, hash::FixedState},
    models::{AnyOrderSampler, SamplerSettings, told, weights::place_of_logs},
    noise::{BLOCK_ROWS, Noise, blocks},
    relational::{NONE, Reference, Unique, any_null, child_counts, look_up, order::Order, row_converter},
};
use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::{is_not_null, kernels::zip::zip, take},
    util::display::array_value_to_string,
};
use std::{
    collections::{BTreeMap, HashSet},
    hash::BuildHasher,
};

/// Candidates for a row; and where they differ in their owners, too.
const CANDIDATES: usize = 32;
const OWNERS: usize = 128;

/// What is given of rows.
pub(super) struct Given {
    /// Sub-columns of all, and codes.
    pub(super) known: Vec<(usize, Vec<u32>)>,
    /// Sub-columns of which several codes will do.
    pub(super) told: Vec<Among>,
    /// Values that may be those of other columns.
    pub(super) may_equal: Vec<MayEqual>,
    /// Values by place in the encoder's schema.
    pub(super) values: BTreeMap<usize, ArrayRef>,
}

/// Keys of which rows have the part that the model would draw: no two rows may then have the same owner, too.
#[derive(Default)]
struct Taken {
    /// By row: that part, hashed, if it is given.
    parts: Vec<Option<u64>>,
    /// Owners and parts that rows have.
    keys: HashSet<(u32, u64)>,
}

/// Who asks about given rows, for errors to name, and what becomes of values that the model has never seen.
#[derive(Debug, Clone, Copy)]
pub struct Asker {
    /// The SQL function.
    pub function: &'static str,
    /// Its argument that has the rows.
    pub argument: &'static str,
    /// Whether they are an error, or as good as unknown.
    pub unseen: Unseen,
    /// Whether models generate the parents for which no table stands.
    pub generated: bool,
}

/// What rows are completed with.
pub struct Completion {
    /// Whose places the rows take.
    segment: Segment,
    places: Places,
    sampler: Box<dyn AnyOrderSampler>,
    taken: Taken,
    asker: Asker,
}

impl Family {
    /// Gets ready to complete rows whose parents are among `parents`, one for each reference that needs any, who have `all`
    /// children.
    ///
    /// # Errors
    /// A model that does not know every order; parents as for [`Family::segment`]; libtorch failed.
    pub fn completion(
        &self,
        all: u64,
        parents: Vec<Option<ParentRows>>,
        settings: &SamplerSettings,
        asker: Asker,
    ) -> Result<Completion> {
        let mut sampler = self.model.any_order_sampler(settings)?;
        let mut segment = self.segment(0, all, parents)?;
        let drawn = self.siblings(&segment, &mut *sampler)?;
        let places = Places::new(std::mem::take(&mut segment.context), &segment.degrees, drawn);
        Ok(Completion { segment, places, sampler, taken: Taken::default(), asker })
    }

    /// Completes `given`, which has some columns of the table: what is null is drawn, too. They are the rows from number
    /// `first` on; which other rows they are completed with says which parents are left for them.
    ///
    /// # Errors
    /// A value that the model has never seen; a key that names none of the parents; libtorch failed.
    pub fn complete(&self, with: &mut Completion, given: &RecordBatch, first: u64) -> Result<RecordBatch> {
        let Completion { segment, places, sampler, taken, asker } = with;
        let rows = given.num_rows();
        let noise = self.noise.part(&format!("given {first}"));
        let named = self.named(given, segment, (first, *asker))?;
        let mut owners = self.relations.owner().and_then(|(at, _)| named.get(at).cloned()).unwrap_or_default();
        owners.resize(rows, NONE);
        let count = if owners.contains(&NONE) { OWNERS } else { CANDIDATES };
        let mut asked = self.given(given, &named, segment, *asker)?;
        let likeness = places.likeness(&asked, rows, self.joint.layout.given);
        let at = |row: usize, number: usize, bits: u32| match owners[row] {
            NONE => places.proposed(&likeness, row, number, bits),
            owner => (places.at(owner, bits), 0.0),
        };
        self.take_named(given, &owners, taken)?;
        let wish = noise.part("wish");
        let (chosen, drawn) = self.choose(&mut **sampler, (rows, count), at, (places, taken), &asked, &wish)?;
        asked.give_equal(&drawn, self.joint.layout.given)?;

        // Siblings side by side, those without an owner last.
        let order = Order::by(rows, |row| (chosen[row].owner, chosen[row].number));
        let owners: Vec<u32> = chosen.iter().map(|place| place.owner).collect();
        segment.degrees = child_counts(&owners, segment.degrees.len().max(1));
        let start = first % (segment.rows.saturating_sub(rows as u64) + 1);
        let chunk = Chunk { owners: 0..segment.degrees.len(), rows: start..start + rows as u64 };
        let segment = &*segment;
        let mut draft = Draft::new(segment, &chunk);
        // None of a reference that no row names.
        draft.named = named.iter().map(|named| order.put(named)).collect();
        draft.drawn = drawn.iter().map(|codes| in_order(codes, order.rows())).collect();
        self.match_parents(&mut draft, rows, &noise)?;

        // Parents are as like those wished for as there are any: rows stay as they were drawn, given theirs.
        let mut asked = asked.in_order(&order)?;
        let own = match self.relations.context {
            None => self.free(&mut **sampler, rows, &mut asked, &noise.part("rows"))?,
            Some(_) => self.own_codes(&draft, rows),
        };
        let names: Vec<String> = self.relations.schema.fields().iter().map(|field| field.name().clone()).collect();
        let decoded = self.decode(&own, first, &names, &asked.values)?;
        let drawn = self.assemble(&mut draft, &decoded, &names, (first, rows), &noise)?.rows;
        let places = order.places();
        let column = |(name, drawn): (&String, &ArrayRef)| -> Result<ArrayRef> {
            let drawn = take(drawn, &places, None)?;
            Ok(match given.column_by_name(name) {
                Some(given) => zip(&is_not_null(given)?, given, &drawn)?,
                None => drawn,
            })
        };
        let columns = names.iter().zip(drawn.columns()).map(column).collect::<Result<_>>()?;
        Ok(RecordBatch::try_new(drawn.schema(), columns)?)
    }

    /// Of a key that is made of the owner and of what the model would draw, takes the parts that are given, and the keys of
    /// rows whose `owners` are named.
    fn take_named(&self, given: &RecordBatch, owners: &[u32], taken: &mut Taken) -> Result<()> {
        taken.parts.clear();
        let Some((_, owner)) = self.relations.owner() else { return Ok(()) };
        let of_owner = |unique: &Unique| {
            let all = |name: &String| owner.columns.contains(name) || unique.drawn.contains(name);
            owner.columns.iter().all(|name| unique.columns.contains(name)) && unique.columns.iter().all(all)
        };
        let Some((_, unique)) = self.drawn_keys().find(|(_, unique)| of_owner(unique)) else { return Ok(()) };
        let parts: Vec<ArrayRef> = unique.drawn.iter().filter_map(|name| given.column_by_name(name).cloned()).collect();
        if parts.len() < unique.drawn.len() {
            return Ok(());
        }
        let values = row_converter(&parts)?.convert_columns(&parts)?;
        let part = |(row, null)| if null { None } else { Some(FixedState.hash_one(values.row(row))) };
        taken.parts.extend(any_null(given, &unique.drawn)?.into_iter().enumerate().map(part));
        let named = owners.iter().zip(&taken.parts).filter(|(owner, _)| **owner != NONE);
        taken.keys.extend(named.filter_map(|(&owner, part)| Some((owner, (*part)?))));
        Ok(())
    }

    /// Per reference, the parents that rows name.
    pub(super) fn named(
        &self,
        given: &RecordBatch,
        segment: &Segment,
        (first, asker): (u64, Asker),
    ) -> Result<Vec<Vec<u32>>> {
        let of_reference = |(reference, parents): (&Reference, &Option<Parents>)| -> Result<Vec<u32>> {
            let all = reference.columns.iter().all(|name| given.column_by_name(name).is_some());
            let Some(parents) = parents.as_ref().filter(|_| all) else { return Ok(Vec::new()) };
            let named = look_up((given, &reference.columns), (&parents.rows, &reference.parent_columns))?;
            let nulls = any_null(given, &reference.columns)?;
            match (0..named.len()).find(|&row| named[row] == NONE && !nulls[row]) {
                None => Ok(named),
                Some(row) => Err(unknown_parent(given, reference, (row, first), asker)),
            }
        };
        self.relations.references.iter().zip(&segment.parents).map(of_reference).collect()
    }

    /// What is given of the rows; the parents that they name are `named`.
    pub(super) fn given(
        &self,
        rows: &RecordBatch,
        named: &[Vec<u32>],
        segment: &Segment,
        asker: Asker,
    ) -> Result<Given> {
        let (columns, arrays) = self.own_values(rows)?;
        let of_function = |error| match error {
            SynthError::Column { column, reason, .. } => SynthError::Column {
                column,
                reason: format!("{}: {reason}", asker.function),
                way_out: "train with such rows, or go on without with unseen => 'ignore'".to_owned(),
            },
            other => other,
        };
        let (count, unseen) = (rows.num_rows(), asker.unseen);
        let mut codes = self.encoder.known(&columns, &arrays, count, unseen).map_err(of_function)?;
        let mut told = self.encoder.among(&columns, &arrays, count, unseen).map_err(of_function)?;
        let first = self.joint.own.start;
        for among in &mut told {
            among.settle(&mut codes);
            among.subcolumn += first;
        }
        let mut may_equal = self.encoder.may_equal(&columns, &arrays, &codes)?;
        for may in &mut may_equal {
            may.subcolumn += first;
            may.base.iter_mut().for_each(|(subcolumn, _)| *subcolumn += first);
        }
        let own = 0..self.encoder.layout().subcolumns.len();
        let mut known: Vec<_> = own.filter_map(|at| Some((first + at, codes.subcolumn(at)?.to_vec()))).collect();
        for ((range, named), parents) in self.joint.attributes.iter().zip(named).zip(&segment.parents) {
            let Some(parents) = parents.as_ref().filter(|_| !named.is_empty()) else { continue };
            for (at, codes) in range.clone().zip(&parents.attributes) {
                let code = |&row: &u32| codes.get(row as usize).copied().unwrap_or(UNKNOWN);
                known.push((at, named.iter().map(code).collect()));
            }
        }
        Ok(Given { known, told, may_equal, values: columns.into_iter().zip(arrays).collect() })
    }

    /// The rows of a segment, whose places others take; none if rows do not know their family.
    fn siblings(&self, segment: &Segment, sampler: &mut dyn AnyOrderSampler) -> Result<Vec<SubColumnData>> {
        if self.relations.context.is_none() {
            return Ok(Vec::new());
        }
        let chunk = segment.all();
        let mut draft = Draft::new(segment, &chunk);
        self.rounds(sampler, &mut draft, &self.noise.part("places"), &[])?;
        Ok(draft.drawn)
    }

    /// Draws `count` candidates for each of `rows` rows and chooses one: its place, and what was drawn, which is nothing if rows do
    /// not know their family. `at` says where, of a row, the candidate's number and random bits, and the logarithm of what that
    /// counts for.
    fn choose(
        &self,
        sampler: &mut dyn AnyOrderSampler,
        (rows, count): (usize, usize),
        at: impl Fn(usize, usize, u32) -> (Place, f64),
        (places, taken): (&Places, &mut Taken),
        given: &Given,
        noise: &Noise,
    ) -> Result<(Vec<Place>, Vec<SubColumnData>)> {
        let joint = &self.joint;
        let kinds = if self.relations.context.is_some() { &joint.layout.subcolumns[joint.drawn()] } else { &[] };
        let mut out: Vec<_> = kinds.iter().map(|&kind| SubColumnData::with_capacity(kind, rows)).collect();
        let mut drawn = EncodedRows::with_capacity(&joint.layout, BLOCK_ROWS);
        let mut chosen = Vec::with_capacity(rows);
        let random = noise.purpose("places");
        for (block, first) in (0u64..).zip((0..rows).step_by(BLOCK_ROWS / count)) {
            let part: Vec<usize> = (first..(first + BLOCK_ROWS / count).min(rows)).collect();
            let of_row = |row: &usize| std::iter::repeat_n(*row, count);
            let candidates: Vec<usize> = part.iter().flat_map(of_row).collect();
            let mut bits = vec![0u32; candidates.len()];
            random.fill_u32(block, &mut bits);
            let there = candidates.iter().zip(&bits).enumerate();
            let (there, mut counts): (Vec<Place>, Vec<f64>) =
                there.map(|(number, (&row, &bits))| at(row, number % count, bits)).unzip();
            if self.relations.context.is_none() {
                chosen.extend(there.iter().step_by(count));
                continue;
            }
            let mut question = self.question_at(&there, &places.context, &places.drawn);
            for (at, codes) in &given.known {
                question.set(*at, candidates.iter().map(|&row| codes[row]).collect());
            }
            for among in &given.told {
                let random = noise.purpose(&format!("told/{}", among.subcolumn));
                random.fill_u32(block, &mut bits);
                let mut codes = question.codes(among.subcolumn);
                for ((code, &row), &bits) in codes.iter_mut().zip(&candidates).zip(&bits) {
                    if let (UNKNOWN, Some(allowed)) = (*code, &among.allowed[row]) {
                        let place = (u64::from(bits) * allowed.len() as u64) >> 32;
                        *code = allowed.get(place as usize).copied().unwrap_or(UNKNOWN);
                    }
                }
                question.set(among.subcolumn, codes);
            }
            for may in &given.may_equal {
                let may = may.take(&candidates);
                noise.purpose(&format!("equal/{}", may.subcolumn)).fill_u32(block, &mut bits);
                let equal = may.open(&question).into_iter().zip(&bits).map(|(open, &bits)| open && bits >> 31 == 1);
                let equal: Vec<bool> = equal.collect();
                let odds = counts.iter_mut().zip(&may.odds).zip(&equal).filter(|(_, equal)| **equal);
                odds.for_each(|((count, odds), _)| *count += odds.ln());
                may.tell(&equal, &mut question);
            }
            sampler.complete(block, noise, &question, &mut drawn)?;
            let mut weights = counts;
            let mut whole = question.clone();
            joint.drawn().for_each(|at| whole.set(at, drawn.subcolumns[at].codes()));
            weights.iter_mut().zip(sampler.log_weight(&question, &whole)?).for_each(|(sum, log)| *sum += log);
            let mut uniform = vec![0f32; part.len()];
            noise.purpose("chosen").fill_uniform(block, &mut uniform);
            for (number, (weights, uniform)) in weights.chunks_mut(count).zip(uniform).enumerate() {
                let there = &there[number * count..][..count];
                taken.rule_out(part[number], there, weights);
                let choice = place_of_logs(weights, uniform);
                taken.take(part[number], there[choice]);
                chosen.push(there[choice]);
                let choice = number * count + choice;
                for (to, from) in out.iter_mut().zip(&drawn.subcolumns[joint.drawn()]) {
                    to.extend(from, choice..choice + 1);
                }
            }
        }
        Ok((chosen, out))
    }

    /// Rows that know nothing of a family, of which something is given.
    fn free(
        &self,
        sampler: &mut dyn AnyOrderSampler,
        rows: usize,
        given: &mut Given,
        noise: &Noise,
    ) -> Result<EncodedRows> {
        let layout = self.encoder.layout();
        let mut out = EncodedRows::with_capacity(layout, rows);
        let mut drawn = EncodedRows::with_capacity(layout, BLOCK_ROWS);
        let mut equal = vec![Vec::with_capacity(rows); given.may_equal.len()];
        for (block, part) in blocks(0..rows as u64) {
            let mut question = KnownCodes::nothing(layout.subcolumns.len(), part.len());
            let first = out.rows;
            for (at, codes) in &given.known {
                question.set(*at, codes[first..first + part.len()].to_vec());
            }
            let of_part: Vec<usize> = (first..first + part.len()).collect();
            let equal_ones = given.draw(sampler, &of_part, &mut question, (block, noise), &mut drawn)?;
            equal.iter_mut().zip(equal_ones).for_each(|(equal, of_part)| equal.extend(of_part));
            out.extend(&drawn, part);
        }
        let Given { may_equal, values, .. } = given;
        may_equal.iter().zip(equal).try_for_each(|(may, equal)| may.give(&equal, values))?;
        Ok(out)
    }
}

impl Given {
    /// Adds the values that other columns have where `drawn`, the sub-columns after the first `context` ones, say that these are
    /// equal to them.
    fn give_equal(&mut self, drawn: &[SubColumnData], context: usize) -> Result<()> {
        for may in &self.may_equal {
            let (Some(own), Some((_, base))) = (drawn.get(may.subcolumn - context), may.base.first()) else { continue };
            let equal = base.iter().enumerate().map(|(row, &code)| code != UNKNOWN && own.code(row) == may.equal);
            may.give(&equal.collect::<Vec<_>>(), &mut self.values)?;
        }
        Ok(())
    }

    /// Draws what the rows `rows` lack, of which the codes of `question` are known: first what is told of them. Of each value that
    /// may be another one's, says whether it is.
    pub(super) fn draw(
        &self,
        sampler: &mut dyn AnyOrderSampler,
        rows: &[usize],
        question: &mut KnownCodes,
        (block, noise): (u64, &Noise),
        out: &mut EncodedRows,
    ) -> Result<Vec<Vec<bool>>> {
        let told: Vec<Among> = self.told.iter().map(|told| told.take(rows)).collect();
        told::draw(sampler, &told, question, (block, noise))?;
        let mut draw = |may: &MayEqual| told::draw_equal(sampler, &may.take(rows), question, (block, noise));
        let equal = self.may_equal.iter().map(&mut draw).collect::<Result<_>>()?;
        sampler.complete(block, noise, question, out)?;
        Ok(equal)
    }

    /// The same, of the rows `order`.
    pub(super) fn in_order(self, order: &Order) -> Result<Self> {
        let all: Vec<usize> = order.rows().iter().map(|&row| row as usize).collect();
        let rows = order.indices();
        let values = self.values.into_iter().map(|(at, values)| Ok((at, take(&values, &rows, None)?)));
        Ok(Self {
            known: self.known.into_iter().map(|(at, known)| (at, order.put(&known))).collect(),
            told: self.told.iter().map(|told| told.take(&all)).collect(),
            may_equal: self.may_equal.iter().map(|may| may.take(&all)).collect(),
            values: values.collect::<Result<_>>()?,
        })
    }
}

impl Taken {
    /// The key of a row at a place; none if it has none to keep apart.
    fn key(&self, row: usize, place: Place) -> Option<(u32, u64)> {
        Some((place.owner, (*self.parts.get(row)?)?))
    }

    /// Leaves no weight to places at which another row has the key that `row` would have, unless there are no others.
    fn rule_out(&self, row: usize, places: &[Place], weights: &mut [f64]) {
        let gone = |place: &Place| self.key(row, *place).is_some_and(|key| self.keys.contains(&key));
        if !places.iter().all(gone) {
            places.iter().zip(weights).filter(|(place, _)| gone(place)).for_each(|(_, log)| *log = f64::NEG_INFINITY);
        }
    }

    fn take(&mut self, row: usize, place: Place) {
        let key = self.key(row, place);
        self.keys.extend(key);
    }
}

/// The error of a row, the `row`-th of those from number `first` on, that names a parent that there is not.
fn unknown_parent(given: &RecordBatch, reference: &Reference, (row, first): (usize, u64), asker: Asker) -> SynthError {
    let value = |name: &String| {
        let value = given.column_by_name(name).map(|values| array_value_to_string(values, row));
        value.and_then(|value| value.ok()).unwrap_or_default()
    };
    let values: Vec<String> = reference.columns.iter().map(value).collect();
    let (columns, values, number) = (reference.columns.join(", "), values.join(", "), first + row as u64 + 1);
    let parent = &reference.parent;
    SynthError::Argument {
        function: asker.function.to_owned(),
        argument: asker.argument.to_owned(),
        given: format!("({columns}) = ({values}) in row {number}"),
        expected: if asker.generated {
            format!(
                "keys of `{parent}`: of the rows that its model generates, or of a table (parent => 'my_table AS {parent}')"
            )
        } else {
            format!("keys of the table `{parent}`, or of one that stands for it (parent => 'my_table AS {parent}')")
        },
    }
}

/// The codes of the rows `order`.
fn in_order(codes: &SubColumnData, order: &[u32]) -> SubColumnData {
    let mut out = codes.clone();
    order.iter().enumerate().for_each(|(to, &from)| out.set(to, codes, from as usize));
    out
}
