//! A fit on a thread of its own, watched from async code.

use crate::{
    Result, SynthError,
    encode::{CodeMatrix, Layout},
    models::{Checkpoint, EpochReport, FitObserver, FitOptions, Fitted, ModelKind, TrainingData},
    store::{ModelStore, blocking},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// What to fit.
#[derive(Debug)]
pub struct FittingJob {
    /// The kind of model.
    pub kind: &'static dyn ModelKind,
    /// The shape of the rows.
    pub layout: Layout,
    /// The rows.
    pub rows: CodeMatrix,
    /// The options.
    pub options: FitOptions,
    /// Where to go on from.
    pub resume: Option<Checkpoint>,
    /// Where checkpoints go; nowhere when absent.
    pub checkpoints: Option<CheckpointSlot>,
}

/// Where a training keeps its checkpoint.
#[derive(Debug, Clone)]
pub struct CheckpointSlot {
    /// The store.
    pub store: ModelStore,
    /// The model's name.
    pub name: String,
    /// What is trained.
    pub spec: Arc<serde_json::Value>,
}

/// A running fit. Dropping it cancels the fit at its next step, after a last checkpoint.
#[derive(Debug)]
pub struct Fitting {
    epochs: mpsc::UnboundedReceiver<EpochReport>,
    outcome: oneshot::Receiver<Result<Fitted>>,
    _cancel: CancelOnDrop,
}

#[derive(Debug)]
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Observer {
    epochs: mpsc::UnboundedSender<EpochReport>,
    cancelled: Arc<AtomicBool>,
    checkpoints: Option<CheckpointSlot>,
}

impl FitObserver for Observer {
    fn epoch(&mut self, report: &EpochReport) -> Result<()> {
        // A closed channel is a cancelled fit, which `cancelled` reports.
        let _ = self.epochs.send(*report);
        Ok(())
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint) -> Result<()> {
        let Some(CheckpointSlot { store, name, spec }) = &self.checkpoints else { return Ok(()) };
        blocking(store.save_checkpoint(name, spec, &checkpoint))
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

impl Fitting {
    /// Starts `job` on a new thread. `held` is kept until the thread ends, even if this is dropped before.
    ///
    /// # Errors
    /// The thread cannot be had.
    pub fn start(job: FittingJob, held: impl Send + 'static) -> Result<Self> {
        let (epochs_out, epochs) = mpsc::unbounded_channel();
        let (outcome_out, outcome) = oneshot::channel();
        let cancelled = Arc::new(AtomicBool::new(false));
        let mut observer =
            Observer { epochs: epochs_out, cancelled: Arc::clone(&cancelled), checkpoints: job.checkpoints.clone() };
        let work = move || {
            let data = TrainingData { layout: &job.layout, rows: &job.rows };
            let outcome = job.kind.fit(&data, &job.options, job.resume.as_ref(), &mut observer);
            drop(held);
            // Nobody waits for the outcome of a cancelled fit.
            let _ = outcome_out.send(outcome);
        };
        std::thread::Builder::new()
            .name("synth-fit".to_owned())
            .spawn(work)
            .map_err(|source| SynthError::Io { context: "starting the training thread".to_owned(), source })?;
        Ok(Self { epochs, outcome, _cancel: CancelOnDrop(cancelled) })
    }

    /// The next epoch; `None` when the fit is over.
    pub async fn epoch(&mut self) -> Option<EpochReport> {
        self.epochs.recv().await
    }

    /// What the fit returned.
    ///
    /// # Errors
    /// The fit's; the thread died.
    pub async fn outcome(&mut self) -> Result<Fitted> {
        (&mut self.outcome).await.unwrap_or_else(|_| Err(died()))
    }

    /// Waits on the calling thread; cancels the fit as soon as `interrupted`.
    ///
    /// # Errors
    /// As [`Fitting::outcome`]; [`SynthError::Cancelled`] when interrupted.
    pub fn wait(mut self, interrupted: impl Fn() -> bool) -> Result<Fitted> {
        let mut pause = Duration::from_millis(1);
        loop {
            match self.outcome.try_recv() {
                Ok(outcome) => return outcome,
                Err(oneshot::error::TryRecvError::Closed) => return Err(died()),
                Err(oneshot::error::TryRecvError::Empty) if interrupted() => return Err(SynthError::Cancelled),
                Err(oneshot::error::TryRecvError::Empty) => {
                    std::thread::sleep(pause);
                    pause = (2 * pause).min(Duration::from_millis(50));
                }
            }
        }
    }
}

fn died() -> SynthError {
    SynthError::Internal("the training thread ended without a result".to_owned())
}
