//! Numbers that at times are those of another column.

use super::*;
use arrow::compute::kernels::cmp::eq;

const ROWS: i64 = 6000;

fn bill(row: i64) -> i64 {
    row * 7919 % 100_003 - 5000
}

/// Bills, of which a fifth is paid in full, some not at all, and many in part.
fn bills() -> RecordBatch {
    let paid = |row: i64| match row % 10 {
        0 | 1 if bill(row) > 0 => Some(bill(row)),
        2 => Some(0),
        3 => None,
        _ => Some((row * 104_729 % 90_001).abs()),
    };
    table(vec![
        ("billed", Arc::new((0..ROWS).map(|row| Some(bill(row))).collect::<Int64Array>())),
        ("paid", Arc::new((0..ROWS).map(paid).collect::<Int64Array>())),
        ("noted", Arc::new((0..ROWS).map(|row| (row % 7 > 0).then(|| bill(row) + row % 2)).collect::<Int64Array>())),
        (
            "again",
            Arc::new(
                (0..ROWS).map(|row| Some(if row % 3 == 0 { bill(row) } else { row * 31 })).collect::<Int64Array>(),
            ),
        ),
    ])
}

fn fit_codes(batch: &RecordBatch) -> TableEncoder {
    let mut whole = TableProfile::new(batch.schema(), &BTreeMap::new()).unwrap();
    for part in [batch.slice(0, 1000), batch.slice(1000, batch.num_rows() - 1000)] {
        let mut profile = TableProfile::new(batch.schema(), &BTreeMap::new()).unwrap();
        profile.update(&part).unwrap();
        whole.merge(profile).unwrap();
    }
    whole.finish(Scheme::Codes, 2).unwrap()
}

fn numbers(array: &ArrayRef) -> Vec<Option<i64>> {
    array.as_primitive::<arrow::datatypes::Int64Type>().iter().collect()
}

#[test]
fn what_was_equal_stays_equal() {
    let batch = bills();
    let encoder = fit_codes(&batch);
    let equal: Vec<bool> = (0..4).map(|at| encoder.is_equal_at_times(at)).collect();
    // `billed` has no column before it; a column with nulls is none to be equal to, but can be equal to another.
    assert_eq!(equal, [false, true, true, true]);
    let decoded = round_trip(&encoder, &batch);
    for column in [1, 2, 3] {
        let real = eq(batch.column(0), batch.column(column)).unwrap();
        let ours = eq(decoded.column(0), decoded.column(column)).unwrap();
        let kept = (0..real.len()).filter(|&row| real.is_valid(row) && real.value(row) && ours.value(row)).count();
        assert!(kept as f64 >= 0.99 * real.true_count() as f64, "column {column}: {kept} of {}", real.true_count());
        assert!((ours.true_count() as f64) < 1.02 * real.true_count() as f64);
        assert_eq!(decoded.column(column).logical_nulls(), batch.column(column).logical_nulls());
    }
    // A column alone, and a part of its rows, come out as they do among the others.
    let rows = encode(&encoder, &batch);
    let alone = encoder.decode(0, &rows, 500..900, &[1], &Noise::new(1, b"test")).unwrap();
    assert_eq!(alone.column(0).as_ref(), decoded.column(1).slice(500, 400).as_ref());
}

#[test]
fn a_value_that_the_column_never_has_is_not_taken_over() {
    let batch = bills();
    let encoder = fit_codes(&batch);
    let mut rows = encode(&encoder, &batch);
    let same = match encoder.layout().subcolumns[1] {
        SubColumn::Code { cardinality, .. } => cardinality - 1,
        SubColumn::Scalar => panic!("a code"),
    };
    rows.subcolumns[1] = SubColumnData::Code8(vec![u8::try_from(same).unwrap(); ROWS as usize]);
    let decoded = decode(&encoder, &rows);
    let (billed, paid) = (numbers(decoded.column(0)), numbers(decoded.column(1)));
    assert!(billed.iter().any(|value| value.unwrap() < 0));
    assert!(paid.iter().all(|value| value.unwrap() >= 0));
    let payable = |billed: &Option<i64>| (0..80_000).contains(&billed.unwrap());
    assert!(billed.iter().zip(&paid).filter(|(billed, _)| payable(billed)).all(|(billed, paid)| billed == paid));
}

#[test]
fn what_is_given_is_compared() {
    let batch = bills();
    let encoder = fit_codes(&batch);
    let rows = encode(&encoder, &batch);
    let [billed, paid] = [0, 1].map(|at| batch.column(at).clone());
    let both = encoder.known(&[1, 0], &[paid.clone(), billed.clone()], ROWS as usize, Unseen::Refuse).unwrap();
    let alone = encoder.known(&[1], std::slice::from_ref(&paid), ROWS as usize, Unseen::Refuse).unwrap();
    let code = |known: &KnownCodes, row: usize| known.subcolumn(1).unwrap()[row];
    let full = (0..10).find(|&row| row % 10 < 2 && bill(row as i64) > 0).unwrap();
    assert_eq!(code(&both, full), rows.subcolumns[1].code(full));
    assert!(code(&alone, full) < code(&both, full), "a bin: nothing is known of the bill");
    let context = encoder.context(&[Some(billed.clone()), Some(paid), None, None], ROWS as usize).unwrap();
    assert_eq!(context[1][full], rows.subcolumns[1].code(full));
    // A bill that is given is followed.
    let given: ArrayRef = Arc::new(Int64Array::from(vec![4321; ROWS as usize]));
    let decoded =
        encoder.decode_given(0, &rows, 0..ROWS as usize, &[1], &Noise::new(1, b"test"), &BTreeMap::from([(0, given)]));
    assert_eq!(numbers(decoded.unwrap().column(0))[full], Some(4321));
    // A condition is about values by themselves.
    let large = |values: &_| Ok(numbers(values).into_iter().map(|v| v.map(|v| v > 50_000)).collect());
    let shares = encoder.restrict(1, large).unwrap().unwrap().shares(200);
    assert!(shares.iter().any(|&share| share > 0.0));
    assert_eq!(shares[code(&both, full) as usize], 0.0);
}

#[test]
fn chance_is_not_worth_a_code() {
    let number =
        |f: &dyn Fn(i64) -> i64| -> ArrayRef { Arc::new((0..ROWS).map(|row| Some(f(row))).collect::<Int64Array>()) };
    let batch = table(vec![
        ("a", number(&bill)),
        ("rarely", number(&|row| if row % 100 == 0 { bill(row) } else { row * 13 })),
        ("by its atoms", number(&|row| if row % 2 == 0 { 100 } else { row * 17 })),
        ("nullable", Arc::new((0..ROWS).map(|row| (row > 0).then_some(row * row)).collect::<Int64Array>())),
        ("of another type", Arc::new((0..ROWS).map(|row| Some(bill(row) as f64)).collect::<Float64Array>())),
        ("as one with nulls", number(&|row| if row % 2 == 0 { row * row } else { row * 11 + 1 })),
    ]);
    let encoder = fit_codes(&batch);
    assert!((0..6).all(|at| !encoder.is_equal_at_times(at)));
    let json = serde_json::to_string(&fit_codes(&bills())).unwrap();
    for wrong in ["{\"equal\":1}", "{\"equal\":7}"] {
        let damaged = json.replacen("{\"equal\":0}", wrong, 1);
        assert_ne!(json, damaged);
        assert!(serde_json::from_str::<TableEncoder>(&damaged).is_err(), "{wrong}");
    }
}
