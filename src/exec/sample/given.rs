//! Conditions in SQL (`given => 'age >= 65 AND income IS NULL'`), taken apart into what they leave of each column.

use crate::{
    Result, SynthError,
    encode::{Restriction, TableEncoder},
};
use arrow::{
    array::{ArrayRef, AsArray, BooleanArray},
    datatypes::{DataType, Schema},
    record_batch::RecordBatch,
};
use datafusion::{
    catalog::Session,
    common::DFSchema,
    error::DataFusionError,
    execution::SessionState,
    logical_expr::{Expr, utils::split_conjunction_owned},
    physical_expr::PhysicalExpr,
    sql::unparser::expr_to_sql,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What the rows of a sample are to satisfy, worked out when the query is planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// The condition, as it was written; empty if there is none.
    pub condition: String,
    /// What it leaves of the columns it is about.
    pub restrictions: Vec<Restriction>,
    /// The column (index in the schema) whose values are to be equally frequent.
    pub balance: Option<usize>,
}

impl Given {
    /// Reads `condition` as SQL over the columns of the model's table, and takes `balance` as the name of one of them.
    ///
    /// # Errors
    /// SQL that cannot be read, or that is no condition; an unknown column, or one that the model has not learned; a part
    /// of the condition about several columns at once; a condition that no learned value satisfies.
    pub fn new(
        session: &dyn Session,
        encoder: &TableEncoder,
        condition: Option<&str>,
        balance: Option<&str>,
    ) -> Result<Self> {
        let mut by_column: BTreeMap<usize, Expr> = BTreeMap::new();
        let schema = DFSchema::try_from(Arc::clone(encoder.schema())).map_err(SynthError::from)?;
        if let Some(text) = condition {
            let state = session
                .as_any()
                .downcast_ref::<SessionState>()
                .ok_or_else(|| SynthError::Internal("a session without a SQL parser".to_owned()))?;
            let refuse = |given: String, expected: &str| fault("given", given, expected.to_owned());
            let expression = state
                .create_logical_expr(text, &schema)
                .map_err(|error| refuse(format!("'{text}' ({})", plain(&error)), "a table, or a condition in SQL"))?;
            for part in split_conjunction_owned(expression) {
                let columns = part.column_refs();
                let mut names = columns.iter().map(|column| column.name());
                let (Some(name), None) = (names.next(), names.next()) else {
                    let many = format!("`{}`, about {} columns at once", shown(&part), columns.len());
                    return Err(refuse(many, "conditions on one column each, joined by AND; WHERE takes any others"));
                };
                let column = encoder.schema().index_of(name)?;
                let both = match by_column.remove(&column) {
                    Some(other) => other.and(part),
                    None => part,
                };
                by_column.insert(column, both);
            }
        }
        let mut restrictions: Vec<Restriction> = Vec::new();
        for (column, part) in by_column {
            let refuse = |expected: String| fault("given", format!("`{}`", shown(&part)), expected);
            let Some(test) = Test::new(session, encoder.schema(), column, part.clone())? else {
                return Err(refuse("a condition, true or false of a row".to_owned()));
            };
            let restriction = encoder.restrict(column, |values| test.run(values));
            let restriction = restriction.map_err(|error| match error {
                SynthError::Column { column, reason, way_out } => {
                    refuse(format!("another condition: column `{column}`: {reason}; {way_out}"))
                }
                other => other,
            })?;
            // Columns that are functions of one another restrict the same one.
            match restrictions.iter_mut().find(|known| known.column == restriction.column) {
                Some(known) => {
                    let name = encoder.schema().field(known.column).name();
                    *known = known.clone().and(&restriction).ok_or_else(|| {
                        let others = format!("no learned value of `{name}` satisfies this and the rest");
                        refuse(format!("another condition: {others}"))
                    })?;
                }
                None => restrictions.push(restriction),
            }
        }
        let balance = balance.map(|name| balanced(encoder, name)).transpose()?;
        Ok(Self { condition: condition.unwrap_or_default().to_owned(), restrictions, balance })
    }
}

fn fault(argument: &str, given: String, expected: String) -> SynthError {
    SynthError::Argument { function: "synth_sample".to_owned(), argument: argument.to_owned(), given, expected }
}

/// An expression as SQL.
fn shown(expression: &Expr) -> String {
    expr_to_sql(expression).map_or_else(|_| expression.to_string(), |sql| sql.to_string())
}

/// The message without the layers around it.
fn plain(error: &DataFusionError) -> String {
    error.find_root().message().lines().next().unwrap_or_default().to_owned()
}

/// The column `name`, if its codes are values that can be equally frequent.
fn balanced(encoder: &TableEncoder, name: &str) -> Result<usize> {
    let names = || encoder.schema().fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>().join(", ");
    let column = encoder
        .schema()
        .index_of(name)
        .map_err(|_| fault("balance", format!("'{name}'"), format!("one of the table's columns: {}", names())))?;
    if let Some((of, codes)) = encoder.function(column) {
        let other = encoder.schema().field(of).name();
        let distinct: BTreeSet<_> = codes.iter().collect();
        return if distinct.len() == codes.len() {
            Ok(of)
        } else {
            Err(fault("balance", format!("'{name}', which is a function of `{other}`"), format!("'{other}'")))
        };
    }
    if encoder.is_by_value(column) {
        Ok(column)
    } else {
        Err(fault("balance", format!("'{name}', whose values are too many"), "a categorical column".to_owned()))
    }
}

/// A condition on one column.
struct Test {
    schema: Arc<Schema>,
    expression: Arc<dyn PhysicalExpr>,
}

impl Test {
    /// None if the expression is no condition.
    fn new(session: &dyn Session, schema: &Schema, column: usize, part: Expr) -> Result<Option<Self>> {
        let schema = Arc::new(schema.project(&[column])?);
        let expression =
            session.create_physical_expr(part, &DFSchema::try_from(Arc::clone(&schema))?).map_err(SynthError::from)?;
        let condition = expression.data_type(&schema)? == DataType::Boolean;
        Ok(condition.then_some(Self { schema, expression }))
    }

    fn run(&self, values: &ArrayRef) -> Result<BooleanArray> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), vec![Arc::clone(values)])?;
        let passed = self.expression.evaluate(&batch)?.into_array(values.len())?;
        Ok(passed.as_boolean().clone())
    }
}
