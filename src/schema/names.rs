//! What names say about keys: `customer_id` of `orders` looks like the `id` of `customers`.

/// Words that say "this identifies something" and not what.
const IDENTIFIERS: [&str; 12] =
    ["id", "key", "code", "no", "nr", "num", "number", "uuid", "guid", "pk", "fk", "identifier"];

/// Words that say that a row refers to another of its own table.
const OWN_KIND: [&str; 14] = [
    "parent",
    "report",
    "reports",
    "manager",
    "supervisor",
    "boss",
    "superior",
    "predecessor",
    "previous",
    "next",
    "replaces",
    "replaced",
    "original",
    "root",
];

/// What people do, and the tables that people are kept in.
const ROLES: [&str; 14] = [
    "rep",
    "representative",
    "manager",
    "agent",
    "seller",
    "salesperson",
    "clerk",
    "assistant",
    "supervisor",
    "owner",
    "author",
    "approver",
    "assignee",
    "mentor",
];
const PEOPLE: [&str; 9] = ["employee", "staff", "person", "people", "user", "worker", "member", "personnel", "account"];

/// The parts of a date, the finer after the coarser.
const CALENDAR: [&str; 9] = ["century", "decade", "year", "quarter", "month", "day", "hour", "minute", "second"];

/// The words of a name, in lower case: `PlayerID`, `player_id` and `player.id` are all `player id`.
#[must_use]
pub fn words(name: &str) -> Vec<String> {
    let characters: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (at, &character) in characters.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| characters[before]);
        let after = characters.get(at + 1);
        let begins = match before {
            Some(before) if character.is_uppercase() => {
                !before.is_uppercase() || after.is_some_and(|after| after.is_lowercase())
            }
            _ => false,
        };
        if begins || !character.is_alphanumeric() {
            words.push(String::new());
        }
        if character.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(character.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A table's name as what one row of it is: `order_items` is an `order item`.
fn singular(name: &str) -> Vec<String> {
    let mut words = words(name);
    if let Some(last) = words.last_mut() {
        *last = singular_word(last);
    }
    words
}

fn singular_word(word: &str) -> String {
    let stem = |suffix: &str| word.strip_suffix(suffix).filter(|stem| stem.len() >= 2);
    if let Some(stem) = stem("ies") {
        return format!("{stem}y");
    }
    for suffix in ["sses", "xes", "ches", "shes"] {
        if stem(suffix).is_some() {
            return word[..word.len() - 2].to_owned();
        }
    }
    match stem("s") {
        Some(stem) if !word.ends_with("ss") && !word.ends_with("us") && !word.ends_with("is") => stem.to_owned(),
        _ => word.to_owned(),
    }
}

/// Whether the last word of a name says that it identifies something; `customerid` says so without a boundary.
#[must_use]
pub fn is_identifier(words: &[String]) -> bool {
    words.last().is_some_and(|last| IDENTIFIERS.contains(&last.as_str()) || last.len() > 4 && last.ends_with("id"))
}

/// What is left of a name without its identifying words: `year.key` and `yearID` are both `year`.
#[must_use]
pub fn stem(words: &[String]) -> String {
    let kept = words.iter().rposition(|word| !IDENTIFIERS.contains(&word.as_str())).map_or(0, |last| last + 1);
    words[..kept].concat()
}

/// The place of a part of a date among those of the calendar, the coarser first.
#[must_use]
pub fn calendar_rank(column: &str) -> Option<usize> {
    let stem = stem(&words(column));
    CALENDAR.iter().position(|part| *part == stem)
}

/// Whether a column is called after the table: `customer_id`, `CustomerId` or `customer` for `customers`.
#[must_use]
pub fn names_table(column: &str, table: &str) -> bool {
    let (column, table) = (words(column), singular(table).concat());
    let stem = stem(&column);
    !stem.is_empty() && (stem == table || column.concat() == format!("{table}id"))
}

/// How much the name of a column speaks for its being the key of its table, from 0 to 1.
#[must_use]
pub fn key_strength(column: &str, table: &str) -> f64 {
    let split = words(column);
    if names_table(column, table) || stem(&split).is_empty() {
        1.0
    } else if is_identifier(&split) {
        0.7
    } else {
        0.0
    }
}

/// How much the name of `column` speaks for its naming rows of `parent` by their `key`, from 0 to 1.
///
/// 1: it is the key's name, or the parent's with the key's; 0.8: it ends so; 0.6: it says that rows of one table refer to
/// each other; 0.5: it says what people do, or begins as the parent's name does.
#[must_use]
pub fn reference_strength(column: &str, table: &str, parent: &str, key: &str) -> f64 {
    let (own, key) = (words(column), words(key));
    let kind = singular(parent);
    let own_table = table == parent;
    let generic = stem(&key).is_empty();
    let full = |words: &[String]| words.concat();
    let with_key = format!("{}{}", full(&kind), full(&key));
    if !own_table && (!generic && own == key || full(&own) == with_key || full(&own) == full(&kind)) {
        return 1.0;
    }
    let ends = |tail: &[String]| own.len() > tail.len() && own.ends_with(tail);
    let kind_and_key: Vec<String> = kind.iter().chain(&key).cloned().collect();
    if ends(&kind_and_key) || ends(&kind) || (!generic && key.len() > 1 && ends(&key)) {
        return 0.8;
    }
    let any = |list: &[&str]| own.iter().any(|word| list.contains(&word.as_str()));
    if own_table {
        return if any(&OWN_KIND) { 0.6 } else { 0.0 };
    }
    let last = kind.last().map_or("", String::as_str);
    if any(&ROLES) && PEOPLE.contains(&last) {
        return 0.5;
    }
    let first = own.first().map_or("", String::as_str);
    let (short, long) = if first.len() < last.len() { (first, last) } else { (last, first) };
    if short.len() >= 4 && long.starts_with(short) { 0.5 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("PlayerID", "player id")]
    #[case("park.key", "park key")]
    #[case("teamIDBR", "team idbr")]
    #[case("HTTPServer", "http server")]
    #[case("order items", "order items")]
    fn names_have_words(#[case] name: &str, #[case] expected: &str) {
        assert_eq!(words(name).join(" "), expected);
    }

    #[rstest]
    #[case("categories", "category")]
    #[case("boxes", "box")]
    #[case("addresses", "address")]
    #[case("status", "status")]
    #[case("order_items", "orderitem")]
    fn tables_hold_many_of_one(#[case] table: &str, #[case] expected: &str) {
        assert_eq!(singular(table).concat(), expected);
    }

    #[rstest]
    #[case("customer_id", "orders", "customers", "customer_id", 1.0)]
    #[case("customer_id", "orders", "customers", "id", 1.0)]
    #[case("CustomerId", "Invoice", "Customer", "CustomerId", 1.0)]
    #[case("customer", "orders", "customers", "id", 1.0)]
    #[case("billing_customer_id", "orders", "customers", "customer_id", 0.8)]
    #[case("billing_customer_id", "orders", "customers", "id", 0.8)]
    #[case("reports_to", "employees", "employees", "employee_id", 0.6)]
    #[case("parent_id", "nodes", "nodes", "id", 0.6)]
    #[case("SupportRepId", "Customer", "Employee", "EmployeeId", 0.5)]
    #[case("ship_via", "orders", "shippers", "shipper_id", 0.5)]
    #[case("quantity", "order_items", "products", "product_id", 0.0)]
    #[case("id", "orders", "customers", "id", 0.0)]
    #[case("line_id", "orders", "customers", "id", 0.0)]
    fn names_refer(
        #[case] column: &str,
        #[case] table: &str,
        #[case] parent: &str,
        #[case] key: &str,
        #[case] strength: f64,
    ) {
        assert_eq!(reference_strength(column, table, parent, key), strength);
    }

    #[rstest]
    #[case("order_item_id", "order_items", 1.0)]
    #[case("id", "people", 1.0)]
    #[case("AlbumId", "Album", 1.0)]
    #[case("flight", "flights", 1.0)]
    #[case("customer_id", "orders", 0.7)]
    #[case("quantity", "orders", 0.0)]
    fn names_identify(#[case] column: &str, #[case] table: &str, #[case] strength: f64) {
        assert_eq!(key_strength(column, table), strength);
    }

    #[test]
    fn dates_have_parts() {
        assert!(calendar_rank("year.key") < calendar_rank("month"));
        assert_eq!(calendar_rank("yearID"), calendar_rank("year"));
        assert_eq!(calendar_rank("yearly"), None);
    }
}
