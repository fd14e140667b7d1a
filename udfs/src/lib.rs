//! Two-sample statistics as SQL aggregates: how far is one set of rows from another?
//!
//! They work over any query, in any DataFusion session, with `GROUP BY`, `FILTER` and joins, and need nothing of the
//! rest of SynthoHive:
//!
//! ```
//! # use datafusion::prelude::SessionContext;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> datafusion::error::Result<()> {
//! let mut context = SessionContext::new();
//! synthohive_udfs::register_all(&mut context)?;
//! let rows = context
//!     .sql("SELECT ks_distance(age, real) FROM (VALUES (31, true), (40, true), (31, false), (33, false)) AS t (age, real)")
//!     .await?;
//! rows.show().await?;
//! # Ok(())
//! # }
//! ```
//!
//! | SQL | is |
//! |---|---|
//! | [`ks_distance(value, is_real)`](ks_distance) | the Kolmogorov-Smirnov statistic: numbers, dates, times |
//! | [`wasserstein(value, is_real)`](wasserstein) | the earth mover's distance, in the unit of the value |
//! | [`tvd(value, is_real)`](tvd) | the total variation distance of categories |
//! | [`cramers_v(a, b)`](cramers_v) | the association of two categorical columns |

mod categories;
mod samples;

pub mod cramers_v;
pub mod ks_distance;
pub mod tvd;
pub mod wasserstein;

use datafusion::{common::Result, execution::FunctionRegistry, logical_expr::AggregateUDF};
use std::sync::Arc;

/// The aggregate functions of this crate.
#[must_use]
pub fn aggregates() -> Vec<Arc<AggregateUDF>> {
    [
        AggregateUDF::from(cramers_v::CramersV::new()),
        AggregateUDF::from(ks_distance::KsDistance::new()),
        AggregateUDF::from(tvd::Tvd::new()),
        AggregateUDF::from(wasserstein::Wasserstein::new()),
    ]
    .map(Arc::new)
    .to_vec()
}

/// Registers every function of this crate.
///
/// # Errors
/// A registry that takes no functions.
pub fn register_all(registry: &mut dyn FunctionRegistry) -> Result<()> {
    for aggregate in aggregates() {
        registry.register_udaf(aggregate)?;
    }
    Ok(())
}
