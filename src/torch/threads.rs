//! Threads: libtorch's within one operation, and our kernels'.

use crate::{Result, SynthError};

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

/// Runs `first` on the calling thread and, where `threads` allow, `second` on another at the same time; each with half of
/// libtorch's threads. Both see `shared`, which holds tensors that neither writes while the other reads them.
pub(crate) fn side_by_side<S, A, B: Send>(
    shared: &S,
    threads: usize,
    first: impl FnOnce(&S) -> A,
    second: impl FnOnce(&S) -> B + Send,
) -> Result<(A, B)> {
    if threads < 2 {
        return Ok((first(shared), second(shared)));
    }
    let borrowed = Borrowed(shared);
    std::thread::scope(|scope| {
        let second = scope.spawn(move || {
            use_threads(threads / 2);
            let _guard = tch::no_grad_guard();
            second(borrowed.get())
        });
        use_threads(threads / 2);
        let first = first(shared);
        let second = second.join().map_err(|_| SynthError::Internal("a training thread panicked".to_owned()))?;
        Ok((first, second))
    })
}

/// A reference that may cross to another thread although tensors lie behind it.
struct Borrowed<'a, S>(&'a S);

impl<'a, S> Borrowed<'a, S> {
    fn get(self) -> &'a S {
        self.0
    }
}

// SAFETY: libtorch's tensors are reference-counted atomically and may be read by several threads at once; that no
// element is written meanwhile is what callers of `side_by_side` promise.
#[allow(unsafe_code)]
unsafe impl<S> Send for Borrowed<'_, S> {}
