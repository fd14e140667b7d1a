//! What bins leave open: weekdays, hours, last digits.

use super::bins::fit_codes;
use super::*;
use arrow::datatypes::{TimeUnit, TimestampMicrosecondType};

const DAY: i64 = 86_400_000_000;
const HOUR: i64 = 3_600_000_000;

/// Instants over three years, from Monday to Saturday, at 9 o'clock or from 14 to 17, on whole quarters of an hour in half of
/// them.
fn visits(rows: i64) -> Vec<i64> {
    let at = |row: i64| {
        let (day, minute) = (row * 37 % 1092, row * 7919 % 3600);
        let day = if (day + 3) % 7 == 6 { day + 1 } else { day };
        let hour = if row % 3 == 0 { 9 } else { 14 + row % 4 };
        let second = if row % 2 == 0 { row / 2 % 4 * 900 } else { minute };
        19_723 * DAY + day * DAY + hour * HOUR + second * 1_000_000
    };
    (0..rows).map(at).collect()
}

fn weekday(at: i64) -> i64 {
    at.div_euclid(DAY) % 7
}

fn hour(at: i64) -> i64 {
    at.rem_euclid(DAY) / HOUR
}

fn instants(batch: &RecordBatch) -> Vec<i64> {
    batch.column(0).as_primitive::<TimestampMicrosecondType>().values().to_vec()
}

#[test]
fn instants_keep_their_weekday_their_hour_and_the_quarters_of_one() {
    let real = visits(6000);
    let array = TimestampMicrosecondArray::from(real.clone()).with_timezone("UTC");
    let batch = table(vec![("at", Arc::new(array))]);
    let encoder = fit_codes(&batch);
    let cardinalities: Vec<u32> = (encoder.layout().subcolumns.iter())
        .map(|s| if let SubColumn::Code { cardinality, .. } = s { *cardinality } else { 0 })
        .collect();
    // A bin, six weekdays, five hours, four quarters; and no digit at all in each part.
    assert_eq!(cardinalities[1..], [7, 6, 5]);
    assert_eq!(encoder.layout().columns[0].subcolumns, 0..4);
    let decoded = instants(&round_trip(&encoder, &batch));
    for (&real, &decoded) in real.iter().zip(&decoded) {
        assert_eq!((weekday(real), hour(real)), (weekday(decoded), hour(decoded)), "{real} became {decoded}");
        assert!((real - decoded).abs() <= 20 * DAY, "{real} became {decoded}");
    }
    let quarters = |values: &[i64]| values.iter().filter(|at| **at % (HOUR / 4) == 0).count() as f64;
    let (wanted, found) = (quarters(&real), quarters(&decoded));
    assert!((wanted - found).abs() < 0.02 * 6000.0, "{found} on a quarter, {wanted} wanted");
    assert!(decoded.iter().all(|at| real.iter().min() <= Some(at) && Some(at) <= real.iter().max()));
}

#[test]
fn dates_keep_their_weekday() {
    let day = |row: i32| 19_000 + row % 500 / 5 * 7 + row % 5;
    let values: Date32Array = (0..5000).map(|row| (row % 11 != 0).then(|| day(row * 13 % 500))).collect();
    let batch = table(vec![("day", Arc::new(values.clone()))]);
    let encoder = fit_codes(&batch);
    // 500 days as codes of their own need no parts: they are exact.
    assert_eq!(round_trip(&encoder, &batch), batch);
    let day = |row: i32| 15_000 + row / 5 * 7 + row % 5;
    let values: Date32Array = (0..5000).map(|row| (row % 11 != 0).then(|| day(row * 13 % 3000))).collect();
    let batch = table(vec![("day", Arc::new(values.clone()))]);
    let encoder = fit_codes(&batch);
    assert_eq!(encoder.layout().subcolumns.len(), 2);
    let decoded = round_trip(&encoder, &batch);
    let decoded = decoded.column(0).as_primitive::<arrow::datatypes::Date32Type>();
    for (real, decoded) in values.iter().zip(decoded) {
        assert_eq!(real.map(|day| day % 7), decoded.map(|day| day % 7));
    }
}

#[test]
fn prices_keep_what_they_end_in() {
    let cents = |row: i64| match row % 10 {
        0..4 => 99,
        4..7 => 50,
        _ => row * 7919 % 100,
    };
    let price = |row: i64| ((row * 104_729 % 40_000) * 100 + cents(row)) as f64 / 100.0;
    let real: Vec<f64> = (0..20_000).map(price).collect();
    let decimals: Decimal128Array = real.iter().map(|price| Some((price * 100.0).round() as i128)).collect();
    let decimals = decimals.with_precision_and_scale(12, 2).unwrap();
    let whole: Int64Array = real.iter().map(|price| Some((price * 100.0).round() as i64)).collect();
    let batch = table(vec![("price", Arc::new(Float64Array::from(real))), ("cents", Arc::new(whole))]);
    let encoder = fit_codes(&batch);
    let decoded = round_trip(&encoder, &batch);
    let share = |values: &[i64], ending: i64| {
        values.iter().filter(|v| **v % 100 == ending).count() as f64 / values.len() as f64
    };
    let of = |batch: &RecordBatch| -> [Vec<i64>; 2] {
        let prices = batch.column(0).as_primitive::<arrow::datatypes::Float64Type>();
        let cents = batch.column(1).as_primitive::<arrow::datatypes::Int64Type>();
        [prices.values().iter().map(|v| (v * 100.0).round() as i64).collect(), cents.values().to_vec()]
    };
    for (real, decoded) in of(&batch).iter().zip(&of(&decoded)) {
        for ending in [99, 50, 0, 37] {
            let (wanted, found) = (share(real, ending), share(decoded, ending));
            assert!((wanted - found).abs() < 0.02, "{ending}: {found}, {wanted} wanted");
        }
    }
    // Wide decimals are left to their bins.
    let wide = fit_codes(&table(vec![("price", Arc::new(decimals))]));
    assert_eq!(wide.layout().subcolumns.len(), 1);
}

#[test]
fn numbers_that_end_in_anything_have_no_parts() {
    let values: Int64Array = (0..20_000).map(|row| Some(row * 104_729 % 1_000_003)).collect();
    let floats: Float64Array = (0..20_000).map(|row| Some(f64::from(row * 7919 % 10_007).sqrt())).collect();
    let batch = table(vec![("whole", Arc::new(values)), ("real", Arc::new(floats))]);
    assert_eq!(fit_codes(&batch).layout().subcolumns.len(), 2);
    // Instants of a single second are told by their bins.
    let short: TimestampMicrosecondArray = (0..5000).map(|row| Some(19_723 * DAY + row * 37 % 5003 * 199)).collect();
    assert_eq!(fit_codes(&table(vec![("at", Arc::new(short))])).layout().subcolumns.len(), 1);
}

#[test]
fn a_unit_of_time_is_as_long_as_the_type_says() {
    let seconds: Vec<i64> = visits(4000).into_iter().map(|at| at / 1_000_000).collect();
    for (unit, factor) in [
        (TimeUnit::Second, 1),
        (TimeUnit::Millisecond, 1000),
        (TimeUnit::Microsecond, 1_000_000),
        (TimeUnit::Nanosecond, 1_000_000_000),
    ] {
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(seconds.iter().map(|s| s * factor)));
        let array = arrow::compute::cast(&values, &DataType::Timestamp(unit, None)).unwrap();
        let encoder = fit_codes(&table(vec![("at", array)]));
        assert_eq!(encoder.layout().subcolumns.len(), 4, "{unit:?}");
    }
}

#[test]
fn what_is_known_of_an_instant_says_its_parts() {
    let real = visits(6000);
    let batch = table(vec![("at", Arc::new(TimestampMicrosecondArray::from(real)))]);
    let encoder = fit_codes(&batch);
    let encoded = encode(&encoder, &batch);
    let asked = table(vec![("at", batch.column(0).slice(0, 50))]);
    let known = encoder.known(&[0], asked.columns(), 50, Unseen::Refuse).unwrap();
    let context = encoder.context(&[Some(asked.column(0).clone())], 50).unwrap();
    assert_eq!(context.len(), 4);
    for (subcolumn, (told, encoded)) in context.into_iter().zip(&encoded.subcolumns).enumerate() {
        let codes: Vec<u32> = (0..50).map(|row| encoded.code(row)).collect();
        assert_eq!(known.subcolumn(subcolumn), Some(&codes[..]));
        assert_eq!(told, codes);
    }
    let null =
        table(vec![("at", Arc::new(TimestampMicrosecondArray::from(vec![None, Some(20_000 * DAY + 9 * HOUR)])))]);
    let known = encoder.known(&[0], null.columns(), 2, Unseen::Refuse).unwrap();
    assert!((0..4).all(|subcolumn| known.subcolumn(subcolumn).unwrap()[0] == UNKNOWN));
}
