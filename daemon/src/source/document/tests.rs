use serde_json::json;

use super::*;

fn values(text: &str) -> Vec<(usize, Value)> {
    let documents = documents(text.as_bytes()).unwrap();
    documents
        .into_iter()
        .map(|document| (document.number, document.value))
        .collect()
}

#[test]
fn documents_keep_their_numbers_and_empty_ones_are_left_out() {
    assert_eq!(
        values("a: 1\n---\n# nothing\n---\nb: 2\n"),
        [(1, json!({"a": 1})), (3, json!({"b": 2}))]
    );
    assert_eq!(values(""), []);
}

#[test]
fn words_of_yaml_1_1_are_text() {
    assert_eq!(
        values("[yes, No, on, true]"),
        [(1, json!(["yes", "No", "on", true]))]
    );
}

#[test]
fn merge_keys_fill_in_what_is_not_there() {
    let text = "base: &b {x: 1, y: 2}\nmade: {<<: *b, y: 3}\n";
    assert_eq!(
        values(text),
        [(
            1,
            json!({"base": {"x": 1, "y": 2}, "made": {"x": 1, "y": 3}})
        )]
    );
}

#[test]
fn keys_that_look_like_numbers_are_text() {
    assert_eq!(
        values("{1: a, true: b}"),
        [(1, json!({"1": "a", "true": "b"}))]
    );
}

#[test]
fn a_file_at_its_limit_is_read_and_one_above_is_not() {
    let limit = usize::try_from(FILE_LIMIT).unwrap();
    let mut text = "a: 1\n#".to_owned();
    text.push_str(&"x".repeat(limit - text.len()));
    assert_eq!(values(&text), [(1, json!({"a": 1}))]);
    text.push('x');
    assert!(
        documents(text.as_bytes())
            .unwrap_err()
            .problem
            .contains("larger than 8 MiB")
    );
}
