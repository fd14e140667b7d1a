//! Whole shares of a whole number, in proportion to weights: the method of the largest remainder (Hamilton's).
//!
//! Weight `w` of a sum `W` has the quota `w · total / W`. Everyone gets the quota rounded down; the few units that are
//! left go to the largest fractions. No share is then off its quota by one or more, and a weight of zero gets nothing.

use std::cmp::Reverse;

/// Splits `total` in proportion to `weights`; equally where all weights are zero. The shares sum to `total`, unless
/// there are no weights. Of equal fractions, the ones with the lower `tie` (of the weight's index) go first.
///
/// Takes O(weights).
pub(crate) fn apportion(weights: &[u64], total: u64, tie: impl Fn(usize) -> u64) -> Vec<u64> {
    let sum: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
    if sum == u128::from(total) {
        return weights.to_vec();
    }
    let equal = sum == 0;
    let sum = if equal { weights.len() as u128 } else { sum };
    let (mut shares, fractions): (Vec<u64>, Vec<u128>) = weights
        .iter()
        .map(|&weight| {
            let product = u128::from(if equal { 1 } else { weight }) * u128::from(total);
            // A weight is at most the sum, and its share at most the total.
            (u64::try_from(product / sum).unwrap_or(total), product % sum)
        })
        .unzip();
    let left = usize::try_from(total - shares.iter().sum::<u64>()).unwrap_or(usize::MAX);
    if left > 0 && left <= shares.len() {
        let mut order: Vec<usize> = (0..shares.len()).collect();
        order.select_nth_unstable_by_key(left - 1, |&index| (Reverse(fractions[index]), tie(index), index));
        for &index in &order[..left] {
            shares[index] += 1;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case(&[1, 1, 1, 10], 12, &[1, 1, 1, 9])]
    #[case(&[3, 0, 1], 8, &[6, 0, 2])]
    #[case(&[0, 0, 0], 4, &[1, 1, 2])]
    #[case(&[1, 1, 1], 1, &[0, 0, 1])]
    #[case(&[5, 7], 0, &[0, 0])]
    #[case(&[u64::MAX, u64::MAX], u64::MAX, &[u64::MAX / 2, u64::MAX / 2 + 1])]
    #[case(&[], 4, &[])]
    fn shares_are_proportional(#[case] weights: &[u64], #[case] total: u64, #[case] expected: &[u64]) {
        assert_eq!(apportion(weights, total, |index| u64::MAX - index as u64), expected);
    }

    proptest! {
        #[test]
        fn no_share_is_off_its_quota_by_one(weights in prop::collection::vec(0_u64..50, 1..40), total in 0_u64..3000) {
            let shares = apportion(&weights, total, |_| 0);
            let sum: u64 = weights.iter().sum();
            prop_assert_eq!(shares.iter().sum::<u64>(), total);
            for (&weight, &share) in weights.iter().zip(&shares).filter(|_| sum > 0) {
                let quota = (weight * total) as f64 / sum as f64;
                prop_assert!((share as f64 - quota).abs() < 1.0, "{weight} of {sum}: {share} for {quota}");
                prop_assert!(weight > 0 || share == 0);
            }
        }
    }
}
