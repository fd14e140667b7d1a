//! The progress bar of a query, on standard error.

use crate::SynthError;
use datafusion::physical_plan::{
    ExecutionPlan,
    statistics::{StatisticsArgs, StatisticsContext},
};
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::{
    fmt,
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

/// Queries shorter than this show no bar.
const PATIENCE: Duration = Duration::from_millis(500);

/// Drawn where standard error is a terminal; otherwise everything here is a no-op.
pub(super) struct Progress {
    bar: ProgressBar,
    started: Instant,
    /// Leaves of the plan that know how many rows they will give, and that number.
    leaves: Vec<(Arc<dyn ExecutionPlan>, u64)>,
    drawn: bool,
    wanted: bool,
    training: bool,
}

impl Progress {
    /// The bar of a query that is being planned.
    pub(super) fn new(wanted: bool) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        Self { bar, started: Instant::now(), leaves: Vec::new(), drawn: false, wanted, training: false }
    }

    /// Follows the rows that leave the leaves of `plan`.
    pub(super) fn follow(&mut self, plan: &Arc<dyn ExecutionPlan>) {
        if self.wanted {
            leaves(plan, &mut self.leaves);
        }
    }

    /// Redraws; called a few times a second.
    pub(super) fn tick(&mut self) {
        if !self.wanted || self.started.elapsed() < PATIENCE {
            return;
        }
        if self.training {
            self.bar.tick();
            return;
        }
        let total: u64 = self.leaves.iter().map(|(_, rows)| *rows).sum();
        let done: u64 = self
            .leaves
            .iter()
            .map(|(leaf, rows)| {
                let read = leaf.metrics().and_then(|metrics| metrics.output_rows()).unwrap_or(0);
                (read as u64).min(*rows)
            })
            .sum();
        if total > 0 && done > 0 {
            self.draw(
                "{spinner:.cyan} {bar:32.cyan/blue} {human_pos}/{human_len} rows  {rate} rows/s  {eta} left",
                total,
            );
            self.bar.set_position(done);
        } else {
            self.draw("{spinner:.cyan} running  {elapsed}", 0);
        }
        self.bar.tick();
    }

    /// Shows an epoch of a training.
    pub(super) fn epoch(&mut self, epoch: u64, epochs: u64, left: Duration, score: Option<f64>) {
        if !self.wanted {
            return;
        }
        self.training = true;
        let score = score.map(|score| format!("  score {score:.3}")).unwrap_or_default();
        self.bar.set_message(format!("{}{score}", clock(left)));
        self.draw("{spinner:.cyan} {bar:32.cyan/blue} epoch {pos}/{len}  {msg} left", epochs);
        self.bar.set_position(epoch);
        self.bar.tick();
    }

    /// Runs `print` with the bar out of the way.
    pub(super) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// Clears the bar after Ctrl-C, which the terminal echoes: behind the bar, and so on a line of its own.
    pub(super) fn interrupted(&mut self) -> SynthError {
        self.bar.finish_and_clear();
        if self.drawn {
            // Lost cosmetics are no error.
            let _ = write!(std::io::stderr(), "\x1b[1A\r\x1b[2K");
        }
        SynthError::Cancelled
    }

    fn draw(&mut self, template: &str, total: u64) {
        if self.bar.length() != Some(total) || !self.drawn {
            // The templates are constants.
            if let Ok(style) = ProgressStyle::with_template(template) {
                let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
                    // A failed write shows in the bar itself.
                    let _ = write!(out, "{}", HumanCount(state.per_sec() as u64));
                };
                self.bar.set_style(style.with_key("rate", rate).progress_chars("━╸─"));
            }
            self.bar.set_length(total);
        }
        if !self.drawn {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.drawn = true;
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Collects the leaves of known size below (and including) `plan`.
fn leaves(plan: &Arc<dyn ExecutionPlan>, found: &mut Vec<(Arc<dyn ExecutionPlan>, u64)>) {
    let children = plan.children();
    if children.is_empty() {
        let statistics = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new());
        if let Ok(statistics) = statistics
            && statistics.num_rows.is_exact() == Some(true)
            && let Some(rows) = statistics.num_rows.get_value()
        {
            found.push((Arc::clone(plan), *rows as u64));
        }
    }
    for child in children {
        leaves(child, found);
    }
}

/// A duration as `4:05` or `1:02:03`.
pub(super) fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0, "0:00")]
    #[case(65, "1:05")]
    #[case(3_723, "1:02:03")]
    fn clocks(#[case] seconds: u64, #[case] text: &str) {
        assert_eq!(clock(Duration::from_secs(seconds)), text);
    }
}
