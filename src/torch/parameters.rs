//! The parameters of a network in one flat run of memory, with their gradients and Adam's moments.

use super::{
    Rows, RowsMut, Team, by_kind,
    kernels::adam::{self, Step},
};
use crate::{Result, SynthError};
use tch::{Device, Kind, Tensor};

/// Settings of Adam (Kingma & Ba 2015) with L2 weight decay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Adam {
    pub(crate) learning_rate: f64,
    pub(crate) beta1: f64,
    pub(crate) beta2: f64,
    pub(crate) weight_decay: f64,
}

impl Adam {
    /// The numbers of step `number` (from 1).
    #[allow(clippy::cast_possible_truncation)]
    fn at(&self, number: u64) -> Step {
        let exponent = i32::try_from(number).unwrap_or(i32::MAX);
        Step {
            rate: (self.learning_rate / (1.0 - self.beta1.powi(exponent))) as f32,
            second_correction: (1.0 / (1.0 - self.beta2.powi(exponent)).sqrt()) as f32,
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            epsilon: EPSILON as f32,
            weight_decay: self.weight_decay as f32,
        }
    }
}

const EPSILON: f64 = 1e-8;
/// Parameters begin at multiples of this many elements: 64 bytes in bf16, for aligned loads.
const ALIGNMENT: usize = 32;

/// Named matrices in one flat tensor: f32 masters, their copy in the kind that matrices are multiplied in,
/// the gradients (in that kind) and Adam's moments. One kernel updates them all.
#[derive(Debug)]
pub(crate) struct Parameters {
    slots: Vec<Slot>,
    /// f32 `[total]`.
    pub(crate) master: Tensor,
    compute: Tensor,
    gradient: Tensor,
    /// Adam's first moment, f32 `[total]`.
    pub(crate) first: Tensor,
    /// Adam's second moment, f32 `[total]`.
    pub(crate) second: Tensor,
}

/// A part of parameters, gradient and moments.
type Part<'a, T> = ((&'a mut [f32], &'a [T]), (&'a mut [f32], &'a mut [f32]));

#[derive(Debug, Clone)]
struct Slot {
    name: String,
    at: usize,
    rows: usize,
    columns: usize,
}

impl Parameters {
    /// Zeros for matrices of these names and shapes.
    pub(crate) fn new(shapes: Vec<(String, usize, usize)>, compute: Kind, device: Device) -> Result<Self> {
        let mut total = 0;
        let mut slots = Vec::with_capacity(shapes.len());
        for (name, rows, columns) in shapes {
            slots.push(Slot { name, at: total, rows, columns });
            total += (rows * columns).next_multiple_of(ALIGNMENT);
        }
        let zeros = |kind| Tensor::f_zeros([total as i64], (kind, device));
        let master = zeros(Kind::Float)?;
        let copy = if compute == Kind::Float { master.shallow_clone() } else { zeros(compute)? };
        Ok(Self {
            slots,
            compute: copy,
            gradient: zeros(compute)?,
            first: zeros(Kind::Float)?,
            second: zeros(Kind::Float)?,
            master,
        })
    }

    fn view(&self, flat: &Tensor, index: usize) -> Result<Tensor> {
        let slot = self.slots.get(index).ok_or_else(|| SynthError::Internal(format!("no parameter {index}")))?;
        let length = (slot.rows * slot.columns) as i64;
        Ok(flat.f_narrow(0, slot.at as i64, length)?.f_view([slot.rows as i64, slot.columns as i64])?)
    }

    /// Name and f32 view of every matrix.
    pub(crate) fn named(&self, flat: &Tensor) -> Result<Vec<(String, Tensor)>> {
        (0..self.slots.len()).map(|i| Ok((self.slots[i].name.clone(), self.view(flat, i)?))).collect()
    }

    /// Matrix `index` in the kind to multiply in.
    pub(crate) fn weight(&self, index: usize) -> Result<Tensor> {
        self.view(&self.compute, index)
    }

    /// Matrix `index` in f32.
    pub(crate) fn master(&self, index: usize) -> Result<Tensor> {
        self.view(&self.master, index)
    }

    /// The gradient by matrix `index`, to be written before each [`Parameters::step`].
    pub(crate) fn gradient(&self, index: usize) -> Result<Tensor> {
        self.view(&self.gradient, index)
    }

    /// The same matrices with the values `flat` (a tensor like [`Parameters::master`]), to run, not to learn.
    pub(crate) fn with_values(&self, flat: &Tensor) -> Result<Self> {
        let none = || Tensor::f_zeros([0], (Kind::Float, flat.device()));
        Ok(Self {
            slots: self.slots.clone(),
            master: flat.shallow_clone(),
            compute: super::cast(flat, self.compute.f_kind()?)?,
            gradient: none()?,
            first: none()?,
            second: none()?,
        })
    }

    /// The same matrices with the values `flat`, to take gradients by.
    pub(crate) fn at_values(&self, flat: &Tensor) -> Result<Self> {
        Ok(Self { gradient: self.gradient.f_zeros_like()?, ..self.with_values(flat)? })
    }

    /// Adds what L2 decays, laid out as [`Parameters::master`], pull by to the gradients of f32 matrices.
    pub(crate) fn shrink(&mut self, decays: &Tensor) -> Result<()> {
        let _ = self.gradient.f_addcmul_(&self.master, decays)?;
        Ok(())
    }

    /// Must follow any write to the masters.
    pub(crate) fn masters_changed(&mut self) -> Result<()> {
        if self.compute.f_kind()? != Kind::Float {
            self.compute.f_copy_(&self.master)?;
        }
        Ok(())
    }

    /// Step `number` (from 1) of Adam, by a team.
    pub(crate) fn step(&mut self, adam: &Adam, number: u64, team: &Team) -> Result<()> {
        let step = adam.at(number);
        if self.master.device() != Device::Cpu {
            return self.step_by_operations(step);
        }
        let (mut master, mut first, mut second) =
            (RowsMut::of(&mut self.master)?, RowsMut::of(&mut self.first)?, RowsMut::of(&mut self.second)?);
        let (master, first, second) = (master.row(0), first.row(0), second.row(0));
        by_kind!(self.compute.f_kind()?, T => {
            let gradient = Rows::<T>::of(&self.gradient)?.row(0);
            let part = master.len().div_ceil(team.threads()).next_multiple_of(ALIGNMENT);
            let parts = master.chunks_mut(part).zip(gradient.chunks(part));
            let parts = parts.zip(first.chunks_mut(part).zip(second.chunks_mut(part)));
            if <T as super::Element>::KIND == Kind::Float {
                let update = |((p, g), (m, v)): Part<'_, T>| adam::step(step, p, g, m, v);
                team.each(parts.map(|part| move || update(part)));
            } else {
                let mut copy = RowsMut::<T>::of(&mut self.compute)?;
                let update = |(((p, g), (m, v)), copy): (Part<'_, T>, &mut [T])| {
                    adam::step_with_copy(step, p, g, m, v, copy);
                };
                team.each(parts.zip(copy.row(0).chunks_mut(part)).map(|part| move || update(part)));
            }
            Ok(())
        })
    }

    fn step_by_operations(&mut self, s: Step) -> Result<()> {
        let gradient = super::cast(&self.gradient, Kind::Float)?;
        let gradient = gradient.f_add(&self.master.f_mul_scalar(f64::from(s.weight_decay))?)?;
        let _ = self.first.f_lerp_(&gradient, f64::from(1.0 - s.beta1))?;
        let _ = self.second.f_lerp_(&gradient.f_square()?, f64::from(1.0 - s.beta2))?;
        let root = self.second.f_sqrt()?.f_mul_scalar(f64::from(s.second_correction))?;
        let change = self.first.f_mul_scalar(f64::from(s.rate))?.f_div(&root.f_add_scalar(f64::from(s.epsilon))?)?;
        let _ = self.master.f_sub_(&change)?;
        self.masters_changed()
    }
}

/// Exponential average of the course of parameters.
#[derive(Debug)]
pub(crate) struct Average {
    /// Laid out as [`Parameters::master`], f32.
    pub(crate) values: Tensor,
    decay: f64,
}

impl Average {
    /// For `parameters` that are still to be initialised; see [`Average::restart`].
    pub(crate) fn new(parameters: &Parameters, decay: f64) -> Result<Self> {
        Ok(Self { values: parameters.master.f_zeros_like()?, decay })
    }

    /// Begins at the parameters as they are.
    pub(crate) fn restart(&mut self, parameters: &Parameters) -> Result<()> {
        Ok(self.values.f_copy_(&parameters.master)?)
    }

    /// Takes in the parameters after step `number` (from 1), by a team.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    pub(crate) fn follow(&mut self, parameters: &Parameters, number: u64, team: &Team) -> Result<()> {
        // Early on a plain mean, or the start would weigh on it.
        let decay = self.decay.min(number as f64 / (number as f64 + 10.0));
        if self.values.device() != Device::Cpu {
            let _ = self.values.f_lerp_(&parameters.master, 1.0 - decay)?;
            return Ok(());
        }
        let (mut values, master) = (RowsMut::of(&mut self.values)?, Rows::of(&parameters.master)?);
        let (values, master) = (values.row(0), master.row(0));
        let part = values.len().div_ceil(team.threads()).next_multiple_of(ALIGNMENT);
        let share = (1.0 - decay) as f32;
        let parts = values.chunks_mut(part).zip(master.chunks(part));
        team.each(parts.map(|(values, master)| move || adam::approach(share, master, values)));
        Ok(())
    }

    /// The same memory.
    pub(crate) fn shallow_clone(&self) -> Self {
        Self { values: self.values.shallow_clone(), decay: self.decay }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_kernel_the_operations_and_any_threads_agree() {
        let adam = Adam { learning_rate: 0.01, beta1: 0.5, beta2: 0.9, weight_decay: 0.1 };
        let run = |kind, threads: Option<usize>| {
            let shapes = vec![("a".to_owned(), 7, 9), ("b".to_owned(), 1, 70)];
            let mut parameters = Parameters::new(shapes, kind, Device::Cpu).unwrap();
            let ramp = Tensor::linspace(-1.0, 1.0, parameters.master.size()[0], (Kind::Float, Device::Cpu));
            parameters.master.copy_(&ramp);
            parameters.masters_changed().unwrap();
            for number in 1..=3 {
                parameters.gradient.copy_(&(&ramp * 3.0 * number as f64).sin());
                match threads {
                    Some(threads) => parameters.step(&adam, number, &Team::new(threads).unwrap()).unwrap(),
                    None => parameters.step_by_operations(adam.at(number)).unwrap(),
                }
            }
            let rounded = parameters.weight(0).unwrap().to_kind(Kind::Float);
            assert!((rounded - parameters.master(0).unwrap()).abs().max().double_value(&[]) < 0.01);
            Vec::<f32>::try_from(&parameters.master).unwrap()
        };
        for kind in [Kind::Float, Kind::BFloat16] {
            let one = run(kind, Some(1));
            assert_eq!(one, run(kind, Some(3)));
            assert!(one.iter().zip(run(kind, None)).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }
}
