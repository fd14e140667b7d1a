//! Every Arrow type, with few values (exact) and with many (within precision).

use super::*;
use arrow::datatypes::{Int8Type, IntervalDayTime, IntervalMonthDayNano, IntervalYearMonthType, TimeUnit, i256};
use proptest::prelude::*;

/// Every numeric and temporal type that integers cast to.
fn cast_types() -> Vec<DataType> {
    use DataType as T;
    let mut types = vec![
        T::Int8,
        T::Int16,
        T::Int32,
        T::Int64,
        T::UInt8,
        T::UInt16,
        T::UInt32,
        T::UInt64,
        T::Float16,
        T::Float32,
        T::Float64,
        T::Decimal32(9, 2),
        T::Decimal64(18, 3),
        T::Decimal128(38, 10),
        T::Decimal256(60, 40),
        T::Date32,
        T::Date64,
        T::Time32(TimeUnit::Second),
        T::Time32(TimeUnit::Millisecond),
        T::Time64(TimeUnit::Microsecond),
        T::Time64(TimeUnit::Nanosecond),
    ];
    for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
        types.push(T::Timestamp(unit, None));
        types.push(T::Timestamp(unit, Some("America/New_York".into())));
        types.push(T::Timestamp(unit, Some("+05:30".into())));
        types.push(T::Duration(unit));
    }
    types
}

/// Types of strings and bytes, and dictionaries.
fn text_types() -> Vec<DataType> {
    use DataType as T;
    let dictionary = |keys: DataType, values: DataType| T::Dictionary(Box::new(keys), Box::new(values));
    vec![
        T::Boolean,
        T::Utf8,
        T::LargeUtf8,
        T::Utf8View,
        T::Binary,
        T::LargeBinary,
        T::BinaryView,
        dictionary(T::Int8, T::Utf8),
        dictionary(T::UInt16, T::LargeUtf8),
        dictionary(T::Int64, T::Utf8View),
        dictionary(T::UInt32, T::Binary),
        dictionary(T::Int32, T::Int64),
        dictionary(T::UInt8, T::Decimal128(20, 2)),
    ]
}

fn cast(numbers: Vec<Option<i64>>, to: &DataType) -> ArrayRef {
    let numbers: ArrayRef = Arc::new(Int64Array::from(numbers));
    match to {
        DataType::Boolean => Arc::new(BooleanArray::from_iter(
            numbers.as_primitive::<arrow::datatypes::Int64Type>().iter().map(|v| v.map(|v| v & 1 == 0)),
        )),
        DataType::Date32 | DataType::Time32(_) => {
            let narrow = arrow::compute::cast(&numbers, &DataType::Int32).unwrap();
            arrow::compute::cast(&narrow, to).unwrap()
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            let text = arrow::compute::cast(&numbers, &DataType::Utf8).unwrap();
            let bytes = arrow::compute::cast(&text, &DataType::Binary).unwrap();
            arrow::compute::cast(&bytes, to).unwrap()
        }
        DataType::Dictionary(_, values) => {
            let plain = cast(numbers.as_primitive::<arrow::datatypes::Int64Type>().iter().collect(), values);
            arrow::compute::cast(&plain, to).unwrap()
        }
        _ => arrow::compute::cast(&numbers, to).unwrap(),
    }
}

/// The same column, declared in every way that a field can be.
fn exactly(array: &ArrayRef, nullable: bool) {
    let field = Field::new("x", array.data_type().clone(), nullable)
        .with_metadata([("unit".to_owned(), "m".to_owned()), ("a".to_owned(), "b".to_owned())].into());
    let schema = Schema::new(vec![field]).with_metadata([("origin".to_owned(), "test".to_owned())].into());
    let batch = RecordBatch::try_new(Arc::new(schema), vec![array.clone()]).unwrap();
    let encoder = fit_with(&batch, &[]).unwrap();
    let back = round_trip(&encoder, &batch);
    assert_eq!(back.column(0), array, "{}", array.data_type());
}

#[test]
fn few_values_come_back_exactly() {
    for data_type in cast_types().iter().chain(&text_types()) {
        let some = (0..200).map(|i| (i % 7 != 3).then_some([10, 20, 35][i as usize % 3])).collect();
        let array = cast(some, data_type);
        exactly(&array, true);
        exactly(&cast((0..200).map(|i| Some([10, 20, 35][i % 3])).collect(), data_type), false);
    }
}

#[test]
fn types_that_nothing_casts_to_come_back_exactly() {
    let nulls = |i: usize| !i.is_multiple_of(5);
    let n = 100;
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(
            FixedSizeBinaryArray::try_from_sparse_iter_with_size(
                (0..n).map(|i| nulls(i).then_some([i as u8 % 3, 255])),
                2,
            )
            .unwrap(),
        ),
        Arc::new(PrimitiveArray::<IntervalYearMonthType>::from_iter(
            (0..n).map(|i| nulls(i).then_some(i as i32 % 4 - 2)),
        )),
        Arc::new(IntervalDayTimeArray::from_iter(
            (0..n).map(|i| nulls(i).then(|| IntervalDayTime::new(-(i as i32 % 3), i as i32 % 2 - 1))),
        )),
        Arc::new(IntervalMonthDayNanoArray::from_iter(
            (0..n).map(|i| nulls(i).then(|| IntervalMonthDayNano::new(-1, i as i32 % 3 - 1, -(i as i64 % 2)))),
        )),
        Arc::new(NullArray::new(n)),
        Arc::new(Float64Array::from_iter(
            (0..n).map(|i| nulls(i).then_some([f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0, 1.5][i % 5])),
        )),
        Arc::new(
            (0..n).map(|i| nulls(i).then_some(["", "🦀", "a b", "ß"][i % 4])).collect::<DictionaryArray<Int8Type>>(),
        ),
    ];
    for array in arrays {
        exactly(&array, true);
    }
}

#[test]
fn many_values_come_back_within_the_modes_precision() {
    for data_type in cast_types() {
        // 400 values within the range of every type that can hold them, with nulls.
        let many = |i: i64| if data_type.primitive_width() == Some(1) { i % 120 } else { i * i % 2003 };
        let numbers: Vec<Option<i64>> = (0..400).map(|i| (i % 11 != 0).then(|| many(i))).collect();
        let array = cast(numbers, &data_type);
        let (_, back) = column(array.clone());
        assert_eq!(back.data_type(), &data_type);
        assert_eq!(back.logical_nulls(), array.logical_nulls(), "{data_type}");
        let mut compared = 0;
        for row in 0..array.len() {
            let show = |a: &ArrayRef| arrow::util::display::array_value_to_string(a, row).unwrap();
            let (a, b) = (show(&array), show(&back));
            if let (Ok(x), Ok(y)) = (a.parse::<f64>(), b.parse::<f64>()) {
                assert!((x - y).abs() <= 2003.0 * 1e-3, "{data_type}: {a} became {b}");
                compared += 1;
            }
        }
        let number = data_type.is_numeric();
        assert!(!number || compared > 300, "{data_type}");
    }
}

#[test]
fn whole_numbers_beyond_53_bits_stay_in_range() {
    let wide: Vec<u64> = (0..300u64).map(|i| u64::MAX - i * i * 1_000_000_007).collect();
    let (_, back) = column(Arc::new(UInt64Array::from(wide.clone())));
    let back = back.as_primitive::<arrow::datatypes::UInt64Type>();
    let (low, high) = (wide.iter().min().unwrap(), wide.iter().max().unwrap());
    assert!(back.values().iter().all(|v| (low..=high).contains(&v)));
    let huge: Vec<i256> =
        (0..300).map(|i| i256::from_string(&format!("{}{:039}", 1 + i % 9, i * i)).unwrap()).collect();
    let array = Decimal256Array::from(huge.clone()).with_precision_and_scale(41, 5).unwrap();
    let (_, back) = column(Arc::new(array));
    let back = back.as_primitive::<arrow::datatypes::Decimal256Type>();
    let (low, high) = (huge.iter().min().unwrap(), huge.iter().max().unwrap());
    assert!(back.values().iter().all(|v| (low..=high).contains(&v)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_integers_stay_in_range(values in prop::collection::vec(prop::option::weighted(0.9, any::<i64>()), 1..300)) {
        let array = Int64Array::from(values.clone());
        let (_, back) = column(Arc::new(array.clone()));
        let back = back.as_primitive::<arrow::datatypes::Int64Type>();
        let present = || values.iter().flatten();
        let (low, high) = (present().min(), present().max());
        for (a, b) in array.iter().zip(back.iter()) {
            prop_assert_eq!(a.is_some(), b.is_some());
            prop_assert!(b.is_none() || (b.as_ref() >= low && b.as_ref() <= high));
        }
    }

    #[test]
    fn any_floats_stay_in_range(values in prop::collection::vec(prop::option::weighted(0.9, prop::num::f64::ANY), 1..300)) {
        let array = Float64Array::from(values.clone());
        let (_, back) = column(Arc::new(array.clone()));
        let back = back.as_primitive::<arrow::datatypes::Float64Type>();
        let finite = || values.iter().flatten().copied().filter(|v| v.is_finite());
        let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
        for (a, b) in array.iter().zip(back.iter()) {
            match (a, b) {
                (None, None) => {}
                (Some(a), Some(b)) if a.is_finite() => prop_assert!(low <= b && b <= high, "{} became {}", a, b),
                (Some(a), Some(b)) => prop_assert!(a == b || (a.is_nan() && b.is_nan()), "{} became {}", a, b),
                (a, b) => prop_assert!(false, "{:?} became {:?}", a, b),
            }
        }
    }

    #[test]
    fn any_categories_come_back(
        pool in prop::collection::hash_set(any::<String>(), 1..20),
        picks in prop::collection::vec(prop::option::weighted(0.8, any::<prop::sample::Index>()), 1..400),
    ) {
        let pool: Vec<String> = pool.into_iter().collect();
        let values: Vec<Option<&str>> = picks.iter().map(|p| p.as_ref().map(|p| p.get(&pool).as_str())).collect();
        let batch = table(vec![("x", Arc::new(StringViewArray::from(values)) as ArrayRef)]);
        let encoder = fit_with(&batch, &[("x", ColumnRole::Categorical)]).unwrap();
        let back = round_trip(&encoder, &batch);
        prop_assert_eq!(back.column(0), batch.column(0));
    }
}
