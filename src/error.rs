//! The one error type. User faults name the table, the column or the argument, say what was given
//! and what is accepted.

use datafusion::error::DataFusionError;

/// `Result` with [`SynthError`].
pub type Result<T, E = SynthError> = std::result::Result<T, E>;

/// Everything that can go wrong, by who can mend it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SynthError {
    /// An argument or option of a SQL function is missing, unknown, of the wrong type or out of range.
    #[error("{function}: argument `{argument}`: got {given}, expected {expected}")]
    Argument {
        /// SQL name of the function (or `SET`).
        function: String,
        /// Name of the argument or option.
        argument: String,
        /// What was given.
        given: String,
        /// What is accepted.
        expected: String,
    },
    /// A column cannot be learned as it stands.
    #[error("column `{column}`: {reason}; {way_out}")]
    Column {
        /// The column (the layers above add the table with [`SynthError::in_table`]).
        column: String,
        /// What is wrong with it.
        reason: String,
        /// What the user can do.
        way_out: String,
    },
    /// A key that cannot be declared as it stands.
    #[error("table `{table}`, {key}: {reason}; {way_out}")]
    Key {
        /// The table.
        table: String,
        /// What was declared: `foreign key (customer_id)`.
        key: String,
        /// What is wrong with it.
        reason: String,
        /// What the user can do.
        way_out: String,
    },
    /// Keys that the data does not keep, all of them at once.
    #[error("{}", listed(.problems))]
    Keys {
        /// One for each: the table, the key, the counts and what the user can do.
        problems: Vec<String>,
    },
    /// The table that an error below is about.
    #[error("table `{table}`: {source}")]
    InTable {
        /// The table.
        table: String,
        /// The error below.
        #[source]
        source: Box<SynthError>,
    },
    /// A table to learn has no rows (or none that can be learned from).
    #[error("nothing to learn from: {reason}")]
    NoRows {
        /// Why.
        reason: String,
    },
    /// No such table, model or version.
    #[error("{kind} `{name}` not found{}", there_are(.known))]
    NotFound {
        /// `table`, `model`, `version` …
        kind: &'static str,
        /// The name asked for.
        name: String,
        /// What does exist (empty when unknown).
        known: Vec<String>,
    },
    /// A name that cannot be used for a model.
    #[error("`{name}` cannot be the name of a model: {reason}")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        reason: String,
    },
    /// A model and a table (or another model) that do not fit together.
    #[error("schema mismatch: {0}")]
    Schema(String),
    /// A file of a model artifact is damaged, truncated or of another version.
    #[error("damaged model artifact: {path}: {reason}")]
    Artifact {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A model could not be trained or run.
    #[error("model: {0}")]
    Model(String),
    /// The work was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The model store cannot be read or written.
    #[error("model store {location}: {source}")]
    Store {
        /// Where.
        location: String,
        /// The cause.
        #[source]
        source: object_store::Error,
    },
    /// libtorch reported an error.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    /// Arrow reported an error.
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),
    /// DataFusion reported an error.
    #[error(transparent)]
    DataFusion(#[from] Box<DataFusionError>),
    /// An I/O error outside the store.
    #[error("{context}: {source}")]
    Io {
        /// What was being done.
        context: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A defect of this program: an invariant does not hold.
    #[error("internal error, please report it: {0}")]
    Internal(String),
}

impl SynthError {
    /// The same error, said of `table`.
    #[must_use]
    pub fn in_table(self, table: impl Into<String>) -> Self {
        Self::InTable { table: table.into(), source: Box::new(self) }
    }

    fn is_not_found(&self) -> bool {
        match self {
            Self::InTable { source, .. } => source.is_not_found(),
            error => matches!(error, Self::NotFound { .. }),
        }
    }
}

fn listed(problems: &[String]) -> String {
    let noun = if problems.len() == 1 { "problem" } else { "problems" };
    let lines: String = problems.iter().map(|problem| format!("\n- {problem}")).collect();
    format!("{} {noun} with keys:{lines}", problems.len())
}

fn there_are(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("; there are: {}", names.join(", ")) }
}

impl From<DataFusionError> for SynthError {
    fn from(error: DataFusionError) -> Self {
        Self::DataFusion(Box::new(error))
    }
}

impl From<SynthError> for DataFusionError {
    fn from(error: SynthError) -> Self {
        match error {
            SynthError::DataFusion(inner) => *inner,
            SynthError::Arrow(inner) => DataFusionError::from(inner),
            // User faults read as planning errors; DataFusion prefixes them "Error during planning".
            SynthError::Argument { .. }
            | SynthError::NotFound { .. }
            | SynthError::Name { .. }
            | SynthError::Key { .. } => DataFusionError::Plan(error.to_string()),
            error @ SynthError::InTable { .. } if error.is_not_found() => DataFusionError::Plan(error.to_string()),
            other => DataFusionError::External(Box::new(other)),
        }
    }
}
