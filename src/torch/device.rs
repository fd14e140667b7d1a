//! Where tensors live.

use crate::{Result, SynthError};
use serde::{Deserialize, Serialize};
use std::{fmt, path::PathBuf, str::FromStr, sync::OnceLock};

/// A device by the name used in SQL: `auto`, `cpu`, `cuda`, `cuda:1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// CUDA where it can be had, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device of this index.
    Cuda(usize),
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for DeviceKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let accepted = || "auto, cpu, cuda or cuda:N".to_owned();
        match text.trim().to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            other => {
                other.strip_prefix("cuda:").and_then(|index| index.parse().ok()).map(Self::Cuda).ok_or_else(accepted)
            }
        }
    }
}

/// The device that `kind` means on this machine.
///
/// CUDA is found at run time: `libtorch_cuda.so` is looked for in the folder `$SYNTHOHIVE_LIBTORCH_CUDA`, beside the
/// `libtorch_cpu.so` that this process runs on, and in the folder `cuda` there; it is loaded before libtorch is first
/// asked, so one binary serves both.
///
/// # Errors
/// A CUDA device that cannot be had; the error says why. [`DeviceKind::Auto`] never fails.
pub fn resolve(kind: DeviceKind) -> Result<tch::Device> {
    let unavailable = |reason: String| SynthError::Argument {
        function: "device".into(),
        argument: "device".into(),
        given: kind.to_string(),
        expected: format!("auto or cpu: {reason}"),
    };
    match kind {
        DeviceKind::Cpu => Ok(tch::Device::Cpu),
        DeviceKind::Auto => Ok(if cuda().is_ok() { tch::Device::Cuda(0) } else { tch::Device::Cpu }),
        DeviceKind::Cuda(index) => match cuda() {
            Ok(count) if index < *count => Ok(tch::Device::Cuda(index)),
            Ok(count) => Err(unavailable(format!("there are {count} CUDA devices, the first is cuda:0"))),
            Err(reason) => Err(unavailable(reason.clone())),
        },
    }
}

/// Whether matrices multiply faster in bf16 (with f32 accumulation) than in f32 on `device`: on a GPU, and on
/// processors with AMX. AVX-512 BF16 alone does not pay: measured at half the rate of f32. A property of the
/// machine, so a process decides once and always the same.
#[must_use]
pub fn bf16_is_fast(device: tch::Device) -> bool {
    device.is_cuda() || has_amx_bf16()
}

#[cfg(target_arch = "x86_64")]
fn has_amx_bf16() -> bool {
    static AMX: OnceLock<bool> = OnceLock::new();
    *AMX.get_or_init(|| {
        use std::arch::x86_64::{__cpuid, __cpuid_count};
        const AMX_BF16_AND_TILE: u32 = (1 << 22) | (1 << 24);
        // Leaf 7: structured extended features.
        __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & AMX_BF16_AND_TILE == AMX_BF16_AND_TILE
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn has_amx_bf16() -> bool {
    false
}

/// The number of CUDA devices, or why there are none. Decided once.
fn cuda() -> &'static Result<usize, String> {
    static CUDA: OnceLock<Result<usize, String>> = OnceLock::new();
    CUDA.get_or_init(|| {
        load_cuda_library()?;
        if !tch::Cuda::is_available() {
            return Err("libtorch found no usable CUDA driver or device".to_owned());
        }
        usize::try_from(tch::Cuda::device_count()).map_err(|error| error.to_string())
    })
}

#[cfg(target_os = "linux")]
fn load_cuda_library() -> Result<(), String> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    let directory = loaded_libtorch_directory().ok_or("libtorch is not a shared library of this process")?;
    let given = std::env::var_os("SYNTHOHIVE_LIBTORCH_CUDA").map(PathBuf::from);
    let folders = given.into_iter().chain([directory.clone(), directory.join("cuda")]);
    let Some(path) = folders.map(|folder| folder.join("libtorch_cuda.so")).find(|path| path.exists()) else {
        return Err(format!(
            "this libtorch has no CUDA (no libtorch_cuda.so in {}, in its folder cuda, or in $SYNTHOHIVE_LIBTORCH_CUDA); \
             `make libtorch TORCH=cuda` fetches it",
            directory.display()
        ));
    };
    // SAFETY: loading runs the library's initialisers, which register CUDA with the libtorch that is already
    // loaded; both come from one distribution, and the call happens once.
    #[allow(unsafe_code)]
    let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) }.map_err(|error| error.to_string())?;
    std::mem::forget(library); // registered functions must stay mapped
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn load_cuda_library() -> Result<(), String> {
    Err("CUDA is supported on Linux only".to_owned())
}

#[cfg(target_os = "linux")]
fn loaded_libtorch_directory() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.contains("/libtorch_cpu.so"))?;
    PathBuf::from(&line[line.find('/')?..]).parent().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn auto_always_resolves_and_an_absent_device_says_why() {
        resolve(DeviceKind::Auto).unwrap();
        let message = resolve(DeviceKind::Cuda(999)).unwrap_err().to_string();
        assert!(message.contains("cuda:999") && message.contains("auto or cpu"), "{message}");
    }

    #[test]
    fn names_round_trip() {
        for kind in [DeviceKind::Auto, DeviceKind::Cpu, DeviceKind::Cuda(0), DeviceKind::Cuda(3)] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert!("gpu".parse::<DeviceKind>().unwrap_err().contains("cuda:N"));
    }
}
