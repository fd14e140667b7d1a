//! Arrow schemas as JSON, the same text for the same schema: metadata is sorted.

use arrow::datatypes::{Schema, SchemaRef};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use serde_json::Value;

pub(crate) fn serialize<S: Serializer>(schema: &SchemaRef, serializer: S) -> Result<S::Ok, S::Error> {
    let mut value = serde_json::to_value(schema.as_ref()).map_err(S::Error::custom)?;
    sort(&mut value);
    value.serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SchemaRef, D::Error> {
    let value = Value::deserialize(deserializer)?;
    serde_json::from_value::<Schema>(value).map(SchemaRef::new).map_err(D::Error::custom)
}

/// Objects in key order, whatever order serde_json is built to keep.
fn sort(value: &mut Value) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = std::mem::take(map).into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            entries.iter_mut().for_each(|(_, v)| sort(v));
            map.extend(entries);
        }
        Value::Array(values) => values.iter_mut().for_each(sort),
        _ => {}
    }
}
