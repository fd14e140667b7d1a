//! Arrow types and Delta's.

use datafusion::arrow::datatypes::{DataType, FieldRef, TimeUnit};
use std::sync::Arc;

/// The type that a Delta table stores values of `data_type` as, or what to declare instead.
pub(crate) fn delta_type(data_type: &DataType) -> Result<DataType, &'static str> {
    use DataType::{
        Binary, BinaryView, Boolean, Date32, Date64, Decimal32, Decimal64, Decimal128, Dictionary, FixedSizeBinary,
        Float32, Float64, Int8, Int16, Int32, Int64, LargeBinary, LargeUtf8, List, Struct, Time32, Time64, Timestamp,
        UInt8, UInt16, UInt32, UInt64, Utf8, Utf8View,
    };
    Ok(match data_type {
        Boolean | Int8 | Int16 | Int32 | Int64 | Float32 | Float64 | Date32 | Decimal128(..) => data_type.clone(),
        Utf8 | LargeUtf8 | Utf8View => Utf8,
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => Binary,
        Decimal32(precision, scale) | Decimal64(precision, scale) => Decimal128(*precision, *scale),
        // SQL's TIMESTAMP counts nanoseconds here; Delta counts microseconds.
        Timestamp(_, zone) => Timestamp(TimeUnit::Microsecond, zone.as_ref().map(|_| "UTC".into())),
        Dictionary(_, values) => delta_type(values)?,
        List(item) => List(Arc::new(item.as_ref().clone().with_data_type(delta_type(item.data_type())?))),
        Struct(fields) => {
            let field = |field: &FieldRef| {
                delta_type(field.data_type()).map(|kind| Arc::new(field.as_ref().clone().with_data_type(kind)))
            };
            Struct(fields.iter().map(field).collect::<Result<_, _>>()?)
        }
        UInt8 => return Err("declare SMALLINT, which holds every value"),
        UInt16 => return Err("declare INT, which holds every value"),
        UInt32 => return Err("declare BIGINT, which holds every value"),
        UInt64 => return Err("declare DECIMAL(20, 0), which holds every value"),
        Time32(_) | Time64(_) => return Err("declare BIGINT (seconds of the day) or VARCHAR"),
        Date64 => return Err("declare DATE or TIMESTAMP"),
        _ => return Err("declare a type that Delta has: numbers, VARCHAR, BOOLEAN, DATE, TIMESTAMP, DECIMAL"),
    })
}
