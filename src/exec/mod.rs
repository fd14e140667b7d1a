//! Physical plans: train, sample, check keys.

pub mod fit_group;
pub mod keys;
pub mod sample;
pub mod train;

pub use fit_group::interrupt_group_fits;
pub use sample::{SampleExec, SampleSpec, SampleTable, SynthPhysicalCodec};
pub use train::{TrainExec, TrainSpec, TrainTable};
