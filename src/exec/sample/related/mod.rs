//! Samples of tables that refer to others: the plans of the parents are children of the plan.
//!
//! ```text
//! RelatedExec: order_items          per segment: collect the parents, count children, then chunks of them in parallel
//!   ├ RelatedExec: orders             owner: a partition per segment
//!   │   └ SampleExec: customers
//!   └ SampleExec: products          matched
//! ```
//!
//! A parent may also be a table (`parent => …`), which [`AdoptExec`] takes for what its model would generate.
//! Rows of the table itself that are given (`given => …`) are completed by [`CompleteExec`], whose children are the parents, too.

mod adopt;
mod build;
mod complete;
mod plan;
mod shared;

pub use adopt::AdoptExec;
pub(super) use build::{Part, is_related, plan_completed, plan_related};
pub(in crate::exec) use build::{plan_parents, segment_rows};
pub use complete::CompleteExec;
pub(in crate::exec) use plan::Input;
pub use plan::RelatedExec;
pub(in crate::exec) use shared::{by_reference, family_of};
