//! A fully equipped `SessionContext`: functions, `synth.*` options, system tables, files and Delta Lake tables.

mod builder;
#[cfg(feature = "delta")]
mod delta;
mod files;
mod keys;
mod options;
mod statement;
mod stores;
pub mod tables;

pub use builder::SynthSessionBuilder;
pub use keys::KeyChange;
pub use options::SynthOptions;
pub use statement::{Parsed, Statements, SynthStatement};

use crate::{Result, SynthError, store::ModelStore};
use datafusion::{
    arrow::{
        array::{ArrayRef, RecordBatch, UInt64Array},
        datatypes::{DataType, Field, Schema},
    },
    common::config::ConfigOptions,
    logical_expr::LogicalPlanBuilder,
    prelude::{DataFrame, SessionContext},
    sql::sqlparser::dialect::Dialect,
};
use std::sync::Arc;

/// A `SessionContext` with everything of this crate in it, and the statements that DataFusion alone cannot plan.
///
/// Cloning is cheap; clones share the session.
#[derive(Clone)]
pub struct SynthSession {
    context: SessionContext,
}

impl SynthSession {
    /// A session of the default configuration.
    ///
    /// # Errors
    /// A `DATAFUSION_*` environment variable does not parse.
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// Builds a session.
    #[must_use]
    pub fn builder() -> SynthSessionBuilder {
        SynthSessionBuilder::default()
    }

    /// The context: for whatever DataFusion offers, under any of its front ends.
    #[must_use]
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// Runs the one statement `sql`: definitions take effect now, queries when the result is read.
    ///
    /// # Errors
    /// No statement or several (see [`SynthSession::script`]); whatever parsing, planning and executing find.
    pub async fn sql(&self, sql: &str) -> Result<DataFrame> {
        let mut statements = self.script(sql)?.into_iter();
        match (statements.next(), statements.next()) {
            (Some(statement), None) => self.execute(statement?.statement).await,
            (None, _) => Err(SynthError::Argument {
                function: "SynthSession::sql".into(),
                argument: "sql".into(),
                given: "no statement".into(),
                expected: "one statement".into(),
            }),
            (Some(first), Some(_)) => {
                first?;
                Err(SynthError::Argument {
                    function: "SynthSession::sql".into(),
                    argument: "sql".into(),
                    given: "several statements".into(),
                    expected: "one statement (scripts go through SynthSession::script)".into(),
                })
            }
        }
    }

    /// The statements of a script, in order, up to the first that does not parse.
    ///
    /// # Errors
    /// Text that cannot be split into tokens.
    pub fn script(&self, sql: &str) -> Result<Vec<Result<Parsed>>> {
        let options = self.options();
        let dialect = statement::dialect(&options);
        Ok(Statements::new(sql, dialect.as_ref(), &options)?.collect())
    }

    /// Runs one parsed statement.
    ///
    /// # Errors
    /// Whatever planning and executing find.
    pub async fn execute(&self, statement: SynthStatement) -> Result<DataFrame> {
        match statement {
            SynthStatement::DataFusion(statement) => self.define(*statement, &[]).await,
            SynthStatement::CreateTable { statement, constraints } => self.define(*statement, &constraints).await,
            SynthStatement::AlterKeys { table, if_exists, changes } => {
                self.change_keys(&table, if_exists, &changes).await?;
                Ok(DataFrame::new(self.context.state(), LogicalPlanBuilder::empty(false).build()?))
            }
            SynthStatement::ResetOption { name } => {
                let state = self.context.state_ref();
                let mut state = state.write();
                let extensions = &mut state.config_mut().options_mut().extensions;
                let options = extensions.get_mut::<SynthOptions>();
                options.ok_or_else(|| SynthError::Internal("no synth options in the session".into()))?.reset(&name)?;
                drop(state);
                Ok(DataFrame::new(self.context.state(), LogicalPlanBuilder::empty(false).build()?))
            }
            SynthStatement::DropModel { name, version, if_exists } => {
                match self.model_store()?.drop_model(&name, version).await {
                    Err(SynthError::NotFound { .. }) if if_exists => self.count(0),
                    dropped => self.count(dropped?),
                }
            }
        }
    }

    /// The SQL dialect of the session (`datafusion.sql_parser.dialect`): what a front end reads statements with.
    #[must_use]
    pub fn dialect(&self) -> Box<dyn Dialect> {
        statement::dialect(&self.options())
    }

    fn model_store(&self) -> Result<ModelStore> {
        SynthOptions::from_config(&self.options()).model_store()
    }

    fn options(&self) -> Arc<ConfigOptions> {
        Arc::clone(self.context.state_ref().read().config().options())
    }

    /// A result of one number, as the statements that change rows return it.
    fn count(&self, rows: usize) -> Result<DataFrame> {
        let schema = Schema::new(vec![Field::new("count", DataType::UInt64, false)]);
        let rows: ArrayRef = Arc::new(UInt64Array::from(vec![rows as u64]));
        Ok(self.context.read_batch(RecordBatch::try_new(Arc::new(schema), vec![rows])?)?)
    }
}
