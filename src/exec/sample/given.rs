//! Conditions in SQL (`given => 'age >= 65 AND income IS NULL'`), taken apart into what they leave of each column, which the
//! model is told, and what its rows are looked through for.

use super::related::is_related;
use crate::{
    Result, SynthError,
    encode::{Restriction, TableEncoder},
    models,
    store::Manifest,
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
    logical_expr::{
        Expr, ExprSchemable,
        utils::{conjunction, split_conjunction_owned},
    },
    physical_expr::PhysicalExpr,
    sql::unparser::expr_to_sql,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What the rows of a sample are to satisfy, as far as the model can be told, worked out when the query is planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// The condition, as it was written; empty if there is none.
    pub condition: String,
    /// What it leaves of the columns it is about.
    pub restrictions: Vec<Restriction>,
    /// The column (index in the schema) whose values are to be equally frequent.
    pub balance: Option<usize>,
}

/// A condition that generated rows are looked through for, as the model cannot be told.
#[derive(Debug, Clone)]
pub struct Sieve {
    /// The condition, as SQL.
    pub condition: String,
    /// Over the columns of the table.
    pub predicate: Arc<dyn PhysicalExpr>,
}

/// All that is asked of the rows of a sample.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Of the model, which then draws nothing else.
    pub given: Option<Given>,
    /// Of the rows that it draws.
    pub sieve: Option<Sieve>,
}

impl Wanted {
    /// Reads `condition` as SQL over the columns of `manifest`'s table, and takes `balance` as the name of one of them.
    ///
    /// A model that knows every order of its columns is told what each column may be, where no other tables have a say. What
    /// is about several columns, about values that are generated rather than learned, or of a table whose rows hang together
    /// with others, is left to the sieve.
    ///
    /// # Errors
    /// SQL that cannot be read, or that is no condition; an unknown column; a condition that no learned value satisfies.
    pub fn new(
        session: &dyn Session,
        manifest: &Manifest,
        condition: Option<&str>,
        balance: Option<&str>,
    ) -> Result<Self> {
        let encoder = &manifest.encoder;
        let knows_orders = models::kind(&manifest.kind)?.any_order();
        let told = knows_orders && !is_related(manifest);
        let (mut restrictions, mut rest) = (Vec::new(), Vec::new());
        for Part { column, expression } in condition.map_or(Ok(Vec::new()), |text| parts(session, manifest, text))? {
            let refuse = |expected: String| fault("given", format!("`{}`", shown(&expression)), expected);
            let column = column.filter(|_| knows_orders);
            let column = column.and_then(|name| encoder.schema().index_of(&name).ok());
            let restriction = column.map(|column| restricted(session, encoder, column, &expression)).transpose()?;
            match restriction.flatten() {
                Some(restriction) if told => add(&mut restrictions, restriction, encoder).map_err(refuse)?,
                _ => rest.push(expression),
            }
        }
        Restriction::settle(&mut restrictions);
        let sieve = conjunction(rest).map(|rest| Sieve::new(session, manifest.schema(), rest)).transpose()?;
        let balance = balance.map(|name| balanced(encoder, name)).transpose()?;
        if let (Some(balance), Some(Sieve { condition, .. })) = (balance, &sieve) {
            let given = format!(
                "'{}' beside a condition that the model cannot be told",
                encoder.schema().field(balance).name()
            );
            return Err(fault("balance", given, format!("no condition like `{condition}`")));
        }
        let condition = condition.unwrap_or_default().to_owned();
        let asked = balance.is_some() || !restrictions.is_empty();
        Ok(Self { given: asked.then_some(Given { condition, restrictions, balance }), sieve })
    }
}

impl Sieve {
    fn new(session: &dyn Session, schema: &Schema, expression: Expr) -> Result<Self> {
        let condition = shown(&expression);
        let predicate = session
            .create_physical_expr(expression, &DFSchema::try_from(schema.clone()).map_err(SynthError::from)?)
            .map_err(SynthError::from)?;
        Ok(Self { condition, predicate })
    }
}

/// A part of a condition, and the column that it is about if it is one.
struct Part {
    column: Option<String>,
    expression: Expr,
}

/// The parts of a condition that all have to hold; one for each column, then those about several.
fn parts(session: &dyn Session, manifest: &Manifest, text: &str) -> Result<Vec<Part>> {
    let state = session
        .as_any()
        .downcast_ref::<SessionState>()
        .ok_or_else(|| SynthError::Internal("a session without a SQL parser".to_owned()))?;
    let schema = DFSchema::try_from(Arc::clone(manifest.schema())).map_err(SynthError::from)?;
    let refuse = |given: String, expected: &str| fault("given", given, expected.to_owned());
    let expression = state
        .create_logical_expr(text, &schema)
        .map_err(|error| refuse(format!("'{text}' ({})", plain(&error)), "a table, or a condition in SQL"))?;
    let mut by_column: BTreeMap<usize, Expr> = BTreeMap::new();
    let mut others = Vec::new();
    for part in split_conjunction_owned(expression) {
        let found = part.get_type(&schema).map_err(SynthError::from)?;
        if found != DataType::Boolean {
            return Err(refuse(format!("`{}`", shown(&part)), "a condition, true or false of a row"));
        }
        let columns = part.column_refs();
        let mut names = columns.iter().map(|column| column.name().to_owned());
        match (names.next(), names.next()) {
            (None, _) => return Err(refuse(format!("`{}`, about no column", shown(&part)), "a condition on the rows")),
            (Some(name), None) => {
                let column = manifest.schema().index_of(&name)?;
                let both = match by_column.remove(&column) {
                    Some(other) => other.and(part),
                    None => part,
                };
                by_column.insert(column, both);
            }
            _ => others.push(Part { column: None, expression: part }),
        }
    }
    let name = |column: usize| manifest.schema().field(column).name().clone();
    let single = by_column.into_iter().map(|(column, expression)| Part { column: Some(name(column)), expression });
    Ok(single.chain(others).collect())
}

/// What a condition leaves of column `column`; none if its codes do not say its values.
fn restricted(
    session: &dyn Session,
    encoder: &TableEncoder,
    column: usize,
    expression: &Expr,
) -> Result<Option<Restriction>> {
    let test = Test::new(session, encoder.schema(), column, expression.clone())?;
    encoder.restrict(column, |values| test.run(values)).map_err(|error| match error {
        SynthError::Column { column, reason, way_out } => {
            let expected = format!("another condition: column `{column}`: {reason}; {way_out}");
            fault("given", format!("`{}`", shown(expression)), expected)
        }
        other => other,
    })
}

/// Adds what is left of a column. Columns that are functions of one another restrict the same one.
fn add(
    restrictions: &mut Vec<Restriction>,
    restriction: Restriction,
    encoder: &TableEncoder,
) -> std::result::Result<(), String> {
    match restrictions.iter_mut().find(|known| known.column == restriction.column) {
        Some(known) => {
            let name = encoder.schema().field(known.column).name();
            let others = || format!("another condition: no learned value of `{name}` satisfies this and the rest");
            *known = known.clone().and(&restriction).ok_or_else(others)?;
        }
        None => restrictions.push(restriction),
    }
    Ok(())
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
        if of == column {
            let given = format!("'{name}', one of several of which one is set");
            return Err(fault("balance", given, "a categorical column".to_owned()));
        }
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
    fn new(session: &dyn Session, schema: &Schema, column: usize, part: Expr) -> Result<Self> {
        let schema = Arc::new(schema.project(&[column])?);
        let expression =
            session.create_physical_expr(part, &DFSchema::try_from(Arc::clone(&schema))?).map_err(SynthError::from)?;
        Ok(Self { schema, expression })
    }

    fn run(&self, values: &ArrayRef) -> Result<BooleanArray> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), vec![Arc::clone(values)])?;
        let passed = self.expression.evaluate(&batch)?.into_array(values.len())?;
        Ok(passed.as_boolean().clone())
    }
}
