//! `ks_distance(value, is_real)`: the two-sample Kolmogorov-Smirnov statistic.

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

const NAME: &str = "ks_distance";

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        DOC_SECTION_STATISTICAL,
        "The Kolmogorov-Smirnov statistic of two samples: the largest difference between their distribution functions, from 0 (the same distribution) to 1 (no overlap). Exact. Rows without a value, or with `is_real` null, do not count; NaN is greater than every number. Null when a sample is empty.",
        "ks_distance(value, is_real)",
    )
    .with_argument("value", "A number, date, time or timestamp. Decimals of more than 18 digits are compared as doubles.")
    .with_argument("is_real", "Boolean: true for the rows of the first sample, false for those of the second.")
    .with_sql_example(
        "```sql
> SELECT ks_distance(age, real) AS distance FROM (VALUES (31, true), (40, true), (31, false), (33, false)) AS t (age, real);
+----------+
| distance |
+----------+
| 0.5      |
+----------+
```",
    )
    .with_related_udf("wasserstein")
    .with_related_udf("tvd")
    .build()
});

/// The aggregate `ks_distance`.
///
/// The state holds every value (8 bytes each), so the statistic is exact and merges in any order.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct KsDistance {
    signature: Signature,
}

impl KsDistance {
    /// The function.
    #[must_use]
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl Default for KsDistance {
    fn default() -> Self {
        Self::new()
    }
}

impl AggregateUDFImpl for KsDistance {
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

fn statistic(_key: Key, real: &[i64], synthetic: &[i64]) -> f64 {
    let mut largest = 0.0f64;
    distribution_functions(real, synthetic, |_, r, s| largest = largest.max((r - s).abs()));
    largest
}
