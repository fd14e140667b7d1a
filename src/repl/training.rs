//! The rows of `synth_train`, printed as they arrive.

use super::{format::failed, output::Output, progress::clock};
use crate::Result;
use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type, Schema},
};
use std::{fmt::Write as _, io::Write, time::Duration};

/// Epochs that a training prints, about; the progress bar shows the others.
const PRINTED: u32 = 20;

/// The columns by which a result is known for the story of a training.
const COLUMNS: [&str; 7] = ["model", "version", "epoch", "epochs", "loss", "score", "eta_seconds"];

/// Prints some twenty of the epochs of each model, whatever their number, and the stored version. Of models that are trained
/// side by side, one is printed at a time; the others wait until it is stored.
#[derive(Default)]
pub(super) struct TrainingView {
    /// Those not printed to their end, by their beginning.
    stories: Vec<Story>,
}

/// What there is to print of a model.
#[derive(Default)]
struct Story {
    model: String,
    /// Not printed yet.
    text: String,
    last: Option<Epoch>,
    last_printed: u32,
    stored: bool,
}

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Epoch {
    pub(super) epoch: u32,
    pub(super) epochs: u32,
    pub(super) score: Option<f64>,
    pub(super) left: Duration,
    loss: Option<f64>,
    critic: Option<f64>,
    speed: Option<f64>,
    elapsed: Option<f64>,
}

impl TrainingView {
    /// Whether a result of this schema is the story of a training.
    pub(super) fn fits(schema: &Schema) -> bool {
        COLUMNS.iter().all(|name| schema.column_with_name(name).is_some())
    }

    /// Prints what of `batch` is worth a line; returns the last epoch of the model that is being printed.
    pub(super) fn write(&mut self, batch: &RecordBatch, out: &mut Output) -> Result<Option<Epoch>> {
        let number = |name: &str| numbers(batch, name);
        let (epoch, epochs, eta) = (number("epoch")?, number("epochs")?, number("eta_seconds")?);
        let (loss, critic, score) = (number("loss")?, number("critic_loss")?, number("score")?);
        let (speed, elapsed, version) = (number("rows_per_second")?, number("elapsed_seconds")?, number("version")?);
        let names = texts(batch, "model")?;
        for row in 0..batch.num_rows() {
            let name = names.as_ref().map(|names| names.as_string::<i32>().value(row)).unwrap_or_default();
            let story = self.story(name);
            if let (Some(e), Some(n)) = (at(&epoch, row), at(&epochs, row)) {
                let now = Epoch {
                    epoch: e as u32,
                    epochs: n as u32,
                    score: at(&score, row),
                    left: Duration::try_from_secs_f64(at(&eta, row).unwrap_or(0.0)).unwrap_or_default(),
                    loss: at(&loss, row),
                    critic: at(&critic, row),
                    speed: at(&speed, row),
                    elapsed: at(&elapsed, row),
                };
                // The row that carries the version may repeat the last epoch.
                if story.last_printed != now.epoch && now.is_printed() {
                    story.print(&now);
                }
                story.last = Some(now);
            }
            if let Some(version) = at(&version, row) {
                story.end(version as u64);
            }
        }
        let mut text = String::new();
        let mut last = None;
        while let Some(story) = self.stories.first_mut() {
            text.push_str(&std::mem::take(&mut story.text));
            last = story.last;
            if !story.stored {
                break;
            }
            self.stories.remove(0);
        }
        if !text.is_empty() {
            out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(failed)?;
        }
        Ok(last)
    }

    /// The story of a model; a new one if it has none.
    fn story(&mut self, model: &str) -> &mut Story {
        let known = self.stories.iter().position(|story| story.model == model);
        let at = known.unwrap_or_else(|| {
            self.stories.push(Story::new(model));
            self.stories.len() - 1
        });
        &mut self.stories[at]
    }
}

impl Story {
    fn new(model: &str) -> Self {
        let text = format!(
            "Training {model}\n{:>11} {:>10} {:>10} {:>8} {:>11} {:>9} {:>9}\n",
            "epoch", "loss", "critic", "score", "rows/s", "elapsed", "left"
        );
        Self { model: model.to_owned(), text, ..Self::default() }
    }

    fn print(&mut self, now: &Epoch) {
        let number = |value: Option<f64>, digits: usize| value.map_or("-".into(), |value| format!("{value:.digits$}"));
        let elapsed = now.elapsed.and_then(|elapsed| Duration::try_from_secs_f64(elapsed).ok());
        // Writing to a String cannot fail.
        let _ = writeln!(
            self.text,
            "{:>11} {:>10} {:>10} {:>8} {:>11} {:>9} {:>9}",
            format!("{}/{}", now.epoch, now.epochs),
            number(now.loss, 4),
            number(now.critic, 4),
            number(now.score, 4),
            now.speed.map_or("-".into(), |speed| grouped(speed.max(0.0) as u64)),
            elapsed.map_or("-".into(), clock),
            clock(now.left),
        );
        self.last_printed = now.epoch;
    }

    fn end(&mut self, version: u64) {
        if let Some(last) = self.last
            && self.last_printed != last.epoch
        {
            // Stopped early: the last epoch is not one of those that are printed anyway.
            self.print(&last);
        }
        let _ = writeln!(self.text, "Stored as version {version} of model {}.", self.model);
        self.stored = true;
    }
}

impl Epoch {
    fn is_printed(&self) -> bool {
        let step = (self.epochs / PRINTED).max(1);
        self.epoch <= 1 || self.epoch >= self.epochs || self.epoch.is_multiple_of(step)
    }
}

fn numbers(batch: &RecordBatch, name: &str) -> Result<Option<ArrayRef>> {
    batch.column_by_name(name).map(|column| Ok(cast(column, &DataType::Float64)?)).transpose()
}

fn texts(batch: &RecordBatch, name: &str) -> Result<Option<ArrayRef>> {
    batch.column_by_name(name).map(|column| Ok(cast(column, &DataType::Utf8)?)).transpose()
}

fn at(column: &Option<ArrayRef>, row: usize) -> Option<f64> {
    let column: &Float64Array = column.as_ref()?.as_primitive_opt::<Float64Type>()?;
    column.is_valid(row).then(|| column.value(row))
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use arrow::{
        array::{Int32Array, StringArray},
        datatypes::Field,
    };
    use rstest::rstest;
    use std::sync::Arc;

    fn story(epochs: i32, upto: i32) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("model", DataType::Utf8, false),
            Field::new("version", DataType::Int32, true),
            Field::new("epoch", DataType::Int32, false),
            Field::new("epochs", DataType::Int32, false),
            Field::new("loss", DataType::Float64, true),
            Field::new("score", DataType::Float64, true),
            Field::new("eta_seconds", DataType::Float64, true),
        ]);
        assert!(TrainingView::fits(&schema));
        let n = upto as usize;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec!["adult"; n])),
            Arc::new(Int32Array::from_iter((1..=upto).map(|e| (e == upto).then_some(3)))),
            Arc::new(Int32Array::from_iter_values(1..=upto)),
            Arc::new(Int32Array::from(vec![epochs; n])),
            Arc::new(Float64Array::from(vec![0.5; n])),
            Arc::new(Float64Array::from_iter((1..=upto).map(|e| (e % 2 == 0).then_some(0.9)))),
            Arc::new(Float64Array::from(vec![61.0; n])),
        ];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    fn print(batch: &RecordBatch, rows_a_batch: usize) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut out = Output::file(file.path()).unwrap();
        let mut view = TrainingView::default();
        for from in (0..batch.num_rows()).step_by(rows_a_batch) {
            let rows = rows_a_batch.min(batch.num_rows() - from);
            view.write(&batch.slice(from, rows), &mut out).unwrap();
        }
        std::fs::read_to_string(file.path()).unwrap()
    }

    #[rstest]
    #[case(300, 300, 1 + 20)]
    #[case(5, 5, 5)]
    #[case(300, 100, 1 + 6 + 1)]
    #[case(1, 1, 1)]
    fn prints_some_epochs_and_the_version(#[case] epochs: i32, #[case] upto: i32, #[case] lines: usize) {
        let batch = story(epochs, upto);
        let text = print(&batch, 1);
        assert_eq!(text, print(&batch, 7));
        assert_eq!(text.lines().count(), 2 + lines + 1, "{text}");
        assert!(text.starts_with("Training adult\n"));
        assert!(text.contains(&format!(" {upto}/{epochs} ")), "{text}");
        assert!(text.ends_with("Stored as version 3 of model adult.\n"), "{text}");
    }

    #[test]
    fn models_trained_side_by_side_are_printed_one_after_the_other() {
        let (first, second) = (story(8, 8), story(3, 3));
        let renamed: ArrayRef = Arc::new(StringArray::from(vec!["second"; 3]));
        let mut columns = second.columns().to_vec();
        columns[0] = renamed;
        let second = RecordBatch::try_new(second.schema(), columns).unwrap();
        let mixed = [first.slice(0, 2), second.slice(0, 1), first.slice(2, 3), second.slice(1, 2), first.slice(5, 3)];
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut out = Output::file(file.path()).unwrap();
        let mut view = TrainingView::default();
        let shown: Vec<_> = mixed.iter().map(|rows| view.write(rows, &mut out).unwrap().unwrap().epoch).collect();
        assert_eq!(shown, [2, 2, 5, 5, 3], "the bar is that of the model that is printed");
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(text, print(&story(8, 8), 8) + &print(&second, 3));
    }

    #[rstest]
    #[case(0, "0")]
    #[case(999, "999")]
    #[case(1_000, "1,000")]
    #[case(1_234_567, "1,234,567")]
    fn groups(#[case] number: u64, #[case] text: &str) {
        assert_eq!(grouped(number), text);
    }
}
