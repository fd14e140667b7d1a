//! SynthoHive learns a relational database and generates a synthetic one, in SQL.
//!
//! A trained model of a table *is* an infinite, deterministic table: row `i` is a pure function of
//! (model, seed, `i`). `SELECT * FROM synth_sample('orders', 1e6)` reads a range of it.
//!
//! The modules, from the bottom up; dependencies run in this direction only:
//!
//! | module | holds |
//! |---|---|
//! | [`error`] | the one error type |
//! | [`noise`] | counter-based randomness: the ground of the determinism contract |
//! | [`schema`] | what the data is: column roles, and how they are inferred |
//! | [`encode`] | Arrow columns to codes and back |
//! | [`torch`] | libtorch, behind one wall: devices, threads, kernels |
//! | [`models`] | the [`TableModel`](models::TableModel) trait and its implementations; knows no SQL |
//! | [`relational`] | child counts, context, siblings, parents to match; knows no SQL |
//! | [`store`] | versioned model artifacts on an object store |
//! | [`exec`] | physical plans: train, sample |
//! | [`functions`] | the SQL functions, one file per SQL name |
//! | [`session`] | a fully equipped `SessionContext`, the `synth.*` options, the system tables |

pub mod encode;
pub mod error;
pub mod exec;
pub mod functions;
pub mod models;
pub mod noise;
pub mod relational;
pub mod schema;
pub mod session;
pub mod store;
pub mod torch;

#[cfg(feature = "repl")]
pub mod repl;

pub use error::{Result, SynthError};
pub use functions::register_all;
