//! What a model knows of its table's place among others: kept with the model, complete.

use super::degrees::Degrees;
use crate::{
    Result, SynthError,
    encode::{ColumnLayout, Layout, SubColumn, TableEncoder, schema_serde},
};
use arrow::{array::RecordBatch, datatypes::SchemaRef};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Codes of a row's place among its siblings.
const PLACES: u32 = 32;

/// How a table hangs together with others.
///
/// The rows of the infinite table come in *segments* of [`Relations::rows`] rows each: a database of the training data's
/// size. References never leave their segment, so the rows of any segment can be had without those before it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relations {
    /// The table's Arrow schema, columns of foreign keys included.
    #[serde(with = "schema_serde")]
    pub schema: SchemaRef,
    /// Rows of a segment: those of the training data.
    pub rows: u64,
    /// Its foreign keys, by the place of their columns in the schema.
    pub references: Vec<Reference>,
    /// The foreign keys of other tables (or its own) that refer to it: the model draws how many children a row has of each.
    pub children: Vec<Children>,
    /// What tells a row from its siblings before it is drawn.
    pub context: Option<Context>,
    /// Keys whose columns are not all generated: their values are kept apart.
    pub uniques: Vec<Unique>,
}

/// A foreign key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// The table referred to, by the name of its model.
    pub parent: String,
    /// Its columns.
    pub columns: Vec<String>,
    /// The parent's, each for the column of the same position.
    pub parent_columns: Vec<String>,
    /// What it does.
    pub role: Role,
    /// Children per parent row in the training data.
    pub degrees: Degrees,
    /// Rows that refer to nothing in the training data.
    pub nulls: u64,
    /// Those of its columns that have values even so: the model draws them for such rows.
    pub spares: Vec<String>,
    /// Those of them that always have one.
    pub solid: Vec<String>,
    /// The column that is null in such rows, whatever the others are.
    pub broken: Option<String>,
}

/// What a foreign key does when rows are generated.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The rows are the children of its parents, in their order.
    Owner,
    /// A parent is chosen that is like the one the model would have.
    Matched(Option<Attributes>),
    /// As [`Role::Matched`], once the parent's rows are there: the parent depends on this table, too.
    Deferred,
    /// Its columns are those of another foreign key, which says it all.
    Implied,
    /// The table's own rows are its parents: a tree. Depths of rows in the training data, as (depth, rows).
    Tree(Degrees),
}

/// What a row knows of a parent that is chosen for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attributes {
    /// Of the parent's columns that matter, the most important first.
    pub encoder: TableEncoder,
}

/// What a row's own columns are drawn given.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// Of the columns of the owner, its owner, and so on.
    pub owner: TableEncoder,
    /// Whether rows know the sibling before them.
    pub siblings: bool,
    /// The column of the table that siblings come in the order of; none: they come in the table's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
}

/// The children of a table by one foreign key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Children {
    /// The child, by the name of its model.
    pub table: String,
    /// Its columns.
    pub columns: Vec<String>,
}

/// A key to keep unique.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unique {
    /// All of its columns.
    pub columns: Vec<String>,
    /// Those that the model draws; none if foreign keys bring all of them.
    pub drawn: Vec<String>,
    /// The combinations of their values in the training data, in order.
    pub domain: Domain,
}

/// Rows, stored as Arrow IPC.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "ipc::Text", into = "ipc::Text")]
pub struct Domain(pub RecordBatch);

const DEGREE: &str = "synth:children:";

/// Name of the hidden column that counts the children by foreign key `index` of [`Relations::children`].
#[must_use]
pub fn degree_column(index: usize) -> String {
    format!("{DEGREE}{index}")
}

/// Whether a column is one of [`degree_column`].
pub(super) fn is_degree(name: &str) -> bool {
    name.contains(DEGREE)
}

/// Name of the hidden column that says how deep in its tree a row is, for reference `index`.
#[must_use]
pub fn depth_column(index: usize) -> String {
    format!("synth:depth:{index}")
}

/// Name of an owner's column among those of its child.
#[must_use]
pub fn owner_column(name: &str) -> String {
    format!("synth:owner:{name}")
}

/// Whether a column is none of the table's.
#[must_use]
pub fn is_hidden(name: &str) -> bool {
    name.starts_with("synth:")
}

impl Reference {
    /// Whether all columns of another reference, which has fewer, are this one's.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.columns.len() > other.columns.len() && other.columns.iter().all(|column| self.columns.contains(column))
    }
}

impl Relations {
    /// Whether the parents of a reference must be there to generate rows; `last` if those of deferred ones already are.
    #[must_use]
    pub fn needs_parents(&self, reference: &Reference, last: bool) -> bool {
        match &reference.role {
            Role::Owner | Role::Matched(_) => true,
            Role::Deferred => last,
            // Only for rows for which the reference that says it all is null.
            Role::Implied => self.references.iter().any(|wider| wider.nulls > 0 && wider.covers(reference)),
            Role::Tree(_) => false,
        }
    }

    /// Whether rows are drawn given something of the parents of a reference.
    #[must_use]
    pub fn tells(&self, reference: &Reference) -> bool {
        self.context.is_some() && matches!(reference.role, Role::Owner | Role::Matched(Some(_)))
    }

    /// Whether a column is part of a foreign key.
    #[must_use]
    pub fn refers(&self, column: &str) -> bool {
        self.references.iter().any(|reference| reference.columns.iter().any(|name| name == column))
    }

    /// The foreign key whose parents own the rows.
    #[must_use]
    pub fn owner(&self) -> Option<(usize, &Reference)> {
        self.references.iter().enumerate().find(|(_, reference)| matches!(reference.role, Role::Owner))
    }

    /// The place of a child's foreign key in [`Relations::children`].
    #[must_use]
    pub fn child(&self, table: &str, columns: &[String]) -> Option<usize> {
        self.children.iter().position(|child| child.table == table && child.columns == columns)
    }

    /// These without the names of other tables, which the rows do not depend on.
    #[must_use]
    pub fn nameless(mut self) -> Self {
        self.references.iter_mut().for_each(|reference| reference.parent.clear());
        self.children.iter_mut().for_each(|child| child.table.clear());
        self
    }

    /// The parts of the rows that a model of this table learns.
    ///
    /// # Errors
    /// A context with scalars: it can only be one of codes.
    pub fn joint(&self, own: &TableEncoder) -> Result<Joint> {
        Joint::new(self, own)
    }
}

/// The sub-columns of a related table's rows, side by side: the owner's, the row's place, the sibling's before it (its
/// attributes and its own), then, to be drawn, the attributes of parents to be chosen, and the row's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joint {
    /// The whole.
    pub layout: Layout,
    /// The owner's sub-columns.
    pub owner: Range<usize>,
    /// The place among siblings, if there is a context.
    pub place: Option<usize>,
    /// The sibling's, each with the sub-column drawn that it has the codes of; empty if rows do not know it. Scalars are not
    /// among them: what is known of a row are codes.
    pub sibling: Vec<(usize, usize)>,
    /// Per reference, the sub-columns of its attributes.
    pub attributes: Vec<Range<usize>>,
    /// The row's own.
    pub own: Range<usize>,
}

impl Joint {
    fn new(relations: &Relations, own: &TableEncoder) -> Result<Self> {
        let mut subcolumns: Vec<SubColumn> = Vec::new();
        let add = |subcolumns: &mut Vec<SubColumn>, more: &[SubColumn]| {
            let start = subcolumns.len();
            subcolumns.extend_from_slice(more);
            start..subcolumns.len()
        };
        let mut drawn = Vec::new();
        let mut attributes = Vec::new();
        for reference in &relations.references {
            let of = match (&reference.role, &relations.context) {
                (Role::Matched(Some(of)), Some(_)) => with_none(&of.encoder.layout().subcolumns)?,
                _ => Vec::new(),
            };
            attributes.push(add(&mut drawn, &of));
        }
        let own_columns = own.layout();
        let own = add(&mut drawn, &own_columns.subcolumns);
        let (mut owner, mut place, mut sibling) = (0..0, None, Vec::new());
        if let Some(context) = &relations.context {
            owner = add(&mut subcolumns, &with_none(&context.owner.layout().subcolumns)?);
            place = Some(add(&mut subcolumns, &[SubColumn::numbers(0, PLACES)]).start);
            if context.siblings {
                let coded = (0..drawn.len()).filter(|&at| drawn[at] != SubColumn::Scalar);
                for of in coded {
                    sibling.push((add(&mut subcolumns, &with_none(&drawn[of..=of])?).start, of));
                }
            }
        }
        let given = subcolumns.len();
        sibling.iter_mut().for_each(|(_, of)| *of += given);
        add(&mut subcolumns, &drawn);
        let shift = |range: &Range<usize>| range.start + given..range.end + given;
        let own = shift(&own);
        let alone = (0..own.start).map(|at| ColumnLayout { subcolumns: at..at + 1, discrete: true });
        let own_columns = own_columns.columns.iter().map(|column| {
            let subcolumns = column.subcolumns.start + own.start..column.subcolumns.end + own.start;
            ColumnLayout { subcolumns, discrete: column.discrete }
        });
        let columns = alone.chain(own_columns).collect();
        let attributes = attributes.iter().map(shift).collect();
        let siblings = given - sibling.len()..given;
        Ok(Self { layout: Layout { columns, subcolumns, given, siblings }, owner, place, sibling, attributes, own })
    }

    /// What is drawn: attributes, then the row's own.
    #[must_use]
    pub fn drawn(&self) -> Range<usize> {
        self.layout.given..self.layout.subcolumns.len()
    }

    /// The code for "there is none", of a sub-column that has one.
    #[must_use]
    pub fn none(&self, subcolumn: usize) -> u32 {
        match self.layout.subcolumns.get(subcolumn) {
            Some(SubColumn::Code { cardinality, .. }) => cardinality - 1,
            _ => 0,
        }
    }
}

/// The code of being the `number`-th sibling, from 0: exact at first, then by powers of two.
#[must_use]
pub fn place_code(number: u32) -> u32 {
    if number < 16 { number } else { (12 + number.ilog2()).min(PLACES - 1) }
}

/// The same sub-columns, each with one more code: for there being none.
fn with_none(subcolumns: &[SubColumn]) -> Result<Vec<SubColumn>> {
    let wider = |subcolumn: &SubColumn| match subcolumn {
        SubColumn::Code { .. } => Ok(subcolumn.with_one_more()),
        SubColumn::Scalar => Err(SynthError::Internal("a context of scalars".to_owned())),
    };
    subcolumns.iter().map(wider).collect()
}

mod ipc {
    use super::Domain;
    use arrow::{
        compute::concat_batches,
        ipc::{reader::StreamReader, writer::StreamWriter},
    };
    use serde::{Deserialize, Serialize};

    /// An IPC stream in hexadecimal digits.
    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub(super) struct Text(String);

    impl From<Domain> for Text {
        fn from(domain: Domain) -> Self {
            let mut bytes = Vec::new();
            let batch = &domain.0;
            // Writing to memory fails for types that IPC does not know, and there is none.
            let written = StreamWriter::try_new(&mut bytes, batch.schema_ref())
                .and_then(|mut writer| writer.write(batch).and_then(|()| writer.finish()));
            if written.is_err() {
                bytes.clear();
            }
            Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
        }
    }

    impl TryFrom<Text> for Domain {
        type Error = String;

        fn try_from(Text(text): Text) -> Result<Self, String> {
            let digits = |at: usize| text.get(at..at + 2).and_then(|byte| u8::from_str_radix(byte, 16).ok());
            let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(digits).collect();
            let bytes = bytes.ok_or("not hexadecimal")?;
            let reader = StreamReader::try_new(bytes.as_slice(), None).map_err(|error| error.to_string())?;
            let schema = reader.schema();
            let batches: Vec<_> = reader.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
            Ok(Self(concat_batches(&schema, &batches).map_err(|error| error.to_string())?))
        }
    }
}
