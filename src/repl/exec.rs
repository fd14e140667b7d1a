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
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

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
    Error(Option<String>, SynthError),
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
            error => Self::Error(None, error),
        }
    }
}

/// A session, and where and how its results are printed.
pub(super) struct Runner {
    pub(super) session: SynthSession,
    pub(super) settings: Settings,
    pub(super) output: Output,
    depth: usize,
}

impl Runner {
    pub(super) fn new(session: SynthSession, settings: Settings) -> Self {
        Self { session, settings, output: Output::stdout(), depth: 0 }
    }

    /// Waits for cancelled work to end: a training writes its last checkpoint before it gives its memory back.
    pub(super) async fn settled(&self, patience: Duration) {
        let runtime = self.session.context().runtime_env();
        let idle = async {
            while runtime.memory_pool.reserved() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // What takes longer is given up, as by a kill: stored versions and earlier checkpoints stay.
        let _ = tokio::time::timeout(patience, idle).await;
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

    /// Runs a statement until it ends or Ctrl-C is pressed; dropping its stream stops it.
    async fn interruptible(&mut self, parsed: Parsed) -> Result<(), Stop> {
        let result = tokio::select! {
            result = self.statement(parsed.statement) => result,
            _ = tokio::signal::ctrl_c() => {
                crate::exec::interrupt_group_fits();
                Err(SynthError::Cancelled)
            }
        };
        self.unless_unread(result)
    }

    async fn statement(&mut self, statement: SynthStatement) -> Result<()> {
        let started = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_millis(125));
        let mut progress = Progress::new(!self.settings.quiet && std::io::stderr().is_terminal());

        // On a task of its own, so that planning that computes (CREATE TABLE … AS) leaves this thread free.
        let session = self.session.clone();
        let mut planning = Box::pin(SpawnedTask::spawn(async move { plan(&session, statement).await }).join());
        let planned = loop {
            tokio::select! {
                planned = &mut planning => break planned,
                _ = ticks.tick() => progress.tick(),
            }
        };
        let (plan, context) = planned.map_err(|error| SynthError::Internal(error.to_string()))??;
        progress.follow(&plan);

        let schema = plan.schema();
        let mut result = Printer::new(&self.settings, &mut self.output, &schema)?;
        let (mut batches, mut running) = run(plan, context);
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
                _ = ticks.tick() => progress.tick(),
            }
        }
        (&mut running).await.map_err(|error| SynthError::Internal(error.to_string()))?;
        drop(progress);
        result.finish()?;
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

type Batches = mpsc::Receiver<Result<RecordBatch>>;

/// Runs a plan on a task of its own, which ends when either of the results is dropped.
fn run(plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> (Batches, SpawnedTask<()>) {
    let (sender, receiver) = mpsc::channel(2);
    let task = SpawnedTask::spawn(async move {
        let mut stream = match execute_stream(plan, context) {
            Ok(stream) => stream,
            Err(error) => {
                // A closed channel means that nobody waits for the error.
                let _ = sender.send(Err(error.into())).await;
                return;
            }
        };
        while let Some(batch) = stream.next().await {
            let last = batch.is_err();
            if sender.send(batch.map_err(SynthError::from)).await.is_err() || last {
                return;
            }
        }
    });
    (receiver, task)
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
