//! The score that picks the kept weights: held-out rows against generated ones, in encoded space.
