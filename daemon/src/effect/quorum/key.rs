//! The key that the agents of one cluster share: what authenticates heartbeats. From a file, or where there is an API server
//! from a Secret ([`shared_secret`]); the file goes first.

mod shared;

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

pub use self::shared::{SECRET_NAME, Shared, SharedKeyError, Unconfirmed, shared_secret};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The least length of a key, in characters: 128 bits, where they are hexadecimal digits.
const SHORTEST: usize = 32;
/// Octets of a tag: HMAC-SHA-256 truncated to its first half (RFC 2104, section 5).
pub const TAG_LEN: usize = 16;

/// A key for one purpose, derived from the shared one.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error(
        "l2.key_file: {path} cannot be read; write the key of the cluster to it (`landfall keygen` makes one)"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds too little.
    #[error(
        "l2.key_file: {path} holds {length} characters, and a key has {SHORTEST} at least; `landfall keygen` makes one"
    )]
    Short {
        /// The file.
        path: PathBuf,
        /// What it holds, without white space around it.
        length: usize,
    },
}

/// The secret as it is in its file.
pub struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl Secret {
    /// Reads the file, or nothing where there is none.
    ///
    /// # Errors
    /// The file is there and cannot be read, or holds less than a key.
    pub fn read(path: &Path) -> Result<Option<Self>, KeyError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                let path = path.to_owned();
                return Err(KeyError::Read { path, source });
            }
        };
        let open = fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0);
        if open {
            tracing::warn!(path = %path.display(), "the key can be read by others than its owner; chmod 600 it");
        }
        let text = text.trim();
        if text.len() < SHORTEST {
            let (path, length) = (path.to_owned(), text.len());
            return Err(KeyError::Short { path, length });
        }
        Ok(Some(Self::from(text)))
    }

    /// A secret with this text, for tests.
    #[cfg(test)]
    pub(crate) fn of(text: &str) -> Self {
        Self::from(text)
    }

    /// The key for `purpose`: tags made for one purpose are of no use for another.
    #[must_use]
    pub fn key(&self, purpose: &str) -> Key {
        let any = "HMAC takes keys of any length (RFC 2104, section 2)";
        let mut derived = Hmac::<Sha256>::new_from_slice(&self.0).expect(any);
        derived.update(purpose.as_bytes());
        let derived = derived.finalize().into_bytes();
        Key(Hmac::new_from_slice(&derived).expect(any))
    }
}

impl Key {
    /// The tag of `parts`, one after another.
    #[must_use]
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; TAG_LEN] {
        let whole = self.over(parts).finalize().into_bytes();
        std::array::from_fn(|index| whole[index])
    }

    /// Whether `tag` is that of `parts`; takes as long for a wrong tag as for a right one.
    #[must_use]
    pub fn verifies(&self, parts: &[&[u8]], tag: &[u8; TAG_LEN]) -> bool {
        self.over(parts).verify_truncated_left(tag).is_ok()
    }

    fn over(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_holds_for_its_octets_its_purpose_and_its_secret_only() {
        let secret = Secret::of("0123456789abcdef0123456789abcdef");
        let key = secret.key("heartbeat");
        let tag = key.tag(&[b"text"]);
        assert!(key.verifies(&[b"te", b"xt"], &tag));
        assert!(!key.verifies(&[b"texu"], &tag));
        assert!(!secret.key("flows").verifies(&[b"text"], &tag));
        let other = Secret::of("0123456789abcdef0123456789abcdee");
        assert!(!other.key("heartbeat").verifies(&[b"text"], &tag));
    }

    #[test]
    fn no_file_is_no_key_and_a_short_one_is_refused_by_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("l2.key");
        assert!(Secret::read(&path).expect("nothing there").is_none());
        fs::write(&path, "short\n").expect("written");
        let refusal = Secret::read(&path).expect_err("too short").to_string();
        assert!(
            refusal.contains("l2.key") && refusal.contains("keygen"),
            "{refusal}"
        );
        fs::write(&path, format!("{}\n", "ab".repeat(32))).expect("written");
        assert!(Secret::read(&path).expect("a key").is_some());
    }
}
