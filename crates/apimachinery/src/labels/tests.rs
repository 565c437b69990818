use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[track_caller]
fn check(text: &str, expect: &str) {
    let shown = match Selector::parse(text) {
        Ok(selector) => selector.to_string(),
        Err(error) => error.to_string(),
    };
    assert_eq!(shown, expect, "{text}");
}

#[test]
fn query_form_is_read_and_printed() {
    check("", "");
    check("  ", "");
    check("a", "a");
    check("!a", "!a");
    check("! a , b", "!a,b");
    check("b=2,a==1", "a=1,b=2");
    check("a!=1", "a!=1");
    check("a=", "a=");
    check("a=,b", "a=,b");
    check("a in (y, x)", "a in (x,y)");
    check("a in (x)", "a=x");
    check("a notin (x,y)", "a notin (x,y)");
    check("a in (,x)", "a in (,x)");
    check("a>1,b<9", "a>1,b<9");
    check("app.kubernetes.io/name=db", "app.kubernetes.io/name=db");
    check("in in (notin)", "in=notin");
}

#[test]
fn what_is_no_selector_is_told() {
    check("a,", "unable to parse requirement: found '', expected: identifier after ','");
    check(",a", "unable to parse requirement: found ',', expected: identifier");
    check("a in x", "unable to parse requirement: found 'x', expected: '('");
    check("a in (x", "unable to parse requirement: found '', expected: ',' or ')'");
    check("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt");
    check("a=b=c", "unable to parse requirement: found '=', expected: ',' or 'end of string'");
    check("a>x", "values for label key \"a\": for Gt there must be one value, an integer");
    assert!(Selector::parse("-a=b").is_err());
    assert!(Selector::parse("a=$").is_err());
}

#[test]
fn labels_are_matched() {
    let labels: BTreeMap<String, String> =
        [("app", "db"), ("tier", "7")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let matches = |text: &str| Selector::parse(text).expect(text).matches(&labels);
    for yes in
        ["", "app", "app=db", "app!=web", "x!=y", "x notin (y)", "!x", "app in (web,db)", "tier>6", "tier<8"]
    {
        assert!(matches(yes), "{yes}");
    }
    for no in [
        "x",
        "!app",
        "app=web",
        "app!=db",
        "app notin (db)",
        "x in (y)",
        "tier>7",
        "app<9",
        "x<1",
        "app=db,x",
    ] {
        assert!(!matches(no), "{no}");
    }
}

#[test]
fn label_selector_objects_are_read() {
    let labels = json!({"app": "db"});
    let read = |selector| Selector::from_label_selector(&selector);
    assert!(!read(json!(null)).expect("valid").matches(&labels.as_object()));
    assert!(read(json!({})).expect("valid").is_everything());
    let selector = read(json!({
        "matchLabels": {"app": "db"},
        "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["b", "a"]}, {"key": "x", "operator": "DoesNotExist"}],
    }))
    .expect("valid");
    assert_eq!(selector.to_string(), "app=db,tier notin (a,b),!x");
    assert!(selector.matches(&labels.as_object()));

    let refused = |selector| read(selector).expect_err("no selector").to_string();
    insta::assert_snapshot!(refused(json!({"matchExpressions": [{"key": "a", "operator": "Is"}]})),
        @r#""Is" is not a valid label selector operator; use In, NotIn, Exists or DoesNotExist"#);
    insta::assert_snapshot!(refused(json!({"matchExpressions": [{"key": "a", "operator": "In"}]})),
        @r#"values for label key "a": for In the values must be non-empty"#);
    insta::assert_snapshot!(refused(json!({"matchLabels": {"a": 1}})), @"label selector: matchLabels must be a map of strings");
}

#[test]
fn typed_selectors_are_read() {
    let labels = BTreeMap::from([("app".to_owned(), "db".to_owned())]);
    let values = ["a".to_owned()];
    let selector = Selector::from_parts(&labels, [("tier", "In", &values[..])]).expect("valid");
    assert_eq!(selector.to_string(), "app=db,tier=a");
    assert_eq!(Selector::from_set([("b", "2"), ("a", "1")]).to_string(), "a=1,b=2");
}

proptest! {
    #[test]
    fn printing_and_reading_agree(text in "[ab!=<>(), inot1]{0,24}") {
        if let Ok(selector) = Selector::parse(&text) {
            prop_assert_eq!(&Selector::parse(&selector.to_string()), &Ok(selector));
        }
    }
}
