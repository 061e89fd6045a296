//! The table of wrong objects: `daemon/tests/wrong-input/*.yaml`.
//!
//! Each file begins with comments that say what has to be complained of, and ends with what is
//! wrong. `brings` counts the objects that are used all the same.

use std::fs;
use std::time::Instant;

use landfall_core::model::{ObjectError, Severity};

use super::{Directory, delivered, errors, repository};
use crate::source::{ClassPolicy, check};

struct Case {
    file: String,
    text: String,
    object: String,
    field: String,
    problem: String,
    remedy: String,
    severity: Severity,
    brings: usize,
}

impl Case {
    fn read(path: &std::path::Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        let find = |key: &str| {
            let lead = format!("# {key}:");
            text.lines()
                .take_while(|line| line.starts_with('#'))
                .find_map(|line| {
                    line.strip_prefix(&lead)
                        .map(|value| value.trim().to_owned())
                })
        };
        let need = |key: &str| find(key).unwrap_or_else(|| panic!("{file} says no {key}"));
        Self {
            object: need("object"),
            field: need("field"),
            problem: need("problem"),
            remedy: need("remedy"),
            severity: match find("severity").as_deref() {
                None => Severity::Error,
                Some("warning") => Severity::Warning,
                Some(other) => panic!("{file}: {other} is no severity"),
            },
            brings: find("brings").map_or(0, |count| count.parse().unwrap()),
            file,
            text,
        }
    }

    /// Whether `complaint` is the one this case is about.
    fn is_met_by(&self, complaint: &ObjectError) -> bool {
        complaint.origin.contains(&self.file)
            && complaint.object.to_string().trim() == self.object
            && complaint.field == self.field
            && complaint.problem.contains(&self.problem)
            && complaint.remedy.contains(&self.remedy)
            && complaint.severity == self.severity
    }

    fn assert_met(&self, complaints: &[ObjectError]) {
        assert!(
            complaints.iter().any(|complaint| self.is_met_by(complaint)),
            "{}: not among\n{}",
            self.file,
            complaints
                .iter()
                .map(|c| format!("  {c} ({:?})\n", c.severity))
                .collect::<String>()
        );
        for complaint in complaints {
            assert!(
                !complaint.problem.is_empty() && !complaint.remedy.is_empty(),
                "{complaint}"
            );
            assert!(!complaint.problem.ends_with('.'), "{complaint}");
        }
    }
}

fn cases() -> Vec<Case> {
    let mut paths: Vec<_> = fs::read_dir(repository("tests/wrong-input"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    paths.sort();
    assert!(paths.len() >= 60, "only {} cases were found", paths.len());
    paths.iter().map(|path| Case::read(path)).collect()
}

#[test]
fn every_wrong_object_is_named_with_field_and_remedy_and_changes_nothing_else() {
    for case in cases() {
        let mut directory = Directory::with_good();
        fs::write(directory.path(&case.file), &case.text).unwrap();
        let batch = directory.written(&case.file);
        case.assert_met(errors(&batch).unwrap_or_default());
        let objects = delivered(&batch);
        assert_eq!(objects.len(), case.brings, "{}: {objects:?}", case.file);
        assert!(
            !objects.iter().any(|it| it.contains("good")),
            "{}: {objects:?}",
            case.file
        );

        // Mended, nothing is left of it.
        fs::remove_file(directory.path(&case.file)).unwrap();
        let batch = directory.written(&case.file);
        assert_eq!(errors(&batch), Some(&[][..]), "{}", case.file);
        assert_eq!(delivered(&batch).len(), case.brings, "{}", case.file);
    }
}

#[test]
fn a_good_object_is_delivered_at_start_whatever_lies_beside_it() {
    for case in cases() {
        let mut directory = Directory::unread();
        fs::write(directory.path(&case.file), &case.text).unwrap();
        let batch = directory.follower.scan(Instant::now());
        // Where both files claim the name, the first by its name has it.
        if case.file != "name-taken-by-the-good-file.yaml" {
            case.assert_met(errors(&batch).unwrap_or_default());
            assert_eq!(delivered(&batch).len(), case.brings + 1, "{}", case.file);
        }
        assert!(
            delivered(&batch).contains(&"Service default/good".to_owned()),
            "{}",
            case.file
        );
    }
}

#[test]
fn check_says_the_same_without_an_agent() {
    for case in cases() {
        let directory = Directory::unread();
        fs::write(directory.path(&case.file), &case.text).unwrap();
        let files = [directory.path("good.yaml"), directory.path(&case.file)];
        case.assert_met(&check(&files, ClassPolicy::default()));
    }
}

#[test]
fn an_object_made_wrong_stays_in_its_last_good_state() {
    let mut directory = Directory::with_good();
    let two = |port: &str| {
        format!(
            "{}---\n{}",
            super::GOOD.replace("good", "a").replace("80", port),
            super::GOOD.replace("good", "b")
        )
    };
    fs::write(directory.path("two.yaml"), two("80")).unwrap();
    assert_eq!(delivered(&directory.written("two.yaml")).len(), 2);
    fs::write(directory.path("two.yaml"), two("70000")).unwrap();
    let batch = directory.written("two.yaml");
    assert_eq!(delivered(&batch), [""; 0], "{batch:?}");
    assert_eq!(errors(&batch).unwrap().len(), 1);
    fs::write(directory.path("two.yaml"), two("81")).unwrap();
    let batch = directory.written("two.yaml");
    assert_eq!(delivered(&batch), ["Service default/a"]);
    assert_eq!(errors(&batch), Some(&[][..]));
}
