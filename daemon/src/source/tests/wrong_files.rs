//! The table of wrong files: what can lie in a directory besides a manifest.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use landfall_core::model::Severity;

use super::{Directory, GOOD, delivered, errors};
use crate::source::manifest::follower::Follower;
use crate::source::{ClassPolicy, check};

struct Case {
    what: &'static str,
    make: fn(&Path),
    problem: &'static str,
    remedy: &'static str,
}

const CASES: &[Case] = &[
    Case {
        what: "50 MB",
        make: |path| fs::File::create(path).unwrap().set_len(50 << 20).unwrap(),
        problem: "is 50 MiB large, more than 8 MiB",
        remedy: "split it",
    },
    Case {
        what: "NUL bytes",
        make: |path| fs::write(path, b"apiVersion: v1\nkind: \0\0\0\0").unwrap(),
        problem: "holds a NUL byte in line 2",
        remedy: "write the file anew",
    },
    Case {
        what: "invalid UTF-8",
        make: |path| fs::write(path, b"a: b\nkind: \xff\xfe").unwrap(),
        problem: "is not UTF-8 in line 2",
        remedy: "save it as UTF-8",
    },
    Case {
        what: "UTF-16",
        make: |path| fs::write(path, b"\xff\xfek\0i\0n\0d\0").unwrap(),
        problem: "is not UTF-8 in line 1",
        remedy: "save it as UTF-8",
    },
    Case {
        what: "a torn tail",
        make: |path| {
            let whole = GOOD.replace("good", "torn");
            fs::write(path, &whole[..whole.len() - 4]).unwrap();
        },
        problem: "is not valid YAML",
        remedy: "correct the syntax",
    },
    Case {
        what: "a dangling symlink",
        make: |path| symlink("nowhere", path).unwrap(),
        problem: "is a symbolic link to nothing",
        remedy: "create what it points to",
    },
    Case {
        what: "a symlink loop",
        make: |path| symlink(path, path).unwrap(),
        problem: "leads back to itself",
        remedy: "point it to a file",
    },
    Case {
        what: "a FIFO",
        make: |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
        problem: "is a FIFO, not a file",
        remedy: "regular file",
    },
    Case {
        what: "a socket",
        make: |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
        problem: "is a socket, not a file",
        remedy: "regular file",
    },
    Case {
        what: "a device",
        make: |path| symlink("/dev/zero", path).unwrap(),
        problem: "is a device, not a file",
        remedy: "regular file",
    },
    Case {
        what: "a directory",
        make: |path| fs::create_dir(path).unwrap(),
        problem: "is a directory, not a file",
        remedy: "regular file",
    },
    Case {
        what: "an unreadable file",
        make: |path| {
            fs::write(path, GOOD).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
        },
        problem: "may not be read",
        remedy: "make it readable",
    },
    Case {
        what: "millions of values",
        make: |path| fs::write(path, format!("a: [{}]", "1,".repeat(2_000_000))).unwrap(),
        problem: "holds more than 1000000 values",
        remedy: "split it",
    },
    Case {
        what: "brackets without end",
        make: |path| fs::write(path, "[".repeat(4 << 20)).unwrap(),
        problem: "nests more than 256 levels",
        remedy: "flatten it",
    },
    Case {
        what: "dashes without end",
        make: |path| fs::write(path, "- ".repeat(100_000)).unwrap(),
        problem: "is not valid YAML",
        remedy: "flatten it",
    },
    Case {
        what: "an alias of a large text",
        make: |path| {
            let text = "x".repeat(1 << 20);
            fs::write(path, format!("a: &a {text}\nb: [{}]", "*a,".repeat(10_000))).unwrap();
        },
        problem: "aliases expand without bound",
        remedy: "instead of using anchors",
    },
    Case {
        what: "a number of YAML alone",
        make: |path| fs::write(path, "a: .inf").unwrap(),
        problem: "is no number of JSON",
        remedy: "correct the syntax",
    },
    Case {
        what: "an unknown anchor",
        make: |path| fs::write(path, "a: *b").unwrap(),
        problem: "unknown anchor",
        remedy: "correct the syntax",
    },
];

/// Runs `test` on a thread to which permissions apply: root may read everything.
fn without_privilege<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    let nobody = nix::unistd::Uid::from_raw(65_534);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // Of this thread alone; with it go the capabilities over files (credentials(7)).
            nix::unistd::setfsuid(nobody);
            assert_eq!(nix::unistd::setfsuid(nobody), nobody, "the test needs root");
            test()
        });
        thread.join().unwrap()
    })
}

#[test]
fn every_wrong_file_is_named_with_a_remedy_and_changes_nothing_else() {
    for case in CASES {
        let mut directory = Directory::with_good();
        open_to_all(&directory);
        let path = directory.path("wrong.yaml");
        (case.make)(&path);
        let started = Instant::now();
        let batch = without_privilege(|| directory.written("wrong.yaml"));
        let took = started.elapsed();
        assert!(took < Duration::from_secs(5), "{} took {took:?}", case.what);
        assert_eq!(delivered(&batch), [""; 0], "{}", case.what);
        let [complaint] = errors(&batch).unwrap_or_default() else {
            panic!("{}: {batch:?}", case.what)
        };
        assert!(
            complaint.origin.contains("wrong.yaml"),
            "{}: {complaint}",
            case.what
        );
        assert!(
            complaint.problem.contains(case.problem),
            "{}: {complaint}",
            case.what
        );
        assert!(
            complaint.remedy.contains(case.remedy),
            "{}: {complaint}",
            case.what
        );
        assert_eq!(complaint.severity, Severity::Error);

        let files = [directory.path("good.yaml"), path.clone()];
        // A directory that is named means the files in it.
        if !path.is_dir() {
            let checked = without_privilege(|| check(&files, ClassPolicy::default()));
            assert_eq!(checked, std::slice::from_ref(complaint), "{}", case.what);
        }

        // At start, too, the good object comes.
        let mut fresh = Follower::new(
            directory.temporary.path().into(),
            &directory.path(".fresh"),
            ClassPolicy::default(),
        );
        let batch = without_privilege(|| fresh.scan(Instant::now()));
        assert_eq!(delivered(&batch), ["Service default/good"], "{}", case.what);
        assert_eq!(
            errors(&batch),
            Some(std::slice::from_ref(complaint)),
            "{}",
            case.what
        );
    }
}

fn open_to_all(directory: &Directory) {
    for (path, mode) in [(".", 0o755), ("good.yaml", 0o644)] {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(directory.path(path), mode).unwrap();
    }
}

#[test]
fn a_directory_that_may_not_be_read_is_named_and_nothing_changes() {
    let mut directory = Directory::with_good();
    let path = directory.temporary.path().to_owned();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o311)).unwrap();
    let batch = without_privilege(|| directory.follower.scan(Instant::now()));
    assert_eq!(delivered(&batch), [""; 0]);
    let [complaint] = errors(&batch).unwrap() else {
        panic!("{batch:?}")
    };
    assert_eq!(complaint.origin, path.display().to_string());
    assert_eq!(complaint.problem, "may not be read");
    assert_eq!(complaint.remedy, "make it readable for the agent's user");
    open_to_all(&directory);
    let batch = without_privilege(|| directory.follower.scan(Instant::now()));
    assert_eq!(errors(&batch), Some(&[][..]));
    assert_eq!(delivered(&batch), [""; 0]);
}

#[test]
fn a_torn_file_keeps_its_last_good_objects_until_it_is_whole_again() {
    let mut directory = Directory::with_good();
    let whole = fs::read(directory.path("good.yaml")).unwrap();
    for length in 1..whole.len() {
        fs::write(directory.path("good.yaml"), &whole[..length]).unwrap();
        let batch = directory.written("good.yaml");
        // The last byte is a line's end, without which the object is whole already.
        assert_eq!(delivered(&batch), [""; 0], "cut at {length}: {batch:?}");
        let whole_already = length + 1 == whole.len();
        assert!(
            whole_already || errors(&batch).is_none_or(|it| !it.is_empty()),
            "{batch:?}"
        );
    }
    fs::write(directory.path("good.yaml"), &whole).unwrap();
    let batch = directory.written("good.yaml");
    assert!(errors(&batch).is_none_or(<[_]>::is_empty), "{batch:?}");
    assert_eq!(delivered(&batch), [""; 0]);
}

#[test]
fn a_file_that_is_being_written_is_left_alone_until_it_lies_still() {
    let mut directory = Directory::with_good();
    let mut file = fs::File::create(directory.path("late.yaml")).unwrap();
    file.write_all(GOOD.replace("good", "late").as_bytes())
        .unwrap();
    // No event told that it was closed: only a scan can find it.
    let now = Instant::now();
    assert_eq!(delivered(&directory.follower.scan(now)), [""; 0]);
    let deadline = directory.follower.deadline().expect("it is waited for");
    assert!(deadline > now);
    // As if it had been written a minute ago.
    let old = std::time::SystemTime::now() - Duration::from_secs(60);
    file.set_modified(old).unwrap();
    let mut batch = Vec::new();
    let started = Instant::now();
    while delivered(&batch).is_empty() && started.elapsed() < Duration::from_secs(5) {
        if let Some(deadline) = directory.follower.deadline() {
            std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
        }
        batch = directory.follower.expire(Instant::now());
    }
    assert_eq!(delivered(&batch), ["Service default/late"]);
}
