//! Threads: libtorch's within one operation, and our kernels'.

/// Sets libtorch's intra-op threads for the calling thread: OpenMP and MKL keep this number per thread,
/// so every blocking closure that calls libtorch begins with it.
pub fn use_threads(threads: usize) {
    tch::set_num_threads(i32::try_from(threads.clamp(1, 1024)).unwrap_or(1));
}

/// Runs `tasks` side by side, the last on the calling thread; a single one costs no thread.
pub(crate) fn in_parallel<F: FnOnce() + Send>(tasks: impl Iterator<Item = F>) {
    std::thread::scope(|scope| {
        let mut tasks = tasks.peekable();
        while let Some(task) = tasks.next() {
            if tasks.peek().is_some() {
                scope.spawn(task);
            } else {
                task();
            }
        }
    });
}
