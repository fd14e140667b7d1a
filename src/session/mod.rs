//! A fully equipped `SessionContext`: functions, `synth.*` options, system tables, Delta.

mod options;

pub use options::SynthOptions;
