//! Container images made without a container engine: one layer of given files, as an OCI image
//! layout in a tar archive, which `ctr images import` takes. The same files give the same bytes.
//!
//! Source: the OCI image specification, 1.1: image-layout.md, manifest.md, config.md.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

/// What an image is to be.
#[derive(Debug)]
pub(super) struct Image<'a> {
    /// Its full name, with the tag.
    pub(super) name: &'a str,
    /// The program that it holds and starts, at `/NAME`, with the shared libraries that it needs.
    pub(super) program: &'a Path,
}

/// An image's layer has the directories that a runtime mounts things on, and `/tmp`.
const DIRECTORIES: [(&str, u32); 5] = [
    ("dev/", 0o755),
    ("etc/", 0o755),
    ("proc/", 0o755),
    ("sys/", 0o755),
    ("tmp/", 0o1777),
];

impl Image<'_> {
    /// Writes the image to a file.
    ///
    /// # Errors
    /// When the program cannot be read or the file not be written.
    pub(super) fn write(&self, file: &Path) -> Result<()> {
        let name = self.program.file_name().context("a program has a name")?;
        let entrypoint = format!("/{}", name.to_string_lossy());
        let layer = self.layer(&entrypoint)?;
        let config = json!({
            "architecture": architecture(), "os": "linux",
            "config": {"Entrypoint": [entrypoint], "Env": ["PATH=/"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
        });
        let config = serde_json::to_vec(&config)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        });
        let manifest = serde_json::to_vec(&manifest)?;
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
        // The name that containerd gives the image (its images/archive package).
        entry["annotations"] = json!({"io.containerd.image.name": self.name});
        let index = json!({"schemaVersion": 2, "manifests": [entry]});
        let new = file.with_extension("new");
        let out = File::create(&new).with_context(|| new.display().to_string())?;
        let mut tar = Builder::new(BufWriter::new(out));
        append(
            &mut tar,
            "oci-layout",
            br#"{"imageLayoutVersion":"1.0.0"}"#,
            0o644,
        )?;
        append(&mut tar, "index.json", &serde_json::to_vec(&index)?, 0o644)?;
        for blob in [&config, &manifest, &layer] {
            let place = format!("blobs/{}", digest(blob).replace(':', "/"));
            append(&mut tar, &place, blob, 0o644)?;
        }
        tar.into_inner()?.flush()?;
        fs::rename(&new, file).with_context(|| file.display().to_string())
    }

    fn layer(&self, entrypoint: &str) -> Result<Vec<u8>> {
        let mut tar = Builder::new(Vec::new());
        for (path, mode) in DIRECTORIES {
            let mut header = header(0, mode);
            header.set_entry_type(EntryType::Directory);
            tar.append_data(&mut header, path, io::empty())?;
        }
        let mut files = vec![(entrypoint.to_owned(), self.program.to_owned())];
        for library in libraries(self.program)? {
            files.push((library.display().to_string(), library));
        }
        for (place, file) in files {
            let data = fs::read(&file).with_context(|| file.display().to_string())?;
            append(&mut tar, place.trim_start_matches('/'), &data, 0o755)?;
        }
        Ok(tar.into_inner()?)
    }
}

/// The shared libraries of a program, with its loader; none where it is static.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    // What ldd says of a static program is its failure.
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .context("run ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // `NAME => PATH (ADDRESS)`, or `PATH (ADDRESS)` for the loader.
    let words = text.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(words.map(PathBuf::from).collect())
}

fn append(tar: &mut Builder<impl io::Write>, path: &str, data: &[u8], mode: u32) -> Result<()> {
    let mut header = header(data.len() as u64, mode);
    Ok(tar.append_data(&mut header, path, data)?)
}

/// Root's, and of no time.
fn header(size: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(blob), "size": blob.len()})
}

fn digest(blob: &[u8]) -> String {
    let hash = Sha256::digest(blob);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Go's name for the machine's processor, which images use.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_the_same_each_time() {
        let dir = std::env::temp_dir().join(format!("landfall-image-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let program = dir.join("hello");
        fs::write(&program, "not really a program").unwrap();
        let image = Image {
            name: "landfall.test/hello:1",
            program: &program,
        };
        let write = |file: &str| {
            image.write(&dir.join(file)).unwrap();
            fs::read(dir.join(file)).unwrap()
        };
        let (one, two) = (write("one.tar"), write("two.tar"));
        let mut archive = tar::Archive::new(one.as_slice());
        let paths: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(one, two);
        assert_eq!(paths[..2], ["oci-layout", "index.json"]);
        assert_eq!(paths.len(), 5, "{paths:?}");
    }
}
