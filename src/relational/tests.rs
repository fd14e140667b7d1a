//! A parent and its children, learned and generated.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::{
    encode::Scheme,
    models::{
        FitObserver, FitOptions, ModelKind, OptionValue, SamplerSettings, TrainingData, argn::Argn, ctgan::Ctgan,
        tvae::Tvae,
    },
    noise::Noise,
    torch::DeviceKind,
};
use arrow::{
    array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Int32Type, Int64Type, Schema},
};
use rstest::rstest;
use std::{collections::BTreeSet, sync::Arc};

struct Quiet;

impl FitObserver for Quiet {
    fn epoch(&mut self, _: &crate::models::EpochReport) -> crate::Result<()> {
        Ok(())
    }
    fn checkpoint(&mut self, _: crate::models::Checkpoint) -> crate::Result<()> {
        Ok(())
    }
    fn cancelled(&self) -> bool {
        false
    }
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), array.null_count() > 0))
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, array)| array).collect()).unwrap()
}

fn ints(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

const OWNERS: usize = 600;
const GOODS: usize = 40;

/// Owners of two grades: the second has three times the children. Children are numbered from 1; their quantity is the grade
/// of the owner plus twice the class of the good; every tenth has no good, and owners never have the same good twice.
fn facts() -> TableFacts {
    let mut bits = vec![0u32; 40 * OWNERS];
    Noise::new(4, b"data").purpose("rows").fill_u32(0, &mut bits);
    let mut next = bits.into_iter();
    let mut draw = move |n: u32| next.next().unwrap() % n;
    let grade = |owner: usize| (owner % 2) as i64;
    let class = |good: usize| (good % 3) as i64;
    let (mut owner_of, mut good_of, mut number, mut quantity) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut degrees = vec![0u32; OWNERS];
    for (owner, degree) in degrees.iter_mut().enumerate() {
        let count = if grade(owner) == 0 { draw(3) } else { 3 + draw(4) };
        let mut seen = BTreeSet::new();
        for line in 0..count {
            let good = loop {
                let good = draw(GOODS as u32);
                if seen.insert(good) {
                    break good;
                }
            };
            let good = if draw(10) == 0 { NONE } else { good };
            owner_of.push(owner as u32);
            good_of.push(good);
            number.push(i64::from(line) + 1);
            quantity.push(grade(owner) + if good == NONE { 7 } else { 2 * class(good as usize) });
            *degree += 1;
        }
    }
    let mut sold = vec![0i32; GOODS];
    good_of.iter().filter(|good| **good != NONE).for_each(|good| sold[*good as usize] += 1);
    let keys = |index: &[u32]| -> ArrayRef {
        Arc::new(index.iter().map(|&row| (row != NONE).then_some(i64::from(row))).collect::<Int64Array>())
    };
    let owners = batch(vec![
        ("id", ints(0..OWNERS as i64)),
        ("grade", ints((0..OWNERS).map(grade))),
        (&degree_column(0), Arc::new(Int32Array::from_iter_values(degrees.iter().map(|d| d.cast_signed())))),
    ]);
    let names = (0..GOODS).map(|good| ["flour", "sugar", "salt"][good % 3]);
    let goods = batch(vec![
        ("id", ints(0..GOODS as i64)),
        ("class", Arc::new(StringArray::from_iter_values(names))),
        (&degree_column(0), Arc::new(Int32Array::from(sold))),
    ]);
    let reference = |name: &str, rows: RecordBatch, index: Vec<u32>, role| ReferenceFacts {
        parent: name.to_owned(),
        columns: vec![format!("{name}_id")],
        parent_columns: vec!["id".to_owned()],
        role,
        parents: rows.num_rows(),
        rows: Some(rows),
        index,
    };
    TableFacts {
        table: batch(vec![
            ("owner_id", keys(&owner_of)),
            ("good_id", keys(&good_of)),
            ("number", ints(number.into_iter())),
            ("quantity", ints(quantity.into_iter())),
        ]),
        roles: [].into(),
        references: vec![
            reference("owner", owners, owner_of, Roles::Owner),
            reference("good", goods, good_of, Roles::Matched),
        ],
        children: Vec::new(),
        uniques: vec![
            vec!["owner_id".to_owned(), "number".to_owned()],
            vec!["owner_id".to_owned(), "good_id".to_owned()],
        ],
    }
}

fn family(kind: &dyn ModelKind, epochs: u32) -> (Family, u64, RecordBatch, RecordBatch) {
    let facts = facts();
    let [owners, goods] = [0, 1].map(|at| facts.references[at].rows.clone().unwrap());
    let learned = learn(facts, kind.scheme(), Ties::All, 1).unwrap();
    let mut options =
        FitOptions { epochs: Some(epochs), seed: 1, device: DeviceKind::Cpu, threads: 1, ..FitOptions::default() };
    if kind.name() == "ctgan" {
        for rate in ["generator_learning_rate", "critic_learning_rate"] {
            options.own.insert(rate.to_owned(), OptionValue::Float(1e-3));
        }
    }
    let data = TrainingData { layout: &learned.joint.layout, rows: &learned.rows };
    let fitted = kind.fit(&data, &options, None, &mut Quiet).unwrap();
    // What is stored must be enough.
    let stored = serde_json::to_string(&learned.relations).unwrap();
    let relations: Relations = serde_json::from_str(&stored).unwrap();
    assert_eq!(relations.joint(&learned.encoder).unwrap(), learned.joint);
    assert_eq!(relations.context.as_ref().unwrap().order.as_deref(), Some("number"), "siblings come in its order");
    let rows = relations.rows;
    let family = Family::new(Arc::new(relations), learned.encoder, fitted.model, Noise::new(3, b"family")).unwrap();
    (family, rows, owners, goods)
}

/// Kinds of models, their epochs, and the share of quantities that must follow from both parents.
#[rstest]
#[case(&Argn, 30, 0.95)]
#[case(&Tvae, 100, 0.8)]
#[case(&Ctgan, 300, 0.6)]
fn children_depend_on_their_parents_and_keys_hold(
    #[case] kind: &dyn ModelKind,
    #[case] epochs: u32,
    #[case] least: f64,
) {
    let (family, rows, owners, goods) = family(kind, epochs);
    let parents = |rows: &RecordBatch| Some(ParentRows { rows: rows.clone(), degree: Some(2), adopted: false });
    let segment = family.segment(0, rows, vec![parents(&owners), parents(&goods)]).unwrap();
    let settings = SamplerSettings::new(DeviceKind::Cpu, 1);
    let mut generator = family.generator(&settings).unwrap();
    let columns: Vec<String> = ["good_id", "owner_id", "quantity", "number"].map(str::to_owned).into();
    let children = family.chunk(&segment, 0, &columns, &mut generator).unwrap().rows;
    assert_eq!(segment.chunks().len(), 1);
    assert_eq!(children.num_rows() as u64, rows);
    let column = |at: usize| children.column(at).as_primitive::<Int64Type>();
    let (good, owner, quantity, number) = (column(0), column(1), column(2), column(3));

    // What can be drawn at all, for rows that have to have something.
    let possible = family.values_of("number").unwrap();
    let possible: BTreeSet<i64> = possible.as_primitive::<Int64Type>().values().iter().copied().collect();
    assert_eq!(possible, (1..=6).collect());

    // As many children as were drawn for each owner; here the very ones of the training data.
    let mut counts = vec![0; OWNERS];
    owner.iter().for_each(|owner| counts[owner.unwrap() as usize] += 1);
    assert_eq!(&counts, owners.column(2).as_primitive::<Int32Type>().values());
    // Keys.
    let tenth = good.null_count() as f64 / rows as f64;
    assert!((0.07..0.13).contains(&tenth), "{tenth}");
    let lines: BTreeSet<_> = owner.iter().zip(number).collect();
    assert_eq!(lines.len(), children.num_rows(), "a number is taken twice");
    let pairs: Vec<_> = owner.iter().zip(good).filter(|(_, good)| good.is_some()).collect();
    assert_eq!(pairs.iter().collect::<BTreeSet<_>>().len(), pairs.len(), "a good is taken twice");
    // Quantities follow from the owner and from the good that was chosen.
    let right = (0..children.num_rows()).filter(|&row| {
        let of_good = if good.is_null(row) { 7 } else { 2 * (good.value(row) % 3) };
        quantity.value(row) == owner.value(row) % 2 + of_good
    });
    let share = right.count() as f64 / rows as f64;
    assert!(share > least, "{share}");
    // Goods are used as often as they were; up to what keeps those of an owner apart.
    let mut sold = [0i32; GOODS];
    good.iter().flatten().for_each(|good| sold[good as usize] += 1);
    let off: i32 =
        sold.iter().zip(goods.column(2).as_primitive::<Int32Type>().values()).map(|(a, b)| (a - b).abs()).sum();
    assert!(f64::from(off) < 0.05 * rows as f64, "{off} of {rows}");

    // The same again, whatever columns are asked for; another segment is another sample.
    let again = family.chunk(&segment, 0, &columns[2..], &mut generator).unwrap().rows;
    assert_eq!(again, children.project(&[2, 3]).unwrap());
    let other = family.segment(1, rows, vec![parents(&owners), parents(&goods)]).unwrap();
    let other = family.chunk(&other, 0, &columns, &mut generator).unwrap();
    assert_eq!((other.first, other.rows.num_rows() as u64), (rows, rows));
    assert_ne!(other.rows, children);
}

#[test]
fn a_share_of_the_parents_has_that_share_of_the_children() {
    let (family, rows, owners, goods) = family(&Argn, 30);
    let (owners, goods) = (owners.slice(0, OWNERS / 10), goods.slice(0, GOODS / 10));
    let parents = |rows: &RecordBatch| Some(ParentRows { rows: rows.clone(), degree: Some(2), adopted: false });
    let segment = family.segment(0, rows / 10, vec![parents(&owners), parents(&goods)]);
    // Four goods, and up to six children that must differ in them.
    let mut generator = family.generator(&SamplerSettings::new(DeviceKind::Cpu, 1)).unwrap();
    let error = family.chunk(&segment.unwrap(), 0, &["quantity".to_owned()], &mut generator).unwrap_err();
    assert!(error.to_string().contains("would need another `good` than their siblings'"), "{error}");
}

#[test]
fn rows_without_context_or_parents_are_kept_apart_too() {
    // Years and teams: a key that the model draws, of a table without foreign keys.
    let years: Vec<i32> = (0..400).map(|row| 1990 + row / 20).collect();
    let teams: Vec<String> = (0..400).map(|row| format!("T{:02}", row % 20)).collect();
    let table = batch(vec![
        ("year", Arc::new(Int32Array::from(years)) as ArrayRef),
        ("team", Arc::new(StringArray::from(teams)) as ArrayRef),
    ]);
    assert_eq!(table.schema().field(1).data_type(), &DataType::Utf8);
    let facts = TableFacts {
        table,
        roles: [].into(),
        references: vec![],
        children: vec![],
        uniques: vec![vec!["year".to_owned(), "team".to_owned()]],
    };
    let learned = learn(facts, Scheme::Codes, Ties::All, 1).unwrap();
    let data = TrainingData { layout: &learned.joint.layout, rows: &learned.rows };
    let options = FitOptions { epochs: Some(2), seed: 1, device: DeviceKind::Cpu, threads: 1, ..FitOptions::default() };
    let model = Argn.fit(&data, &options, None, &mut Quiet).unwrap().model;
    let family = Family::new(Arc::new(learned.relations), learned.encoder, model, Noise::new(3, b"family")).unwrap();
    let mut generator = family.generator(&SamplerSettings::new(DeviceKind::Cpu, 1)).unwrap();
    let mut all = BTreeSet::new();
    for number in 0..3 {
        let segment = family.segment(number, 400, vec![]).unwrap();
        let columns = ["year".to_owned(), "team".to_owned()];
        let rows = family.chunk(&segment, 0, &columns, &mut generator).unwrap().rows;
        let years = rows.column(0).as_primitive::<Int32Type>().values().to_vec();
        let teams = rows.column(1).as_string::<i32>().iter().map(|team| team.unwrap().to_owned());
        all.extend(years.into_iter().zip(teams));
    }
    assert_eq!(all.len(), 1200, "keys repeat, within a segment or between segments");
}

#[rstest]
#[case::of_owners(true)]
#[case::alone(false)]
fn rows_are_drawn_given_the_parts_of_keys_that_they_got(#[case] owned: bool) {
    // Every team plays once a year, in a league and a town of its own; nothing tells the sponsors that own the rows apart.
    let (teams, years) = (20, 80);
    let rows = teams * years;
    let sponsor: Vec<u32> = (0..rows as u32).map(|row| row * 7 % 10).collect();
    let index: ArrayRef = Arc::new(Int64Array::from_iter_values(sponsor.iter().map(|&row| i64::from(row))));
    let team = |row: usize| row % teams;
    let text = |of: &dyn Fn(usize) -> String| -> ArrayRef {
        Arc::new((0..rows).map(|row| Some(of(row))).collect::<StringArray>())
    };
    let mut columns = vec![
        ("league", text(&|row| format!("L{}", team(row) % 4))),
        ("year", ints((0..rows).map(|row| 1900 + (row / teams) as i64))),
        ("town", text(&|row| format!("town {}", team(row) / 3))),
        ("team", text(&|row| format!("T{:02}", team(row)))),
    ];
    if owned {
        columns.push(("sponsor_id", index));
    }
    let sponsors =
        batch(vec![("id", ints(0..10)), (&degree_column(0), Arc::new(Int32Array::from(vec![rows as i32 / 10; 10])))]);
    let sponsor = ReferenceFacts {
        parent: "sponsor".to_owned(),
        columns: vec!["sponsor_id".to_owned()],
        parent_columns: vec!["id".to_owned()],
        role: Roles::Owner,
        parents: 10,
        rows: Some(sponsors.clone()),
        index: sponsor,
    };
    let facts = TableFacts {
        table: batch(columns),
        roles: [].into(),
        references: if owned { vec![sponsor] } else { vec![] },
        children: Vec::new(),
        uniques: vec![vec!["year".to_owned(), "team".to_owned()]],
    };
    let learned = learn(facts, Scheme::Codes, Ties::Parents, 1).unwrap();
    let options =
        FitOptions { epochs: Some(60), seed: 1, device: DeviceKind::Cpu, threads: 1, ..FitOptions::default() };
    let data = TrainingData { layout: &learned.joint.layout, rows: &learned.rows };
    let model = Argn.fit(&data, &options, None, &mut Quiet).unwrap().model;
    let family = Family::new(Arc::new(learned.relations), learned.encoder, model, Noise::new(3, b"family")).unwrap();
    let parents = ParentRows { rows: sponsors, degree: Some(1), adopted: false };
    let segment = family.segment(0, rows as u64, if owned { vec![Some(parents)] } else { vec![] }).unwrap();
    let mut generator = family.generator(&SamplerSettings::new(DeviceKind::Cpu, 1)).unwrap();
    let columns = ["year", "team", "league", "town"].map(str::to_owned);
    let found = family.chunk(&segment, 0, &columns, &mut generator).unwrap().rows;
    let texts = |at: usize| found.column(at).as_string::<i32>();
    let keys: BTreeSet<_> = found.column(0).as_primitive::<Int64Type>().values().iter().zip(texts(1)).collect();
    assert_eq!(keys.len(), rows, "a team plays twice in a year");
    // A third of the rows had to get another team or year.
    let right = (0..rows).filter(|&row| {
        let team: usize = texts(1).value(row)[1..].parse().unwrap();
        texts(2).value(row) == format!("L{}", team % 4) && texts(3).value(row) == format!("town {}", team / 3)
    });
    let share = right.count() as f64 / rows as f64;
    assert!(share > 0.95, "{share}");
}
