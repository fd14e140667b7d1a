//! Two-sample statistics.
