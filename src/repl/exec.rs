//! Runs scripts, statement by statement, and prints their results.

use super::{
    args::MaxRows,
    command,
    format::{Format, ResultWriter, failed},
    lex::{Piece, pieces},
    output::Output,
    progress::Progress,
    training::TrainingView,
};
use crate::{
    Result, SynthError,
    exec::train::TrainExec,
    session::{Parsed, SynthSession, SynthStatement},
};
use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    common::runtime::SpawnedTask,
    execution::TaskContext,
    physical_plan::{ExecutionPlan, execute_stream},
};
use futures::StreamExt;
use std::{
    io::{IsTerminal, Write},
    path::Path,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{runtime::Handle, sync::mpsc};

/// How long the last checkpoint of a training may take.
const GRACE: Duration = Duration::from_secs(20);

/// Files that may include each other (`\i`), at most.
const DEPTH: usize = 16;

/// How results are printed; changed by `\` commands.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) format: Format,
    pub(super) max_rows: MaxRows,
    pub(super) quiet: bool,
    pub(super) timing: bool,
    pub(super) echo: bool,
}

/// Why a script did not run to its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// An error, and where it arose (a file), to print.
    Error(Option<String>, Box<SynthError>),
    /// Ctrl-C.
    Cancelled,
    /// `\q`.
    Quit,
    /// Nobody reads the output any more.
    Unread,
}

impl From<SynthError> for Stop {
    fn from(error: SynthError) -> Self {
        match error {
            SynthError::Cancelled => Self::Cancelled,
            error => Self::Error(None, Box::new(error)),
        }
    }
}

/// A session, and where and how its results are printed.
pub(super) struct Runner {
    pub(super) session: SynthSession,
    pub(super) settings: Settings,
    pub(super) output: Output,
    /// Where queries run. Not where signals and clocks are watched: a query may keep every worker busy.
    compute: Handle,
    depth: usize,
    /// Whether the last statement was a training that did not end.
    leaves_checkpoint: bool,
}

impl Runner {
    /// Runs statements on `compute`. The methods are to be awaited on another runtime.
    pub(super) fn new(session: SynthSession, settings: Settings, compute: Handle) -> Self {
        Self { session, settings, output: Output::stdout(), compute, depth: 0, leaves_checkpoint: false }
    }

    /// A task on the runtime of queries, aborted when dropped.
    fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> SpawnedTask<T> {
        let _entered = self.compute.enter();
        SpawnedTask::spawn(work)
    }

    /// After Ctrl-C: lets a training write its last checkpoint, which it does before it gives its memory back. Another
    /// Ctrl-C does not wait.
    pub(super) async fn settled(&self) {
        if !self.leaves_checkpoint {
            return;
        }
        let runtime = self.session.context().runtime_env();
        let idle = async {
            while runtime.memory_pool.reserved() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // What is not waited for is given up, as by a kill: stored versions and earlier checkpoints stay.
        tokio::select! {
            () = idle => {}
            () = tokio::time::sleep(GRACE) => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    }

    /// Runs the statements and `\` commands of `script` up to the first error.
    pub(super) async fn script(&mut self, script: &str) -> Result<(), Stop> {
        for piece in pieces(script, self.session.dialect().as_ref()) {
            match piece {
                Piece::Command(line) => Box::pin(command::run(self, &line)).await?,
                Piece::Sql(sql) => {
                    for parsed in self.session.script(&sql)? {
                        let parsed = parsed?;
                        if self.settings.echo {
                            let text = format!("{};", parsed.text);
                            self.print(|out| out.line(&text))?;
                        }
                        self.interruptible(parsed).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Runs a file.
    pub(super) async fn file(&mut self, path: &Path) -> Result<(), Stop> {
        if self.depth == DEPTH {
            return Err(SynthError::Argument {
                function: "\\i".into(),
                argument: "file".into(),
                given: format!("`{}` within {DEPTH} other files", path.display()),
                expected: "files that do not include themselves".into(),
            }
            .into());
        }
        let script = std::fs::read_to_string(path)
            .map_err(|source| SynthError::Io { context: format!("cannot read `{}`", path.display()), source })?;
        self.depth += 1;
        let result = Box::pin(self.script(&script)).await;
        self.depth -= 1;
        result.map_err(|stop| match stop {
            Stop::Error(None, error) => Stop::Error(Some(path.display().to_string()), error),
            other => other,
        })
    }

    /// Runs a query of the `\` commands: as any other, without the footer.
    pub(super) async fn query(&mut self, sql: &str) -> Result<(), Stop> {
        let quiet = std::mem::replace(&mut self.settings.quiet, true);
        let mut result = Ok(());
        for parsed in self.session.script(sql)? {
            result = match parsed {
                Ok(parsed) => self.interruptible(parsed).await,
                Err(error) => Err(error.into()),
            };
            if result.is_err() {
                break;
            }
        }
        self.settings.quiet = quiet;
        result
    }

    /// Prints through `print`; a reader that went away ends the program.
    pub(super) fn print(&mut self, print: impl FnOnce(&mut Output) -> Result<()>) -> Result<(), Stop> {
        let result = print(&mut self.output);
        self.unless_unread(result)
    }

    fn unless_unread(&self, result: Result<()>) -> Result<(), Stop> {
        result.map_err(|error| if self.output.is_broken() { Stop::Unread } else { error.into() })
    }

    /// Runs a statement until it ends or Ctrl-C is pressed.
    async fn interruptible(&mut self, parsed: Parsed) -> Result<(), Stop> {
        let result = self.statement(parsed.statement).await;
        if matches!(result, Err(SynthError::Cancelled)) {
            // An aggregate that trains is no stream that could be dropped.
            crate::exec::interrupt_group_fits();
        }
        self.unless_unread(result)
    }

    async fn statement(&mut self, statement: SynthStatement) -> Result<()> {
        let started = Instant::now();
        let mut ctrl_c = pin!(tokio::signal::ctrl_c());
        let mut ticks = tokio::time::interval(Duration::from_millis(125));
        let mut progress = Progress::new(!self.settings.quiet && std::io::stderr().is_terminal());

        // On a task of its own, so that planning that computes (CREATE TABLE … AS) leaves this thread free.
        let session = self.session.clone();
        let mut planning = Box::pin(self.spawn(async move { plan(&session, statement).await }).join());
        let planned = loop {
            tokio::select! {
                planned = &mut planning => break planned,
                _ = &mut ctrl_c => return Err(progress.interrupted()),
                _ = ticks.tick() => progress.tick(),
            }
        };
        let (plan, context) = planned.map_err(|error| SynthError::Internal(error.to_string()))??;
        progress.follow(&plan);
        self.leaves_checkpoint = trains(&plan);

        let schema = plan.schema();
        let (sender, mut batches) = mpsc::channel(2);
        let mut running = self.spawn(run(plan, context, sender));
        let mut result = Printer::new(&self.settings, &mut self.output, &schema)?;
        let mut rows = 0;
        loop {
            tokio::select! {
                batch = batches.recv() => match batch {
                    Some(batch) => {
                        let batch = batch?;
                        rows += batch.num_rows();
                        result.write(&batch, &mut progress)?;
                    }
                    None => break,
                },
                // Dropping the stream stops the query.
                _ = &mut ctrl_c => return Err(progress.interrupted()),
                _ = ticks.tick() => progress.tick(),
            }
        }
        (&mut running).await.map_err(|error| SynthError::Internal(error.to_string()))?;
        drop(progress);
        result.finish()?;
        self.leaves_checkpoint = false;
        if !self.settings.quiet {
            self.footer(rows, started.elapsed())?;
        }
        Ok(())
    }

    /// The number of rows and the time: below a table, but not among data.
    fn footer(&mut self, rows: usize, elapsed: Duration) -> Result<()> {
        let mut text = format!("{rows} row(s) fetched.\n");
        if self.settings.timing {
            text.push_str(&format!("Elapsed {:.3} seconds.\n", elapsed.as_secs_f64()));
        }
        if self.settings.format == Format::Table {
            self.output.line(&text)
        } else if std::io::stderr().is_terminal() {
            // Lost words about the result must not fail the query that gave it.
            let _ = write!(std::io::stderr(), "{text}");
            Ok(())
        } else {
            Ok(())
        }
    }
}

/// Plans a statement; definitions take effect here.
async fn plan(session: &SynthSession, statement: SynthStatement) -> Result<(Arc<dyn ExecutionPlan>, Arc<TaskContext>)> {
    let frame = session.execute(statement).await?;
    let context = Arc::new(frame.task_ctx());
    Ok((frame.create_physical_plan().await?, context))
}

/// Whether a training is part of a plan.
fn trains(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<TrainExec>() || plan.children().into_iter().any(trains)
}

/// Runs a plan, until it ends or nobody waits for its batches.
async fn run(plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>, batches: mpsc::Sender<Result<RecordBatch>>) {
    let mut stream = match execute_stream(plan, context) {
        Ok(stream) => stream,
        Err(error) => {
            // A closed channel means that nobody waits for the error.
            let _ = batches.send(Err(error.into())).await;
            return;
        }
    };
    while let Some(batch) = stream.next().await {
        let last = batch.is_err();
        if batches.send(batch.map_err(SynthError::from)).await.is_err() || last {
            return;
        }
    }
}

/// Prints one result.
enum Printer<'a> {
    Rows { writer: ResultWriter<&'a mut Output>, to_terminal: bool },
    Training { view: TrainingView, out: &'a mut Output },
}

impl<'a> Printer<'a> {
    fn new(settings: &Settings, out: &'a mut Output, schema: &SchemaRef) -> Result<Self> {
        if settings.format == Format::Table && TrainingView::fits(schema) {
            return Ok(Self::Training { view: TrainingView::default(), out });
        }
        let to_terminal = out.is_terminal();
        let writer = ResultWriter::new(settings.format, out, schema.clone(), settings.max_rows.0)?;
        Ok(Self::Rows { writer, to_terminal })
    }

    fn write(&mut self, batch: &RecordBatch, progress: &mut Progress) -> Result<()> {
        match self {
            Self::Rows { writer, to_terminal: true } => progress.suspend(|| writer.write(batch)),
            Self::Rows { writer, to_terminal: false } => writer.write(batch),
            Self::Training { view, out } => {
                if let Some(now) = progress.suspend(|| view.write(batch, out))? {
                    progress.epoch(now.epoch.into(), now.epochs.into(), now.left, now.score);
                }
                Ok(())
            }
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::Rows { writer, .. } => writer.finish(),
            Self::Training { out, .. } => out.flush().map_err(failed),
        }
    }
}
