//! Selectors: what matches, and what is refused.

use std::collections::BTreeMap;

use super::{LabelSelector, Requirement, SelectorError};

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn expression(key: &str, operator: &str, values: &[&str]) -> LabelSelector {
    let requirement = Requirement::parse(key, operator, values).expect("the requirement is right");
    LabelSelector::new(BTreeMap::new(), vec![requirement]).expect("the selector is right")
}

#[test]
fn the_empty_selector_matches_everything() {
    assert!(LabelSelector::default().matches(&labels(&[])));
    assert!(LabelSelector::default().matches(&labels(&[("color", "blue")])));
}

#[test]
fn every_label_must_have_its_value() {
    let pairs = labels(&[("color", "blue"), ("tier", "web")]);
    let selector = LabelSelector::new(pairs, Vec::new()).unwrap();
    assert!(selector.matches(&labels(&[("color", "blue"), ("tier", "web"), ("more", "")])));
    assert!(!selector.matches(&labels(&[("color", "blue")])));
    assert!(!selector.matches(&labels(&[("color", "red"), ("tier", "web")])));
}

#[test]
fn operators_mean_what_kubernetes_means() {
    let (blue, red, none) = (
        labels(&[("color", "blue")]),
        labels(&[("color", "red")]),
        labels(&[]),
    );
    for (operator, values, expected) in [
        ("In", &["blue", "cyan"][..], [true, false, false]),
        ("NotIn", &["blue", "cyan"], [false, true, true]),
        ("Exists", &[], [true, true, false]),
        ("DoesNotExist", &[], [false, false, true]),
    ] {
        let selector = expression("color", operator, values);
        let found = [&blue, &red, &none].map(|labels| selector.matches(labels));
        assert_eq!(found, expected, "{operator}");
    }
}

#[test]
fn what_is_no_selector_is_refused_with_a_remedy() {
    let parse = |key, operator, values: &[&str]| {
        Requirement::parse(key, operator, values).expect_err("the requirement is wrong")
    };
    for (error, remedy) in [
        (
            parse("color", "in", &["blue"]),
            "write In, NotIn, Exists or DoesNotExist",
        ),
        (parse("color", "In", &[]), "list at least one value"),
        (parse("color", "NotIn", &[]), "list at least one value"),
        (parse("color", "Exists", &["blue"]), "remove them"),
        (parse("color", "DoesNotExist", &["blue"]), "remove them"),
        (parse("", "Exists", &[]), "no label key"),
        (parse("a/b/c", "Exists", &[]), "no label key"),
        (parse("Upper.io/name", "Exists", &[]), "no label key"),
        (parse("color", "In", &["-blue"]), "no label value"),
        (parse("color", "In", &[&"x".repeat(64)]), "no label value"),
    ] {
        assert!(error.to_string().contains(remedy), "{error}");
    }
    let wrong = LabelSelector::new(labels(&[("color", "sky blue")]), Vec::new());
    assert!(matches!(wrong, Err(SelectorError::BadValue { .. })));
}

#[test]
fn the_anchor_is_a_label_every_match_carries() {
    assert_eq!(
        expression("color", "In", &["red", "blue"]).anchor(),
        Some(("color", vec!["blue", "red"]))
    );
    assert_eq!(expression("color", "NotIn", &["red"]).anchor(), None);
    assert_eq!(LabelSelector::default().anchor(), None);
}
