//! Physical plans: train, sample.

pub mod fit_group;
pub mod sample;
pub mod train;

pub use fit_group::interrupt_group_fits;
pub use sample::{SampleExec, SampleSpec, SampleTable, SynthPhysicalCodec};
pub use train::{TrainExec, TrainSpec, TrainTable};
