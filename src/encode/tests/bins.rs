//! Numbers as codes only.

use super::*;

pub(super) fn fit_codes(batch: &RecordBatch) -> TableEncoder {
    let mut profile = TableProfile::new(batch.schema(), &BTreeMap::new()).unwrap();
    profile.update(batch).unwrap();
    let encoder = profile.finish(Scheme::Codes, 2).unwrap();
    assert!(encoder.layout().subcolumns.iter().all(|s| matches!(s, SubColumn::Code { .. })));
    encoder
}

/// A long-tailed whole number: three in ten are 0, one in ten is null.
fn amounts() -> ArrayRef {
    let value = |row: i64| match row * 7919 % 10 {
        0 => None,
        1..=3 => Some(0),
        _ => Some(((row * 104_729 % 10_007) as f64 / 10_007.0 * 12.0).exp() as i64 + 1),
    };
    Arc::new((0..20_000).map(value).collect::<Int64Array>())
}

fn share<T: PartialOrd>(values: &[T], test: impl Fn(&T) -> bool) -> f64 {
    values.iter().filter(|v| test(v)).count() as f64 / values.len() as f64
}

#[test]
fn a_wide_number_keeps_its_atoms_nulls_and_distribution() {
    let batch = table(vec![("amount", amounts())]);
    let encoder = fit_codes(&batch);
    let SubColumn::Code { cardinality, .. } = encoder.layout().subcolumns[0] else { panic!("a code") };
    assert!((80..=120).contains(&cardinality), "{cardinality} codes");
    let decoded = round_trip(&encoder, &batch);
    let values = |batch: &RecordBatch| batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().clone();
    let (real, decoded) = (values(&batch), values(&decoded));
    for row in 0..real.len() {
        assert_eq!(real.is_null(row), decoded.is_null(row));
        assert_eq!(real.value(row) == 0 && real.is_valid(row), decoded.value(row) == 0 && decoded.is_valid(row));
    }
    let (real, decoded): (Vec<i64>, Vec<i64>) = (real.iter().flatten().collect(), decoded.iter().flatten().collect());
    let (low, high) = (real.iter().min().unwrap(), real.iter().max().unwrap());
    assert!(decoded.iter().all(|v| (low..=high).contains(&v)));
    for limit in [0, 1, 3, 20, 100, 1000, 10_000, 100_000] {
        let difference = share(&real, |v| *v <= limit) - share(&decoded, |v| *v <= limit);
        assert!(difference.abs() < 0.005, "up to {limit}: {difference}");
    }
}

#[test]
fn few_values_keep_a_code_each() {
    let values: Int32Array = (0..4000).map(|row| Some(row % 200 * 3)).collect();
    let batch = table(vec![("few", Arc::new(values))]);
    assert_eq!(round_trip(&fit_codes(&batch), &batch), batch);
}

#[test]
fn infinities_and_nan_are_atoms_of_a_real_number() {
    let mut values: Vec<f64> = (0..3000).map(|row| f64::from(row * 37 - 20_000) / 100.0).collect();
    values.extend([f64::NAN, f64::INFINITY, f64::NEG_INFINITY].repeat(5));
    let batch = table(vec![("x", Arc::new(Float64Array::from(values.clone())))]);
    let decoded = round_trip(&fit_codes(&batch), &batch);
    let decoded = decoded.column(0).as_any().downcast_ref::<Float64Array>().unwrap();
    for (real, decoded) in values.iter().zip(decoded.values()) {
        if real.is_finite() {
            // A bin of sixty, and two decimals as observed.
            assert!((real - decoded).abs() <= 0.37 * 75.0, "{real} became {decoded}");
            assert!(((decoded * 100.0).round() - decoded * 100.0).abs() < 1e-6, "{decoded}");
        } else {
            assert_eq!(real.to_bits(), decoded.to_bits());
        }
    }
}

#[test]
fn every_number_type_and_date_comes_back_in_its_type_and_range() {
    let dates: Date32Array = (0..2000).map(|row| Some(row * 37 % 20_011 - 9000)).collect();
    let decimals = (0..2000i128).map(|row| Some(row * 1_000_003 % 99_991_000));
    let decimals = decimals.collect::<Decimal128Array>().with_precision_and_scale(20, 3).unwrap();
    let floats: Float32Array = (0..2000).map(|row| Some((row * 31 % 1999) as f32 / 8.0)).collect();
    let wide: UInt64Array = (0..2000u64).map(|row| Some(u64::MAX - row * row * 1_000)).collect();
    let batch = table(vec![
        ("date", Arc::new(dates)),
        ("decimal", Arc::new(decimals)),
        ("float", Arc::new(floats)),
        ("wide", Arc::new(wide)),
    ]);
    let mut roles = BTreeMap::new();
    roles.insert("wide".to_owned(), ColumnRole::Numeric);
    let mut profile = TableProfile::new(batch.schema(), &roles).unwrap();
    profile.update(&batch).unwrap();
    let encoder = profile.finish(Scheme::Codes, 1).unwrap();
    let decoded = round_trip(&encoder, &batch);
    assert_eq!(decoded.schema(), batch.schema());
    for column in 0..4 {
        let bounds = |batch: &RecordBatch| {
            let sorted = arrow::compute::sort(batch.column(column), None).unwrap();
            let text = |row| arrow::util::display::array_value_to_string(&sorted, row).unwrap();
            (text(0), text(sorted.len() - 1))
        };
        let real = arrow::compute::sort(batch.column(column), None).unwrap();
        let all = arrow::compute::concat(&[batch.column(column), decoded.column(column)]).unwrap();
        let all = arrow::compute::sort(&all, None).unwrap();
        // Nothing decodes beyond the range that was seen.
        let text = |array: &ArrayRef, row| arrow::util::display::array_value_to_string(array, row).unwrap();
        assert_eq!((text(&all, 0), text(&all, all.len() - 1)), bounds(&batch));
        assert_eq!(text(&real, 0), bounds(&batch).0);
    }
}
