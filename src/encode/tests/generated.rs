//! Identifiers and prose.

use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

fn texts(values: impl Iterator<Item = String>) -> RecordBatch {
    table(vec![("x", Arc::new(StringArray::from_iter_values(values)) as ArrayRef)])
}

fn role(batch: &RecordBatch) -> ColumnRole {
    fit(batch).roles()[0]
}

/// Distinct strings over blocks `0..blocks`.
fn sample(encoder: &TableEncoder, blocks: u64) -> Vec<String> {
    (0..blocks).flat_map(|b| strings(&generate(encoder, 11, b, 0..4096))).flatten().collect()
}

#[test]
fn integers_count_on_from_the_smallest() {
    let batch =
        table(vec![("order_id", Arc::new(Int32Array::from_iter_values((0..500).map(|i| 1000 + 5 * i))) as ArrayRef)]);
    let encoder = fit(&batch);
    assert_eq!(encoder.roles(), [ColumnRole::Identifier]);
    assert!(encoder.layout().subcolumns.is_empty());
    let block = generate(&encoder, 1, 2, 0..3);
    assert_eq!(block.as_primitive::<arrow::datatypes::Int32Type>().values(), &[41960, 41965, 41970]);
    // The type's end is an error, not an overflow.
    let rows = EncodedRows { subcolumns: vec![], rows: 10 };
    let error = encoder.decode(1 << 40, &rows, 0..10, &[0], &Noise::new(1, b"t")).unwrap_err().to_string();
    assert!(error.contains("`order_id`") && error.contains("Int32"), "{error}");
    assert!(encoder.decode(u64::MAX, &rows, 0..10, &[0], &Noise::new(1, b"t")).is_err());
}

#[test]
fn codes_keep_their_shape_and_are_unique() {
    let batch = texts((0..5000).map(|i| format!("C-{i:05}")));
    let encoder = fit(&batch);
    assert_eq!(encoder.roles(), [ColumnRole::Identifier]);
    let values = sample(&encoder, 3);
    assert_eq!(values.iter().collect::<HashSet<_>>().len(), values.len());
    assert!(values.iter().all(|v| v.len() == 7 && v.starts_with("C-") && v[2..].bytes().all(|b| b.is_ascii_digit())));
    // Beyond the 5,000 that the observed digits allow come the others of the same length.
    assert!(values.iter().any(|v| v.as_str() > "C-05000"));
}

#[test]
fn exhausted_shapes_get_longer() {
    let batch = texts((0..100).map(|i| format!("{i:02}")));
    let encoder = fit_with(&batch, &[("x", ColumnRole::Identifier)]).unwrap();
    let values = sample(&encoder, 2);
    assert_eq!(values.iter().collect::<HashSet<_>>().len(), 8192);
    // Two shapes must not meet when they grow.
    let batch = texts((0..200).map(|i| if i < 100 { format!("{i:02}") } else { format!("{i:03}") }));
    let encoder = fit_with(&batch, &[("x", ColumnRole::Identifier)]).unwrap();
    let values = sample(&encoder, 3);
    assert_eq!(values.iter().collect::<HashSet<_>>().len(), 3 * 4096);
}

#[test]
fn uuids_are_valid_and_unique() {
    let hex = |i: u64| format!("{:032x}", u128::from(i).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835));
    let batch = texts((1..500).map(|i| {
        let h = hex(i);
        format!("{}-{}-4{}-a{}-{}", &h[..8], &h[8..12], &h[13..16], &h[17..20], &h[20..])
    }));
    let encoder = fit(&batch);
    assert_eq!(encoder.roles(), [ColumnRole::Identifier]);
    let values = sample(&encoder, 2);
    assert_eq!(values.iter().collect::<HashSet<_>>().len(), values.len());
    for value in &values {
        let uuid = uuid::Uuid::parse_str(value).unwrap();
        assert_eq!(uuid.get_version_num(), 4);
        assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
    }
}

#[test]
fn emails_keep_their_domains() {
    let names = ["ann", "bo.li", "cyd", "dan42", "eve_x"];
    let batch = texts((0..2000).map(|i| {
        let domain = if i % 4 == 0 { "gmail.com" } else { "firm.example.org" };
        format!("{}{i}@{domain}", names[i % 5])
    }));
    let encoder = fit(&batch);
    assert_eq!(encoder.roles(), [ColumnRole::Identifier]);
    let values = sample(&encoder, 2);
    assert_eq!(values.iter().collect::<HashSet<_>>().len(), values.len());
    let gmail = values.iter().filter(|v| v.ends_with("@gmail.com")).count() as f64 / values.len() as f64;
    assert!((gmail - 0.25).abs() < 0.03, "{gmail}");
    // A domain of one person is not repeated.
    let batch = texts((0..100).map(|i| format!("mail@person{i}.net")));
    assert!(sample(&fit(&batch), 1).iter().all(|v| v.ends_with("@example.com")));
}

#[test]
fn roles_of_strings() {
    let words = ["late", "box", "crushed", "please", "send", "again", "thanks", "the", "order", "my"];
    let sentence =
        |i: usize| (0..4 + i % 5).map(|k| words[(i * 7 + k * k + i / 3 * k) % 10]).collect::<Vec<_>>().join(" ");
    assert_eq!(role(&texts((0..900).map(|i| format!("{} {}", sentence(i), i)))), ColumnRole::FreeText);
    assert_eq!(role(&texts((0..900).map(|i| format!("+47 {:03} {:05}", i, i * i % 99_991)))), ColumnRole::Identifier);
    assert_eq!(role(&texts((0..900).map(|i| format!("SKU{i}")))), ColumnRole::Identifier);
    assert_eq!(role(&texts((0..900).map(|i| format!("city {}", i % 90)))), ColumnRole::Categorical);
    assert_eq!(role(&texts((0..9).map(|i| ["open", "shut"][i % 2].to_owned()))), ColumnRole::Categorical);
}

#[test]
fn a_repeating_identifier_repeats() {
    let batch = texts((0..3000).map(|i| format!("AB-{:06}", i / 2 * 37)));
    let encoder = fit_with(&batch, &[("x", ColumnRole::Identifier)]).unwrap();
    let values = sample(&encoder, 1);
    let distinct = values.iter().collect::<HashSet<_>>().len();
    assert!((1200..=1500).contains(&distinct), "{distinct}");
}

#[test]
fn prose_shares_words_and_copies_nothing() {
    let things = ["parcel", "invoice", "refund", "delivery"];
    let batch = texts((0..1200).map(|i| match i % 6 {
        0 => String::new(),
        1 => format!("where is my {} 🙂", things[i % 4]),
        _ => format!(
            "{} of {}son arrived late on {}",
            things[i % 4],
            ["Johan", "Peter", "Sven"][i % 3].repeat(1 + i % 2),
            100_000_000 + i * 7919
        ),
    }));
    let encoder = fit_with(&batch, &[("x", ColumnRole::FreeText)]).unwrap();
    let values = sample(&encoder, 1);
    let share = |test: &dyn Fn(&String) -> bool| values.iter().filter(|v| test(v)).count() as f64 / values.len() as f64;
    assert!((share(&String::is_empty) - 1.0 / 6.0).abs() < 0.03);
    assert!(share(&|v| v.contains('🙂')) > 0.05);
    assert!(share(&|v| things.iter().any(|t| v.contains(t))) > 0.5);
    // No number of a single row comes back in its sentence.
    let real: HashSet<String> =
        strings(batch.column(0)).into_iter().flatten().filter(|v| v.contains("late on")).collect();
    assert!(values.iter().all(|v| !real.contains(v)));
}

#[test]
fn names_that_occur_once_never_come_back() {
    let name = |i: u32| -> String { (0..6).map(|k| char::from(b'a' + ((i / 7u32.pow(k)) % 7 * 3) as u8)).collect() };
    let batch = texts((0..2000).map(|i| format!("Mr. {}", name(i * 13 + 1))));
    let encoder = fit_with(&batch, &[("x", ColumnRole::FreeText)]).unwrap();
    let json = serde_json::to_string(&encoder).unwrap();
    assert!((0..2000).all(|i| !json.contains(&name(i * 13 + 1))));
    assert!(sample(&encoder, 1).iter().any(|v| v.starts_with("Mr. ")));
}

#[test]
fn binary_identifiers_are_unique() {
    let values = (0..600u32).map(|i| [i.to_be_bytes(), i.wrapping_mul(2_654_435_761).to_be_bytes()].concat());
    let array = FixedSizeBinaryArray::try_from_iter(values).unwrap();
    let encoder = fit(&table(vec![("x", Arc::new(array) as ArrayRef)]));
    assert_eq!(encoder.roles(), [ColumnRole::Identifier]);
    let block = generate(&encoder, 1, 5, 0..4096);
    let distinct: HashSet<&[u8]> = block.as_fixed_size_binary().iter().flatten().collect();
    assert_eq!(distinct.len(), 4096);
}

#[test]
fn nulls_are_learned_and_stay_where_the_codes_say() {
    let batch = table(vec![(
        "code",
        Arc::new(StringArray::from_iter((0..900).map(|i| (i % 3 != 0).then(|| format!("K{i:06}"))))) as ArrayRef,
    )]);
    let encoder = fit(&batch);
    assert_eq!(encoder.layout().subcolumns, [SubColumn::codes(2)]);
    let back = round_trip(&encoder, &batch);
    assert_eq!(back.column(0).logical_nulls(), batch.column(0).logical_nulls());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_range_is_a_slice_of_the_whole(start in 0usize..4000, length in 0usize..96, block in 0u64..1 << 40, seed: u64) {
        let batch = texts((0..400).map(|i| format!("{}{:02}/x{i}", ["ab", "cd", "e"][i % 3], i % 50)));
        let encoder = fit_with(&batch, &[("x", ColumnRole::Identifier)]).unwrap();
        let whole = generate(&encoder, seed, block, 0..4096);
        let part = generate(&encoder, seed, block, start..start + length);
        prop_assert_eq!(&part, &whole.slice(start, length));
        let values: HashSet<_> = strings(&whole).into_iter().collect();
        prop_assert_eq!(values.len(), 4096);
        let next: HashSet<_> = strings(&generate(&encoder, seed, block + 1, 0..4096)).into_iter().collect();
        prop_assert!(values.is_disjoint(&next));
        prop_assert_ne!(&whole, &generate(&encoder, seed ^ 1, block, 0..4096));
    }
}
