//! The interactive and batch command line `synthohive`.
//!
//! | file | holds |
//! |---|---|
//! | `args` | the command line's arguments |
//! | `exec` | running scripts, statement by statement |
//! | `format`, `training`, `output` | printing results, and where to |
//! | `progress` | the bar on standard error |
//! | `command` | the `\` commands |
//! | `interactive`, `helper`, `complete`, `highlight`, `lex` | the prompt |

mod args;
mod command;
mod complete;
mod exec;
mod format;
mod helper;
mod highlight;
mod interactive;
mod lex;
mod output;
mod progress;
mod training;

use crate::{Result, SynthError, session::SynthSession};
use args::{Args, Colour, Task};
use exec::{Runner, Settings, Stop};
use std::{
    io::{IsTerminal, Read, Write},
    path::Path,
    process::ExitCode,
};
use tokio::runtime::{Builder, Runtime};

/// Stack of the threads that plan: deep expressions recurse.
const STACK: usize = 8 << 20;

/// The exit code of what Ctrl-C ended, as shells have it.
const INTERRUPTED: u8 = 130;

/// Entry point of the binary: parses the command line, runs it, returns the exit code: 0; 1 after an error; 2 for
/// arguments that make no sense; 130 after Ctrl-C.
pub fn main() -> ExitCode {
    let (args, tasks) = Args::read();
    start(&args, tasks).unwrap_or_else(|error| {
        report(None, &error);
        ExitCode::FAILURE
    })
}

fn start(args: &Args, tasks: Vec<Task>) -> Result<ExitCode> {
    let started = |runtime: std::io::Result<Runtime>| {
        runtime.map_err(|source| SynthError::Io { context: "cannot start threads".into(), source })
    };
    let compute = started(Builder::new_multi_thread().enable_all().thread_stack_size(STACK).build())?;
    // Watches Ctrl-C and the clock on this thread, however busy the other threads are.
    let control = started(Builder::new_current_thread().enable_all().build())?;
    let mut session = SynthSession::builder();
    if let Some(bytes) = args.memory_limit {
        session = session.with_memory_limit(bytes);
    }
    let session = session.build()?;
    for (name, value) in &args.set {
        // As a statement, since SET knows more options (datafusion.runtime.*) than a configuration holds.
        compute.block_on(session.sql(&format!("SET {name} = '{}'", value.replace('\'', "''"))))?;
    }
    let settings =
        Settings { format: args.format, max_rows: args.maxrows, quiet: args.quiet, timing: true, echo: args.echo };
    let mut runner = Runner::new(session, settings, compute.handle().clone());
    let code = if tasks.is_empty() && std::io::stdin().is_terminal() {
        interactive::run(&control, compute.handle(), &mut runner, colours(args.color))?
    } else {
        batch(&control, &mut runner, tasks)
    };
    control.block_on(runner.settled());
    // A query that was cancelled ends with the process.
    compute.shutdown_background();
    Ok(code)
}

/// Runs the tasks of the command line, or standard input, up to the first error.
fn batch(control: &Runtime, runner: &mut Runner, mut tasks: Vec<Task>) -> ExitCode {
    if tasks.is_empty() {
        tasks.push(Task::File("-".into()));
    }
    for task in tasks {
        let result = control.block_on(async {
            match task {
                Task::Command(sql) => runner.script(&sql).await,
                Task::File(path) if path == Path::new("-") => {
                    let mut script = String::new();
                    std::io::stdin()
                        .read_to_string(&mut script)
                        .map_err(|source| SynthError::Io { context: "cannot read standard input".into(), source })?;
                    runner.script(&script).await
                }
                Task::File(path) => runner.file(&path).await,
            }
        });
        match result {
            Ok(()) => {}
            Err(Stop::Quit | Stop::Unread) => return ExitCode::SUCCESS,
            Err(Stop::Error(place, error)) => {
                report(place.as_deref(), &error);
                return ExitCode::FAILURE;
            }
            Err(Stop::Cancelled) => {
                report(None, &SynthError::Cancelled);
                return ExitCode::from(INTERRUPTED);
            }
        }
    }
    ExitCode::SUCCESS
}

/// Prints an error on standard error.
fn report(place: Option<&str>, error: &SynthError) {
    let text = match error {
        SynthError::DataFusion(error) => error.strip_backtrace(),
        other => other.to_string(),
    };
    let place = place.map(|place| format!("{place}: ")).unwrap_or_default();
    let mut err = std::io::stderr();
    let (red, plain) = if err.is_terminal() && colours_allowed() { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    // Standard error being closed leaves nobody to tell.
    let _ = writeln!(err, "{red}error:{plain} {place}{text}");
}

fn colours(when: Colour) -> bool {
    match when {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => std::io::stdout().is_terminal() && colours_allowed(),
    }
}

/// <https://no-color.org>: any value but the empty one forbids colours.
fn colours_allowed() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|value| value != "dumb")
}
