//! Columns of which one is set in every row.

use super::*;

fn soil(row: usize) -> usize {
    row * 7919 % 101 % 4
}

/// Soils, one-hot as numbers; weathers as floats and plots as booleans, one-hot too; what is none of these beside them.
fn land(rows: usize) -> RecordBatch {
    let is = |soil_of: usize| -> ArrayRef {
        Arc::new((0..rows).map(|r| i64::from(soil(r) == soil_of)).collect::<Int64Array>())
    };
    let weather = |is: usize| -> ArrayRef {
        Arc::new((0..rows).map(|r| if r * 13 % 37 % 3 == is { 1.0 } else { 0.0 }).collect::<Float64Array>())
    };
    let plot =
        |is: usize| -> ArrayRef { Arc::new((0..rows).map(|r| Some(r * 31 % 53 % 3 == is)).collect::<BooleanArray>()) };
    let number = |f: &dyn Fn(usize) -> i64| -> ArrayRef { Arc::new((0..rows).map(f).collect::<Int64Array>()) };
    table(vec![
        ("height", number(&|r| (r * 17 % 1000) as i64)),
        ("clay", is(0)),
        ("sand", is(1)),
        ("salt", number(&|_| 0)),
        ("silt", is(2)),
        ("peat", is(3)),
        ("sun", weather(0)),
        ("rain", weather(1)),
        ("snow", weather(2)),
        ("a", plot(0)),
        ("b", plot(1)),
        ("c", plot(2)),
        ("sandless", number(&|r| i64::from(soil(r) != 1))),
        ("flag", number(&|r| i64::from(r % 3 == 0))),
        ("other", number(&|r| i64::from(r % 5 == 0))),
    ])
}

fn of(encoder: &TableEncoder) -> Vec<Option<usize>> {
    (0..encoder.schema().fields().len()).map(|at| Some(encoder.function(at)?.0)).collect()
}

const OF: [Option<usize>; 15] = [
    None,
    Some(1),
    Some(1),
    None, // a constant
    Some(1),
    Some(1),
    Some(6),
    Some(6),
    Some(6),
    Some(9),
    Some(9),
    Some(9),
    Some(1), // a function of a column is one of its category
    None,
    None,
];

#[test]
fn a_category_is_one_column_of_codes() {
    let batch = land(3000);
    for scheme in [Scheme::Codes, Scheme::ModeSpecific] {
        for cuts in [&[][..], &[0, 10, 10, 1700], &[2999]] {
            let encoder = fit_parts(&batch, cuts, scheme);
            assert_eq!(of(&encoder), OF);
            let layout = encoder.layout();
            let cardinality = |at: usize| match layout.subcolumns[layout.columns[at].subcolumns.start] {
                SubColumn::Code { cardinality, .. } => cardinality,
                SubColumn::Scalar => 0,
            };
            assert_eq!([1, 6, 9].map(cardinality), [4, 3, 3]);
            assert!([1, 6, 9].iter().all(|&at: &usize| layout.columns[at].discrete));
            assert_eq!(round_trip(&encoder, &batch).columns()[1..], batch.columns()[1..]);
            let rows = encode(&encoder, &batch);
            let alone = encoder.decode(0, &rows, 100..200, &[12, 4], &Noise::new(1, b"test")).unwrap();
            assert_eq!(alone.column(0).as_ref(), batch.column(12).slice(100, 100).as_ref());
            assert_eq!(alone.column(1).as_ref(), batch.column(4).slice(100, 100).as_ref());
        }
    }
}

#[test]
fn what_is_none_stays_as_it_is() {
    let rows = 600usize;
    let number = |f: &dyn Fn(usize) -> i64| -> ArrayRef { Arc::new((0..rows).map(f).collect::<Int64Array>()) };
    let third = |is: usize| move |r: usize| i64::from(r % 3 == is);
    let batch = table(vec![
        // Once two are set.
        ("a", number(&|r| i64::from(r % 3 == 0 || r == 500))),
        ("b", number(&third(1))),
        ("c", number(&third(2))),
        ("x", number(&|r| (r % 200) as i64)),
        // Once none is.
        ("d", number(&|r| i64::from(r % 3 == 0 && r != 300))),
        ("e", number(&third(1))),
        ("f", number(&third(2))),
        ("y", number(&|r| (r % 300) as i64)),
        // Something else stands between them.
        ("g", number(&|r| i64::from(r % 4 == 0))),
        ("h", number(&|r| i64::from(r % 4 == 1))),
        ("z", number(&|r| (r % 150) as i64)),
        ("i", number(&|r| i64::from(r % 4 > 1))),
    ]);
    let encoder = fit_parts(&batch, &[100, 450], Scheme::Codes);
    let is_one_hot = |at: usize| encoder.function(at).is_some_and(|(of, _)| encoder.function(of).is_some());
    assert!((0..12).all(|at| !is_one_hot(at)));
    assert!(of(&fit_parts(&land(49), &[], Scheme::Codes))[1..9].iter().all(|of| *of != Some(1)), "too few rows");
    let roles = [("silt", ColumnRole::Categorical)];
    let declared = fit_with(&land(3000), &roles).unwrap();
    assert!(declared.function(1).is_none() && declared.function(6).is_some(), "a declared column is learned by itself");
}

#[test]
fn conditions_given_values_and_contexts_reach_the_category() {
    let batch = land(3000);
    let encoder = fit_parts(&batch, &[], Scheme::Codes);
    let is = |wanted: f64| {
        move |values: &ArrayRef| {
            let values = arrow::compute::cast(values, &DataType::Float64)?;
            Ok(values.as_primitive::<arrow::datatypes::Float64Type>().iter().map(|v| Some(v == Some(wanted))).collect())
        }
    };
    let silt = encoder.restrict(4, is(1.0)).unwrap().unwrap();
    let no_clay = encoder.restrict(1, is(0.0)).unwrap().unwrap();
    let clay = encoder.restrict(1, is(1.0)).unwrap().unwrap();
    assert_eq!((silt.column, silt.shares(4)), (1, vec![0.0, 0.0, 1.0, 0.0]));
    assert_eq!(no_clay.shares(4), [0.0, 1.0, 1.0, 1.0]);
    assert_eq!(silt.clone().and(&no_clay), Some(silt.clone()));
    assert_eq!(silt.and(&clay), None);
    assert!(encoder.restrict(4, is(2.0)).is_err());
    let rows = encode(&encoder, &batch);
    let restricted = encoder.restricted(&clay, &rows, 0..3000, &[0; 3000]).unwrap();
    assert_eq!(restricted.as_ref(), batch.column(1).as_ref(), "the values of the first column, not of the category");

    let numbers = |values: Vec<Option<i64>>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
    let clay = numbers(vec![Some(1), Some(0), Some(0), None, Some(1)]);
    let sand = numbers(vec![Some(0), Some(0), Some(1), None, Some(1)]);
    let silt = numbers(vec![None, Some(0), None, None, None]);
    let arrays = [clay, sand, silt];
    let told = encoder.among(&[1, 2, 4], &arrays, 5, Unseen::Refuse).unwrap();
    let [soil] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(soil.allowed, [Some(vec![0]), Some(vec![3]), Some(vec![1]), None, Some(vec![])]);
    let known = encoder.known(&[1, 2, 4], &arrays, 5, Unseen::Refuse).unwrap();
    assert_eq!(known.subcolumn(encoder.layout().columns[1].subcolumns.start), None);

    let mut context: Vec<Option<ArrayRef>> = vec![None; 15];
    (context[1], context[2], context[4]) = (Some(arrays[0].clone()), Some(arrays[1].clone()), Some(arrays[2].clone()));
    let codes = encoder.context(&context, 5).unwrap();
    assert_eq!(codes[encoder.layout().columns[1].subcolumns.start][..4], [0, UNKNOWN, 1, UNKNOWN]);
}

#[test]
fn rows_and_encoders_that_contradict_it_are_refused() {
    let batch = land(3000);
    let encoder = fit_parts(&batch, &[], Scheme::Codes);
    let refused = |column: usize, value: i64| {
        let mut columns = batch.columns().to_vec();
        columns[column] = Arc::new(Int64Array::from(vec![value; 3000]));
        let other = RecordBatch::try_new(batch.schema(), columns).unwrap();
        let mut out = EncodedRows::with_capacity(encoder.layout(), 10);
        let error = encoder.encode(&other, &mut out).unwrap_err().to_string();
        assert!(out.rows == 0 && out.subcolumns.iter().all(SubColumnData::is_empty));
        error
    };
    let two = refused(2, 1);
    assert!(
        two.contains("`clay`: one of it and the columns up to `peat`") && two.contains("`clay` and `sand` are set"),
        "{two}"
    );
    let none = refused(2, 0);
    assert!(none.contains("none is set in row"), "{none}");
    let unseen = refused(2, 7);
    assert!(unseen.contains("`sand`") && unseen.contains("`7`"), "{unseen}");
    let json = serde_json::to_string(&encoder).unwrap();
    for (from, wrong) in [
        ("\"of\":6,\"code\":1", "\"of\":1,\"code\":1"),
        ("\"of\":6,\"code\":1", "\"of\":6,\"code\":2"),
        ("\"of\":6,\"code\":0", "\"of\":99,\"code\":0"),
    ] {
        let damaged = json.replacen(from, wrong, 1);
        assert_ne!(json, damaged);
        assert!(serde_json::from_str::<TableEncoder>(&damaged).is_err(), "{wrong}");
    }
}

#[test]
fn the_category_may_be_beside_them() {
    let batch = land(3000);
    let name: ArrayRef = Arc::new((0..3000).map(|r: usize| Some(format!("soil {}", soil(r)))).collect::<StringArray>());
    // The height says whether it is clay, and nothing of the others.
    let height: ArrayRef =
        Arc::new((0..3000).map(|r: usize| (r % 9 * 2 + usize::from(soil(r) == 0)) as i64).collect::<Int64Array>());
    let columns: Vec<_> =
        ["clay", "sand", "silt", "peat"].map(|name| (name, batch.column_by_name(name).unwrap().clone())).into();
    let with = |name, array| table([columns.clone(), vec![(name, array)]].concat());
    assert_eq!(of(&fit_parts(&with("soil", name), &[], Scheme::Codes)), [Some(4), Some(4), Some(4), Some(4), None]);
    assert_eq!(of(&fit_parts(&with("height", height), &[], Scheme::Codes)), [Some(0), Some(0), Some(0), Some(0), None]);
}
