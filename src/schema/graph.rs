//! The graph of foreign keys: which table comes before which, and where a cycle is cut.
//!
//! Everything here is a function of the graph's structure. The order of declaration decides nothing; names decide
//! between tables that the structure cannot tell apart, and only then.

use std::collections::{BTreeMap, BTreeSet};

/// A foreign key between two tables, given by their numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edge {
    /// The table that refers.
    pub child: usize,
    /// The table referred to.
    pub parent: usize,
    /// Whether the reference may be null: only then can a cycle be cut here.
    pub nullable: bool,
}

/// Tables and the foreign keys between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaGraph {
    names: Vec<String>,
    edges: Vec<Edge>,
    /// By structure first, by name second: the rank of each table.
    rank: Vec<usize>,
}

/// The order in which tables can be learned and generated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DependencyOrder {
    /// Every table, each after all of its parents but those of deferred edges.
    pub tables: Vec<usize>,
    /// By table: the number of edges on the longest way to a table without parents.
    pub depth: Vec<usize>,
    /// Numbers of the edges that are filled in when both tables exist: references of a table to itself, and those at
    /// which cycles are cut. Ascending.
    pub deferred: Vec<usize>,
}

/// Tables that refer to each other in a circle with no reference that may be null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle {
    /// Numbers of its edges, the child of each being the parent of the one before.
    pub edges: Vec<usize>,
}

impl SchemaGraph {
    /// The graph of the tables called `names`, with `edges` between them.
    ///
    /// Edges to tables that do not exist are no edges.
    #[must_use]
    pub fn new(names: Vec<String>, edges: Vec<Edge>) -> Self {
        let edges: Vec<Edge> =
            edges.into_iter().filter(|edge| edge.child < names.len() && edge.parent < names.len()).collect();
        let rank = ranks(&names, &edges);
        Self { names, edges, rank }
    }

    /// The edges, by number.
    #[must_use]
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// Orders the tables, parents first. References of a table to itself are deferred; every other cycle is cut at
    /// references that may be null, as few as a greedy choice finds.
    ///
    /// # Errors
    /// Every part of the graph in which references that may not be null form a cycle, a shortest one for each.
    pub fn order(&self) -> Result<DependencyOrder, Vec<Cycle>> {
        let mut alive: Vec<bool> = self.edges.iter().map(|edge| edge.child != edge.parent).collect();
        let mandatory: Vec<bool> =
            self.edges.iter().zip(&alive).map(|(edge, alive)| *alive && !edge.nullable).collect();
        let cycles: Vec<Cycle> =
            self.knots(&mandatory).iter().filter_map(|knot| self.shortest_cycle(knot, &mandatory)).collect();
        if !cycles.is_empty() {
            return Err(cycles);
        }
        loop {
            let knots = self.knots(&alive);
            let Some(knot) = knots.first() else { break };
            let Some(cut) = self.best_cut(knot, &alive) else { break };
            alive[cut] = false;
        }
        let depth = self.depths(&alive);
        let mut tables: Vec<usize> = (0..self.names.len()).collect();
        tables.sort_by_key(|&table| (depth[table], self.rank[table]));
        let deferred = (0..self.edges.len()).filter(|&edge| !alive[edge]).collect();
        Ok(DependencyOrder { tables, depth, deferred })
    }

    /// The strongly connected components with more than one table, over the edges `alive`: in each, every table refers
    /// to every other, directly or not. Ordered by the rank of their first tables.
    fn knots(&self, alive: &[bool]) -> Vec<BTreeSet<usize>> {
        let mut knots: Vec<BTreeSet<usize>> =
            components(self.names.len(), &self.edges, alive).into_iter().filter(|part| part.len() > 1).collect();
        knots.sort_by_key(|knot| knot.iter().map(|&table| self.rank[table]).min());
        knots
    }

    /// Every strongly connected component of the graph with more than one table.
    #[must_use]
    pub fn strongly_connected(&self) -> Vec<BTreeSet<usize>> {
        self.knots(&vec![true; self.edges.len()])
    }

    /// The nullable edge within `knot` after whose removal the fewest tables are still in cycles.
    fn best_cut(&self, knot: &BTreeSet<usize>, alive: &[bool]) -> Option<usize> {
        let candidates = (0..self.edges.len()).filter(|&number| {
            let edge = &self.edges[number];
            alive[number] && edge.nullable && knot.contains(&edge.child) && knot.contains(&edge.parent)
        });
        candidates.min_by_key(|&number| {
            let mut without = alive.to_vec();
            without[number] = false;
            let left: usize = self.knots(&without).iter().map(|part| part.intersection(knot).count()).sum();
            let edge = &self.edges[number];
            (left, self.rank[edge.child], self.rank[edge.parent], number)
        })
    }

    /// A shortest cycle through `knot`, beginning at its table of the lowest rank that lies on one.
    fn shortest_cycle(&self, knot: &BTreeSet<usize>, alive: &[bool]) -> Option<Cycle> {
        let mut starts: Vec<usize> = knot.iter().copied().collect();
        starts.sort_by_key(|&table| self.rank[table]);
        let mut shortest: Option<Vec<usize>> = None;
        for start in starts {
            if let Some(way) = self.way_back(start, knot, alive)
                && shortest.as_ref().is_none_or(|known| way.len() < known.len())
            {
                shortest = Some(way);
            }
        }
        shortest.map(|edges| Cycle { edges })
    }

    /// The edges of a shortest way from `start` over its parents back to it.
    fn way_back(&self, start: usize, knot: &BTreeSet<usize>, alive: &[bool]) -> Option<Vec<usize>> {
        let mut reached: BTreeMap<usize, usize> = BTreeMap::new();
        let mut front = vec![start];
        while !front.is_empty() {
            let mut next = Vec::new();
            for &table in &front {
                let mut out: Vec<usize> = (0..self.edges.len())
                    .filter(|&number| {
                        let edge = &self.edges[number];
                        alive[number] && edge.child == table && knot.contains(&edge.parent)
                    })
                    .collect();
                out.sort_by_key(|&number| self.rank[self.edges[number].parent]);
                for number in out {
                    let parent = self.edges[number].parent;
                    if reached.contains_key(&parent) {
                        continue;
                    }
                    reached.insert(parent, number);
                    if parent == start {
                        let mut way = vec![number];
                        let mut at = self.edges[number].child;
                        while at != start {
                            let edge = *reached.get(&at)?;
                            way.push(edge);
                            at = self.edges[edge].child;
                        }
                        way.reverse();
                        return Some(way);
                    }
                    next.push(parent);
                }
            }
            front = next;
        }
        None
    }

    /// The longest way from each table to one without parents, over the edges `alive`, which form no cycle.
    fn depths(&self, alive: &[bool]) -> Vec<usize> {
        let mut depth = vec![0; self.names.len()];
        let mut waiting = vec![0_usize; self.names.len()];
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); self.names.len()];
        for (edge, _) in self.edges.iter().zip(alive).filter(|&(_, &alive)| alive) {
            waiting[edge.child] += 1;
            children[edge.parent].push(edge.child);
        }
        let mut ready: Vec<usize> = (0..self.names.len()).filter(|&table| waiting[table] == 0).collect();
        while let Some(table) = ready.pop() {
            for &child in &children[table] {
                depth[child] = depth[child].max(depth[table] + 1);
                waiting[child] -= 1;
                if waiting[child] == 0 {
                    ready.push(child);
                }
            }
        }
        depth
    }
}

/// A table's colour; of each edge at it, whether the table is the child, whether it is nullable, the colour at its end.
type Signature = (usize, Vec<(bool, bool, usize)>);

/// Ranks tables by structure, then by name. The structure of a table is refined until nothing more can be told apart
/// (colour refinement, Weisfeiler and Leman 1968): by its edges, then by the structure of the tables at their ends.
fn ranks(names: &[String], edges: &[Edge]) -> Vec<usize> {
    let mut colour = vec![0_usize; names.len()];
    let mut colours = 1;
    loop {
        let mut signature: Vec<Signature> = colour.iter().map(|&colour| (colour, Vec::new())).collect();
        for edge in edges {
            signature[edge.child].1.push((true, edge.nullable, colour[edge.parent]));
            signature[edge.parent].1.push((false, edge.nullable, colour[edge.child]));
        }
        for (_, ends) in &mut signature {
            ends.sort_unstable();
        }
        let known: BTreeSet<_> = signature.iter().cloned().collect();
        let number: BTreeMap<_, usize> = known.into_iter().zip(0..).collect();
        if number.len() == colours {
            break;
        }
        colours = number.len();
        colour = signature.iter().map(|signature| number[signature]).collect();
    }
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by(|&a, &b| (colour[a], &names[a]).cmp(&(colour[b], &names[b])));
    let mut rank = vec![0; names.len()];
    for (position, table) in order.into_iter().enumerate() {
        rank[table] = position;
    }
    rank
}

/// Strongly connected components (Tarjan 1972), without recursion: chains of tables may be long.
fn components(tables: usize, edges: &[Edge], alive: &[bool]) -> Vec<BTreeSet<usize>> {
    let mut parents: Vec<Vec<usize>> = vec![Vec::new(); tables];
    for (edge, _) in edges.iter().zip(alive).filter(|&(_, &alive)| alive) {
        parents[edge.child].push(edge.parent);
    }
    let mut found: Vec<Option<usize>> = vec![None; tables];
    let mut low = vec![0; tables];
    let mut on_stack = vec![false; tables];
    let mut stack = Vec::new();
    let mut parts = Vec::new();
    let mut count = 0;
    for root in 0..tables {
        if found[root].is_some() {
            continue;
        }
        let mut calls = vec![(root, 0)];
        while let Some((table, next)) = calls.pop() {
            if next == 0 {
                found[table] = Some(count);
                low[table] = count;
                count += 1;
                stack.push(table);
                on_stack[table] = true;
            }
            if let Some(&parent) = parents[table].get(next) {
                calls.push((table, next + 1));
                match found[parent] {
                    None => calls.push((parent, 0)),
                    Some(number) if on_stack[parent] => low[table] = low[table].min(number),
                    Some(_) => {}
                }
                continue;
            }
            if found[table] == Some(low[table]) {
                let mut part = BTreeSet::new();
                while let Some(member) = stack.pop() {
                    on_stack[member] = false;
                    part.insert(member);
                    if member == table {
                        break;
                    }
                }
                parts.push(part);
            }
            if let Some(&(caller, _)) = calls.last() {
                low[caller] = low[caller].min(low[table]);
            }
        }
    }
    parts
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn graph(names: &[&str], edges: &[(&str, &str, bool)]) -> SchemaGraph {
        let at = |name: &str| names.iter().position(|known| *known == name).unwrap();
        let edges =
            edges.iter().map(|&(child, parent, nullable)| Edge { child: at(child), parent: at(parent), nullable });
        SchemaGraph::new(names.iter().map(|name| (*name).to_owned()).collect(), edges.collect())
    }

    fn order(graph: &SchemaGraph) -> Vec<&str> {
        graph.order().unwrap().tables.iter().map(|&table| graph.names[table].as_str()).collect()
    }

    #[test]
    fn parents_come_first_whatever_the_order_of_declaration() {
        let edges = [("orders", "customers", false), ("items", "orders", false), ("items", "products", false)];
        let first = graph(&["items", "orders", "products", "customers"], &edges);
        let mut turned = edges;
        turned.reverse();
        let second = graph(&["customers", "products", "orders", "items"], &turned);
        assert_eq!(order(&first), order(&second));
        assert_eq!(order(&first).last(), Some(&"items"));
        let depth = first.order().unwrap().depth;
        assert_eq!(depth, [2, 1, 0, 0]);
    }

    #[test]
    fn names_do_not_decide_where_structure_does() {
        // `a` has one child, `b` has two: exchanging their names exchanges their places.
        let edges = |one: &'static str, two: &'static str| [("x", one, false), ("y", two, false), ("z", two, false)];
        let plain = graph(&["a", "b", "x", "y", "z"], &edges("a", "b"));
        let renamed = graph(&["a", "b", "x", "y", "z"], &edges("b", "a"));
        let places = |graph: &SchemaGraph, name: &str| order(graph).iter().position(|known| *known == name).unwrap();
        assert_eq!(places(&plain, "a"), places(&renamed, "b"));
        assert_eq!(places(&plain, "b"), places(&renamed, "a"));
    }

    #[test]
    fn a_table_may_refer_to_itself() {
        let graph = graph(&["employees"], &[("employees", "employees", false)]);
        let order = graph.order().unwrap();
        assert_eq!((order.tables, order.depth, order.deferred), (vec![0], vec![0], vec![0]));
    }

    #[test]
    fn a_cycle_is_cut_where_it_may_be_null() {
        let graph = graph(
            &["departments", "employees", "projects"],
            &[
                ("employees", "departments", false),
                ("departments", "employees", true),
                ("projects", "departments", false),
            ],
        );
        let found = graph.order().unwrap();
        assert_eq!(found.deferred, [1]);
        assert_eq!(found.tables[0], 0);
        assert_eq!(found.depth, [0, 1, 1]);
        assert_eq!(graph.strongly_connected(), [BTreeSet::from([0, 1])]);
    }

    #[test]
    fn one_cut_that_opens_two_cycles_is_preferred() {
        // a→b→c→a and a→b→d→a: the edge a→b lies on both.
        let graph = graph(
            &["a", "b", "c", "d"],
            &[("a", "b", true), ("b", "c", true), ("c", "a", true), ("b", "d", true), ("d", "a", true)],
        );
        assert_eq!(graph.order().unwrap().deferred, [0]);
    }

    #[test]
    fn cycles_that_cannot_be_cut_are_all_named() {
        let graph = graph(
            &["a", "b", "c", "d", "e", "f"],
            &[
                ("a", "b", false),
                ("b", "c", false),
                ("c", "a", false),
                ("d", "e", false),
                ("e", "d", false),
                ("f", "f", false),
                ("a", "d", true),
            ],
        );
        let cycles = graph.order().unwrap_err();
        assert_eq!(cycles.len(), 2);
        for cycle in cycles {
            let edges: Vec<&Edge> = cycle.edges.iter().map(|&edge| &graph.edges()[edge]).collect();
            for (edge, next) in edges.iter().zip(edges.iter().cycle().skip(1)) {
                assert!(!edge.nullable);
                assert_eq!(edge.parent, next.child, "a cycle is a way");
            }
        }
    }

    #[test]
    fn long_chains_are_quick_and_need_no_stack() {
        let tables = 2000;
        let names = (0..tables).map(|table| format!("t{table:04}")).collect();
        let edges = (1..tables).map(|child| Edge { child, parent: child - 1, nullable: false }).collect();
        let found = SchemaGraph::new(names, edges).order().unwrap();
        assert_eq!(found.tables, (0..tables).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn every_parent_comes_before_its_children(
            edges in prop::collection::vec((0_usize..8, 0_usize..8, any::<bool>()), 0..20),
            turn in 0_usize..20,
        ) {
            let names: Vec<String> = (0..8).map(|table| format!("t{table}")).collect();
            let edges: Vec<Edge> =
                edges.into_iter().map(|(child, parent, nullable)| Edge { child, parent, nullable }).collect();
            let mut turned = edges.clone();
            if !turned.is_empty() {
                let by = turn % turned.len();
                turned.rotate_left(by);
            }
            let graph = SchemaGraph::new(names.clone(), edges);
            let other = SchemaGraph::new(names, turned);
            match (graph.order(), other.order()) {
                (Ok(order), Ok(same)) => {
                    prop_assert_eq!(&order.tables, &same.tables);
                    let place = |table| order.tables.iter().position(|&known| known == table);
                    for (number, edge) in graph.edges().iter().enumerate() {
                        if order.deferred.contains(&number) {
                            prop_assert!(edge.nullable || edge.child == edge.parent);
                        } else {
                            prop_assert!(place(edge.parent) < place(edge.child));
                        }
                    }
                }
                (Err(cycles), Err(same)) => prop_assert_eq!(cycles.len(), same.len()),
                (one, other) => prop_assert!(false, "{:?} and {:?}", one, other),
            }
        }
    }
}
