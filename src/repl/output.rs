//! Where results go: standard output, or a file after `\o`.

use super::format::failed;
use crate::{Result, SynthError};
use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal, Write},
    path::Path,
};

/// The destination of results.
pub(super) struct Output {
    target: Target,
    broken: bool,
}

enum Target {
    Stdout(BufWriter<io::Stdout>),
    File(BufWriter<File>),
}

impl Output {
    pub(super) fn stdout() -> Self {
        Self { target: Target::Stdout(BufWriter::with_capacity(1 << 16, io::stdout())), broken: false }
    }

    /// A new file at `path`; an existing one is replaced.
    pub(super) fn file(path: &Path) -> Result<Self> {
        let file = File::create(path)
            .map_err(|source| SynthError::Io { context: format!("cannot write `{}`", path.display()), source })?;
        Ok(Self { target: Target::File(BufWriter::with_capacity(1 << 16, file)), broken: false })
    }

    /// Whether a person reads along.
    pub(super) fn is_terminal(&self) -> bool {
        matches!(self.target, Target::Stdout(_)) && io::stdout().is_terminal()
    }

    /// Whether the reader went away (`| head`), which ends the program and is no failure.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Prints a line.
    pub(super) fn line(&mut self, text: &str) -> Result<()> {
        writeln!(self, "{text}").and_then(|()| self.flush()).map_err(failed)
    }

    fn note<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        self.broken |= result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        result
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = match &mut self.target {
            Target::Stdout(out) => out.write(bytes),
            Target::File(out) => out.write(bytes),
        };
        self.note(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = match &mut self.target {
            Target::Stdout(out) => out.flush(),
            Target::File(out) => out.flush(),
        };
        self.note(result)
    }
}
