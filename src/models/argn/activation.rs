//! Hidden units.
//!
//! What goes by the product of two columns (a bill is a price times a quantity, a hillshade what goes by slope times what goes by
//! aspect) takes many ramps, and few squares: `(a + b)² - (a - b)² = 4ab`. A layer of squares is a machine of second order (Rendle,
//! "Factorization Machines", 2010), one of ramps, `max(z, 0)`, is more even where there is little to learn from.

use crate::Result;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// What a hidden unit makes of its sum `z`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Activation {
    /// `max(z, 0)`
    #[default]
    Rectified,
    /// `z²`
    Squared,
}

impl Activation {
    /// Of the sums `z`.
    pub(super) fn apply(self, z: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Rectified => z.f_relu()?,
            Self::Squared => z.f_square()?,
        })
    }

    /// The derivative at the sums `z`.
    pub(super) fn slope(self, z: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Rectified => z.f_gt(0.0)?.f_to_kind(Kind::Float)?,
            Self::Squared => z.f_mul_scalar(2.0)?,
        })
    }

    /// Of one sum.
    #[inline(always)]
    pub(super) fn of(self, z: f32) -> f32 {
        match self {
            Self::Rectified => z.max(0.0),
            Self::Squared => z * z,
        }
    }
}
