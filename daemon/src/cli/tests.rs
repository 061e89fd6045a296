use clap::CommandFactory;

use super::*;

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn flags_become_settings_under_their_keys() {
    let cli = Cli::parse_from([
        "landfall",
        "agent",
        "--node-name",
        "node1",
        "--set",
        "l2.lease_duration=9s",
        "--socket",
        "/tmp/x.sock",
    ]);
    let flags: Vec<(String, String)> = inputs(&cli)
        .flags
        .into_iter()
        .map(|flag| (flag.key, flag.value))
        .collect();
    assert_eq!(
        flags,
        [
            ("l2.lease_duration", "9s"),
            ("api.socket", "/tmp/x.sock"),
            ("node.name", "node1")
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
}

#[test]
fn an_assignment_without_an_equals_sign_says_how_to_write_one() {
    let error = assignment("l2.lease_duration").expect_err("no value");
    assert!(error.contains("l2.lease_duration=3s"), "{error}");
}

#[test]
fn every_command_says_what_it_does() {
    fn walk(command: &clap::Command) {
        assert!(
            command.get_about().is_some(),
            "{} has no help",
            command.get_name()
        );
        command.get_subcommands().for_each(walk);
    }
    walk(&Cli::command());
}

#[test]
fn a_named_socket_is_asked_without_reading_settings() {
    let cli = Cli::parse_from([
        "landfall",
        "status",
        "--socket",
        "/run/x.sock",
        "--config",
        "/nonexistent/x.toml",
    ]);
    let path = socket(&cli.global, &inputs(&cli)).expect("no file is read");
    assert_eq!(path, PathBuf::from("/run/x.sock"));
}
