//! What codes that stand for numbers have in common with their neighbours.
//!
//! The embedding and the head of a column of `K` codes are free matrices plus smooth ones: `E = U + B C`, `V = W + D Bᵀ`,
//! with fixed `B: [K, m]`, `B[c, j] = T_j(1 - 2 q_c) / √j` of Chebyshev's polynomials `T_1 … T_m` at the quantile `q_c` in
//! the middle of code `c`, and zero for codes that are no numbers. So a row of one bin says something about the bins beside it,
//! which free matrices alone would have to learn bin by bin; cf. periodic features of numbers (Gorishniy et al., "On
//! Embeddings for Numerical Features in Tabular Deep Learning", 2022, §3.3). `T_j(cos θ) = cos jθ`, so they are finest at
//! both ends (by `j²` there, by `j` in the middle): the greatest values, which go together more closely than others
//! where tails are long, are told apart. A trained model holds `E` and `V`: to draw rows costs nothing more.

use crate::{Result, encode::Ascending};
use tch::{Device, Tensor};

/// Polynomials at most.
const POLYNOMIALS: usize = 32;
/// A column with fewer numbers has none.
const NUMBERS: usize = 8;

/// The polynomials of a column, and where the parameters of its smooth parts are.
#[derive(Debug)]
pub(super) struct Polynomials {
    /// `B`, f32 `[K, m]`.
    basis: Tensor,
    /// The number of `C`, `[m, width of the embedding]`.
    pub(super) embedding: usize,
    /// The number of `D`, `[hidden units, m]`; none for a column that is not learned.
    pub(super) head: Option<usize>,
}

/// How many polynomials a column has.
pub(super) fn count(ascending: Ascending) -> usize {
    let numbers = (ascending.end - ascending.start) as usize;
    if numbers < NUMBERS { 0 } else { POLYNOMIALS.min(numbers / 2) }
}

impl Polynomials {
    /// Of a column with codes of these `frequencies`, [`count`] of which is not 0.
    #[allow(clippy::cast_possible_truncation)]
    pub(super) fn new(
        ascending: Ascending,
        frequencies: &[f32],
        (embedding, head): (usize, Option<usize>),
        device: Device,
    ) -> Result<Self> {
        let m = count(ascending);
        let numbers = ascending.start as usize..ascending.end as usize;
        // A code that no row to learn from has still lies somewhere.
        let weight = |code: usize| f64::from(frequencies[code]) + 1e-9;
        let total: f64 = numbers.clone().map(weight).sum();
        let mut values = vec![0f32; frequencies.len() * m];
        let mut below = 0.0;
        for code in numbers {
            let quantile = (below + weight(code) / 2.0) / total;
            below += weight(code);
            // T_j and T_j+1 by their recurrence: the same bits on every machine.
            let x = 1.0 - 2.0 * quantile;
            let (mut now, mut next) = (x, 2.0 * x * x - 1.0);
            for (value, degree) in values[code * m..][..m].iter_mut().zip(1..) {
                *value = (now / f64::from(degree).sqrt()) as f32;
                (now, next) = (next, 2.0 * x * next - now);
            }
        }
        let basis = Tensor::f_from_slice(&values)?.f_view([frequencies.len() as i64, m as i64])?.f_to_device(device)?;
        Ok(Self { basis, embedding, head })
    }

    /// The same memory.
    pub(super) fn shallow_clone(&self) -> Self {
        Self { basis: self.basis.shallow_clone(), ..*self }
    }

    /// `U + B C`.
    pub(super) fn embed(&self, free: &Tensor, smooth: &Tensor) -> Result<Tensor> {
        Ok(free.f_addmm(&self.basis, smooth)?)
    }

    /// The gradient by `C`, of that by `U`.
    pub(super) fn by_embedding(&self, gradient: &Tensor) -> Result<Tensor> {
        Ok(self.basis.f_tr()?.f_mm(gradient)?)
    }

    /// `W + D Bᵀ`.
    pub(super) fn head(&self, free: &Tensor, smooth: &Tensor) -> Result<Tensor> {
        Ok(free.f_addmm(smooth, &self.basis.f_tr()?)?)
    }

    /// The gradient by `D`, of that by `W`.
    pub(super) fn by_head(&self, gradient: &Tensor) -> Result<Tensor> {
        Ok(gradient.f_mm(&self.basis)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn row(polynomials: &Polynomials, code: i64) -> Vec<f32> {
        Vec::try_from(polynomials.basis.get(code)).unwrap()
    }

    fn distance(polynomials: &Polynomials, a: i64, b: i64) -> f32 {
        row(polynomials, a).iter().zip(row(polynomials, b)).map(|(a, b)| (a - b).powi(2)).sum()
    }

    #[test]
    fn neighbours_are_alike_and_codes_that_are_no_numbers_are_zero() {
        let ascending = Ascending { start: 1, end: 41 };
        let frequencies: Vec<f32> = (0..42).map(|code| if code == 20 { 0.3 } else { 0.7 / 41.0 }).collect();
        let polynomials = Polynomials::new(ascending, &frequencies, (0, None), Device::Cpu).unwrap();
        assert_eq!(polynomials.basis.size(), [42, 20]);
        assert!(row(&polynomials, 0).iter().chain(&row(&polynomials, 41)).all(|&value| value == 0.0));
        assert!((2..40).all(|code| distance(&polynomials, code, code + 1) < distance(&polynomials, 1, 40)));
        // What is frequent keeps its neighbours apart.
        assert!(distance(&polynomials, 19, 21) > 2.0 * distance(&polynomials, 10, 12));
    }

    #[test]
    fn neighbours_at_both_ends_are_the_furthest_apart() {
        let polynomials =
            Polynomials::new(Ascending { start: 0, end: 100 }, &[0.01; 100], (0, None), Device::Cpu).unwrap();
        let (first, middle, last) =
            (distance(&polynomials, 0, 1), distance(&polynomials, 49, 50), distance(&polynomials, 98, 99));
        assert!(first > 10.0 * middle && (first - last).abs() < 1e-3 * first, "{first} {middle} {last}");
        assert!(
            row(&polynomials, 99).iter().zip(1..).all(|(value, degree)| value.abs() <= 1.0 / (degree as f32).sqrt())
        );
        // T_1 and T_2 of .8, at the quantile .1 between two codes.
        let [a, b] = [9, 10].map(|code| row(&polynomials, code));
        assert!(((a[0] + b[0]) / 2.0 - 0.8).abs() < 1e-3 && ((a[1] + b[1]) / 2.0 * 2f32.sqrt() - 0.28).abs() < 1e-3);
    }

    #[test]
    fn columns_of_few_numbers_have_none() {
        assert_eq!(count(Ascending { start: 1, end: 8 }), 0);
        assert_eq!(count(Ascending { start: 0, end: 8 }), 4);
        assert_eq!(count(Ascending { start: 0, end: 1000 }), POLYNOMIALS);
    }

    #[test]
    fn codes_without_a_row_have_places() {
        let polynomials = Polynomials::new(Ascending { start: 0, end: 9 }, &[0.0; 9], (0, None), Device::Cpu).unwrap();
        assert!(polynomials.basis.isfinite().all().int64_value(&[]) == 1);
    }
}
