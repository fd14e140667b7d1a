//! The prompt.

use super::{
    exec::{Runner, Stop},
    helper::SqlHelper,
    lex::is_blank,
    report,
};
use crate::{Result, SynthError};
use rustyline::{CompletionType, Config, Editor, error::ReadlineError, history::FileHistory};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};
use tokio::runtime::{Handle, Runtime};

const PROMPT: &str = "synthohive> ";
const COLOURED: &str = "\x1b[1;32msynthohive\x1b[0m> ";

/// Statements that the history keeps.
const HISTORY: usize = 10_000;

/// Reads statements and runs them until Ctrl-D or `\q`. Errors are printed and leave the prompt.
pub(super) fn run(control: &Runtime, compute: &Handle, runner: &mut Runner, colour: bool) -> Result<ExitCode> {
    let mut editor = editor(compute, runner, colour).map_err(terminal)?;
    let history = history_file();
    if let Some(path) = &history
        && let Err(error) = load(&mut editor, path)
    {
        report(Some("history is not kept"), &terminal(error));
    }
    if !runner.settings.quiet {
        let version = env!("CARGO_PKG_VERSION");
        let datafusion = datafusion::DATAFUSION_VERSION;
        let text = format!("synthohive {version} (DataFusion {datafusion}). \\? lists commands, Ctrl-D quits.");
        if let Err(Stop::Unread) = runner.print(|out| out.line(&text)) {
            return Ok(ExitCode::SUCCESS);
        }
    }
    let prompt = (PROMPT, if colour { COLOURED } else { PROMPT });
    loop {
        let line = match editor.readline(&prompt) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(ExitCode::SUCCESS),
            Err(error) => return Err(terminal(error)),
        };
        if is_blank(&line, runner.session.dialect().as_ref()) {
            continue;
        }
        let added = editor.add_history_entry(line.trim_end());
        if let (Ok(true), Some(path)) = (added, &history) {
            // Kept at once, so that sessions side by side and killed ones lose nothing. That it is not kept was
            // reported at the start.
            let _ = editor.append_history(path);
        }
        match control.block_on(runner.script(&line)) {
            Ok(()) => {}
            Err(Stop::Quit | Stop::Unread) => return Ok(ExitCode::SUCCESS),
            Err(Stop::Cancelled) => report(None, &SynthError::Cancelled),
            Err(Stop::Error(place, error)) => report(place.as_deref(), &error),
        }
    }
}

fn editor(compute: &Handle, runner: &Runner, colour: bool) -> rustyline::Result<Editor<SqlHelper, FileHistory>> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .history_ignore_space(true)
        .history_ignore_dups(true)?
        .max_history_size(HISTORY)?
        .build();
    let history = FileHistory::with_config(&config);
    let mut editor = Editor::with_history(config, history)?;
    editor.set_helper(Some(SqlHelper::new(runner.session.clone(), compute.clone(), colour)));
    Ok(editor)
}

fn load(editor: &mut Editor<SqlHelper, FileHistory>, path: &Path) -> rustyline::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    match editor.load_history(path) {
        Err(ReadlineError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// `$XDG_DATA_HOME/synthohive/history`, by default below `~/.local/share`; none without a home.
fn history_file() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))?;
    Some(data.join("synthohive").join("history"))
}

fn terminal(error: ReadlineError) -> SynthError {
    let source = match error {
        ReadlineError::Io(error) => error,
        other => std::io::Error::other(other),
    };
    SynthError::Io { context: "the terminal".into(), source }
}
