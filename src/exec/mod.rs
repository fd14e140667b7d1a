//! Physical plans: train, sample.
