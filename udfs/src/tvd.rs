//! `tvd(value, is_real)`: the total variation distance of two samples of categories.

use crate::{
    categories::{CategoryCounts, list_fields},
    samples::{boolean, refuse_distinct, two},
};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::{
    arrow::array::{Array, ArrayRef, AsArray},
    common::{Result, ScalarValue, exec_err},
    logical_expr::{
        Accumulator, AggregateUDFImpl, Documentation, Signature, Volatility,
        aggregate_doc_sections::DOC_SECTION_STATISTICAL,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::AggregateOrderSensitivity,
    },
};
use std::sync::LazyLock;

const NAME: &str = "tvd";

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        DOC_SECTION_STATISTICAL,
        "The total variation distance of two samples of categories: half the sum of the differences of their relative frequencies, from 0 (the same frequencies) to 1 (no category in common). Null is a category of its own. Rows with `is_real` null do not count. Null when a sample is empty.",
        "tvd(value, is_real)",
    )
    .with_argument("value", "A value of any type; equal values are one category.")
    .with_argument("is_real", "Boolean: true for the rows of the first sample, false for those of the second.")
    .with_sql_example(
        "```sql
> SELECT tvd(city, real) AS distance FROM (VALUES ('Köln', true), ('Bonn', true), ('Köln', false), ('Köln', false)) AS t (city, real);
+----------+
| distance |
+----------+
| 0.5      |
+----------+
```",
    )
    .with_related_udf("ks_distance")
    .with_related_udf("cramers_v")
    .build()
});

/// The aggregate `tvd`.
///
/// The state holds the distinct categories and their counts.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Tvd {
    signature: Signature,
}

impl Tvd {
    /// The function.
    #[must_use]
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl Default for Tvd {
    fn default() -> Self {
        Self::new()
    }
}

impl AggregateUDFImpl for Tvd {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [value, is_real] = two(NAME, "value, is_real", arguments)?;
        Ok(vec![value.clone(), boolean(NAME, is_real)?])
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(list_fields(arguments.name, 1, 2))
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        refuse_distinct(NAME, &arguments)?;
        Ok(Box::new(TvdAccumulator { counts: CategoryCounts::new(&arguments, 1, 2)? }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

#[derive(Debug)]
struct TvdAccumulator {
    /// By category: rows of the first sample, rows of the second.
    counts: CategoryCounts,
}

impl Accumulator for TvdAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [value, is_real] = values else {
            return exec_err!("{NAME}: got {} arguments, expected two", values.len());
        };
        let is_real = is_real.as_boolean();
        self.counts
            .update(std::slice::from_ref(value), |row| is_real.is_valid(row).then(|| usize::from(!is_real.value(row))))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.counts.merge(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(self.counts.state())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let (mut real, mut synthetic) = (0, 0);
        for (_, counts) in self.counts.iter() {
            real += counts[0];
            synthetic += counts[1];
        }
        if real == 0 || synthetic == 0 {
            return Ok(ScalarValue::Float64(None));
        }
        // Whole numbers until the division: the sum does not depend on the order of the categories.
        let difference: u128 = (self.counts.iter())
            .map(|(_, counts)| {
                (u128::from(counts[0]) * u128::from(synthetic)).abs_diff(u128::from(counts[1]) * u128::from(real))
            })
            .sum();
        let distance = difference as f64 / (2.0 * real as f64 * synthetic as f64);
        Ok(ScalarValue::Float64(Some(distance)))
    }

    fn size(&self) -> usize {
        self.counts.size()
    }
}
