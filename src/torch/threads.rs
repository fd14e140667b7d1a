//! Threads: libtorch's within one operation, and our kernels'.

use crate::{Result, SynthError};

/// The machine's cores that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Sets libtorch's intra-op threads for the calling thread: OpenMP and MKL keep this number per thread,
/// so every blocking closure that calls libtorch begins with it.
pub fn use_threads(threads: usize) {
    tch::set_num_threads(i32::try_from(threads.clamp(1, 1024)).unwrap_or(1));
}

/// Threads that stay, for work whose parts are too short to start one each: libtorch's libraries keep memory per thread.
#[derive(Debug)]
pub(crate) struct Team {
    /// None: the calling thread does everything.
    pool: Option<rayon::ThreadPool>,
    /// Joined in the end: a process must not exit while libtorch takes a thread's memory down.
    handles: Vec<std::thread::JoinHandle<()>>,
    threads: usize,
}

impl Drop for Team {
    fn drop(&mut self) {
        self.pool = None;
        for handle in self.handles.drain(..) {
            if handle.join().is_err() {
                log::error!("a thread of a team panicked");
            }
        }
    }
}

impl Team {
    /// A team of `threads`.
    pub(crate) fn new(threads: usize) -> Result<Self> {
        let threads = threads.max(1);
        let mut team = Self { pool: None, handles: Vec::new(), threads };
        if threads > 1 {
            let start = |thread: rayon::ThreadBuilder| {
                let builder = std::thread::Builder::new().name(format!("synth-team-{}", thread.index()));
                team.handles.push(builder.spawn(|| thread.run())?);
                Ok(())
            };
            let builder = rayon::ThreadPoolBuilder::new().num_threads(threads).spawn_handler(start);
            let builder = builder.start_handler(move |_| use_threads(threads / 2));
            let pool = builder.build();
            team.pool =
                Some(pool.map_err(|error| SynthError::Internal(format!("threads could not be started: {error}")))?);
        }
        Ok(team)
    }

    /// How many.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `tasks` side by side.
    pub(crate) fn each<F: FnOnce() + Send>(&self, tasks: impl Iterator<Item = F>) {
        match &self.pool {
            Some(pool) => pool.in_place_scope(|scope| tasks.for_each(|task| scope.spawn(|_| task()))),
            None => tasks.for_each(|task| task()),
        }
    }

    /// Runs both, at the same time where there are threads, each with half of libtorch's. Both see `shared`, which holds
    /// tensors that neither writes while the other reads them.
    pub(crate) fn side_by_side<S, A: Send, B: Send>(
        &self,
        shared: &S,
        first: impl FnOnce(&S) -> A + Send,
        second: impl FnOnce(&S) -> B + Send,
    ) -> (A, B) {
        let Some(pool) = &self.pool else { return (first(shared), second(shared)) };
        let (borrowed, other) = (Borrowed(shared), Borrowed(shared));
        pool.join(
            move || {
                let _guard = tch::no_grad_guard();
                first(borrowed.get())
            },
            move || {
                let _guard = tch::no_grad_guard();
                second(other.get())
            },
        )
    }
}

/// Within [`Team::side_by_side`]: runs both, `second` on the other side's thread if that is done first. What both see is as
/// there.
pub(crate) fn overlapped<S, A: Send, B: Send>(
    shared: &S,
    first: impl FnOnce(&S) -> A + Send,
    second: impl FnOnce(&S) -> B + Send,
) -> (A, B) {
    if rayon::current_thread_index().is_none() {
        return (first(shared), second(shared));
    }
    let (borrowed, other) = (Borrowed(shared), Borrowed(shared));
    rayon::join(move || first(borrowed.get()), move || second(other.get()))
}

/// A reference that may cross to another thread although tensors lie behind it.
struct Borrowed<'a, S>(&'a S);

impl<'a, S> Borrowed<'a, S> {
    fn get(self) -> &'a S {
        self.0
    }
}

// SAFETY: libtorch's tensors are reference-counted atomically and may be read by several threads at once; that no
// element is written meanwhile is what callers of `Team::side_by_side` promise.
#[allow(unsafe_code)]
unsafe impl<S> Send for Borrowed<'_, S> {}
