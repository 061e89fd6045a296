use std::fs;
use std::time::Duration;

use super::*;

fn inputs() -> Inputs {
    // No test may read this machine's own file.
    let empty = std::env::temp_dir().join("landfall-no-settings.toml");
    fs::write(&empty, "").expect("the temporary directory is writable");
    Inputs {
        file: Some(empty),
        ..Inputs::default()
    }
}

fn with_file(text: &str) -> (tempfile::TempDir, Inputs) {
    let dir = tempfile::tempdir().expect("the temporary directory is writable");
    let path = dir.path().join("landfall.toml");
    fs::write(&path, text).expect("the temporary directory is writable");
    (
        dir,
        Inputs {
            file: Some(path),
            ..Inputs::default()
        },
    )
}

fn flag(key: &str, value: &str) -> Flag {
    Flag {
        key: key.to_owned(),
        value: value.to_owned(),
        flag: "--set".to_owned(),
    }
}

fn complaints(inputs: &Inputs) -> Vec<String> {
    let error = load(inputs).expect_err("these settings are wrong");
    error.0.iter().map(ToString::to_string).collect()
}

/// The single complaint about a file with this text, without the file's path.
fn complaint(text: &str) -> String {
    let (dir, inputs) = with_file(text);
    let found = complaints(&inputs);
    assert_eq!(found.len(), 1, "{found:#?}");
    let path = format!("{}", dir.path().join("landfall.toml").display());
    found[0].replace(&path, "FILE")
}

#[test]
fn everything_has_a_default() {
    let loaded = load(&inputs()).expect("defaults are valid");
    assert_eq!(loaded.settings.l2, L2::default());
    assert_eq!(
        loaded.settings.state.lease_dir,
        PathBuf::from("/var/lib/landfall/leases")
    );
    assert!(!loaded.settings.node.name.is_empty());
    assert_eq!(loaded.effective["l2.lease_duration"].origin, "default");
}

#[test]
fn the_reference_lists_exactly_the_settings_there_are() {
    let loaded = load(&inputs()).expect("defaults are valid");
    let json = serde_json::to_value(&loaded.settings).expect("settings serialise");
    let mut keys: Vec<String> = Vec::new();
    for (section, values) in json.as_object().expect("sections") {
        for name in values.as_object().expect("a section").keys() {
            keys.push(format!("{section}.{name}"));
        }
    }
    let mut listed: Vec<String> = REFERENCE.iter().map(|s| s.key.to_owned()).collect();
    keys.sort();
    listed.sort();
    assert_eq!(keys, listed);
    assert_eq!(loaded.effective.len(), REFERENCE.len());
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_defaults() {
    let (_dir, mut inputs) = with_file(
        "[l2]\nlease_duration = \"9s\"\nlease_renew_deadline = \"4s\"\nlease_retry_period = \"3s\"",
    );
    inputs.environment = vec![
        ("LANDFALL_L2__LEASE_RENEW_DEADLINE".into(), "3500ms".into()),
        ("LANDFALL_L2__LEASE_RETRY_PERIOD".into(), "2s".into()),
    ];
    inputs.flags = vec![flag("l2.lease_retry_period", "1s")];
    let loaded = load(&inputs).expect("valid");
    assert_eq!(loaded.settings.l2.lease_duration, Duration::from_secs(9));
    assert_eq!(
        loaded.settings.l2.lease_renew_deadline,
        Duration::from_millis(3500)
    );
    assert_eq!(
        loaded.settings.l2.lease_retry_period,
        Duration::from_secs(1)
    );
    assert!(
        loaded.effective["l2.lease_duration"]
            .origin
            .ends_with("landfall.toml")
    );
    assert_eq!(
        loaded.effective["l2.lease_renew_deadline"].origin,
        "LANDFALL_L2__LEASE_RENEW_DEADLINE"
    );
    assert_eq!(loaded.effective["l2.lease_retry_period"].origin, "--set");
}

#[test]
fn the_lease_directory_follows_the_state_directory_unless_it_is_set() {
    let mut inputs = inputs();
    inputs.flags = vec![flag("state.dir", "/srv/a")];
    let loaded = load(&inputs).expect("valid");
    assert_eq!(
        loaded.settings.state.lease_dir,
        PathBuf::from("/srv/a/leases")
    );
    inputs.flags.push(flag("state.lease_dir", "/srv/shared"));
    let loaded = load(&inputs).expect("valid");
    assert_eq!(
        loaded.settings.state.lease_dir,
        PathBuf::from("/srv/shared")
    );
}

#[test]
fn lists_are_written_with_commas_in_the_environment() {
    let mut inputs = inputs();
    inputs.environment = vec![(
        "LANDFALL_DATAPATH__INTERFACES".into(),
        "^ens[0-9]+, eth0".into(),
    )];
    let loaded = load(&inputs).expect("valid");
    assert_eq!(loaded.settings.datapath.interfaces, ["^ens[0-9]+", "eth0"]);
}

#[test]
fn numbers_and_truth_values_may_be_text_in_the_environment() {
    let mut inputs = inputs();
    inputs.environment = vec![
        ("LANDFALL_DATAPATH__MAX_FRONTENDS".into(), "10".into()),
        ("LANDFALL_L2__CONFLICT_PROBE".into(), "false".into()),
        ("LANDFALL_METRICS__LISTEN".into(), "off".into()),
    ];
    let settings = load(&inputs).expect("valid").settings;
    assert_eq!(settings.datapath.max_frontends, 10);
    assert!(!settings.l2.conflict_probe);
    assert_eq!(settings.metrics.listen, MetricsListen::Off);
}

#[test]
fn variables_kubernetes_makes_of_a_service_named_landfall_are_let_be() {
    let mut inputs = inputs();
    for name in [
        "LANDFALL_METRICS_SERVICE_HOST",
        "LANDFALL_METRICS_SERVICE_PORT",
        "LANDFALL_METRICS_SERVICE_PORT_HTTP",
        "LANDFALL_METRICS_PORT",
        "LANDFALL_METRICS_PORT_9465_TCP",
        "LANDFALL_METRICS_PORT_9465_TCP_ADDR",
        "LANDFALL_METRICS_PORT_9465_TCP_PROTO",
        "LANDFALL_CONFIG",
    ] {
        inputs.environment.push((name.to_owned(), "x".to_owned()));
    }
    load(&inputs).expect("none of these is a setting");
}

#[test]
fn a_misspelt_variable_is_refused_with_the_right_one() {
    let mut inputs = inputs();
    inputs.environment = vec![("LANDFALL_L2__LEASE_DURATON".into(), "3s".into())];
    assert_eq!(
        complaints(&inputs),
        [
            "environment: LANDFALL_L2__LEASE_DURATON: sets nothing; did you mean \
          `LANDFALL_L2__LEASE_DURATION`?"
        ]
    );
}

#[test]
fn a_variable_with_one_underscore_for_two_is_refused_with_the_right_one() {
    let mut inputs = inputs();
    inputs.environment = vec![("LANDFALL_LOG_LEVEL".into(), "debug".into())];
    assert_eq!(
        complaints(&inputs),
        ["environment: LANDFALL_LOG_LEVEL: sets nothing; did you mean `LANDFALL_LOG__LEVEL`?"]
    );
}

#[test]
fn every_wrong_line_of_a_file_yields_key_problem_and_remedy() {
    let cases = [
        (
            "[l2]\nlease_duraton = \"3s\"",
            "FILE: l2.lease_duraton: unknown key; did you mean `l2.lease_duration`?",
        ),
        (
            "[bgp]\nas = 1",
            "FILE: bgp.as: unknown key; remove it; `landfall config` prints every key",
        ),
        (
            "l2 = 3",
            "FILE: l2: unknown key; remove it; `landfall config` prints every key",
        ),
        (
            "[l2]\nlease_duration = \"3 parsecs\"",
            "FILE: l2.lease_duration: `3 parsecs`: unknown time unit \"parsecs\", supported units: \
             ns, us/µs, ms, sec, min, hours, days, weeks, months, years (and few variations); write \
             a duration such as \"3s\"",
        ),
        (
            "[l2]\nlease_renew_deadline = \"2s\"",
            "FILE: l2.lease_renew_deadline: 2s is more than half of l2.lease_duration, 3s; make it \
             at most half, so that a renewal may fail once",
        ),
        (
            "[l2]\nlease_retry_period = \"1100ms\"",
            "FILE: l2.lease_retry_period: 1s 100ms is not within l2.lease_renew_deadline, 1s; make \
             it shorter, so that a failed renewal is tried again",
        ),
        (
            "[l2]\nlease_duration = \"100ms\"",
            "FILE: l2.lease_duration: 100ms is too short to be renewed with certainty; write at \
             least \"500ms\"",
        ),
        (
            "[metrics]\nlisten = \"localhost\"",
            "FILE: metrics.listen: `localhost` is not an address with a port; write an address with \
             a port such as \"127.0.0.1:9465\", or \"off\"",
        ),
        (
            "[node]\nname = \"Node_1\"",
            "FILE: node.name: `Node_1` is not a node's name; write lower-case letters, digits, `-` \
             and `.`, at most 253, such as \"node1\"",
        ),
        (
            "[api]\nsocket = \"landfall.sock\"",
            "FILE: api.socket: `landfall.sock` is not an absolute path; write the path from `/` on",
        ),
        (
            "[datapath]\nmax_frontends = 0",
            "FILE: datapath.max_frontends: 0 is out of range; write a number from 1 to 1048576",
        ),
        (
            "[datapath]\ninterfaces = [\"ens[\"]",
            "FILE: datapath.interfaces: `ens[` is not a regular expression: error: unclosed \
             character class; write one such as \"^ens[0-9]+\"",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(complaint(text), expected, "for {text}");
    }
}

#[test]
fn a_value_of_the_wrong_type_or_an_unknown_choice_names_the_key_and_what_to_write() {
    for (text, key, remedy) in [
        (
            "[datapath]\nattach = \"ebpf\"",
            "datapath.attach",
            "\"xdp-generic\"",
        ),
        (
            "[datapath]\nmax_frontends = \"many\"",
            "datapath.max_frontends",
            "a number from 1",
        ),
        (
            "[services]\nwithout_class = \"maybe\"",
            "services.without_class",
            "true or false",
        ),
        ("[log]\nformat = 7", "log.format", "\"text\" or \"json\""),
    ] {
        let found = complaint(text);
        assert!(found.starts_with(&format!("FILE: {key}: ")), "{found}");
        let (_, written) = found.split_once("; write ").expect("a remedy");
        assert!(written.contains(remedy), "{found}");
    }
}

#[test]
fn a_file_that_is_no_toml_or_is_missing_is_named() {
    let found = complaint("l2 lease_duration");
    assert!(found.starts_with("FILE: is not TOML: "), "{found}");
    let missing = Inputs {
        file: Some("/nonexistent/landfall.toml".into()),
        ..Inputs::default()
    };
    let found = complaints(&missing);
    assert!(
        found[0].starts_with("/nonexistent/landfall.toml: cannot be read: "),
        "{found:?}"
    );
}

#[test]
fn all_complaints_of_a_layer_are_reported_together() {
    let (_dir, inputs) = with_file("[l2]\nfoo = 1\nbar = 2\n[x]\ny = 3");
    assert_eq!(complaints(&inputs).len(), 3);
}

#[test]
fn the_readme_lists_exactly_these_settings() {
    let loaded = load(&inputs()).expect("defaults are valid");
    let expected: Vec<String> = REFERENCE
        .iter()
        .map(|setting| {
            let default = match setting.key {
                "node.name" => "the host's name".to_owned(),
                key => format!("`{}`", loaded.effective[key].value),
            };
            format!("| `{}` | {default} | {} |", setting.key, setting.does)
        })
        .collect();
    let keys: Vec<String> = REFERENCE
        .iter()
        .map(|s| format!("| `{}` |", s.key))
        .collect();
    let listed: Vec<&str> = include_str!("../../../README.md")
        .lines()
        .filter(|line| keys.iter().any(|key| line.starts_with(key)))
        .collect();
    assert_eq!(
        listed,
        expected,
        "the table for README.md:\n{}",
        expected.join("\n")
    );
}
