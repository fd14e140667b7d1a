//! Dates and times that follow others.

use super::*;
use arrow::compute::{cast, kernels::cmp::gt_eq};
use arrow::datatypes::{Int64Type, TimeUnit};

const HOUR: i64 = 3_600_000;

/// Orders over ten years, shipped within three days, some of them not; delivered on a day thereafter; checked at any time.
fn orders() -> RecordBatch {
    let rows = 0..20_000i64;
    let ordered = |row: i64| row * 7919 % 87_600 * HOUR + row % 60 * 60_000;
    let shipped = |row: i64| (row % 10 > 0).then_some(ordered(row) + HOUR * (1 + row * 31 % 72));
    let day = |millis: i64| i32::try_from(millis / (24 * HOUR)).unwrap();
    let stamps = |values: &dyn Fn(i64) -> Option<i64>| -> ArrayRef {
        Arc::new(rows.clone().map(values).collect::<TimestampMillisecondArray>())
    };
    table(vec![
        ("ordered", stamps(&|row| Some(ordered(row)))),
        ("shipped", stamps(&shipped)),
        ("checked", stamps(&|row| Some(row * 104_729 % 87_600 * HOUR))),
        ("sent", Arc::new(rows.clone().map(|row| Some(day(ordered(row)))).collect::<Date32Array>())),
        ("due", Arc::new(rows.clone().map(|row| Some(day(ordered(row)) + 14)).collect::<Date32Array>())),
    ])
}

fn fit_as(batch: &RecordBatch, scheme: Scheme) -> TableEncoder {
    // In two parts, as partitions are.
    let parts = [batch.slice(0, 7000), batch.slice(7000, batch.num_rows() - 7000)];
    let mut profiles = parts.iter().map(|part| {
        let mut profile = TableProfile::new(batch.schema(), &BTreeMap::new()).unwrap();
        profile.update(part).unwrap();
        profile
    });
    let mut whole = profiles.next().unwrap();
    profiles.for_each(|profile| whole.merge(profile).unwrap());
    whole.finish(scheme, 2).unwrap()
}

#[test]
fn what_follows_keeps_its_order_and_its_precision() {
    let batch = orders();
    for scheme in [Scheme::Codes, Scheme::ModeSpecific] {
        let encoder = fit_as(&batch, scheme);
        let bases: Vec<_> = (0..5).map(|at| encoder.base(at).map(|base| base.name().as_str())).collect();
        assert_eq!(bases, [None, Some("ordered"), None, None, Some("sent")]);
        assert_eq!(encoder.layout().columns[4].subcolumns.len(), 0, "always fourteen days");
        let decoded = round_trip(&encoder, &batch);
        let (ordered, shipped) = (decoded.column(0), decoded.column(1));
        assert_eq!(shipped.logical_nulls(), batch.column(1).logical_nulls());
        let late = gt_eq(shipped, ordered).unwrap();
        assert_eq!(late.true_count(), shipped.len() - shipped.null_count());
        let between = |batch: &RecordBatch| {
            let [a, b] = [0, 1].map(|at| cast(batch.column(at), &DataType::Int64).unwrap());
            let pairs = b.as_primitive::<Int64Type>().iter().zip(a.as_primitive::<Int64Type>().values());
            pairs.map(|(b, a)| b.map(|b| b - a)).collect::<Vec<_>>()
        };
        if scheme == Scheme::Codes {
            assert_eq!(between(&decoded), between(&batch), "the hours are values of their own");
        }
        // One column alone comes out as it does among the others.
        let rows = encode(&encoder, &batch);
        let alone = encoder.decode(0, &rows, 0..rows.rows, &[4], &Noise::new(1, b"test")).unwrap();
        assert_eq!(alone.column(0), decoded.column(4));
    }
}

#[test]
fn given_values_are_followed() {
    let batch = orders();
    let encoder = fit_as(&batch, Scheme::Codes);
    let rows = encode(&encoder, &batch);
    let known =
        encoder.known(&[0, 1], &[batch.column(0).clone(), batch.column(1).clone()], batch.num_rows(), Unseen::Refuse);
    let codes = known.unwrap();
    let shipped = encoder.layout().columns[1].subcolumns.start;
    assert_eq!(codes.subcolumn(shipped).unwrap()[1], rows.subcolumns[shipped].code(1));
    let alone = encoder.known(&[1], &[batch.column(1).clone()], batch.num_rows(), Unseen::Refuse).unwrap();
    assert_eq!(alone.subcolumn(shipped), None, "nothing is known of a time since what is not known");
    let given = BTreeMap::from([(0, batch.column(0).clone())]);
    let decoded = encoder.decode_given(0, &rows, 0..rows.rows, &[1], &Noise::new(1, b"test"), &given).unwrap();
    assert_eq!(decoded.column(0), batch.column(1));
    let any = encoder.restrict(1, |values| Ok(BooleanArray::from(vec![true; values.len()])));
    assert_eq!(any.unwrap(), None, "codes of a time since say nothing of the instant");
}

#[test]
fn what_does_not_follow_is_learned_by_itself() {
    let stamp = |f: &dyn Fn(i64) -> Option<i64>| -> ArrayRef {
        Arc::new((0..5000).map(f).collect::<TimestampMillisecondArray>())
    };
    let at = |row: i64| row * 7919 % 87_600 * HOUR;
    // A row has the second and not the first; the third is of another unit; the fourth is declared.
    let batch = table(vec![
        ("first", stamp(&|row| (row > 0).then_some(at(row)))),
        ("second", stamp(&|row| Some(at(row) + HOUR))),
        ("third", cast(&stamp(&|row| Some(at(row) + HOUR)), &DataType::Timestamp(TimeUnit::Second, None)).unwrap()),
        ("fourth", stamp(&|row| Some(at(row) + HOUR))),
    ]);
    let mut profile = TableProfile::new(batch.schema(), &BTreeMap::from([("fourth".to_owned(), ColumnRole::Datetime)]));
    profile.as_mut().unwrap().update(&batch).unwrap();
    let encoder = profile.unwrap().finish(Scheme::Codes, 1).unwrap();
    assert!((0..4).all(|column| encoder.base(column).is_none()));
    round_trip(&encoder, &batch);
    // An encoder that says otherwise than its schema is refused.
    let json = serde_json::to_string(&fit_as(&orders(), Scheme::Codes)).unwrap();
    let wrong = json.replacen("\"since\":0", "\"since\":3", 1);
    assert_ne!(json, wrong);
    assert!(serde_json::from_str::<TableEncoder>(&wrong).is_err());
}
