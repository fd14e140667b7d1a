//! How many threads libtorch uses within one operation.

/// Sets libtorch's intra-op threads for the calling thread: OpenMP and MKL keep this number per thread,
/// so every blocking closure that calls libtorch begins with it.
pub fn use_threads(threads: usize) {
    tch::set_num_threads(i32::try_from(threads.clamp(1, 1024)).unwrap_or(1));
}
