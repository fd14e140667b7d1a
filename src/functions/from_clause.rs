//! Tables and queries in an argument, written as a FROM clause writes them: `'my_orders AS orders, (SELECT …) AS customers'`.

use crate::{Result, SynthError, store::blocking};
use datafusion::{
    catalog::{Session, TableProvider, view::ViewTable},
    execution::SessionState,
    sql::{
        parser::Statement,
        sqlparser::ast::{
            Ident, ObjectNamePart, Query, SetExpr, Statement as SqlStatement, TableFactor, TableWithJoins,
        },
    },
};
use std::sync::Arc;

/// A table or a query.
pub(super) struct Source {
    /// Its alias.
    pub(super) alias: Option<String>,
    /// The table's own name.
    pub(super) name: Option<String>,
    /// As it was written.
    pub(super) text: String,
    pub(super) provider: Arc<dyn TableProvider>,
}

/// What `text` names: tables and queries, separated by commas; or a query as it stands. None if it is neither.
///
/// # Errors
/// A table that there is not; a query that cannot be planned.
pub(super) fn from_clause(session: &dyn Session, text: &str) -> Result<Option<Vec<Source>>> {
    let state = state(session)?;
    if let Some(query) = parsed(state, &format!("SELECT * FROM {text}")) {
        let SetExpr::Select(select) = *query.body else { return Ok(None) };
        if let [relation] = select.from.as_slice() {
            return Ok(Some(vec![planned(state, Some(relation), text, &format!("SELECT * FROM {text}"))?]));
        }
        if select.selection.is_some() {
            return Ok(None);
        }
        let source = |relation: &TableWithJoins| {
            let written = relation.to_string();
            planned(state, Some(relation), &written, &format!("SELECT * FROM {written}"))
        };
        return Ok(Some(select.from.iter().map(source).collect::<Result<_>>()?));
    }
    Ok(query(session, text)?.map(|source| vec![source]))
}

/// The query that `text` is as it stands, if it is one.
///
/// # Errors
/// It cannot be planned.
pub(super) fn query(session: &dyn Session, text: &str) -> Result<Option<Source>> {
    let state = state(session)?;
    parsed(state, text).map(|_| planned(state, None, text, text)).transpose()
}

fn state(session: &dyn Session) -> Result<&SessionState> {
    let state = session.as_any().downcast_ref::<SessionState>();
    state.ok_or_else(|| SynthError::Internal("a session without a SQL parser".to_owned()))
}

/// The query that `sql` is, if it is one.
fn parsed(state: &SessionState, sql: &str) -> Option<Query> {
    let dialect = state.config().options().sql_parser.dialect;
    match state.sql_to_statement(sql, &dialect).ok()? {
        Statement::Statement(statement) => match *statement {
            SqlStatement::Query(query) => Some(*query),
            _ => None,
        },
        _ => None,
    }
}

fn planned(state: &SessionState, relation: Option<&TableWithJoins>, text: &str, sql: &str) -> Result<Source> {
    let plan = blocking(async { Ok(state.create_logical_plan(sql).await?) })?;
    let provider = Arc::new(ViewTable::new(plan, Some(sql.to_owned())));
    let (alias, name) = relation.map_or((None, None), names_of);
    Ok(Source { alias, name, text: text.trim().to_owned(), provider })
}

/// The alias of a relation, and its own name.
fn names_of(relation: &TableWithJoins) -> (Option<String>, Option<String>) {
    let text = |name: &Ident| match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    };
    match &relation.relation {
        TableFactor::Table { alias, name, .. } => {
            let name = name.0.last().and_then(ObjectNamePart::as_ident).map(text);
            (alias.as_ref().map(|alias| text(&alias.name)), name)
        }
        TableFactor::Derived { alias, .. } => (alias.as_ref().map(|alias| text(&alias.name)), None),
        _ => (None, None),
    }
}
