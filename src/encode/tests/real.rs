//! Real tables, where there are any.

use super::*;

/// With `SYNTHOHIVE_DATA` naming a folder of Parquet files (in sub-folders), every table there must
/// survive the encoding: same schema, same nulls, marginal distributions within a few percent.
#[test]
fn real_tables_survive() {
    let Ok(root) = std::env::var("SYNTHOHIVE_DATA") else {
        eprintln!("skipped: SYNTHOHIVE_DATA names no folder of tables");
        return;
    };
    let mut files: Vec<_> = std::fs::read_dir(root)
        .unwrap()
        .flat_map(|set| std::fs::read_dir(set.unwrap().path()).into_iter().flatten())
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "parquet"))
        .collect();
    files.sort();
    for file in files {
        let reader =
            parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&file).unwrap())
                .unwrap();
        let schema = reader.schema().clone();
        let batches: Vec<RecordBatch> = reader.with_batch_size(4096).build().unwrap().map(Result::unwrap).collect();
        let started = std::time::Instant::now();
        let mut profile = TableProfile::new(schema.clone(), &BTreeMap::new()).unwrap();
        batches.iter().for_each(|b| profile.update(b).unwrap());
        let scanned = started.elapsed();
        let encoder = profile.finish(Scheme::ModeSpecific, 2).unwrap();
        let fitted = started.elapsed() - scanned;
        println!("{} scan {scanned:?} fit {fitted:?}", file.display());
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        let noise = Noise::new(1, b"test");
        let mut decoded = Vec::new();
        for (block, batch) in (0u64..).zip(&batches) {
            let mut out = EncodedRows::with_capacity(encoder.layout(), batch.num_rows());
            encoder.encode(batch, &mut out).unwrap();
            decoded.push(encoder.decode(block, &out, 0..batch.num_rows(), &all, &noise).unwrap());
        }
        let before = arrow::compute::concat_batches(&schema, &batches).unwrap();
        let after = arrow::compute::concat_batches(&schema, &decoded).unwrap();
        for (at, role) in encoder.roles().into_iter().enumerate() {
            let (a, b) = (before.column(at), after.column(at));
            assert_eq!(a.logical_nulls(), b.logical_nulls());
            let show = |array: &ArrayRef, row| arrow::util::display::array_value_to_string(array, row).unwrap();
            let samples: Vec<_> = (0..before.num_rows().min(3)).map(|row| show(b, row)).collect();
            let layout = &encoder.layout().columns[at];
            println!(
                "  {:24} {:12} {:?} {:?}",
                schema.field(at).name(),
                role.as_str(),
                &encoder.layout().subcolumns[layout.subcolumns.clone()],
                samples
            );
            if role == crate::schema::ColumnRole::Numeric || role == crate::schema::ColumnRole::Datetime {
                let floats = |array: &ArrayRef| {
                    let array = arrow::compute::cast(array, &DataType::Float64)
                        .or_else(|_| {
                            arrow::compute::cast(
                                &arrow::compute::cast(array, &DataType::Int64).unwrap(),
                                &DataType::Float64,
                            )
                        })
                        .unwrap();
                    let mut values: Vec<f64> =
                        array.as_primitive::<arrow::datatypes::Float64Type>().iter().flatten().collect();
                    values.sort_by(f64::total_cmp);
                    values
                };
                let (a, b) = (floats(a), floats(b));
                let below = |v: &[f64], x: f64| v.partition_point(|y| *y <= x) as f64 / v.len().max(1) as f64;
                let ks = a.iter().map(|&x| (below(&a, x) - below(&b, x)).abs()).fold(0.0, f64::max);
                if ks > 0.001 {
                    println!("      KS {ks:.4}");
                }
                assert!(ks < 0.03, "{}: KS {ks}", schema.field(at).name());
            }
        }
    }
}
