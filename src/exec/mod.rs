//! Physical plans: train, sample, generate a database, apply a model to rows, check keys, evaluate.

pub mod apply;
mod columns;
#[cfg(feature = "delta")]
pub(crate) mod delta;
pub mod evaluate;
pub mod fit_group;
pub mod generate;
mod in_order;
pub mod keys;
mod report;
mod rows;
pub mod sample;
mod source;
pub mod train;

pub use apply::{Action, ApplyExec, ApplyRelatedExec, ApplySpec, ApplyTable};
pub use fit_group::interrupt_group_fits;
pub use generate::{GenerateExec, GenerateSpec, GenerateTable};
pub use report::ReportTable;
pub use sample::{
    CompletedTable, Given, Parent, Parents, SampleExec, SampleSpec, SampleTable, Sieve, SiftExec, SynthPhysicalCodec,
    Wanted,
};
pub use source::find_table;
pub use train::{TrainExec, TrainSpec, TrainTable};
