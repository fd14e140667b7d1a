//! From synchronous code into the store: planning in DataFusion is synchronous, object stores are not.

use crate::{Result, SynthError};
use std::{io, sync::LazyLock};
use tokio::runtime::{Builder, Runtime};

/// The runtime that I/O started by synchronous code runs on. It lives as long as the process.
static IO: LazyLock<io::Result<Runtime>> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(2).thread_name("synth-io").enable_all().build());

/// Runs `future` to its end while the calling thread waits.
///
/// The future runs on a thread and a runtime of its own, so this may be called from anywhere: from plain threads,
/// and from the workers of any tokio runtime, a single-threaded one included. It may borrow from the caller.
///
/// # Errors
/// The future's; the operating system refuses a thread.
pub fn blocking<T: Send>(future: impl Future<Output = Result<T>> + Send) -> Result<T> {
    let refused = |source: &io::Error| SynthError::Io {
        context: "starting a thread for input and output".to_owned(),
        source: io::Error::new(source.kind(), source.to_string()),
    };
    let runtime = IO.as_ref().map_err(refused)?;
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("synth-io-wait".to_owned())
            .spawn_scoped(scope, || runtime.block_on(future))
            .map_err(|source| refused(&source))?
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs blocking or CPU-bound `work` away from the runtime's workers, where there is a runtime.
///
/// # Errors
/// Those of `work`; the runtime shuts down.
pub async fn off_worker<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::runtime::Handle::try_current() {
        Err(_) => work(),
        Ok(runtime) => match runtime.spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(SynthError::Cancelled), // the runtime is shutting down
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Needs a runtime with a timer, and yields.
    async fn borrowed_length(text: &str) -> Result<usize> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(text.len())
    }

    #[test]
    fn runs_outside_any_runtime_and_borrows() {
        let text = String::from("four");
        assert_eq!(blocking(borrowed_length(&text)).unwrap(), 4);
    }

    #[test]
    fn runs_within_single_and_multi_threaded_runtimes() {
        let single = Builder::new_current_thread().build().unwrap();
        assert_eq!(single.block_on(async { blocking(borrowed_length("one")) }).unwrap(), 3);
        let multi = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let nested = multi.spawn(async { blocking(async { blocking(borrowed_length("three")) }) });
        assert_eq!(multi.block_on(nested).unwrap().unwrap(), 5);
    }

    #[test]
    fn hands_errors_on() {
        let error = blocking::<()>(async { Err(SynthError::Cancelled) }).unwrap_err();
        assert!(matches!(error, SynthError::Cancelled), "{error}");
    }
}
