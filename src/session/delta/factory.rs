//! `CREATE EXTERNAL TABLE … STORED AS DELTATABLE`.

use super::provider::DeltaProvider;
use crate::exec::delta::{Location, delta_type, failed};
use async_trait::async_trait;
use datafusion::{
    arrow::datatypes::{FieldRef, Schema},
    catalog::{Session, TableProvider, TableProviderFactory},
    error::{DataFusionError, Result},
    logical_expr::CreateExternalTable,
    prelude::SessionContext,
};
use deltalake::{
    DeltaTable,
    kernel::{StructField, engine::arrow_conversion::TryIntoKernel},
    operations::create::CreateBuilder,
};
use std::{collections::HashMap, sync::Arc};

/// Opens Delta tables, and creates those that do not exist yet.
#[derive(Debug)]
struct DeltaFactory;

/// Makes `STORED AS DELTATABLE` (and `DELTA`) known to `context`.
pub(in crate::session) fn register(context: &SessionContext) {
    let state = context.state_ref();
    let mut state = state.write();
    for name in ["DELTATABLE", "DELTA"] {
        state.table_factories_mut().insert(name.into(), Arc::new(DeltaFactory));
    }
}

#[async_trait]
impl TableProviderFactory for DeltaFactory {
    async fn create(&self, _: &dyn Session, command: &CreateExternalTable) -> Result<Arc<dyn TableProvider>> {
        let [location] = command.locations.as_slice() else {
            return Err(plan(format!("table {}: a Delta table has one LOCATION", command.name)));
        };
        if command.unbounded || !command.order_exprs.is_empty() {
            return Err(plan(format!(
                "table {}: UNBOUNDED and WITH ORDER do not apply to a Delta table; leave them out",
                command.name
            )));
        }
        let options = storage_options(command)?;
        let location = Location::parse(location)?;
        let declared = declared_columns(command)?;
        let table = match location.open(options.clone()).await? {
            Some(table) => {
                check_columns(&table, &declared, command)?;
                table
            }
            None if declared.is_empty() => {
                return Err(plan(format!(
                    "table {}: no Delta table at {location}; declare columns to create one: \
                     CREATE EXTERNAL TABLE {} (id BIGINT, name VARCHAR) STORED AS DELTATABLE LOCATION '…'",
                    command.name, command.name
                )));
            }
            None => {
                create(location.vacant(options)?, declared, command).await.map_err(|error| failed(&location, error))?
            }
        };
        let provider = DeltaProvider::try_new(table)?;
        Ok(Arc::new(provider.with_declarations(command.constraints.clone(), command.column_defaults.clone())))
    }
}

async fn create(
    vacant: DeltaTable,
    columns: Vec<FieldRef>,
    command: &CreateExternalTable,
) -> Result<DeltaTable, deltalake::DeltaTableError> {
    let columns: Vec<StructField> =
        columns.iter().map(|column| column.as_ref().try_into_kernel()).collect::<Result<_, _>>()?;
    CreateBuilder::new()
        .with_log_store(vacant.log_store())
        .with_table_name(command.name.table())
        .with_columns(columns)
        .with_partition_columns(command.table_partition_cols.clone())
        .await
}

/// The declared columns in the types that Delta has for them.
fn declared_columns(command: &CreateExternalTable) -> Result<Vec<FieldRef>> {
    let fields = command.schema.fields().iter().map(|field| match delta_type(field.data_type()) {
        Ok(data_type) => Ok(Arc::new(field.as_ref().clone().with_data_type(data_type))),
        Err(way_out) => Err(plan(format!(
            "table {}: column `{}`: Delta has no type for {}; {way_out}",
            command.name,
            field.name(),
            field.data_type()
        ))),
    });
    fields.collect()
}

/// Declared columns must be those of the table: a wrong belief about the data is not mended silently.
fn check_columns(table: &DeltaTable, declared: &[FieldRef], command: &CreateExternalTable) -> Result<()> {
    let name = &command.name;
    let snapshot = table.snapshot().map_err(|error| failed(name, error))?;
    let partitions = snapshot.metadata().partition_columns();
    if !command.table_partition_cols.is_empty() && command.table_partition_cols != *partitions {
        return Err(plan(format!(
            "table {name}: declared PARTITIONED BY ({}), but the Delta table is partitioned by ({})",
            command.table_partition_cols.join(", "),
            partitions.join(", ")
        )));
    }
    if declared.is_empty() {
        return Ok(());
    }
    let actual = snapshot.snapshot().arrow_schema();
    let same = actual.fields().len() == declared.len()
        && actual.fields().iter().zip(declared).all(|(actual, declared)| {
            actual.name() == declared.name()
                && delta_type(actual.data_type()) == Ok(declared.data_type().clone())
                && (declared.is_nullable() || !actual.is_nullable())
        });
    if same {
        return Ok(());
    }
    Err(plan(format!(
        "table {name}: the declared columns ({}) are not those of the Delta table ({}); \
         declare them so, or leave the columns out",
        describe(&Schema::new(declared.to_vec())),
        describe(&actual)
    )))
}

fn describe(schema: &Schema) -> String {
    let columns = schema.fields().iter().map(|field| {
        format!("{} {}{}", field.name(), field.data_type(), if field.is_nullable() { "" } else { " NOT NULL" })
    });
    columns.collect::<Vec<_>>().join(", ")
}

/// `OPTIONS (…)` as the object store wants them: DataFusion files keys without a dot under `format.`.
fn storage_options(command: &CreateExternalTable) -> Result<HashMap<String, String>> {
    let options = command.options.iter().map(|(key, value)| match key.strip_prefix("format.") {
        Some(key) => Ok((key.to_owned(), value.clone())),
        None => Err(plan(format!(
            "table {}: unknown option `{key}`; options of a Delta table are those of its object store, \
             such as 'aws_region'",
            command.name
        ))),
    });
    options.collect()
}

fn plan(message: String) -> DataFusionError {
    DataFusionError::Plan(message)
}
