//! `wasserstein(value, is_real)`: the earth mover's distance of two samples.

use crate::samples::{Key, TwoSamples, coerce, distribution_functions, refuse_distinct, state_fields};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::{
    common::Result,
    logical_expr::{
        Accumulator, AggregateUDFImpl, Documentation, Signature, Volatility,
        aggregate_doc_sections::DOC_SECTION_STATISTICAL,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::AggregateOrderSensitivity,
    },
};
use std::sync::LazyLock;

const NAME: &str = "wasserstein";

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        DOC_SECTION_STATISTICAL,
        "The first Wasserstein distance (earth mover's distance) of two samples: how far, on average, the values of one must be moved to become the other, in the unit of the value (dates: days, times and timestamps: seconds). Rows without a value, or with `is_real` null, do not count; NaN or infinity among the values gives one. Null when a sample is empty.",
        "wasserstein(value, is_real)",
    )
    .with_argument("value", "A number, date, time or timestamp.")
    .with_argument("is_real", "Boolean: true for the rows of the first sample, false for those of the second.")
    .with_sql_example(
        "```sql
> SELECT wasserstein(age, real) AS distance FROM (VALUES (31, true), (40, true), (31, false), (33, false)) AS t (age, real);
+----------+
| distance |
+----------+
| 3.5      |
+----------+
```",
    )
    .with_related_udf("ks_distance")
    .with_related_udf("tvd")
    .build()
});

/// The aggregate `wasserstein`.
///
/// The state holds every value (8 bytes each), so the distance is exact and merges in any order.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Wasserstein {
    signature: Signature,
}

impl Wasserstein {
    /// The function.
    #[must_use]
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl Default for Wasserstein {
    fn default() -> Self {
        Self::new()
    }
}

impl AggregateUDFImpl for Wasserstein {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        coerce(NAME, arguments)
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(state_fields(&arguments))
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        refuse_distinct(NAME, &arguments)?;
        Ok(Box::new(TwoSamples::new(&arguments, statistic)?))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

/// The area between the two distribution functions.
fn statistic(key: Key, real: &[i64], synthetic: &[i64]) -> f64 {
    let mut area = 0.0;
    let mut before: Option<(f64, f64)> = None; // the last value, and the difference from there on
    distribution_functions(real, synthetic, |at, r, s| {
        let value = key.number(at);
        if let Some((last, difference)) = before
            && difference > 0.0
        {
            area += difference * (value - last);
        }
        before = Some((value, (r - s).abs()));
    });
    area
}
