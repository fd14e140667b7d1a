//! Bad input, and what is said about it.

use super::*;

fn message(result: crate::Result<impl std::fmt::Debug>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn a_table_without_rows_cannot_be_learned() {
    let batch = table(vec![("x", Arc::new(Int64Array::from(Vec::<i64>::new())) as ArrayRef)]);
    assert!(matches!(fit_with(&batch, &[]), Err(SynthError::NoRows { .. })));
}

#[test]
fn nested_types_name_the_column_and_the_way_out() {
    let item = Arc::new(Field::new_list_field(DataType::Int64, true));
    let schema = Arc::new(Schema::new(vec![Field::new("tags", DataType::List(item), true)]));
    let said = message(TableProfile::new(schema.clone(), &BTreeMap::new()));
    assert!(said.contains("`tags`") && said.contains("List") && said.contains("exclude"), "{said}");
    // Excluded, it is null.
    let batch = RecordBatch::new_empty(schema.clone());
    let tags = new_null_array(schema.field(0).data_type(), 3);
    let batch = RecordBatch::try_new(batch.schema(), vec![tags]).unwrap();
    let encoder = fit_with(&batch, &[("tags", ColumnRole::Exclude)]).unwrap();
    assert_eq!(encoder.roles(), [ColumnRole::Exclude]);
    assert_eq!(round_trip(&encoder, &batch), batch);
}

#[test]
fn roles_are_checked() {
    let batch = table(vec![
        ("when", Arc::new(Date32Array::from(vec![1, 2])) as ArrayRef),
        ("name", Arc::new(StringArray::from(vec!["a", "b"]))),
    ]);
    let said = message(fit_with(&batch, &[("when", ColumnRole::FreeText)]));
    assert!(said.contains("`when`") && said.contains("free_text") && said.contains("datetime"), "{said}");
    let said = message(fit_with(&batch, &[("name", ColumnRole::Numeric)]));
    assert!(said.contains("`name`") && said.contains("identifier"), "{said}");
    let said = message(fit_with(&batch, &[("nam", ColumnRole::FreeText)]));
    assert!(said.contains("`nam`") && said.contains("when, name"), "{said}");
}

#[test]
fn a_column_that_may_not_be_null_cannot_be_excluded() {
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, false)]));
    let batch = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![1]))]).unwrap();
    let said = message(fit_with(&batch, &[("x", ColumnRole::Exclude)]));
    assert!(said.contains("`x`") && said.contains("NOT NULL"), "{said}");
}

#[test]
fn batches_of_another_schema_are_refused() {
    let ours = table(vec![("x", Arc::new(Int64Array::from(vec![1, 1])) as ArrayRef)]);
    let theirs = table(vec![("x", Arc::new(Int32Array::from(vec![1, 1])) as ArrayRef)]);
    let encoder = fit(&ours);
    let mut out = EncodedRows::with_capacity(encoder.layout(), 2);
    let said = message(encoder.encode(&theirs, &mut out));
    assert!(said.contains("x Int32") && said.contains("x Int64"), "{said}");
    let mut profile = TableProfile::new(ours.schema(), &BTreeMap::new()).unwrap();
    assert!(profile.update(&theirs).is_err());
    assert!(profile.merge(TableProfile::new(theirs.schema(), &BTreeMap::new()).unwrap()).is_err());
}

#[test]
fn unseen_values_leave_the_output_as_it_was() {
    let ours = table(vec![
        ("x", Arc::new(Int64Array::from(vec![1, 2, 1, 2])) as ArrayRef),
        ("s", Arc::new(StringArray::from(vec!["a", "b", "a", "b"]))),
    ]);
    let theirs = table(vec![
        ("x", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef),
        ("s", Arc::new(StringArray::from(vec![Some("a"), Some("zz")]))),
    ]);
    let encoder = fit(&ours);
    let mut out = encode(&encoder, &ours);
    let before = out.clone();
    let said = message(encoder.encode(&theirs, &mut out));
    assert!(said.contains("`s`") && said.contains("`zz`"), "{said}");
    assert_eq!(out, before);
}

#[test]
fn codes_that_were_never_made_are_errors() {
    let n = 1000;
    let batch = table(vec![
        ("s", Arc::new(StringArray::from_iter_values((0..n).map(|i| ["a", "b", "c"][i % 3]))) as ArrayRef),
        (
            "d",
            Arc::new((0..n).map(|i| ["a", "b", "c"][i % 3]).collect::<DictionaryArray<arrow::datatypes::Int8Type>>()),
        ),
        ("x", Arc::new(Float64Array::from_iter((0..n).map(|i| (i % 9 != 0).then_some((i * i % 997) as f64))))),
    ]);
    let encoder = fit(&batch);
    let rows = encode(&encoder, &batch);
    let noise = Noise::new(1, b"m");
    let decode = |rows: &EncodedRows| encoder.decode(0, rows, 0..n, &[0, 1, 2], &noise);
    assert!(decode(&rows).is_ok());
    for at in 0..rows.subcolumns.len() {
        let mut bad = rows.clone();
        match &mut bad.subcolumns[at] {
            SubColumnData::Code8(codes) => codes[n - 1] = 200,
            SubColumnData::Scalar(scalars) => scalars.fill(f32::NAN),
            _ => panic!("small columns"),
        }
        assert!(matches!(decode(&bad), Err(SynthError::Model(_))), "sub-column {at}");
        let mut short = rows.clone();
        short.subcolumns[at].truncate(n - 1);
        assert!(decode(&short).is_err());
        let mut missing = rows.clone();
        missing.subcolumns.truncate(at);
        assert!(decode(&missing).is_err());
    }
    assert!(encoder.decode(0, &rows, 5..n + 1, &[0], &noise).is_err());
    assert!(encoder.decode(0, &rows, 0..n, &[9], &noise).is_err());
}

#[test]
fn damaged_encoders_are_refused() {
    let n = 3000;
    let batch = table(vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..n)) as ArrayRef),
        ("code", Arc::new(StringArray::from_iter_values((0..n).map(|i| format!("K-{i:05}"))))),
        ("s", Arc::new(StringArray::from_iter_values((0..n).map(|i| ["a", "b", "c"][i as usize % 3])))),
        ("x", Arc::new(Float64Array::from_iter((0..n).map(|i| (i % 9 != 0).then_some((i * i % 997) as f64))))),
        ("note", Arc::new(StringArray::from_iter_values((0..n).map(|i| format!("call {} about {i}", i % 7))))),
    ]);
    let encoder = fit(&batch);
    let json = serde_json::to_vec(&encoder).unwrap();
    let noise = Noise::new(1, b"m");
    let (mut loaded, step) = (0, (json.len() / 700).max(1));
    for at in (0..json.len()).step_by(step) {
        for flip in [1, 4, 16] {
            let mut bad = json.clone();
            bad[at] ^= flip;
            // Refused, or a valid encoder of something else: which must not panic.
            if let Ok(other) = serde_json::from_slice::<TableEncoder>(&bad) {
                let all: Vec<usize> = (0..other.schema().fields().len()).collect();
                let rows = EncodedRows {
                    subcolumns: other
                        .layout()
                        .subcolumns
                        .iter()
                        .map(|s| match s {
                            SubColumn::Code { .. } => SubColumnData::Code8(vec![1; 40]),
                            SubColumn::Scalar => SubColumnData::Scalar(vec![0.5; 40]),
                        })
                        .collect(),
                    rows: 40,
                };
                let _ = other.decode(7, &rows, 0..40, &all, &noise);
                loaded += 1;
            }
        }
    }
    assert!(loaded < 3 * json.len() / step);
}
