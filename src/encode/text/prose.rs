//! Prose: a Markov chain over words that several rows share.

use super::{
    shape::{self, Class},
    words::{CONSONANTS, RowNoise, VOWELS},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A word, a pair of words or a letter is repeated if at least this many different texts have it.
const SHARED: usize = 3;
/// Words kept at most.
const VOCABULARY: usize = 4096;
/// Successors kept per word at most.
const SUCCESSORS: usize = 64;
/// Shapes of rare words kept at most.
const SHAPES: usize = 256;
/// Longest text generated, in words: the learned lengths end here.
const LONGEST: usize = 4096;

/// Word statistics of a column: how long texts are, which words follow which. Words are what stands
/// between spaces. A word that fewer than three texts share is replaced by invented letters in its
/// shape, and a pair of words that fewer than three texts share is not learned, so no text is copied
/// but what many texts have in common.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Prose {
    /// Texts by number of words (0: empty).
    lengths: Vec<(u32, u64)>,
    /// The words; the last entry stands for all rare ones and is empty.
    words: Vec<String>,
    /// How often each word occurs.
    frequencies: Vec<u64>,
    /// Words that begin texts, with frequencies.
    first: Vec<(u32, u64)>,
    /// Words that follow each word, with frequencies; the weight of [`NONE`] stands for any word.
    next: Vec<Vec<(u32, u64)>>,
    /// Rare words' shapes (`A`, `a`, `0` stand for letters and digits), with frequencies.
    shapes: Vec<(String, u64)>,
    /// Letters beyond ASCII that several texts share.
    letters: String,
    #[serde(skip)]
    cumulative: Option<Cumulative>,
}

/// Running sums of the weights, for drawing.
#[derive(Debug, Clone)]
struct Cumulative {
    lengths: Vec<u64>,
    frequencies: Vec<u64>,
    first: Vec<u64>,
    next: Vec<Vec<u64>>,
    shapes: Vec<u64>,
    letters: Vec<char>,
}

/// In a list of successors: "draw from all words".
const NONE: u32 = u32::MAX;

fn most_frequent<K: Ord + Clone>(counts: BTreeMap<K, u64>, most: usize) -> Vec<(K, u64)> {
    let mut all: Vec<_> = counts.into_iter().collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    all.truncate(most);
    all
}

/// Which items at least [`SHARED`] texts have.
fn shared<'a, K: Ord + 'a>(texts: impl Iterator<Item = (BTreeSet<K>, u64)>) -> BTreeMap<K, u64> {
    let mut counts = BTreeMap::<K, (usize, u64)>::new();
    for (items, n) in texts {
        for item in items {
            let count = counts.entry(item).or_default();
            count.0 += usize::try_from(n).unwrap_or(usize::MAX).min(SHARED);
            count.1 += n;
        }
    }
    counts.retain(|_, count| count.0 >= SHARED);
    counts.into_iter().map(|(item, count)| (item, count.1)).collect()
}

impl Prose {
    /// Learns texts (not empty as a list) with their frequencies.
    pub(crate) fn fit(texts: &[(&str, u64)]) -> Self {
        let words_of = |text: &'_ str| -> Vec<String> {
            if text.is_empty() { vec![] } else { text.split(' ').map(str::to_owned).collect() }
        };
        let vocabulary = shared(
            texts.iter().map(|(text, n)| (text.split(' ').filter(|w| !w.is_empty()).collect::<BTreeSet<_>>(), *n)),
        );
        let kept: Vec<(&str, u64)> = most_frequent(vocabulary, VOCABULARY);
        let index: BTreeMap<&str, u32> = (0u32..).zip(&kept).map(|(i, (word, _))| (*word, i)).collect();
        let rare = u32::try_from(kept.len()).unwrap_or(NONE - 1);
        let letters = shared(texts.iter().map(|(text, n)| {
            (text.chars().filter(|c| !c.is_ascii() && c.is_alphabetic()).collect::<BTreeSet<char>>(), *n)
        }));
        let pairs = shared(texts.iter().map(|(text, n)| {
            let at: Vec<u32> = text.split(' ').map(|w| index.get(w).copied().unwrap_or(rare)).collect();
            (at.windows(2).map(|p| (p[0], p[1])).collect::<BTreeSet<_>>(), *n)
        }));
        let mut lengths = BTreeMap::<u32, u64>::new();
        let mut frequencies = vec![0; kept.len() + 1];
        let mut first = BTreeMap::<u32, u64>::new();
        let mut next = vec![BTreeMap::<u32, u64>::new(); kept.len() + 1];
        let mut shapes = BTreeMap::<String, u64>::new();
        for (text, n) in texts {
            let words = words_of(text);
            let at: Vec<u32> = words.iter().map(|w| index.get(w.as_str()).copied().unwrap_or(rare)).collect();
            *lengths.entry(u32::try_from(at.len().min(LONGEST)).unwrap_or(u32::MAX)).or_insert(0) += n;
            for (word, &i) in words.iter().zip(&at) {
                frequencies[i as usize] += n;
                if i == rare {
                    *shapes.entry(shape_of(word)).or_insert(0) += n;
                }
            }
            if let Some(&i) = at.first() {
                *first.entry(i).or_insert(0) += n;
            }
            for pair in at.windows(2) {
                let to = if pairs.contains_key(&(pair[0], pair[1])) { pair[1] } else { NONE };
                *next[pair[0] as usize].entry(to).or_insert(0) += n;
            }
        }
        let mut words: Vec<String> = kept.into_iter().map(|(word, _)| word.to_owned()).collect();
        words.push(String::new());
        Self {
            lengths: lengths.into_iter().collect(),
            words,
            frequencies,
            first: first.into_iter().collect(),
            next: next.into_iter().map(|counts| most_frequent(counts, SUCCESSORS)).collect(),
            shapes: most_frequent(shapes, SHAPES),
            letters: letters.into_keys().collect(),
            cumulative: None,
        }
    }

    /// Checks stored statistics, and sums up their weights.
    pub(crate) fn prepare(&mut self) -> Result<(), String> {
        let words = self.words.len();
        let known = |list: &[(u32, u64)]| list.iter().all(|(word, _)| *word == NONE || (*word as usize) < words);
        if words == 0 || self.next.len() != words || self.frequencies.len() != words {
            return Err("words, frequencies and successors do not match".into());
        }
        if !known(&self.first) || !self.next.iter().all(|list| known(list)) {
            return Err("a successor is not in the vocabulary".into());
        }
        if self.lengths.is_empty() || self.lengths.iter().any(|(length, _)| *length as usize > LONGEST) {
            return Err("impossible lengths".into());
        }
        fn sums(weights: impl Iterator<Item = u64>) -> Vec<u64> {
            weights
                .scan(0u64, |sum, weight| {
                    *sum = sum.saturating_add(weight);
                    Some(*sum)
                })
                .collect()
        }
        self.cumulative = Some(Cumulative {
            lengths: sums(self.lengths.iter().map(|l| l.1)),
            frequencies: sums(self.frequencies.iter().copied()),
            first: sums(self.first.iter().map(|f| f.1)),
            next: self.next.iter().map(|list| sums(list.iter().map(|n| n.1))).collect(),
            shapes: sums(self.shapes.iter().map(|s| s.1)),
            letters: self.letters.chars().collect(),
        });
        Ok(())
    }

    /// Appends a text; nothing before [`Prose::prepare`].
    pub(crate) fn write(&self, noise: &mut RowNoise, out: &mut String) {
        let Some(sums) = &self.cumulative else { return };
        let length = draw(&sums.lengths, noise).map_or(0, |i| self.lengths[i].0);
        let mut previous: Option<usize> = None;
        for at in 0..length {
            let followed = match previous {
                None => draw(&sums.first, noise).map(|i| self.first[i].0),
                Some(word) => draw(&sums.next[word], noise).map(|i| self.next[word][i].0),
            };
            let word = followed
                .filter(|word| *word != NONE)
                .map(|word| word as usize)
                .or_else(|| draw(&sums.frequencies, noise))
                .unwrap_or(self.words.len() - 1);
            if at > 0 {
                out.push(' ');
            }
            if word + 1 == self.words.len() {
                if let Some(shape) = draw(&sums.shapes, noise) {
                    invent(&self.shapes[shape].0, &sums.letters, noise, out);
                }
            } else {
                out.push_str(&self.words[word]);
            }
            previous = Some(word);
        }
    }
}

/// An index by weight; none without weight.
fn draw(cumulative: &[u64], noise: &mut RowNoise) -> Option<usize> {
    let total = *cumulative.last()?;
    if total == 0 {
        return None;
    }
    let pick = noise.below(total);
    Some(cumulative.partition_point(|sum| *sum <= pick))
}

/// Letters as `a` and `A` (`ä`, `Ä` beyond ASCII), digits as `0`; the rest stays.
fn shape_of(word: &str) -> String {
    word.chars()
        .zip(shape::exact(word))
        .map(|(c, class)| match class {
            Class::Digit => '0',
            Class::Upper if c.is_ascii() => 'A',
            Class::Upper => 'Ä',
            Class::Lower if c.is_ascii() => 'a',
            Class::Lower if c.is_alphabetic() => 'ä',
            _ => c,
        })
        .collect()
}

/// A word of the shape.
#[allow(clippy::cast_possible_truncation)]
fn invent(shape: &str, letters: &[char], noise: &mut RowNoise, out: &mut String) {
    let mut position = noise.below(2);
    for c in shape.chars() {
        let source = if position.is_multiple_of(2) { CONSONANTS } else { VOWELS };
        let letter = char::from(source.as_bytes()[noise.below(source.len() as u64) as usize]);
        position += 1;
        match c {
            '0' => out.push(char::from(b'0' + noise.below(10) as u8)),
            'a' => out.push(letter),
            'A' => out.push(letter.to_ascii_uppercase()),
            'ä' | 'Ä' if !letters.is_empty() => out.push(letters[noise.below(letters.len() as u64) as usize]),
            'ä' => out.push(letter),
            'Ä' => out.push(letter.to_ascii_uppercase()),
            other => {
                position = 0;
                out.push(other);
            }
        }
    }
}
