//! Model artifacts: what is stored, what survives, and what damage does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod checkpoints;
mod damage;
mod failures;
mod fake;
mod keys;
mod roles;
mod tables;
mod versions;
