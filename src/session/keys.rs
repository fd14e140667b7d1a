//! Keys in statements: what `CREATE TABLE` and `ALTER TABLE` say of them, and what becomes of them.

use super::SynthSession;
use crate::{
    Result, SynthError,
    exec::keys::{ColumnRef, KeySource, KnownKeys, NewForeignKey, NewKey, Planned, SessionKeys, Tables},
    schema::{Key, KeyKind, TableName, show_columns},
    store::DeclaredKeys,
};
use arrow::datatypes::Schema;
use datafusion::{
    common::{Constraint, Constraints},
    logical_expr::{DdlStatement, DropTable, DropView, LogicalPlan},
    prelude::DataFrame,
    sql::{
        parser::Statement,
        planner::object_name_to_table_reference,
        sqlparser::ast::{
            AlterTable, AlterTableOperation, ColumnDef, ColumnOption, ConstraintReferenceMatchKind, Expr as SqlExpr,
            ForeignKeyConstraint, Ident, IndexColumn, NullsDistinctOption, ObjectName, Statement as SqlStatement,
            TableConstraint,
        },
    },
};
use std::sync::Arc;

/// A change of the keys of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyChange {
    /// `ADD [CONSTRAINT name] {PRIMARY KEY | UNIQUE | FOREIGN KEY} …`
    Add(Box<TableConstraint>),
    /// `DROP CONSTRAINT [IF EXISTS] name`, `DROP FOREIGN KEY name`
    Drop {
        /// The constraint.
        name: Ident,
        /// Whether an unknown constraint is no error.
        if_exists: bool,
    },
    /// `DROP PRIMARY KEY`
    DropPrimaryKey,
}

/// Takes out of a `CREATE TABLE` what DataFusion cannot plan, or would forget: foreign keys, and the names of keys.
pub(super) fn lift(statement: &mut Statement) -> Vec<TableConstraint> {
    let (columns, constraints) = match statement {
        Statement::Statement(statement) => match statement.as_mut() {
            SqlStatement::CreateTable(table) => (&mut table.columns, &mut table.constraints),
            _ => return Vec::new(),
        },
        Statement::CreateExternalTable(table) => (&mut table.columns, &mut table.constraints),
        _ => return Vec::new(),
    };
    let mut lifted = Vec::new();
    for column in columns {
        lift_inline(column, &mut lifted);
    }
    constraints.retain(|constraint| match constraint {
        TableConstraint::ForeignKey(_) => {
            lifted.push(constraint.clone());
            false
        }
        TableConstraint::PrimaryKey(key) => {
            lifted.extend(key.name.is_some().then(|| constraint.clone()));
            true
        }
        TableConstraint::Unique(key) => {
            lifted.extend(key.name.is_some().then(|| constraint.clone()));
            true
        }
        _ => true,
    });
    lifted
}

/// `customer_id BIGINT REFERENCES customers`, `id BIGINT CONSTRAINT the_key PRIMARY KEY`
fn lift_inline(column: &mut ColumnDef, lifted: &mut Vec<TableConstraint>) {
    let ColumnDef { name: column, options, .. } = column;
    options.retain(|option| match &option.option {
        ColumnOption::ForeignKey(key) => {
            lifted.push(TableConstraint::ForeignKey(ForeignKeyConstraint {
                name: option.name.clone(),
                columns: vec![column.clone()],
                ..key.clone()
            }));
            false
        }
        ColumnOption::PrimaryKey(key) if option.name.is_some() => {
            let mut key = key.clone();
            key.name.clone_from(&option.name);
            key.columns = vec![IndexColumn::from(column.clone())];
            lifted.push(TableConstraint::PrimaryKey(key));
            true
        }
        ColumnOption::Unique(key) if option.name.is_some() => {
            let mut key = key.clone();
            key.name.clone_from(&option.name);
            key.columns = vec![IndexColumn::from(column.clone())];
            lifted.push(TableConstraint::Unique(key));
            true
        }
        _ => true,
    });
}

/// The changes of an `ALTER TABLE` that is about nothing but keys.
pub(super) fn changes(statement: &Statement) -> Option<(ObjectName, bool, Vec<KeyChange>)> {
    let Statement::Statement(statement) = statement else { return None };
    let SqlStatement::AlterTable(AlterTable { name, if_exists, operations, .. }) = statement.as_ref() else {
        return None;
    };
    let changes = operations.iter().map(|operation| match operation {
        AlterTableOperation::AddConstraint { constraint, .. } => Some(KeyChange::Add(Box::new(constraint.clone()))),
        AlterTableOperation::DropConstraint { if_exists, name, .. } => {
            Some(KeyChange::Drop { name: name.clone(), if_exists: *if_exists })
        }
        AlterTableOperation::DropForeignKey { name, .. } => {
            Some(KeyChange::Drop { name: name.clone(), if_exists: false })
        }
        AlterTableOperation::DropPrimaryKey { .. } => Some(KeyChange::DropPrimaryKey),
        _ => None,
    });
    Some((name.clone(), *if_exists, changes.collect::<Option<_>>()?))
}

/// A key as a statement declares it.
enum New {
    Key(NewKey),
    ForeignKey(NewForeignKey),
}

impl SynthSession {
    /// Runs a statement that DataFusion plans, and keeps the keys of the tables that it creates and drops: `constraints`
    /// are those that [`lift`] took out of it.
    pub(super) async fn define(&self, statement: Statement, constraints: &[TableConstraint]) -> Result<DataFrame> {
        let plan = self.context().state().statement_to_plan(statement).await?;
        let LogicalPlan::Ddl(definition) = &plan else { return Ok(self.context().execute_logical_plan(plan).await?) };
        let tables = Tables::of(&self.context().state());
        let (name, schema, declared, if_not_exists) = match definition {
            DdlStatement::CreateMemoryTable(table) => {
                let schema = Some(Arc::clone(table.input.schema().inner()));
                (&table.name, schema, &table.constraints, table.if_not_exists)
            }
            DdlStatement::CreateExternalTable(table) => {
                let schema = Arc::clone(table.schema.inner());
                // Without declared columns they are those of the files, which are not known yet.
                let schema = (!schema.fields().is_empty()).then_some(schema);
                (&table.name, schema, &table.constraints, table.if_not_exists)
            }
            DdlStatement::DropTable(DropTable { name, .. }) | DdlStatement::DropView(DropView { name, .. }) => {
                let name = tables.resolve(name.clone());
                let done = self.context().execute_logical_plan(plan).await?;
                self.session_keys()?.forget(&name);
                return Ok(done);
            }
            _ => return Ok(self.context().execute_logical_plan(plan).await?),
        };
        let reference = name.clone();
        let name = tables.resolve(reference.clone());
        if if_not_exists && tables.exists(&name) {
            return Ok(self.context().execute_logical_plan(plan).await?);
        }
        let planned = schema.map(|schema| planned(&name, &schema, declared));
        let existed = tables.exists(&name);
        // Where its columns are known before it is there, a wrong key leaves nothing behind.
        let checked = match &planned {
            Some(planned) => Some(self.check_new(&tables, &name, constraints, Some(planned)).await?),
            None => None,
        };
        let done = self.context().execute_logical_plan(plan).await?;
        let keys = match checked {
            Some(keys) => Ok(keys),
            None => self.check_new(&tables, &name, constraints, None).await,
        };
        match keys {
            Ok(keys) => {
                let session = self.session_keys()?;
                session.forget(&name);
                session.change(|known| {
                    known.keys.extend(keys.keys);
                    known.foreign_keys.extend(keys.foreign_keys);
                    Ok(())
                })?;
                Ok(done)
            }
            Err(error) => {
                if !existed {
                    self.context().deregister_table(reference)?;
                }
                Err(error)
            }
        }
    }

    /// The keys that a new table is declared with.
    async fn check_new(
        &self,
        tables: &Tables,
        table: &TableName,
        constraints: &[TableConstraint],
        planned: Option<&Planned>,
    ) -> Result<DeclaredKeys> {
        let mut declared = DeclaredKeys::default();
        if constraints.is_empty() {
            return Ok(declared);
        }
        // What was declared of an earlier table of that name is none of this one's.
        let mut known = self.known_keys(tables).await?;
        known.keys.retain(|(key, _)| key.table != *table);
        known.foreign_keys.retain(|(key, _)| key.table != *table);
        for constraint in constraints {
            match self.read(tables, table, constraint)? {
                New::Key(key) => {
                    let key = key.check(tables, &known, planned).await?;
                    known.keys.push((key.clone(), KeySource::Table));
                    declared.keys.push(key);
                }
                New::ForeignKey(key) => {
                    let key = key.check(tables, &known, planned).await?;
                    known.foreign_keys.push((key.clone(), KeySource::Table));
                    declared.foreign_keys.push(key);
                }
            }
        }
        Ok(declared)
    }

    /// Runs `ALTER TABLE … ADD …, DROP …`: all of the changes, or none.
    pub(super) async fn change_keys(&self, table: &ObjectName, if_exists: bool, changes: &[KeyChange]) -> Result<()> {
        let tables = Tables::of(&self.context().state());
        let name = tables.resolve(object_name_to_table_reference(table.clone(), self.normalizes())?);
        if if_exists && !tables.exists(&name) {
            return Ok(());
        }
        tables.get(&name).await?;
        let session = self.session_keys()?;
        let before = session.get();
        let mut deleted = DeclaredKeys::default();
        for change in changes {
            let changed = match change {
                KeyChange::Add(constraint) => self.add_key(&tables, &name, constraint).await,
                KeyChange::Drop { name: constraint, if_exists } => {
                    self.drop_key(&tables, &name, &self.normalized(constraint), *if_exists, &mut deleted).await
                }
                KeyChange::DropPrimaryKey => {
                    let known = self.known_keys(&tables).await?;
                    match known.primary_key(&name).map(|key| key.name.clone()) {
                        Some(key) => self.drop_key(&tables, &name, &key, false, &mut deleted).await,
                        None => {
                            Err(SynthError::NotFound { kind: "primary key", name: tables.show(&name), known: vec![] })
                        }
                    }
                }
            };
            if let Err(error) = changed {
                session.change(|keys| {
                    *keys = before;
                    Ok(())
                })?;
                if deleted != DeclaredKeys::default() {
                    let restore = |keys: &mut DeclaredKeys| {
                        keys.keys.extend(deleted.keys.iter().cloned());
                        keys.foreign_keys.extend(deleted.foreign_keys.iter().cloned());
                        Ok(())
                    };
                    self.model_store()?.change_keys(restore).await?;
                }
                return Err(error);
            }
        }
        Ok(())
    }

    async fn add_key(&self, tables: &Tables, table: &TableName, constraint: &TableConstraint) -> Result<()> {
        let known = self.known_keys(tables).await?;
        let session = self.session_keys()?;
        match self.read(tables, table, constraint)? {
            New::Key(key) => {
                let key = key.check(tables, &known, None).await?;
                session.change(|keys| {
                    keys.keys.push(key);
                    Ok(())
                })
            }
            New::ForeignKey(key) => {
                let key = key.check(tables, &known, None).await?;
                session.change(|keys| {
                    keys.foreign_keys.push(key);
                    Ok(())
                })
            }
        }
    }

    async fn drop_key(
        &self,
        tables: &Tables,
        table: &TableName,
        name: &str,
        if_exists: bool,
        deleted: &mut DeclaredKeys,
    ) -> Result<()> {
        let provider = tables.get(table).await?;
        let known = self.known_keys(tables).await?.of_tables(std::slice::from_ref(table));
        let mut names: Vec<String> = known.keys.iter().map(|(key, _)| key.name.clone()).collect();
        names.extend(known.foreign_keys.iter().map(|(key, _)| key.name.clone()));
        if !names.iter().any(|known| known == name) {
            return if if_exists {
                Ok(())
            } else {
                let missing = SynthError::NotFound { kind: "constraint", name: name.to_owned(), known: names };
                Err(missing.in_table(tables.show(table)))
            };
        }
        let brought = |key: &Key| {
            let schema = provider.schema();
            provider.constraints().is_some_and(|constraints| {
                planned(table, &schema, constraints)
                    .primary_key
                    .is_some_and(|columns| key.kind == KeyKind::Primary && columns == key.columns)
                    || constraints.iter().any(|constraint| {
                        matches!(constraint, Constraint::Unique(columns)
                        if key.kind == KeyKind::Unique && named(&schema, columns) == key.columns)
                    })
            })
        };
        if let Some((key, _)) = known.keys.iter().find(|(key, _)| key.name == name && brought(key)) {
            return Err(SynthError::Key {
                table: tables.show(table),
                key: format!("{} ({})", key.kind, show_columns(&key.columns)),
                reason: format!("`{name}` was declared when the table was created, and queries rely on it"),
                way_out: "create the table again without it".to_owned(),
            });
        }
        let is_it = |of: &TableName, called: &str| of == table && called == name;
        self.session_keys()?.change(|keys| {
            keys.keys.retain(|key| !is_it(&key.table, &key.name));
            keys.foreign_keys.retain(|key| !is_it(&key.table, &key.name));
            Ok(())
        })?;
        let stored = |source: &KeySource| *source == KeySource::Store;
        let mut gone = DeclaredKeys::default();
        gone.keys.extend(
            known.keys.iter().filter(|(key, from)| stored(from) && key.name == name).map(|(key, _)| key.clone()),
        );
        gone.foreign_keys.extend(
            known
                .foreign_keys
                .iter()
                .filter(|(key, from)| stored(from) && key.name == name)
                .map(|(key, _)| key.clone()),
        );
        if gone != DeclaredKeys::default() {
            let delete = |keys: &mut DeclaredKeys| {
                keys.keys.retain(|key| !is_it(&key.table, &key.name));
                keys.foreign_keys.retain(|key| !is_it(&key.table, &key.name));
                Ok(())
            };
            self.model_store()?.change_keys(delete).await?;
            deleted.keys.extend(gone.keys);
            deleted.foreign_keys.extend(gone.foreign_keys);
        }
        Ok(())
    }

    /// What a constraint declares.
    fn read(&self, tables: &Tables, table: &TableName, constraint: &TableConstraint) -> Result<New> {
        let refused = |what: &str, way_out: &str| SynthError::Key {
            table: tables.show(table),
            key: constraint.to_string(),
            reason: format!("{what} is not supported"),
            way_out: way_out.to_owned(),
        };
        let name = |name: &Option<Ident>| name.as_ref().map(|name| self.normalized(name));
        let columns = |columns: &[IndexColumn]| {
            let column = |column: &IndexColumn| match &column.column.expr {
                SqlExpr::Identifier(name) => Ok(ColumnRef::exact(self.normalized(name))),
                _ => Err(refused("a key of an expression", "name columns")),
            };
            columns.iter().map(column).collect::<Result<Vec<_>>>()
        };
        let identifiers = |names: &[Ident]| names.iter().map(|name| ColumnRef::exact(self.normalized(name))).collect();
        Ok(match constraint {
            TableConstraint::PrimaryKey(key) => New::Key(NewKey {
                name: name(&key.name),
                table: table.clone(),
                kind: KeyKind::Primary,
                columns: columns(&key.columns)?,
            }),
            TableConstraint::Unique(key) => {
                if key.nulls_distinct == NullsDistinctOption::NotDistinct {
                    return Err(refused("NULLS NOT DISTINCT", "leave it out: rows with a null are never equal"));
                }
                New::Key(NewKey {
                    name: name(&key.name),
                    table: table.clone(),
                    kind: KeyKind::Unique,
                    columns: columns(&key.columns)?,
                })
            }
            TableConstraint::ForeignKey(key) => {
                if !matches!(key.match_kind, None | Some(ConstraintReferenceMatchKind::Simple)) {
                    return Err(refused(
                        "a MATCH other than SIMPLE",
                        "leave it out: a key with a null in any column refers to nothing",
                    ));
                }
                let parent = object_name_to_table_reference(key.foreign_table.clone(), self.normalizes())?;
                New::ForeignKey(NewForeignKey {
                    name: name(&key.name),
                    table: table.clone(),
                    columns: identifiers(&key.columns),
                    parent: tables.resolve(parent),
                    parent_columns: identifiers(&key.referred_columns),
                })
            }
            _ => return Err(refused("this constraint", "ALTER TABLE adds PRIMARY KEY, UNIQUE and FOREIGN KEY")),
        })
    }

    /// The table that `text` means, as the system tables write it.
    #[cfg(feature = "repl")]
    pub(crate) fn table_name(&self, text: &str) -> String {
        let tables = Tables::of(&self.context().state());
        tables.show(&tables.named(text))
    }

    async fn known_keys(&self, tables: &Tables) -> Result<KnownKeys> {
        KnownKeys::gather(tables, Some(self.session_keys()?.as_ref()), &self.model_store()?).await
    }

    fn session_keys(&self) -> Result<Arc<SessionKeys>> {
        SessionKeys::of(&self.context().state())
            .ok_or_else(|| SynthError::Internal("no keys in the session".to_owned()))
    }

    fn normalizes(&self) -> bool {
        self.options().sql_parser.enable_ident_normalization
    }

    fn normalized(&self, name: &Ident) -> String {
        match name.quote_style {
            None if self.normalizes() => name.value.to_lowercase(),
            _ => name.value.clone(),
        }
    }
}

fn named(schema: &Schema, columns: &[usize]) -> Vec<String> {
    columns.iter().filter_map(|&column| Some(schema.fields().get(column)?.name().clone())).collect()
}

fn planned(table: &TableName, schema: &Arc<Schema>, constraints: &Constraints) -> Planned {
    let primary_key = constraints.iter().find_map(|constraint| match constraint {
        Constraint::PrimaryKey(columns) => Some(named(schema, columns)),
        Constraint::Unique(_) => None,
    });
    Planned { table: table.clone(), schema: Arc::clone(schema), primary_key }
}
