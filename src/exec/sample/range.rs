//! Row ranges: how a sample is cut into partitions and blocks.

use crate::noise::BLOCK_ROWS;
use std::ops::Range;

const BLOCK: u64 = BLOCK_ROWS as u64;

/// Cuts `rows` into at most `parts` contiguous, non-empty ranges whose inner borders are block borders, so
/// that no block is generated twice. At least one range (an empty one, if there are no rows).
pub(super) fn split(rows: Range<u64>, parts: usize) -> Vec<Range<u64>> {
    if rows.is_empty() {
        return vec![rows];
    }
    let first = rows.start / BLOCK;
    let blocks = (rows.end - 1) / BLOCK - first + 1;
    let parts = (parts.max(1) as u64).min(blocks);
    (0..parts)
        .map(|part| {
            // u128: parts * blocks may pass u64.
            let border = |part: u64| first + (u128::from(part) * u128::from(blocks) / u128::from(parts)) as u64;
            let begin = (border(part) * BLOCK).max(rows.start);
            let end = border(part + 1).saturating_mul(BLOCK).min(rows.end);
            begin..end
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_cover_the_range_once_and_meet_at_block_borders(
            start in 0u64..1_000_000_000_000_000, len in 0u64..10_000_000, parts in 0usize..70,
        ) {
            let ranges = split(start..start + len, parts);
            prop_assert!(ranges.len() <= parts.max(1));
            prop_assert_eq!(ranges[0].start, start);
            prop_assert_eq!(ranges[ranges.len() - 1].end, start + len);
            for pair in ranges.windows(2) {
                prop_assert_eq!(pair[0].end, pair[1].start);
                prop_assert_eq!(pair[0].end % BLOCK, 0);
            }
            if len > 0 {
                prop_assert!(ranges.iter().all(|range| !range.is_empty()));
                let sizes: Vec<u64> = ranges.iter().map(|r| r.end - r.start).collect();
                let spread = sizes.iter().max().unwrap_or(&0) - sizes.iter().min().unwrap_or(&0);
                prop_assert!(spread <= 3 * BLOCK, "{:?}", sizes);
            }
        }
    }
}
