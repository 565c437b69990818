//! The rows that `kubectl get -o wide` shows, as data: see `rows.yaml`.

mod common;

use std::collections::BTreeSet;

use apimachinery::patch::merge;
use common::{created, documents, kind, sample};
use jiff::Timestamp;
use registry::KINDS;
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    plural: String,
    given: Value,
    then: Map<String, Value>,
}

#[test]
fn rows_are_those_of_upstreams_printers() {
    let now: Timestamp = "2026-01-01T12:00:00Z".parse().expect("a time");
    let cases: Vec<Case> = documents("rows.yaml").remove(0);
    for case in &cases {
        let kind = kind(&case.plural);
        let mut object = created(kind, sample(&case.plural));
        merge::apply(&mut object, &case.given);
        let names = kind.strategy.columns().iter().map(|column| column.name.to_owned());
        let row: Map<String, Value> = names.zip(kind.strategy.row(&object, now)).collect();
        assert_eq!(row, case.then, "{} {}", case.plural, case.given);
    }
    let seen: BTreeSet<&str> = cases.iter().map(|case| case.plural.as_str()).collect();
    // Those with nothing but a name and an age need none.
    let own = KINDS.iter().filter(|kind| kind.strategy.columns().len() > 2).map(|kind| kind.plural);
    let missing: Vec<&str> = own.filter(|plural| !seen.contains(plural)).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}
