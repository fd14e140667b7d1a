//! Which foreign key does what.
//!
//! One *owns* the rows: they are generated as the children of its parents, in order, knowing them and the siblings before.
//! It is the one that tells most parents apart, of those that group rows at all; the others are matched. Names and the
//! order of declaration decide nothing: where numbers are equal, the place of the columns in the table does.

/// Children per referenced parent from which a foreign key is said to group rows.
const GROUPING: f64 = 1.5;
/// Share of rows without a parent up to which a foreign key may own rows when others are there.
const SPARSE: f64 = 0.1;

/// What the data has of a foreign key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceShape {
    /// Its columns, by their place in the child.
    pub columns: Vec<usize>,
    /// Rows that refer to a parent.
    pub rows: u64,
    /// Rows that refer to nothing.
    pub nulls: u64,
    /// Parents that are referred to.
    pub referenced: u64,
    /// Whether the parent is the table itself.
    pub itself: bool,
    /// Whether the parent comes after the child, at a cut through a cycle.
    pub deferred: bool,
}

/// What a foreign key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Roles {
    /// See [`Role::Owner`](super::Role::Owner).
    Owner,
    /// See [`Role::Matched`](super::Role::Matched).
    Matched,
    /// See [`Role::Deferred`](super::Role::Deferred).
    Deferred,
    /// See [`Role::Implied`](super::Role::Implied).
    Implied,
    /// See [`Role::Tree`](super::Role::Tree).
    Tree,
}

impl ReferenceShape {
    fn covers(&self, other: &Self) -> bool {
        self.columns.len() > other.columns.len() && other.columns.iter().all(|column| self.columns.contains(column))
    }

    fn mean(&self) -> f64 {
        self.rows as f64 / self.referenced.max(1) as f64
    }
}

/// A role for each foreign key of a table.
#[must_use]
pub fn choose_roles(shapes: &[ReferenceShape]) -> Vec<Roles> {
    let mut roles: Vec<Roles> = shapes
        .iter()
        .map(|shape| match shape {
            _ if shape.itself => Roles::Tree,
            _ if shape.deferred => Roles::Deferred,
            _ if shapes.iter().any(|other| !other.itself && !other.deferred && other.covers(shape)) => Roles::Implied,
            _ => Roles::Matched,
        })
        .collect();
    let candidates: Vec<usize> = (0..shapes.len()).filter(|&at| roles[at] == Roles::Matched).collect();
    let dense = |&at: &usize| {
        let shape = &shapes[at];
        shape.nulls as f64 <= SPARSE * (shape.rows + shape.nulls) as f64
    };
    let groups = |&at: &usize| shapes[at].mean() >= GROUPING;
    let mut among = candidates.clone();
    for test in [&dense as &dyn Fn(&usize) -> bool, &groups] {
        let passed: Vec<usize> = among.iter().copied().filter(|at| test(at)).collect();
        if !passed.is_empty() {
            among = passed;
        }
    }
    // Of those that group rows, the finest; where none does, the coarsest.
    let fine = among.iter().any(groups);
    let merit = |at: usize| if fine { shapes[at].referenced as f64 } else { shapes[at].mean() };
    let owner = among.into_iter().reduce(|best, at| if merit(at) > merit(best) { at } else { best });
    if let Some(owner) = owner {
        roles[owner] = Roles::Owner;
    }
    roles
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(columns: &[usize], rows: u64, nulls: u64, referenced: u64) -> ReferenceShape {
        ReferenceShape { columns: columns.to_vec(), rows, nulls, referenced, itself: false, deferred: false }
    }

    #[test]
    fn the_finest_grouping_owns_the_rows() {
        // Order lines: of orders and products.
        assert_eq!(
            choose_roles(&[shape(&[0], 2155, 0, 830), shape(&[1], 2155, 0, 77)]),
            [Roles::Owner, Roles::Matched]
        );
        // Invoice lines: tracks are told apart even better, but they group nothing.
        assert_eq!(
            choose_roles(&[shape(&[1], 2240, 0, 412), shape(&[2], 2240, 0, 1984)]),
            [Roles::Owner, Roles::Matched]
        );
        // Most rows have no parent of the finest grouping.
        assert_eq!(
            choose_roles(&[shape(&[0], 100, 900, 50), shape(&[1], 1000, 0, 20)]),
            [Roles::Matched, Roles::Owner]
        );
        // Nothing groups.
        assert_eq!(choose_roles(&[shape(&[0], 100, 0, 90), shape(&[1], 100, 0, 80)]), [Roles::Matched, Roles::Owner]);
    }

    #[test]
    fn foreign_keys_within_others_are_implied() {
        let weather = shape(&[0, 1, 2], 1600, 10, 174);
        let mut boss = shape(&[4], 9, 1, 2);
        boss.itself = true;
        assert_eq!(
            choose_roles(&[shape(&[0], 1610, 0, 2), weather, shape(&[3], 1600, 0, 26), boss]),
            [Roles::Implied, Roles::Owner, Roles::Matched, Roles::Tree]
        );
    }

    #[test]
    fn foreign_keys_that_overlap_are_no_obstacle() {
        let shapes = [shape(&[0, 1], 100, 0, 50), shape(&[0, 2], 100, 0, 5)];
        assert_eq!(choose_roles(&shapes), [Roles::Owner, Roles::Matched]);
    }
}
