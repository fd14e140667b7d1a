//! Sampling: a range of a model's infinite table, as a physical plan.
//!
//! ```text
//! synth_sample('orders', 1e6)       planning: the manifest only; model version, hash and seed are frozen
//!   └ SampleTable                   a TableProvider
//!       └ SampleExec                a leaf: block-aligned row ranges, one per partition
//!           └ execute(partition)    loads the model (cached by hash), then per block, on a blocking thread:
//!                                   noise → BlockSampler → codes → TableEncoder::decode → batches → channel
//! ```

mod codec;
mod completed;
mod generator;
mod given;
mod parents;
mod plan;
mod range;
mod related;
mod schema;
mod sift;
mod spec;
mod stream;
mod table;

pub use codec::SynthPhysicalCodec;
pub use completed::CompletedTable;
pub use given::{Given, Sieve, Wanted};
pub use parents::{Parent, Parents};
pub use plan::SampleExec;
pub use related::{AdoptExec, CompleteExec, RelatedExec};
pub(super) use related::{Input, by_reference, family_of, plan_parents, segment_rows};
pub use schema::ROW_ID;
pub use sift::SiftExec;
pub use spec::SampleSpec;
pub(super) use spec::planned_model;
pub use table::SampleTable;
