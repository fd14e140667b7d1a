//! Columns that follow others of their row, and are not learned by themselves.

mod equal;
mod function;
mod one_hot;
mod since;

pub(super) use equal::{Equal, equal};
pub(super) use function::Functions;
pub(super) use one_hot::OneHot;
pub(crate) use since::is_instant;
pub(super) use since::{Since, difference, difference_field, later};

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

/// How a column follows another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Follows {
    /// It is learned as the time since another, before it in the schema.
    Since(usize),
    /// It has a code more than its encoder, the last, for the value of another, before it in the schema.
    Equal(usize),
    /// It is a function of another: the code of its value by the other's code.
    Function { of: usize, codes: Vec<u32> },
    /// It is set where the code of another is this, and at the lower of its two values elsewhere. The first column of a
    /// category is the one that has its codes, and follows itself.
    OneHot { of: usize, code: u32 },
}

/// Those of `columns` that are of the same type as `column`.
fn of_type(schema: &SchemaRef, column: usize, columns: &[usize]) -> impl DoubleEndedIterator<Item = usize> {
    columns.iter().copied().filter(move |&at| schema.field(at).data_type() == schema.field(column).data_type())
}
