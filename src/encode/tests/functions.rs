//! Columns that are functions of others.

use super::*;

const CITIES: [(&str, &str, i64); 6] =
    [("Bern", "CH", 1), ("Basel", "CH", 1), ("Genf", "CH", 2), ("Wien", "AT", 3), ("Graz", "AT", 3), ("Rom", "IT", 2)];

/// People of a city, whose country and zone go with it, but for the first rows without any.
fn people(rows: usize) -> RecordBatch {
    let city = |row: usize| (row >= 50).then(|| &CITIES[row * 7919 % 97 % 6]);
    table(vec![
        ("zone", Arc::new((0..rows).map(|row| city(row).map(|c| c.2)).collect::<Int64Array>())),
        ("city", Arc::new((0..rows).map(|row| city(row).map(|c| c.0)).collect::<StringArray>())),
        ("country", Arc::new((0..rows).map(|row| city(row).map(|c| c.1)).collect::<StringArray>())),
        ("grade", Arc::new((0..rows).map(|row| Some((row * 31 % 17) as i64)).collect::<Int64Array>())),
        ("name", Arc::new((0..rows).map(|row| Some(format!("grade {}", row * 31 % 17))).collect::<StringArray>())),
        ("other", Arc::new((0..rows).map(|row| Some((row * 13 % 7) as i64)).collect::<Int64Array>())),
    ])
}

fn functions(encoder: &TableEncoder) -> Vec<Option<usize>> {
    (0..encoder.schema().fields().len()).map(|at| Some(encoder.function(at)?.0)).collect()
}

#[test]
fn what_goes_with_a_value_is_looked_up() {
    let batch = people(3000);
    for scheme in [Scheme::Codes, Scheme::ModeSpecific] {
        for cuts in [&[][..], &[0, 10, 60, 60, 1000], &[2999]] {
            let encoder = fit_parts(&batch, cuts, scheme);
            // The city has more values than zone and country; of grade and name, the first is learned.
            assert_eq!(functions(&encoder), [Some(1), None, Some(1), None, Some(3), None]);
            assert_eq!(encoder.layout().subcolumns.len(), 3);
            assert_eq!(round_trip(&encoder, &batch).columns(), batch.columns());
            let rows = encode(&encoder, &batch);
            let alone = encoder.decode(0, &rows, 100..200, &[0], &Noise::new(1, b"test")).unwrap();
            assert_eq!(alone.column(0).as_ref(), batch.column(0).slice(100, 100).as_ref());
        }
    }
}

#[test]
fn what_contradicts_or_lacks_evidence_is_learned() {
    let rows = 2000usize;
    let number =
        |f: &dyn Fn(usize) -> i64| -> ArrayRef { Arc::new((0..rows).map(|r| Some(f(r))).collect::<Int64Array>()) };
    let batch = table(vec![
        ("key", number(&|row| (row / 2 * 7919 % 1000) as i64)), // twice each
        ("a", number(&|row| (row % 11) as i64)),
        ("once", number(&|row| if row == 1500 { 0 } else { (row % 11 % 5) as i64 })), // contradicts a in one row
        ("rare", number(&|row| i64::from(row == 700))),                               // one row says nothing
        ("constant", number(&|_| 5)),
        ("late", number(&|row| i64::from(row >= 1990))),
    ]);
    let encoder = fit_parts(&batch, &[300, 1501], Scheme::Codes);
    assert_eq!(functions(&encoder), [None; 6]);
    let (people, roles) = (people(1000), [("country", ColumnRole::Categorical)]);
    let declared = fit_with(&people, &roles).unwrap();
    assert_eq!(functions(&declared), [Some(1), None, None, None, Some(3), None], "a declared column is learned");
}

#[test]
fn conditions_and_given_values_reach_what_they_follow_from() {
    let batch = people(3000);
    let encoder = fit_parts(&batch, &[], Scheme::Codes);
    let is = |wanted: &'static str| {
        move |values: &ArrayRef| {
            Ok(strings(values)
                .into_iter()
                .map(|value| Some(value.as_deref() == Some(wanted)))
                .collect::<BooleanArray>())
        }
    };
    let swiss = encoder.restrict(2, is("CH")).unwrap().unwrap();
    let bern = encoder.restrict(1, is("Bern")).unwrap().unwrap();
    let roman = encoder.restrict(2, is("IT")).unwrap().unwrap();
    assert_eq!((swiss.column, swiss.shares(7).iter().sum::<f32>()), (1, 3.0));
    assert_eq!(swiss.clone().and(&bern), Some(bern.clone()));
    assert_eq!(bern.and(&roman), None);
    let error = encoder.restrict(2, is("DE")).unwrap_err().to_string();
    assert!(
        error.contains("`country`") && error.contains("no value that the model has learned satisfies it"),
        "{error}"
    );

    // A city that is given decides the country.
    let rows = encode(&encoder, &batch);
    let given: ArrayRef = Arc::new(StringArray::from_iter((0..3000).map(|row| (row % 2 == 0).then_some("Rom"))));
    let given = BTreeMap::from([(1, given)]);
    let decoded = encoder.decode_given(0, &rows, 0..3000, &[2], &Noise::new(1, b"test"), &given).unwrap();
    let (country, real) = (strings(decoded.column(0)), strings(batch.column(2)));
    assert!((0..3000).all(|row| country[row] == if row % 2 == 0 { Some("IT".into()) } else { real[row].clone() }));

    // A country that is given leaves some cities; with a zone, one or none.
    let country: ArrayRef = Arc::new(StringArray::from(vec![Some("CH"), Some("CH"), Some("IT"), None, Some("AT")]));
    let zone: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(2), None, None, Some(2)]));
    let told = encoder.among(&[2, 0], &[country, zone], 5, Unseen::Refuse).unwrap();
    let [city] = told.as_slice() else { panic!("{told:?}") };
    let count: Vec<_> = city.allowed.iter().map(|allowed| allowed.as_ref().map(Vec::len)).collect();
    assert_eq!(count, [Some(3), Some(1), Some(1), None, Some(0)]);
    let mut known = KnownCodes::nothing(encoder.layout().subcolumns.len(), 5);
    city.settle(&mut known);
    assert_eq!(
        known.codes(city.subcolumn).iter().map(|&code| code != UNKNOWN).collect::<Vec<_>>(),
        [false, true, true, false, false]
    );
    let unseen: ArrayRef = Arc::new(StringArray::from(vec!["XX"]));
    assert_eq!(encoder.among(&[2], std::slice::from_ref(&unseen), 1, Unseen::Ignore).unwrap()[0].allowed, [None]);
    assert!(encoder.among(&[2], &[unseen], 1, Unseen::Refuse).unwrap_err().to_string().contains("`XX`"));
}

#[test]
fn rows_and_encoders_that_contradict_it_are_refused() {
    let batch = people(3000);
    let encoder = fit_parts(&batch, &[], Scheme::Codes);
    let mut columns = batch.columns().to_vec();
    columns[2] = Arc::new(StringArray::from(vec!["CH"; 3000]));
    let other = RecordBatch::try_new(batch.schema(), columns).unwrap();
    let mut out = EncodedRows::with_capacity(encoder.layout(), 10);
    let error = encoder.encode(&other, &mut out).unwrap_err().to_string();
    assert!(error.contains("`country`") && error.contains("it was a function of `city`"), "{error}");
    assert!(out.rows == 0 && out.subcolumns.iter().all(SubColumnData::is_empty));
    let json = serde_json::to_string(&encoder).unwrap();
    for wrong in ["\"of\":2", "\"of\":3", "\"of\":99"] {
        let damaged = json.replacen("\"of\":1", wrong, 1);
        assert_ne!(json, damaged);
        assert!(serde_json::from_str::<TableEncoder>(&damaged).is_err(), "{wrong}");
    }
}
