//! What rustyline asks while a line is edited.

use super::{complete::Completions, highlight::highlight, lex::is_complete};
use crate::session::SynthSession;
use rustyline::{
    Context, Helper, Hinter,
    completion::{Completer, Pair},
    highlight::{CmdKind, Highlighter},
    validate::{ValidationContext, ValidationResult, Validator},
};
use std::borrow::Cow;
use tokio::runtime::Handle;

/// Completes, colours, and decides whether Enter ends the statement.
#[derive(Helper, Hinter)]
pub(super) struct SqlHelper {
    session: SynthSession,
    completions: Completions,
    colour: bool,
}

impl SqlHelper {
    pub(super) fn new(session: SynthSession, runtime: Handle, colour: bool) -> Self {
        Self { completions: Completions::new(session.clone(), runtime), session, colour }
    }
}

impl Completer for SqlHelper {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        self.completions.complete(line, at)
    }
}

impl Highlighter for SqlHelper {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if self.colour { Cow::Owned(highlight(line, self.session.dialect().as_ref())) } else { Cow::Borrowed(line) }
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        self.colour && !matches!(kind, CmdKind::MoveCursor)
    }
}

impl Validator for SqlHelper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let line = context.input();
        let whole = line.trim_start().starts_with('\\') || is_complete(line, self.session.dialect().as_ref());
        Ok(if whole { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}
