//! `cramers_v(a, b)`: the association of two categorical columns.

use crate::{
    categories::{CategoryCounts, list_fields},
    samples::{refuse_distinct, two},
};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::{
    arrow::array::{Array, ArrayRef},
    common::{Result, ScalarValue, exec_err},
    logical_expr::{
        Accumulator, AggregateUDFImpl, Documentation, Signature, Volatility,
        aggregate_doc_sections::DOC_SECTION_STATISTICAL,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::AggregateOrderSensitivity,
    },
};
use std::{collections::BTreeMap, sync::LazyLock};

const NAME: &str = "cramers_v";

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        DOC_SECTION_STATISTICAL,
        "Cramér's V of two categorical columns: the strength of their association, from 0 (independent) to 1 (one determines the other), without bias correction. Rows in which either is null do not count. Null when one of them has fewer than two categories.",
        "cramers_v(a, b)",
    )
    .with_argument("a", "A value of any type; equal values are one category.")
    .with_argument("b", "A value of any type.")
    .with_sql_example(
        "```sql
> SELECT cramers_v(country, currency) AS v FROM (VALUES ('DE', 'EUR'), ('FR', 'EUR'), ('US', 'USD'), ('US', 'USD')) AS t (country, currency);
+-----+
| v   |
+-----+
| 1.0 |
+-----+
```",
    )
    .with_related_udf("tvd")
    .build()
});

/// The aggregate `cramers_v`.
///
/// The state holds the distinct pairs and their counts.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct CramersV {
    signature: Signature,
}

impl CramersV {
    /// The function.
    #[must_use]
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl Default for CramersV {
    fn default() -> Self {
        Self::new()
    }
}

impl AggregateUDFImpl for CramersV {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [a, b] = two(NAME, "a, b", arguments)?;
        Ok(vec![a.clone(), b.clone()])
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(list_fields(arguments.name, 2, 1))
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        refuse_distinct(NAME, &arguments)?;
        Ok(Box::new(CramersVAccumulator { counts: CategoryCounts::new(&arguments, 2, 1)? }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

#[derive(Debug)]
struct CramersVAccumulator {
    /// By pair: rows.
    counts: CategoryCounts,
}

impl Accumulator for CramersVAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [a, b] = values else {
            return exec_err!("{NAME}: got {} arguments, expected two", values.len());
        };
        let (a_nulls, b_nulls) = (a.logical_nulls(), b.logical_nulls());
        let valid =
            |row| [&a_nulls, &b_nulls].iter().all(|nulls| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)));
        self.counts.update(values, |row| valid(row).then_some(0))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.counts.merge(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(self.counts.state())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut rows: BTreeMap<&[u8], u64> = BTreeMap::new();
        let mut columns: BTreeMap<&[u8], u64> = BTreeMap::new();
        for (pair, counts) in self.counts.iter() {
            *rows.entry(pair[0]).or_default() += counts[0];
            *columns.entry(pair[1]).or_default() += counts[0];
        }
        let degrees = rows.len().min(columns.len()).saturating_sub(1);
        if degrees == 0 {
            return Ok(ScalarValue::Float64(None));
        }
        // chi²/n = Σ observed² / (row · column) - 1, over the pairs that occur.
        let mut terms: Vec<f64> = (self.counts.iter())
            .map(|(pair, counts)| {
                let expected = rows[pair[0]] as f64 * columns[pair[1]] as f64;
                counts[0] as f64 * counts[0] as f64 / expected
            })
            .collect();
        terms.sort_by(f64::total_cmp); // the same sum whatever the order of the pairs
        let phi_squared = (terms.iter().sum::<f64>() - 1.0).max(0.0);
        Ok(ScalarValue::Float64(Some((phi_squared / degrees as f64).sqrt().min(1.0))))
    }

    fn size(&self) -> usize {
        self.counts.size()
    }
}
