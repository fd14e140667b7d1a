//! Rows of which something is known, by the order that a network knows best.
//!
//! A column that is drawn before one that is known is drawn in an order that hardly any batch had. So each row gets
//! several candidates, drawn so, of which one is kept: each as often as it is likelier in the table's order than it was in the one that
//! it was drawn in (sampling importance resampling: Rubin, "The Calculation of Posterior Distributions by Data Augmentation:
//! Comment", JASA 82, 1987). The mean of the same weights is how probable what is known of the row is, whatever the rest.
//!
//! What comes after all that is known is drawn in the table's order anyway, once, and so are rows of which the first columns are known, or
//! nothing: they are as they would be with a single candidate. A row depends on no other one.

use super::{Question, TILE, Worker};
use crate::{
    Result,
    encode::{KnownCodes, UNKNOWN},
    models::weights::log_sum,
    noise::Noise,
    torch::use_threads,
};
use rand::seq::SliceRandom;
use std::ops::Range;

/// By candidate and column, what the random bits of a row are shifted by, so that the candidates of a row are spread evenly over the
/// codes of every column, and by chance over those of several (Latin hypercube sampling: McKay, Beckman & Conover 1979; shifted as by
/// Cranley & Patterson 1976). Nothing for the first.
pub(super) fn shifts(candidates: usize, columns: usize) -> Vec<Vec<u32>> {
    let noise = Noise::new(0, b"argn/candidates");
    let mut shifts = vec![vec![0; columns]; candidates];
    for k in 0..columns {
        let mut places: Vec<u64> = (1..candidates as u64).collect();
        places.shuffle(&mut noise.purpose(&k.to_string()).block(0));
        for (shifts, place) in shifts.iter_mut().skip(1).zip(places) {
            shifts[k] = ((place << 32) / candidates as u64) as u32;
        }
    }
    shifts
}

/// Per row, the columns from the first one that is not known to the last one that is; empty where none is between known ones.
struct Spans {
    of_rows: Vec<Range<usize>>,
    /// Those of all rows.
    all: Range<usize>,
}

impl Spans {
    /// Of what is known, by column, of some rows whose first `given` columns are never drawn.
    fn of(known: &[Option<Vec<u32>>], given: usize, rows: usize) -> Self {
        let mut of_rows = vec![known.len()..0; rows];
        for (k, known) in known.iter().enumerate().skip(given) {
            for (row, span) in of_rows.iter_mut().enumerate() {
                if known.as_ref().is_some_and(|known| known[row] != UNKNOWN) {
                    span.end = k;
                } else {
                    span.start = span.start.min(k);
                }
            }
        }
        of_rows.iter_mut().for_each(|span| span.end = span.end.max(span.start));
        let some = of_rows.iter().filter(|span| !span.is_empty());
        let all = some.fold(known.len()..0, |all, span| all.start.min(span.start)..all.end.max(span.end));
        Self { of_rows, all }
    }

    /// Whether column `k` is one of a row's span, or the known one that it ends with.
    fn within(&self, k: usize, row: usize) -> bool {
        let span = &self.of_rows[row];
        !span.is_empty() && (span.start..=span.end).contains(&k)
    }
}

/// What is known, by column.
fn by_column(known: &KnownCodes, columns: usize) -> Vec<Option<Vec<u32>>> {
    (0..columns).map(|k| known.subcolumn(k).map(<[u32]>::to_vec)).collect()
}

/// How many candidates of each of `rows` rows are worked on at once: as many as a tile has room for.
fn at_once(rows: usize) -> usize {
    (TILE / rows.max(1)).max(1)
}

/// Candidates for each row: those of all rows by the first shifts, then those by the next ones.
struct Candidates {
    /// By column; none of what is neither known nor drawn.
    codes: Vec<Option<Vec<u32>>>,
    /// Natural logarithms of what the table's order makes of them over what they were drawn with.
    logs: Vec<f64>,
}

/// One of several candidates for each row, as often as it weighs: a reservoir of one (Chao, "A general purpose unequal probability
/// sampling plan", 1982).
struct Reservoir {
    /// Natural logarithms of the sums of weights; none before the first candidate.
    logs: Option<Vec<f64>>,
    rows: usize,
}

impl Reservoir {
    fn new(rows: usize) -> Self {
        Self { logs: None, rows }
    }

    /// The rows that take another candidate, of weights with these natural logarithms, by a number of [0, 1) each. All take the
    /// first one.
    fn takers(&mut self, logs: &[f64], uniform: &[f32]) -> Vec<usize> {
        let Some(sums) = &mut self.logs else {
            self.logs = Some(logs.to_vec());
            return (0..self.rows).collect();
        };
        sums.iter_mut().zip(logs).for_each(|(sum, &log)| *sum = log_sum(*sum, log));
        (0..self.rows).filter(|&row| f64::from(uniform[row]).ln() < logs[row] - sums[row]).collect()
    }
}

impl Worker {
    /// Makes `known`, of the first `rows` rows of tile `tile`, the codes of one of several candidates up to the last one that is known.
    pub(super) fn choose(
        &mut self,
        (tile, rows): (u64, usize),
        question: &Question,
        known: &mut [Option<Vec<u32>>],
    ) -> Result<()> {
        let spans = Spans::of(known, self.given, rows);
        if spans.all.is_empty() {
            return Ok(());
        }
        let mut bits = vec![Vec::new(); known.len()];
        for k in spans.all.clone() {
            bits[k] = vec![0u32; rows];
            question.streams[k].fill_u32(tile, &mut bits[k]);
        }
        let mut reservoir = Reservoir::new(rows);
        let mut chosen = vec![vec![UNKNOWN; rows]; known.len()];
        let mut uniform = vec![0f32; rows];
        let several = at_once(rows);
        for (shifts, choices) in question.shifts.chunks(several).zip(question.choices.chunks(several)) {
            let Candidates { codes, logs } = self.candidates(known, &spans, &bits, shifts)?;
            for ((choice, logs), first) in choices.iter().zip(logs.chunks(rows)).zip((0..).step_by(rows)) {
                choice.fill_uniform(tile, &mut uniform);
                for row in reservoir.takers(logs, &uniform) {
                    let span = spans.of_rows[row].clone();
                    let of_row = codes[span.clone()].iter().zip(&mut chosen[span]);
                    of_row.for_each(|(from, to)| to[row] = from.as_ref().map_or(UNKNOWN, |from| from[first + row]));
                }
            }
        }
        for (known, chosen) in known.iter_mut().zip(chosen) {
            let known = known.get_or_insert_with(|| vec![UNKNOWN; rows]);
            let open = known.iter_mut().zip(chosen).filter(|(known, _)| **known == UNKNOWN);
            open.for_each(|(known, chosen)| *known = chosen);
        }
        Ok(())
    }

    /// The natural logarithm of the probability of what is `known` of up to [`TILE`](super::TILE) rows, by candidates with these
    /// [`shifts`].
    pub(super) fn log_marginal(&mut self, known: &KnownCodes, shifts: &[Vec<u32>]) -> Result<Vec<f64>> {
        use_threads(1);
        let _guard = tch::no_grad_guard();
        let rows = known.rows();
        let known = by_column(known, self.columns.len());
        let spans = Spans::of(&known, self.given, rows);
        let mut logs = vec![0f64; rows];
        let before = |k: usize, row: usize| shifts.is_empty() || k < spans.of_rows[row].start;
        self.add_logs(&known, self.given..known.len(), before, &mut logs)?;
        if shifts.is_empty() || spans.all.is_empty() {
            return Ok(logs);
        }
        // All rows by the same numbers: those that know the same are as probable.
        let noise = Noise::new(0, b"argn/marginal");
        let bits = |k: usize| {
            let mut bits = [0u32];
            noise.purpose(&k.to_string()).fill_u32(0, &mut bits);
            vec![bits[0]; rows]
        };
        let bits: Vec<Vec<u32>> = (0..known.len()).map(bits).collect();
        let mut sums = vec![f64::NEG_INFINITY; rows];
        for shifts in shifts.chunks(at_once(rows)) {
            let logs = self.candidates(&known, &spans, &bits, shifts)?.logs;
            logs.chunks(rows).for_each(|logs| {
                sums.iter_mut().zip(logs).for_each(|(sum, &log)| *sum = log_sum(*sum, log));
            });
        }
        let count = (shifts.len() as f64).ln();
        let between = (0..rows).filter(|&row| !spans.of_rows[row].is_empty());
        between.for_each(|row| logs[row] += sums[row] - count);
        Ok(logs)
    }

    /// The natural logarithm of the probability of `whole` rows in the table's order over the one with which what `known` lacks of up
    /// to [`TILE`](super::TILE) rows is drawn.
    pub(super) fn log_weight(&mut self, known: &KnownCodes, whole: &KnownCodes) -> Result<Vec<f64>> {
        use_threads(1);
        let _guard = tch::no_grad_guard();
        let (known, whole) = (by_column(known, self.columns.len()), by_column(whole, self.columns.len()));
        let rows = whole.iter().flatten().next().map_or(0, Vec::len);
        let spans = Spans::of(&known, self.given, rows);
        let mut logs = vec![0f64; rows];
        self.know_all(&known)?;
        for (k, whole) in whole.iter().enumerate().take(spans.all.end).skip(spans.all.start) {
            let Some(whole) = whole else { continue };
            let open = |row: usize| known[k].as_ref().is_none_or(|known| known[row] == UNKNOWN);
            let drawn = |row: usize| open(row) && spans.of_rows[row].contains(&k);
            if (0..rows).any(drawn) {
                let of_column = self.log_odds(k, whole)?;
                (0..rows).filter(|&row| drawn(row)).for_each(|row| logs[row] -= of_column[row]);
            }
            self.know(k, whole)?;
        }
        let counts = |k: usize, row: usize| k < spans.of_rows[row].start || spans.within(k, row);
        self.add_logs(&whole, self.given..whole.len(), counts, &mut logs)?;
        Ok(logs)
    }

    /// Knows the first rows of the tile alone, and of them what is `known`.
    pub(super) fn know_all(&mut self, known: &[Option<Vec<u32>>]) -> Result<()> {
        self.forget()?;
        known.iter().enumerate().try_for_each(|(k, known)| known.as_ref().map_or(Ok(()), |known| self.know(k, known)))
    }

    /// Draws what is not `known` up to the last column that is, by each column's random bits and their shifts: a candidate for each
    /// row by each of `shifts`.
    fn candidates(
        &mut self,
        known: &[Option<Vec<u32>>],
        spans: &Spans,
        bits: &[Vec<u32>],
        shifts: &[Vec<u32>],
    ) -> Result<Candidates> {
        let rows = spans.of_rows.len();
        let all = rows * shifts.len();
        let (mut logs, mut odds) = (vec![0f64; all], vec![0f32; all]);
        let mut codes: Vec<_> = known.iter().map(|known| Some(known.as_ref()?.repeat(shifts.len()))).collect();
        self.know_all(&codes)?;
        for k in spans.all.clone() {
            if known[k].as_ref().is_some_and(|known| !known.contains(&UNKNOWN)) {
                continue;
            }
            let shifted = shifts.iter().flat_map(|shifts| bits[k].iter().map(move |bits| bits.wrapping_add(shifts[k])));
            let bits: Vec<u32> = shifted.collect();
            let mut drawn = self.draw(k, &bits, Some(&mut odds))?;
            for (at, code) in drawn.iter_mut().enumerate() {
                match known[k].as_ref().map_or(UNKNOWN, |known| known[at % rows]) {
                    UNKNOWN if spans.of_rows[at % rows].contains(&k) => logs[at] -= f64::from(odds[at]).ln(),
                    known => *code = known,
                }
            }
            self.know(k, &drawn)?;
            codes[k] = Some(drawn);
        }
        let within = |k: usize, at: usize| spans.within(k, at % rows);
        self.add_logs(&codes, spans.all.start..spans.all.end + 1, within, &mut logs)?;
        Ok(Candidates { codes, logs })
    }

    /// Adds to `logs` the log-probabilities of `codes`, of the columns `columns` and the rows that are `wanted` of them, each given
    /// the codes of the columns before it.
    fn add_logs(
        &mut self,
        codes: &[Option<Vec<u32>>],
        columns: Range<usize>,
        wanted: impl Fn(usize, usize) -> bool,
        logs: &mut [f64],
    ) -> Result<()> {
        self.forget()?;
        for (k, codes) in codes.iter().enumerate().take(columns.end) {
            let Some(codes) = codes else { continue };
            if columns.contains(&k) && (0..codes.len()).any(|row| wanted(k, row)) {
                let of_column = self.log_odds(k, codes)?;
                let wanted = logs.iter_mut().zip(of_column).enumerate().filter(|(row, _)| wanted(k, *row));
                wanted.for_each(|(_, (log, more))| *log += more);
            }
            self.know(k, codes)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn spans_reach_from_the_first_open_column_to_the_last_known_one() {
        let known = [
            Some(vec![9, 9, 9, 9]),
            Some(vec![0, UNKNOWN, UNKNOWN, 1]),
            None,
            Some(vec![UNKNOWN, 2, UNKNOWN, 3]),
            None,
        ];
        let spans = Spans::of(&known, 1, 4);
        assert_eq!(spans.of_rows[1], 1..3);
        assert_eq!(spans.of_rows[3], 2..3);
        assert!(spans.of_rows[0].is_empty() && spans.of_rows[2].is_empty(), "nothing is known after what is open");
        assert_eq!(spans.all, 1..3);
        let within = |row: usize| (0..5).filter(|&k| spans.within(k, row)).collect::<Vec<_>>();
        assert_eq!([0, 1, 2, 3].map(within), [vec![], vec![1, 2, 3], vec![], vec![2, 3]]);
        assert!(Spans::of(&[None, None], 0, 2).all.is_empty());
    }

    #[test]
    fn candidates_of_a_row_are_spread_evenly_over_every_column() {
        let shifts = shifts(8, 40);
        assert_eq!(shifts[0], [0; 40], "the first is the row as it is with one");
        for k in 0..40 {
            let mut of_column: Vec<u32> = shifts.iter().map(|shifts| shifts[k]).collect();
            of_column.sort_unstable();
            assert_eq!(of_column, (0..8).map(|place| place << 29).collect::<Vec<u32>>());
        }
        let order = |k: usize| shifts.iter().map(|shifts| shifts[k]).collect::<Vec<_>>();
        assert!((1..40).filter(|&k| order(k) == order(0)).count() < 3, "columns go together");
    }

    #[test]
    fn candidates_are_taken_as_often_as_they_weigh() {
        let (rows, noise) = (40_000, Noise::new(1, b"reservoir"));
        let mut reservoir = Reservoir::new(rows);
        let mut taken = vec![0; rows];
        let mut uniform = vec![0f32; rows];
        for (candidate, weight) in [0.0, 1.0, 0.0, 2.0, 5.0f64].into_iter().enumerate() {
            noise.purpose("uniform").fill_uniform(candidate as u64, &mut uniform);
            let takers = reservoir.takers(&vec![weight.ln() - 700.0; rows], &uniform);
            takers.into_iter().for_each(|row| taken[row] = candidate);
        }
        let share = |of: usize| taken.iter().filter(|&&taken| taken == of).count() as f64 / rows as f64;
        let off = [0.0, 0.125, 0.0, 0.25, 0.625].into_iter().enumerate().map(|(of, wanted)| (share(of) - wanted).abs());
        assert!(off.clone().all(|off| off < 0.01), "{:?}", off.collect::<Vec<_>>());
        assert_eq!(share(0), 0.0, "what weighs nothing is left for anything else");
    }
}
