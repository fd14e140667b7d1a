//! How much synthetic tables have of the real ones, measured by queries over both.

mod keys;
mod twins;

pub use keys::evaluated_keys;
pub use twins::Twins;
