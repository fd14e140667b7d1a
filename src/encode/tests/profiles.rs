//! Profiles: merging, limits, memory.

use super::*;
use proptest::prelude::*;

fn profile(batches: &[RecordBatch]) -> TableProfile {
    let mut profile = TableProfile::new(batches[0].schema(), &BTreeMap::new()).unwrap();
    batches.iter().for_each(|b| profile.update(b).unwrap());
    profile
}

fn json(profile: TableProfile) -> String {
    serde_json::to_string(&profile.finish(Scheme::ModeSpecific, 3).unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn merging_equals_one_pass(
        numbers in prop::collection::vec(prop::option::weighted(0.9, -1000i64..1000), 3..400),
        cut in any::<prop::sample::Index>(),
    ) {
        let batch = table(vec![
            ("n", Arc::new(Int64Array::from(numbers.clone())) as ArrayRef),
            ("f", Arc::new(Float64Array::from_iter(numbers.iter().map(|n| n.map(|n| n as f64 / 8.0))))),
            ("s", Arc::new(StringArray::from_iter(numbers.iter().map(|n| n.map(|n| format!("v{}", n % 9)))))),
        ]);
        let cut = cut.index(numbers.len() - 1) + 1;
        let (a, b) = (batch.slice(0, cut), batch.slice(cut, numbers.len() - cut));
        let whole = json(profile(&[batch]));
        for (first, second) in [(&a, &b), (&b, &a)] {
            let mut merged = profile(std::slice::from_ref(first));
            merged.merge(profile(std::slice::from_ref(second))).unwrap();
            prop_assert_eq!(merged.rows(), numbers.len() as u64);
            prop_assert_eq!(&json(merged), &whole);
        }
    }
}

#[test]
fn many_values_are_sampled_in_bounded_memory() {
    // 300,000 distinct floats and a heavy value, in four parts.
    let part = |k: i64| {
        let values = (0..100_000i64).map(|i| if i % 4 == 0 { 7.5 } else { (i * 4 + k) as f64 * 1.0001 });
        table(vec![("x", Arc::new(Float64Array::from_iter_values(values)) as ArrayRef)])
    };
    let mut merged = profile(&[part(0)]);
    for k in 1..4 {
        merged.merge(profile(&[part(k)])).unwrap();
    }
    assert!(merged.memory_size() < 8 << 20, "{}", merged.memory_size());
    let encoder = merged.finish(Scheme::ModeSpecific, 1).unwrap();
    let batch = part(0);
    let back = decode(&encoder, &encode(&encoder, &batch));
    let mut values: Vec<f64> =
        back.column(0).as_primitive::<arrow::datatypes::Float64Type>().values().iter().copied().collect();
    assert!(values.iter().filter(|v| **v == 7.5).count() >= 25_000);
    values.sort_by(f64::total_cmp);
    let middle = values[values.len() * 5 / 8];
    assert!((middle / 200_020.0 - 1.0).abs() < 0.02, "{middle}");
}

#[test]
fn many_categories_work() {
    let n = 60_000;
    let values =
        StringArray::from_iter_values((0..n).map(|i| format!("town {}", (i64::from(i) * i64::from(i)) % 12_289)));
    let batch = table(vec![("x", Arc::new(values) as ArrayRef)]);
    let encoder = fit(&batch);
    assert_eq!(encoder.roles(), [ColumnRole::Categorical]);
    let SubColumn::Code { cardinality, .. } = encoder.layout().subcolumns[0] else { panic!("codes") };
    assert!(cardinality > 6000);
    let rows = encode(&encoder, &batch.slice(0, 4096));
    assert!(matches!(rows.subcolumns[0], SubColumnData::Code16(_)));
    assert_eq!(decode(&encoder, &rows).column(0).as_ref(), batch.column(0).slice(0, 4096).as_ref());
    // More than the inferred limit, on demand.
    let values = Int64Array::from_iter_values((0..200_000).map(|i| i % 100_000));
    let batch = table(vec![("x", Arc::new(values) as ArrayRef)]);
    let encoder = fit_with(&batch, &[("x", ColumnRole::Categorical)]).unwrap();
    assert_eq!(encoder.layout().subcolumns, [SubColumn::numbers(0, 100_000)]);
}
