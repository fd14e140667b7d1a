//! Templates: what identifiers look like, position by position.

use super::{
    shape::{self, Class},
    words::{CONSONANTS, RowNoise, VOWELS},
};
use crate::encode::{hash::mix, permutation::Permutation};
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, collections::BTreeMap};

/// Rows are dealt to templates in rounds of this many, each template getting its share of every round.
const ROUND: usize = 1024;
/// Templates kept at most.
const MOST: usize = 256;
/// From this many values on, a template trusts that what it has not seen at a position does not occur there.
const TRUSTED: usize = 30;
/// A domain (or other ending) must occur this often to be repeated.
const REPEATED: u64 = 3;
/// Positions whose combinations are numbered: as many as stay below this.
const NUMBERED: u64 = 1 << 62;

/// The templates of a column: row `i` gets a string that no other row gets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Templates {
    templates: Vec<Template>,
    /// Endings drawn by frequency (the domains of email addresses), after an `@`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    domains: Vec<(String, u64)>,
}

/// Positions, each with the characters that may stand there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Template {
    /// Rows of each [`ROUND`].
    share: u16,
    places: Vec<String>,
}

/// Whether strings (with their frequencies) look made by a rule rather than written by a person:
/// UUIDs, email addresses, few shapes, or single tokens with digits.
pub(crate) fn is_regular(values: &[(&str, u64)]) -> bool {
    let total: u64 = values.iter().map(|v| v.1).sum();
    let share = |test: &dyn Fn(&str) -> bool| {
        values.iter().filter(|v| test(v.0)).map(|v| v.1).sum::<u64>() as f64 / total.max(1) as f64
    };
    if share(&shape::is_uuid) > 0.95 || share(&|v| shape::email(v).is_some()) > 0.95 {
        return true;
    }
    let covered = |shapes: BTreeMap<Vec<Class>, u64>| {
        let mut counts: Vec<u64> = shapes.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        counts.iter().take(16).sum::<u64>() as f64 / total.max(1) as f64
    };
    let digits = share(&|v| v.bytes().any(|b| b.is_ascii_digit()));
    let spaced = share(&|v| v.contains(char::is_whitespace));
    let lettered = share(&|v| v.chars().any(char::is_alphabetic));
    let worded = share(&|v| v.chars().any(char::is_lowercase));
    (digits > 0.5 && spaced < 0.1)
        || (digits > 0.95 && lettered < 0.05)
        || ((digits > 0.5 || (spaced < 0.1 && worded < 0.1))
            && values.len() >= 2 * TRUSTED
            && covered(count(values, shape::exact)) > 0.95)
        || (digits > 0.5 && covered(count(values, shape::coarse)) > 0.95)
}

fn count(values: &[(&str, u64)], shape: impl Fn(&str) -> Vec<Class>) -> BTreeMap<Vec<Class>, u64> {
    values.iter().fold(BTreeMap::new(), |mut shapes, (value, n)| {
        *shapes.entry(shape(value)).or_insert(0) += n;
        shapes
    })
}

impl Templates {
    /// Learns the templates of strings (not empty as a list) with their frequencies.
    pub(crate) fn fit(values: &[(&str, u64)]) -> Self {
        let total: u64 = values.iter().map(|v| v.1).sum();
        let emails: Vec<_> = values.iter().filter_map(|(v, n)| shape::email(v).map(|e| (e.0, e.1, *n))).collect();
        if emails.iter().map(|e| e.2).sum::<u64>() * 20 > total * 19 {
            let locals: Vec<_> = emails.iter().map(|e| (e.0, e.2)).collect();
            let mut domains = BTreeMap::<String, u64>::new();
            for (_, domain, n) in &emails {
                *domains.entry((*domain).to_owned()).or_insert(0) += n;
            }
            // A domain of one person names the person.
            let rare: u64 = domains.values().filter(|n| **n < REPEATED).sum();
            domains.retain(|_, n| *n >= REPEATED);
            if rare > 0 || domains.is_empty() {
                *domains.entry("example.com".into()).or_insert(0) += rare.max(1);
            }
            return Self { templates: templates(&locals), domains: domains.into_iter().collect() };
        }
        Self { templates: templates(values), domains: vec![] }
    }

    /// Whether stored templates can be generated from.
    pub(crate) fn is_sane(&self) -> bool {
        let shares: usize = self.templates.iter().map(|t| usize::from(t.share)).sum();
        shares == ROUND
            && self.templates.iter().all(|t| t.share > 0 && t.places.iter().all(|p| !p.is_empty()))
            && self.domains.iter().map(|d| u128::from(d.1)).sum::<u128>() <= u128::from(u64::MAX)
            && self.domains.iter().all(|d| d.1 > 0)
    }

    /// A generator whose permutations are chosen by `key`.
    pub(crate) fn generator(&self, key: u64) -> Generator<'_> {
        let mut dealt: Vec<(u16, u16)> = Vec::with_capacity(ROUND);
        for (at, template) in (0u16..).zip(&self.templates) {
            dealt.extend((0..template.share).map(|rank| (at, rank)));
        }
        let order = Permutation::new(ROUND as u64, mix(key));
        #[allow(clippy::cast_possible_truncation)]
        let dealt = (0..ROUND as u64).map(|slot| dealt[order.apply(slot) as usize % dealt.len()]).collect();
        let templates = (1u64..)
            .zip(&self.templates)
            .map(|(at, template)| Prepared::new(template, mix(key ^ at.wrapping_mul(0x9E37_79B9_7F4A_7C15))))
            .collect();
        let literals: String = self.templates.iter().flat_map(|t| &t.places).flat_map(|p| p.chars()).collect();
        // With one template, more digits are unique by their number; with several, a character that no
        // template has keeps them apart.
        let separator = match self.templates.len() {
            1 => None,
            _ => "-_.~+:/#*!$%&=".chars().find(|c| !literals.contains(*c)).or(Some('\u{2060}')),
        };
        let domains = self.domains.iter().map(|d| d.1).sum();
        Generator { domains: &self.domains, domain_total: domains, key, dealt, templates, separator }
    }
}

/// The templates of strings, most frequent first.
fn templates(values: &[(&str, u64)]) -> Vec<Template> {
    let uuids = values.iter().filter(|v| shape::is_uuid(v.0)).count();
    if uuids * 20 > values.len() * 19 {
        let upper = values.iter().any(|v| v.0.bytes().any(|b| b.is_ascii_uppercase()));
        return vec![Template { share: ROUND as u16, places: uuid(upper) }];
    }
    let mut groups = group(values, shape::exact);
    let top = |groups: &[(Vec<Class>, Vec<&str>, u64)]| groups.iter().take(64).map(|g| g.2).sum::<u64>();
    let total: u64 = values.iter().map(|v| v.1).sum();
    if (top(&groups) as f64) < 0.95 * total as f64 {
        groups = group(values, shape::coarse);
    }
    groups.truncate(MOST);
    let weights: Vec<u64> = groups.iter().map(|g| g.2).collect();
    groups
        .iter()
        .zip(shares(&weights))
        .filter(|(_, share)| *share > 0)
        .map(|((shape, members, _), share)| Template { share, places: places(shape, members) })
        .collect()
}

/// A version 4 UUID (RFC 9562).
fn uuid(upper: bool) -> Vec<String> {
    let case = |s: &str| if upper { s.to_uppercase() } else { s.to_owned() };
    (0..36)
        .map(|i| match i {
            8 | 13 | 18 | 23 => "-".to_owned(),
            14 => "4".to_owned(),
            19 => case("89ab"),
            _ => case("0123456789abcdef"),
        })
        .collect()
}

/// Values by shape, the most frequent shape first.
fn group<'a>(values: &[(&'a str, u64)], shape: impl Fn(&str) -> Vec<Class>) -> Vec<(Vec<Class>, Vec<&'a str>, u64)> {
    let mut groups = BTreeMap::<Vec<Class>, (Vec<&str>, u64)>::new();
    for &(value, n) in values {
        let group = groups.entry(shape(value)).or_default();
        group.0.push(value);
        group.1 += n;
    }
    let mut groups: Vec<_> = groups.into_iter().map(|(shape, (members, n))| (shape, members, n)).collect();
    groups.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.0.cmp(&b.0)));
    groups
}

/// [`ROUND`] rows divided by weight: largest remainders.
fn shares(weights: &[u64]) -> Vec<u16> {
    let total = weights.iter().map(|w| u128::from(*w)).sum::<u128>().max(1);
    let exact: Vec<u128> = weights.iter().map(|w| u128::from(*w) * ROUND as u128).collect();
    let mut shares: Vec<u16> = exact.iter().map(|e| u16::try_from(e / total).unwrap_or(u16::MAX)).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(exact[i] % total));
    let left = ROUND.saturating_sub(shares.iter().map(|s| usize::from(*s)).sum());
    for &i in order.iter().cycle().take(if order.is_empty() { 0 } else { left }) {
        shares[i] += 1;
    }
    shares
}

/// The characters of each position: those seen, where enough values were; else all of the class.
fn places(shape: &[Class], members: &[&str]) -> Vec<String> {
    let mut seen: Vec<std::collections::BTreeSet<char>> = vec![Default::default(); shape.len()];
    for member in members {
        for (set, c) in seen.iter_mut().zip(member.chars()) {
            set.insert(c);
        }
    }
    let trusted = members.len() >= TRUSTED;
    // Words: runs of at least four small letters after at most one capital.
    let mut word_at = vec![None; shape.len()];
    let mut start = 0;
    while start < shape.len() {
        let letters = |class: &Class| matches!(class, Class::Lower | Class::Upper);
        let length = shape[start..].iter().take_while(|c| letters(c)).count();
        let small = shape[start..start + length].iter().skip(1).all(|c| *c == Class::Lower);
        if length >= 4 && small {
            (0..length).for_each(|i| word_at[start + i] = Some(i));
        }
        start += length.max(1);
    }
    let all: std::collections::BTreeSet<char> = seen.iter().flatten().copied().collect();
    shape
        .iter()
        .enumerate()
        .map(|(at, class)| {
            if let Class::Literal(c) = class {
                return c.to_string();
            }
            let set = &seen[at];
            if trusted && set.len() == 1 {
                return set.iter().collect();
            }
            let letters = word_at[at].map(|i| if i % 2 == 0 { CONSONANTS } else { VOWELS });
            match class {
                Class::Digit if trusted => set.iter().collect(),
                Class::Digit => "0123456789".into(),
                Class::Upper => letters.map_or_else(|| ('A'..='Z').collect(), str::to_uppercase),
                Class::Lower => letters.map_or_else(|| ('a'..='z').collect(), str::to_owned),
                Class::Mixed | Class::Literal(_) => {
                    let any = |test: fn(&char) -> bool| all.iter().any(test);
                    let hex = all.iter().filter(|c| c.is_alphanumeric()).all(char::is_ascii_hexdigit);
                    let mut set = String::new();
                    if any(char::is_ascii_digit) {
                        set.extend('0'..='9');
                    }
                    if any(|c| c.is_lowercase()) || !any(|c| c.is_ascii_alphanumeric()) {
                        set.extend('a'..=if hex { 'f' } else { 'z' });
                    }
                    if any(|c| c.is_uppercase()) {
                        set.extend('A'..=if hex { 'F' } else { 'Z' });
                    }
                    set
                }
            }
        })
        .collect()
}

/// A template, ready to generate.
#[derive(Debug)]
struct Prepared {
    places: Vec<Vec<char>>,
    share: u64,
    /// Positions from here on are numbered; those before are random.
    numbered: usize,
    /// Combinations of the positions numbered.
    capacity: u64,
    /// ... with any digit wherever there is one.
    total: u64,
    permutation: Permutation,
}

/// The digits that are not among these characters.
fn other_digits(place: &[char]) -> impl Iterator<Item = char> + '_ {
    let digits = if is_digits(place) { '0'..='9' } else { '1'..='0' };
    digits.filter(|digit| !place.contains(digit))
}

fn is_digits(place: &[char]) -> bool {
    place.iter().all(char::is_ascii_digit)
}

impl Prepared {
    fn new(template: &Template, key: u64) -> Self {
        let places: Vec<Vec<char>> = template.places.iter().map(|p| p.chars().collect()).collect();
        let (mut capacity, mut numbered) = (1u64, places.len());
        while let Some(wider) = numbered.checked_sub(1).and_then(|at| capacity.checked_mul(places[at].len() as u64)) {
            if wider > NUMBERED {
                break;
            }
            capacity = wider;
            numbered -= 1;
        }
        let widened = places.iter().try_fold(1u64, |product, place| {
            product.checked_mul(if is_digits(place) { 10 } else { place.len() as u64 }).filter(|p| *p <= NUMBERED)
        });
        let total = widened.filter(|_| numbered == 0).unwrap_or(capacity);
        let permutation = Permutation::new(capacity, key);
        Self { places, share: u64::from(template.share), numbered, capacity, total, permutation }
    }

    /// Appends combination `number` of the positions numbered, after random characters for the others.
    #[allow(clippy::cast_possible_truncation)]
    fn write(&self, mut number: u64, noise: &mut RowNoise, out: &mut String) {
        let mut divisor = self.capacity;
        for (position, place) in self.places.iter().enumerate() {
            let n = place.len() as u64;
            let digit = if position < self.numbered {
                noise.below(n)
            } else {
                divisor /= n;
                let digit = number / divisor;
                number %= divisor;
                digit
            };
            out.push(place[digit as usize]);
        }
    }

    /// Appends the `rank`-th string with a digit where none such was observed. These strings fall into
    /// classes by the leftmost such position; the rightmost come first, as numbers grow.
    #[allow(clippy::cast_possible_truncation)]
    fn write_beyond(&self, mut rank: u64, key: u64, out: &mut String) {
        let any = |place: &[char]| if is_digits(place) { 10 } else { place.len() as u64 };
        let mut after = 1;
        let mut before = self.capacity;
        for (at, place) in self.places.iter().enumerate().rev() {
            before /= place.len() as u64;
            let size = before * other_digits(place).count() as u64 * after;
            if rank >= size {
                rank -= size;
                after *= any(place);
                continue;
            }
            let mut number = Permutation::new(size, mix(key ^ at as u64)).apply(rank);
            let mut divisor = size;
            for (position, place) in self.places.iter().enumerate() {
                let n = match position.cmp(&at) {
                    Ordering::Less => place.len() as u64,
                    Ordering::Equal => other_digits(place).count() as u64,
                    Ordering::Greater => any(place),
                };
                divisor /= n;
                let digit = (number / divisor) as usize;
                number %= divisor;
                out.push(match position.cmp(&at) {
                    Ordering::Equal => other_digits(place).nth(digit).unwrap_or('0'),
                    Ordering::Greater if is_digits(place) => char::from(b'0' + digit as u8),
                    _ => place[digit],
                });
            }
            return;
        }
    }
}

/// Generates the strings of a column.
#[derive(Debug)]
pub(crate) struct Generator<'a> {
    domains: &'a [(String, u64)],
    domain_total: u64,
    key: u64,
    /// Template and rank of each row of a round.
    dealt: Vec<(u16, u16)>,
    templates: Vec<Prepared>,
    separator: Option<char>,
}

impl Generator<'_> {
    /// Appends the string of number `index`: different for every index. When a template's combinations
    /// are used up, its digits go beyond those observed; when these are, its strings get longer.
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn write(&self, index: u64, noise: &mut RowNoise, out: &mut String) {
        let round = index / ROUND as u64;
        let slot = (index % ROUND as u64 + mix(self.key ^ round) % ROUND as u64) % ROUND as u64;
        let (at, rank) = self.dealt[slot as usize];
        let template = &self.templates[usize::from(at)];
        let rank = round.wrapping_mul(template.share).wrapping_add(u64::from(rank));
        let (extension, rank) = (rank / template.total, rank % template.total);
        if rank < template.capacity {
            template.write(template.permutation.apply(rank), noise, out);
        } else {
            template.write_beyond(rank - template.capacity, self.key, out);
        }
        if extension > 0 {
            out.extend(self.separator);
            out.push_str(&extension.to_string());
        }
        if self.domain_total > 0 {
            let mut pick = noise.below(self.domain_total);
            let domain = self.domains.iter().find(|(_, n)| {
                let found = pick < *n;
                pick = pick.saturating_sub(*n);
                found
            });
            out.push('@');
            out.push_str(domain.map_or("", |d| &d.0));
        }
    }
}
