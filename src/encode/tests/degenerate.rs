//! Columns at the edge: they work, or say why not.

use super::*;

/// Decoded from its own codes, a column of these is what it was.
fn unchanged(array: ArrayRef) -> TableEncoder {
    let (encoder, back) = column(array.clone());
    assert_eq!(format!("{back:?}"), format!("{array:?}"));
    encoder
}

#[test]
fn degenerate_columns_come_back() {
    let same = |array: ArrayRef| drop(unchanged(array));
    same(Arc::new(Int64Array::from(vec![None; 5])));
    same(Arc::new(StringArray::from(vec![None::<&str>; 5])));
    same(Arc::new(Int64Array::from(vec![7; 5])));
    same(Arc::new(Int64Array::from(vec![i64::MIN])));
    same(Arc::new(UInt64Array::from(vec![u64::MAX, u64::MAX, 0, 0])));
    same(Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX, i64::MIN, i64::MAX])));
    same(Arc::new(Float64Array::from(vec![f64::NAN; 3])));
    same(Arc::new(Float64Array::from(vec![f64::INFINITY, f64::NEG_INFINITY, f64::INFINITY, f64::INFINITY])));
    same(Arc::new(Float64Array::from(vec![Some(-0.0), None, Some(-0.0)])));
    same(Arc::new(StringArray::from(vec![""; 4])));
    same(Arc::new(StringArray::from(vec!["🦀", "🦀", "🍝", "🍝"])));
    same(Arc::new(Date32Array::from(vec![-50_000, -50_000, -50_001, -50_001, -50_000])));
    same(Arc::new(TimestampNanosecondArray::from(vec![i64::MIN, i64::MIN, -1, -1])));
    same(Arc::new(BooleanArray::from(vec![Some(true), None])));
}

#[test]
fn a_constant_needs_no_codes() {
    assert!(unchanged(Arc::new(Int64Array::from(vec![7; 5]))).layout().subcolumns.is_empty());
    let encoder = unchanged(Arc::new(Int64Array::from(vec![Some(7), None])));
    assert_eq!(encoder.layout().subcolumns, [SubColumn::numbers(1, 2)]);
}

#[test]
fn the_extremes_of_floats_do_not_overflow() {
    let values: Vec<f64> =
        (0..500).map(|i| f64::from(i % 250 - 125) / 125.0 * f64::MAX).chain([f64::MIN_POSITIVE, 5e-324]).collect();
    let (_, back) = column(Arc::new(Float64Array::from(values)));
    assert!(back.as_primitive::<arrow::datatypes::Float64Type>().values().iter().all(|v| v.is_finite()));
}

#[test]
fn a_single_row_works() {
    let batch = table(vec![
        ("i", Arc::new(Int32Array::from(vec![1])) as ArrayRef),
        ("s", Arc::new(StringArray::from(vec!["only"]))),
        ("f", Arc::new(Float32Array::from(vec![f32::NAN]))),
        ("n", Arc::new(NullArray::new(1))),
    ]);
    let encoder = fit(&batch);
    assert_eq!(round_trip(&encoder, &batch).num_rows(), 1);
}

#[test]
fn a_table_without_columns_keeps_its_rows() {
    let options = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(9));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
    let encoder = fit(&batch);
    assert_eq!(round_trip(&encoder, &batch).num_rows(), 9);
}

#[test]
fn columns_are_decoded_alone_as_with_others() {
    let n = 3000;
    let batch = table(vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..n)) as ArrayRef),
        ("code", Arc::new(StringArray::from_iter_values((0..n).map(|i| format!("K-{i:05}"))))),
        ("x", Arc::new(Float64Array::from_iter((0..n).map(|i| (i % 9 != 0).then_some((i * i % 997) as f64))))),
        ("note", Arc::new(StringArray::from_iter_values((0..n).map(|i| format!("call {} about {i}", i % 7))))),
    ]);
    let encoder = fit(&batch);
    let rows = encode(&encoder, &batch);
    let noise = Noise::new(5, b"m");
    let all = encoder.decode(3, &rows, 0..3000, &[0, 1, 2, 3], &noise).unwrap();
    for range in [0..3000, 17..18, 1000..2500, 5..5] {
        for projection in [vec![3], vec![2, 0], vec![1, 1], vec![]] {
            let part = encoder.decode(3, &rows, range.clone(), &projection, &noise).unwrap();
            let expected = all.project(&projection).unwrap().slice(range.start, range.len());
            assert_eq!(part, expected);
        }
    }
}

#[test]
fn forty_digits_numbered_through_stay_numbers() {
    let values = (0..200).map(|i| arrow::datatypes::i256::from_string(&format!("9{:039}", i)).unwrap());
    let array = Decimal256Array::from_iter_values(values).with_precision_and_scale(40, 0).unwrap();
    let (encoder, back) = column(Arc::new(array));
    assert_eq!(encoder.roles(), [ColumnRole::Numeric]);
    assert_eq!(back.data_type(), &DataType::Decimal256(40, 0));
}
