//! The SQL functions: one file per SQL name, one place to register.
