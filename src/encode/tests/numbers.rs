//! What mode-specific normalisation keeps of a distribution.

use super::*;
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use rand::SeedableRng;
use rand_distr::{Distribution, Exp, LogNormal, Normal};

fn draw(seed: u64, n: usize, distribution: &impl Distribution<f64>) -> Vec<f64> {
    distribution.sample_iter(&mut rand_chacha::ChaCha8Rng::seed_from_u64(seed)).take(n).collect()
}

fn floats(array: &ArrayRef) -> Vec<f64> {
    let mut values: Vec<f64> = array.as_primitive::<Float64Type>().iter().flatten().collect();
    values.sort_by(f64::total_cmp);
    values
}

/// What a perfect model would generate: codes by their frequency, scalars normal within each mode.
fn resampled(encoder: &TableEncoder, batch: &RecordBatch) -> ArrayRef {
    let mut rows = encode(encoder, batch);
    let mut moments = BTreeMap::<u32, (f64, f64, f64)>::new();
    let [codes, SubColumnData::Scalar(scalars)] = &mut rows.subcolumns[..] else { panic!("a numeric column") };
    for (row, &x) in scalars.iter().enumerate() {
        let m = moments.entry(codes.code(row)).or_default();
        *m = (m.0 + 1.0, m.1 + f64::from(x), m.2 + f64::from(x) * f64::from(x));
    }
    let normal = draw(4, scalars.len(), &Normal::new(0.0, 1.0).unwrap());
    for (row, x) in scalars.iter_mut().enumerate() {
        let (n, s, s2) = moments[&codes.code(row)];
        let mean = s / n;
        let deviation = (s2 / n - mean * mean).max(0.0).sqrt();
        *x = (mean + deviation * normal[row]).clamp(-1.0, 1.0) as f32;
    }
    decode(encoder, &rows).column(0).clone()
}

#[test]
fn tails_do_not_explode() {
    for (name, values) in [
        ("lognormal", draw(3, 20_000, &LogNormal::new(3.0, 2.0).unwrap())),
        ("lognormal, extreme", draw(3, 20_000, &LogNormal::new(0.0, 4.0).unwrap())),
        ("exponential", draw(3, 20_000, &Exp::new(0.01).unwrap())),
        ("normal", draw(3, 20_000, &Normal::new(-1e6, 3.0).unwrap())),
        ("two-sided", draw(3, 20_000, &Normal::new(0.0, 3.0).unwrap()).into_iter().map(|x| x.powi(5)).collect()),
    ] {
        let batch = table(vec![("x", Arc::new(Float64Array::from(values)) as ArrayRef)]);
        let encoder = fit(&batch);
        let (real, new) = (floats(batch.column(0)), floats(&resampled(&encoder, &batch)));
        let below = |v: &[f64], x: f64| v.partition_point(|y| *y <= x) as f64 / v.len() as f64;
        let ks = real.iter().map(|&x| (below(&real, x) - below(&new, x)).abs()).fold(0.0, f64::max);
        assert!(ks < 0.03, "{name}: KS {ks}");
        for (q, factor) in [(0.9, 1.5), (0.99, 2.0), (0.999, 3.0)] {
            let at = (q * real.len() as f64) as usize;
            let spread = real[at] - real[real.len() / 2];
            let ratio = (new[at] - real[real.len() / 2]) / spread;
            assert!((1.0 / factor..factor).contains(&ratio), "{name}: quantile {q} is {ratio} times as far out");
        }
    }
}

#[test]
fn atoms_keep_their_share_and_values() {
    // 60 % zeros, 2 % at the top code, the rest spread out.
    let values: Vec<i64> = (0..10_000i64)
        .map(|i| match i % 50 {
            0..30 => 0,
            30 => 99_999,
            _ => 1000 + (i * 7919) % 40_009,
        })
        .collect();
    let batch = table(vec![("x", Arc::new(Int64Array::from(values.clone())) as ArrayRef)]);
    let encoder = fit(&batch);
    assert_eq!(encoder.layout().subcolumns.len(), 2);
    let back = decode(&encoder, &encode(&encoder, &batch));
    let back = back.column(0).as_primitive::<Int64Type>();
    for atom in [0, 99_999] {
        let at = |v: &[i64]| v.iter().filter(|x| **x == atom).count();
        assert_eq!(at(back.values()), at(&values));
    }
    let worst = values.iter().zip(back.values()).map(|(a, b)| (a - b).abs()).max().unwrap();
    assert!(worst < 500, "{worst}");
}

#[test]
fn precision_is_kept() {
    let values: Vec<f64> = (0..3000).map(|i| f64::from(i * 37 % 9001) / 100.0).collect();
    let (_, back) = column(Arc::new(Float64Array::from(values)));
    assert!(floats(&back).iter().all(|x| (x * 100.0).round() / 100.0 == *x));
    let singles: Vec<f64> = (0..3000).map(|i| f64::from((i * 37 % 9001) as f32 / 100.0)).collect();
    let (_, back) = column(Arc::new(Float64Array::from(singles)));
    assert!(floats(&back).iter().all(|x| f64::from((x * 100.0).round() as f32 / 100.0) == *x));
    // Whole days as timestamps, whole hundreds as integers.
    let days =
        TimestampMicrosecondArray::from_iter_values((0..2000).map(|i| (i * 37 % 4001 - 40_000) * 86_400_000_000));
    let (_, back) = column(Arc::new(days));
    assert!(back.as_primitive::<TimestampMicrosecondType>().values().iter().all(|t| t % 86_400_000_000 == 0));
    let hundreds = Int64Array::from_iter_values((0..2000).map(|i| i * 37 % 4001 * 100 + 7));
    let (_, back) = column(Arc::new(hundreds));
    assert!(back.as_primitive::<Int64Type>().values().iter().all(|x| x % 100 == 7));
}

#[test]
fn nulls_and_non_finite_values_keep_their_rows() {
    let values: Vec<Option<f64>> = (0..4000)
        .map(|i| match i % 20 {
            0 => None,
            1 => Some(f64::NAN),
            2 => Some(f64::INFINITY),
            3 => Some(f64::NEG_INFINITY),
            _ => Some(f64::from(i * 31 % 3989)),
        })
        .collect();
    let (encoder, back) = column(Arc::new(Float64Array::from(values.clone())));
    assert_eq!(encoder.layout().subcolumns.len(), 2);
    for (a, b) in values.iter().zip(back.as_primitive::<Float64Type>().iter()) {
        match (a, b) {
            (Some(a), Some(b)) if a.is_finite() => assert!((a - b).abs() < 100.0, "{a} became {b}"),
            (a, b) => assert_eq!(format!("{a:?}"), format!("{b:?}")),
        }
    }
}

#[test]
fn round_numbers_get_codes_of_their_own() {
    // Credit limits in steps of ten thousand, of which every fifth is popular; ages, which are smooth.
    let limits =
        (0..20_000u32).map(|row| Some(i64::from(row * 7919 % 60 * if row % 3 == 0 { 1 } else { 5 } % 60) * 10_000));
    let ages = (0..20_000u32).map(|row| Some(i64::from(18 + row % 40 + row / 40 % 30)));
    let batch = table(vec![
        ("limit", Arc::new(limits.collect::<Int64Array>())),
        ("age", Arc::new(ages.collect::<Int64Array>())),
    ]);
    let encoder = fit(&batch);
    assert_eq!([0, 1].map(|at| encoder.is_by_value(at)), [true, false]);
    assert_eq!(round_trip(&encoder, &batch).column(0), batch.column(0));
}
