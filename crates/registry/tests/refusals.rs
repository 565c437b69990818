//! What is refused and in which words, as data. Each document of `refusals/` names a kind and changes to make
//! to its sample: merge patches, or JSON patches where a list's item changes. `made` are refused on create,
//! `changed` on update of the stored sample, `reported` on a write of its status.

mod common;

use apimachinery::field::FieldError;
use apimachinery::patch::{json as json_patch, merge};
use common::{created, documents, files, kind, refusals, sample};
use registry::Kind;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Suite {
    plural: String,
    #[serde(default)]
    made: Vec<Case>,
    #[serde(default)]
    changed: Vec<Case>,
    #[serde(default)]
    reported: Vec<Case>,
    #[serde(default)]
    warned: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What happened to the sample before the change.
    #[serde(default)]
    given: Value,
    /// The change.
    when: Value,
    /// The refusals, all of them.
    then: Vec<String>,
}

/// Applies a merge patch (an object) or a JSON patch (a list).
fn patched(object: &Value, patch: &Value) -> Value {
    match patch {
        Value::Null => object.clone(),
        Value::Array(_) => json_patch::apply(object, patch).expect("a patch that fits"),
        _ => {
            let mut object = object.clone();
            merge::apply(&mut object, patch);
            object
        }
    }
}

fn changed(kind: &Kind, old: &Value, patch: &Value) -> Vec<String> {
    let mut new = patched(old, patch);
    kind.strategy.set_defaults(&mut new);
    kind.strategy.prepare_for_update(&mut new, old);
    let mut errors = registry::validate_object_meta_update(&new, old);
    errors.extend(kind.strategy.validate_update(&new, old));
    errors.extend(kind.strategy.validate(&new));
    errors.iter().map(FieldError::to_string).collect()
}

#[test]
fn refusals_name_the_field_and_say_what_is_wrong_with_it() {
    let mut differences = Vec::new();
    let mut compare = |suite: &Suite, case: &Case, found: Vec<String>| {
        if found != case.then {
            let (given, when) = (&case.given, &case.when);
            differences.push(format!(
                "{}: given {given} when {when}\n  expected {:#?}\n  found {found:#?}",
                suite.plural, case.then
            ));
        }
    };
    for file in files("refusals") {
        for suite in documents::<Suite>(&format!("refusals/{file}.yaml")) {
            let kind = kind(&suite.plural);
            let start = sample(&suite.plural);
            for case in &suite.made {
                let object = patched(&patched(&start, &case.given), &case.when);
                compare(&suite, case, refusals(kind, &created(kind, object)));
            }
            for case in &suite.changed {
                let old = patched(&created(kind, start.clone()), &case.given);
                compare(&suite, case, changed(kind, &old, &case.when));
            }
            for case in &suite.reported {
                let old = patched(&created(kind, start.clone()), &case.given);
                let errors = kind.strategy.validate_status(&patched(&old, &case.when), &old);
                compare(&suite, case, errors.iter().map(FieldError::to_string).collect());
            }
            for case in &suite.warned {
                let object = created(kind, patched(&patched(&start, &case.given), &case.when));
                compare(&suite, case, kind.strategy.warnings(&object));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
