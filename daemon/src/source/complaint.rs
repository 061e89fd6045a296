//! Collects what is wrong with one object while it is converted.

use landfall_core::model::{ObjectError, ObjectRef, Severity};

/// What became of an object.
#[derive(Clone, Debug)]
pub struct Converted<T> {
    /// The model's object; absent exactly when one of the complaints is an error.
    pub object: Option<T>,
    /// Errors and warnings, in the order of the fields.
    pub complaints: Vec<ObjectError>,
}

/// The complaints about one object.
#[derive(Clone, Debug)]
pub(crate) struct Complaints {
    origin: String,
    object: ObjectRef,
    list: Vec<ObjectError>,
}

impl Complaints {
    pub(crate) fn new(origin: &str, object: ObjectRef) -> Self {
        Self {
            origin: origin.to_owned(),
            object,
            list: Vec::new(),
        }
    }

    /// The object cannot be used.
    pub(crate) fn error(
        &mut self,
        field: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.push(Severity::Error, field.into(), problem.into(), remedy.into());
    }

    /// The object is used with a reservation.
    pub(crate) fn warning(
        &mut self,
        field: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.push(
            Severity::Warning,
            field.into(),
            problem.into(),
            remedy.into(),
        );
    }

    /// An error whose text is made like those of `landfall_ipam`: `field: problem; remedy`, the
    /// field being relative to `base`.
    pub(crate) fn error_text(&mut self, base: &str, text: &str) {
        let (field, rest) = text.split_once(": ").unwrap_or(("", text));
        let (problem, remedy) = rest.rsplit_once("; ").unwrap_or((rest, "correct it"));
        let field = match (base, field) {
            ("", field) => field.to_owned(),
            (base, "") => base.to_owned(),
            (base, field) => format!("{base}.{field}"),
        };
        self.error(field, problem, remedy);
    }

    fn push(&mut self, severity: Severity, field: String, problem: String, remedy: String) {
        let (origin, object) = (self.origin.clone(), self.object.clone());
        self.list.push(ObjectError {
            origin,
            object,
            field,
            problem,
            remedy,
            severity,
        });
    }

    /// Whether an error is among them.
    pub(crate) fn fatal(&self) -> bool {
        self.list
            .iter()
            .any(|complaint| complaint.severity == Severity::Error)
    }

    pub(crate) fn into_list(self) -> Vec<ObjectError> {
        self.list
    }

    /// The result of a conversion: `object`, unless there was an error.
    pub(crate) fn finish<T>(self, object: Option<T>) -> Converted<T> {
        let object = object.filter(|_| !self.fatal());
        debug_assert!(
            object.is_some() || self.fatal(),
            "an object was refused without a reason"
        );
        Converted {
            object,
            complaints: self.list,
        }
    }
}
