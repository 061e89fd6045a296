//! Tests of the lease directory: races between processes, writers that die, and a file system that fails.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use landfall_core::election::{Cause, Holder, Record, RequestId, ServiceLease, Term};
use landfall_core::model::NodeName;

use super::*;

fn name() -> LeaseName {
    LeaseName::of_service("default", "web")
}

fn write(expected: Option<u64>, node: &str) -> Write {
    let record = Record::Service(ServiceLease {
        holder: Some(Holder {
            node: NodeName::new(node),
            term: Term(1),
        }),
        previous: None,
        cause: Cause::First,
        acquired_unix: 0,
        transitions: 0,
    });
    Write {
        request: RequestId(0),
        name: name(),
        expected: expected.map(Revision),
        record: Some(record),
    }
}

fn swap(directory: &LeaseDirectory, expected: Option<u64>, node: &str) -> Outcome {
    directory
        .compare_and_swap(&write(expected, node))
        .expect("the directory works")
}

/// Runs one of the tests marked as a child in a process of its own.
fn child(test: &str, directory: &Path, node: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this test has a file"));
    command
        .args([
            "--exact",
            &format!("effect::lease::files::tests::{test}"),
            "--ignored",
            "--nocapture",
        ])
        .env("LEASE_DIRECTORY", directory)
        .env("LEASE_NODE", node)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

fn child_directory() -> (LeaseDirectory, String) {
    let path = std::env::var_os("LEASE_DIRECTORY").expect("started by another test");
    let directory = LeaseDirectory::open(Path::new(&path)).expect("the directory is there");
    (
        directory,
        std::env::var("LEASE_NODE").expect("started by another test"),
    )
}

#[test]
fn of_two_writers_that_expect_the_same_revision_one_wins_and_the_other_is_told_what_is_there() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = LeaseDirectory::open(temporary.path()).expect("it opens");
    assert_eq!(swap(&directory, None, "n1"), Outcome::Written(Revision(1)));
    assert_eq!(
        swap(&directory, Some(1), "n2"),
        Outcome::Written(Revision(2))
    );
    let Outcome::Conflict { revision, content } = swap(&directory, Some(1), "n3") else {
        panic!("revision 1 is over");
    };
    assert_eq!(revision, Some(Revision(2)));
    assert_eq!(Some(content), write(None, "n2").record.map(Content::Record));
}

#[test]
fn a_removed_lease_can_be_made_anew_but_not_by_a_writer_from_before() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = LeaseDirectory::open(temporary.path()).expect("it opens");
    swap(&directory, None, "n1");
    let removal = Write {
        record: None,
        ..write(Some(1), "n1")
    };
    assert!(matches!(
        directory.compare_and_swap(&removal),
        Ok(Outcome::Written(Revision(2)))
    ));
    assert!(matches!(
        swap(&directory, Some(1), "n2"),
        Outcome::Conflict { revision: None, .. }
    ));
    assert_eq!(swap(&directory, None, "n2"), Outcome::Written(Revision(3)));
}

#[test]
fn a_writer_too_late_for_a_number_that_was_cleared_away_does_not_win() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = LeaseDirectory::open(temporary.path()).expect("it opens");
    swap(&directory, None, "n1");
    for revision in 1..6 {
        swap(&directory, Some(revision), "n1");
    }
    for number in 1..5 {
        fs::remove_file(directory.file(&name(), number)).expect("it was there");
    }
    assert!(matches!(
        swap(&directory, Some(2), "n2"),
        Outcome::Conflict {
            revision: Some(Revision(6)),
            ..
        }
    ));
    assert_eq!(directory.numbers().expect("it lists")[&name()], [5, 6]);
}

#[test]
fn a_torn_file_keeps_its_revision_and_can_be_written_over() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = LeaseDirectory::open(temporary.path()).expect("it opens");
    swap(&directory, None, "n1");
    fs::write(directory.file(&name(), 2), "landfall-lease 1 0000").expect("it writes");
    assert_eq!(
        directory.highest(&name()).expect("it reads"),
        Some((2, Content::Torn))
    );
    assert!(matches!(
        swap(&directory, Some(1), "n1"),
        Outcome::Conflict {
            content: Content::Torn,
            ..
        }
    ));
    assert_eq!(
        swap(&directory, Some(2), "n1"),
        Outcome::Written(Revision(3))
    );
}

#[test]
#[ignore = "run as a child by two_processes_that_race_never_both_win"]
fn racing_child() {
    let (directory, node) = child_directory();
    let mut won = Vec::new();
    let mut expected = None;
    while expected.is_none_or(|number| number < 10_000) {
        expected = match swap(&directory, expected, &node) {
            Outcome::Written(Revision(number)) => {
                won.push(number.to_string());
                Some(number)
            }
            Outcome::Conflict { revision, .. } => revision.map(|revision| revision.0),
            Outcome::Failed => directory
                .highest(&name())
                .expect("it reads")
                .map(|(number, _)| number),
        };
    }
    println!("WON {}", won.join(" "));
}

fn won(child: Child) -> Vec<u64> {
    let output = child.wait_with_output().expect("the child ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("WON "))
        .expect("it says what it won");
    line.split_whitespace()
        .map(|number| number.parse().expect("a number"))
        .collect()
}

#[test]
fn two_processes_that_race_never_both_win() {
    let temporary = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let start = |node| {
        child("racing_child", temporary.path(), node)
            .spawn()
            .expect("it starts")
    };
    let (one, other) = (start("n1"), start("n2"));
    let (one, other) = (won(one), won(other));
    let mut all: Vec<u64> = one.iter().chain(&other).copied().collect();
    all.sort_unstable();
    assert_eq!(
        all,
        (1..=10_000).collect::<Vec<_>>(),
        "each revision was won once"
    );
    assert!(!one.is_empty() && !other.is_empty(), "they did race");
}

#[test]
#[ignore = "run as a child by a_writer_killed_at_any_time_leaves_only_whole_files"]
fn writing_child() {
    let (directory, node) = child_directory();
    let mut expected = directory
        .highest(&name())
        .expect("it reads")
        .map(|(number, _)| number);
    loop {
        if let Outcome::Written(Revision(number)) = swap(&directory, expected, &node) {
            expected = Some(number);
        }
    }
}

#[test]
fn a_writer_killed_at_any_time_leaves_only_whole_files() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = LeaseDirectory::open(temporary.path()).expect("it opens");
    swap(&directory, None, "n0");
    for round in 0..40_u64 {
        let (before, _) = directory
            .highest(&name())
            .expect("it reads")
            .expect("it is there");
        let mut writer = child("writing_child", temporary.path(), "n1")
            .spawn()
            .expect("it starts");
        while directory
            .highest(&name())
            .expect("it reads")
            .is_some_and(|(number, _)| number < before + 3)
        {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_micros(round * 137 % 2000));
        writer
            .kill()
            .and_then(|()| writer.wait().map(drop))
            .expect("it dies");
        let (number, content) = directory
            .highest(&name())
            .expect("it reads")
            .expect("it is there");
        assert!(matches!(content, Content::Record(_)), "{content:?}");
        assert_eq!(
            swap(&directory, Some(number), "n0"),
            Outcome::Written(Revision(number + 1))
        );
    }
}

#[test]
fn a_full_file_system_is_an_error_that_says_so_and_passes_with_the_fullness() {
    let temporary = tempfile::tempdir().expect("a directory");
    let mount = |arguments: &[&str]| {
        let done = Command::new(arguments[0])
            .args(&arguments[1..])
            .arg(temporary.path())
            .status();
        assert!(
            done.is_ok_and(|status| status.success()),
            "needs root: {arguments:?}"
        );
    };
    mount(&["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs"]);
    let directory = LeaseDirectory::open(temporary.path()).expect("it opens");
    swap(&directory, None, "n1");
    let ballast = temporary.path().join("ballast");
    let filled = fs::write(&ballast, vec![0; 1 << 20]);
    let full = directory.compare_and_swap(&write(Some(1), "n1"));
    fs::remove_file(&ballast).expect("it was there");
    let after = directory.compare_and_swap(&write(Some(1), "n1"));
    mount(&["umount"]);
    assert!(filled.is_err());
    assert!(matches!(full, Err(FileLeaseError::Full { .. })), "{full:?}");
    assert!(
        matches!(after, Ok(Outcome::Written(Revision(2)))),
        "{after:?}"
    );
}

#[test]
fn a_directory_that_is_gone_is_an_error_and_is_not_made_again() {
    let temporary = tempfile::tempdir().expect("a directory");
    let path = temporary.path().join("leases");
    let directory = LeaseDirectory::open(&path).expect("it opens");
    swap(&directory, None, "n1");
    fs::remove_dir_all(&path).expect("it was there");
    for expected in [None, Some(1)] {
        let gone = directory.compare_and_swap(&write(expected, "n1"));
        assert!(matches!(gone, Err(FileLeaseError::Gone { .. })), "{gone:?}");
    }
    assert!(!path.exists());
    fs::create_dir(&path).expect("it is made");
    assert_eq!(swap(&directory, None, "n1"), Outcome::Written(Revision(1)));
}

#[test]
#[ignore = "run as a child by a_directory_that_may_not_be_read_is_an_error_that_says_so"]
fn denied_child() {
    let path = std::env::var_os("LEASE_DIRECTORY").expect("started by another test");
    match LeaseDirectory::open(Path::new(&path)) {
        Err(FileLeaseError::Denied { .. }) => println!("DENIED"),
        other => println!("{other:?}"),
    }
}

#[test]
fn a_directory_that_may_not_be_read_is_an_error_that_says_so() {
    use std::os::unix::fs::PermissionsExt as _;
    let temporary = tempfile::tempdir_in("/dev/shm").expect("a directory");
    fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o700)).expect("it is ours");
    let own = std::env::current_exe().expect("this test has a file");
    let copy = tempfile::tempdir_in("/dev/shm").expect("a directory");
    fs::set_permissions(copy.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let program = copy.path().join("test");
    fs::copy(own, &program).expect("it is copied");
    // Root may read anything, so the child is nobody (Debian's id 65534), and so needs a copy it can reach.
    let output = Command::new(&program)
        .args([
            "--exact",
            "effect::lease::files::tests::denied_child",
            "--ignored",
            "--nocapture",
        ])
        .env("LEASE_DIRECTORY", temporary.path())
        .current_dir("/")
        .uid(65534)
        .gid(65534)
        .output()
        .expect("it starts as root");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("DENIED"), "{text}");
}
