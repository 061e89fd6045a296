//! The programs of a cluster: those of the right version that the machine has, else built from
//! `tests/kubernetes/go.mod` into `target/cluster/bin`, which outlives the run.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use sha2::{Digest as _, Sha256};

/// A program: its file name, its Go package, and how it is asked for its version.
#[derive(Debug)]
struct Source {
    name: &'static str,
    package: &'static str,
    /// Words that make it print its version; none where only our own build will do.
    version: &'static [&'static str],
}

const SOURCES: [Source; 8] = [
    source("etcd", "go.etcd.io/etcd/server/v3", &["--version"]),
    source(
        "kube-apiserver",
        "k8s.io/kubernetes/cmd/kube-apiserver",
        &["--version"],
    ),
    source(
        "kube-controller-manager",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
        &["--version"],
    ),
    source(
        "kube-scheduler",
        "k8s.io/kubernetes/cmd/kube-scheduler",
        &["--version"],
    ),
    source("kubelet", "k8s.io/kubernetes/cmd/kubelet", &["--version"]),
    source(
        "kubectl",
        "k8s.io/kubernetes/cmd/kubectl",
        &["version", "--client"],
    ),
    source("agnhost", "k8s.io/kubernetes/test/images/agnhost", &[]),
    source("pause", "./pause", &[]),
];

const fn source(
    name: &'static str,
    package: &'static str,
    version: &'static [&'static str],
) -> Source {
    Source {
        name,
        package,
        version,
    }
}

/// Debian's directory of CNI plugins.
const CNI_PLUGINS: &str = "/usr/lib/cni";

/// Where the programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    found: Vec<(&'static str, PathBuf)>,
}

impl Programs {
    /// Finds the programs, and builds those that are missing: about 9 minutes on two cores when
    /// Go's own cache is cold. The calling thread must still be in the machine's network, which
    /// the modules come by.
    ///
    /// # Errors
    /// When containerd or its like is not installed, Go is missing, or a build fails.
    pub fn find_or_build() -> Result<Self> {
        for (path, package) in [
            ("/usr/bin/containerd", "containerd"),
            ("/usr/sbin/runc", "runc"),
            (CNI_PLUGINS, "containernetworking-plugins"),
        ] {
            ensure!(
                Path::new(path).exists(),
                "{path} is missing: packaging/install-build-tools cluster installs {package}"
            );
        }
        let module = module_dir();
        let pins = fs::read_to_string(module.join("go.mod")).context("tests/kubernetes/go.mod")?;
        let kubernetes = pinned(&pins, "k8s.io/kubernetes")?;
        let etcd = pinned(&pins, "go.etcd.io/etcd/server/v3")?;
        let mut found = Vec::new();
        let mut missing = Vec::new();
        for source in &SOURCES {
            let pin = if source.name == "etcd" {
                etcd
            } else {
                kubernetes
            };
            match supplied(source, minor(pin)?) {
                Some(path) => found.push((source.name, path)),
                None => missing.push(source),
            }
        }
        let dir = cache_dir().join("bin");
        build(&module, &dir, kubernetes, &missing)?;
        found.extend(missing.iter().map(|one| (one.name, dir.join(one.name))));
        Ok(Self { found })
    }

    /// The path of a program.
    ///
    /// # Panics
    /// When the cluster has no such program.
    #[must_use]
    pub fn path(&self, name: &str) -> &Path {
        let mut found = self.found.iter();
        let entry = found.find(|(other, _)| *other == name);
        &entry.expect("a name of the table above").1
    }
}

/// What is built once and kept: `target/cluster` of the work tree, as far as `make clean`.
#[must_use]
pub fn cache_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/cluster")
}

fn module_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kubernetes")
}

/// The version that a `go.mod` requires of a module, with its `v`.
fn pinned<'a>(pins: &'a str, module: &str) -> Result<&'a str> {
    let mut lines = pins.lines().map(str::split_whitespace);
    lines
        .find_map(|mut words| (words.next() == Some(module)).then(|| words.next())?)
        .with_context(|| format!("tests/kubernetes/go.mod does not require {module}"))
}

/// `1.36.` of `v1.36.3`: any patch of it will do.
fn minor(version: &str) -> Result<&str> {
    let version = version.trim_start_matches('v');
    let end = version.rfind('.').context("a version has three numbers")?;
    Ok(&version[..=end])
}

/// The program in `KUBEBUILDER_ASSETS` or on `PATH`, when it is of the wanted version.
fn supplied(source: &Source, minor: &str) -> Option<PathBuf> {
    let paths = env::var_os("PATH").unwrap_or_default();
    let assets = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let mut places = assets.into_iter().chain(env::split_paths(&paths));
    places.find_map(|dir| {
        let path = dir.join(source.name);
        (path.is_file() && !source.version.is_empty() && is_of(&path, source, minor))
            .then_some(path)
    })
}

fn is_of(path: &Path, source: &Source, minor: &str) -> bool {
    let output = Command::new(path)
        .args(source.version)
        .stdin(Stdio::null())
        .output();
    output.is_ok_and(|output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut words = text.split_whitespace();
        output.status.success() && words.any(|word| word.trim_start_matches('v').starts_with(minor))
    })
}

/// Builds programs with Go, unless just these are there already.
fn build(module: &Path, dir: &Path, kubernetes: &str, missing: &[&Source]) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let lock = File::create(cache_dir().join("lock")).context("the lock of the programs")?;
    lock.lock().context("the lock of the programs")?;
    let stamp = stamp(module, kubernetes)?;
    let stamp_file = |source: &Source| dir.join(format!("{}.stamp", source.name));
    let wanted: Vec<&&Source> = missing
        .iter()
        .filter(|source| {
            !dir.join(source.name).exists()
                || fs::read_to_string(stamp_file(source)).ok().as_ref() != Some(&stamp)
        })
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = wanted.iter().map(|source| source.name).collect();
    println!("building {} (minutes, once)", names.join(", "));
    for source in wanted {
        let status = go()
            .args(["build", "-trimpath", "-buildvcs=false", "-ldflags"])
            .arg(ldflags(kubernetes)?)
            .arg("-o")
            .arg(dir.join(source.name))
            .arg(source.package)
            .current_dir(module)
            .stdin(Stdio::null())
            .status()
            .context("run go; packaging/install-build-tools cluster tells which is needed")?;
        ensure!(status.success(), "go build {}: {status}", source.package);
        fs::write(stamp_file(source), &stamp).context("the stamp of a program")?;
    }
    Ok(())
}

/// Without cgo, so that the programs are static: agnhost and pause are all that is in their images.
fn go() -> Command {
    let mut go = Command::new("go");
    go.env("CGO_ENABLED", "0");
    go
}

/// What makes a program call itself by its version: a kubelet reports it, kubectl compares it.
fn ldflags(kubernetes: &str) -> Result<String> {
    let version = "k8s.io/component-base/version";
    let (major, rest) = kubernetes
        .trim_start_matches('v')
        .split_once('.')
        .context("a version has three numbers")?;
    let minor = rest.split('.').next().unwrap_or(rest);
    Ok(format!(
        "-s -w -X {version}.gitVersion={kubernetes} -X {version}.gitMajor={major} \
         -X {version}.gitMinor={minor}"
    ))
}

/// Everything that a built program depends on, as one word.
fn stamp(module: &Path, kubernetes: &str) -> Result<String> {
    let mut hash = Sha256::new();
    for file in ["go.mod", "go.sum", "pause/main.go"] {
        hash.update(
            fs::read(module.join(file)).with_context(|| format!("tests/kubernetes/{file}"))?,
        );
    }
    let version = go().args(["env", "GOVERSION", "GOARCH"]).output();
    hash.update(
        version
            .context("run go; install Go and put it on PATH")?
            .stdout,
    );
    hash.update(ldflags(kubernetes)?);
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_pins() {
        let pins = "module x\n\nrequire (\n\tgo.etcd.io/etcd/server/v3 v3.6.8\n\
                    \tk8s.io/kubernetes v1.36.3\n)\n";
        assert_eq!(pinned(pins, "k8s.io/kubernetes").unwrap(), "v1.36.3");
        assert!(pinned(pins, "k8s.io/kubernete").is_err());
        assert_eq!(minor("v1.36.3").unwrap(), "1.36.");
        let flags = ldflags("v1.36.3").unwrap();
        assert!(
            flags.contains(".gitMajor=1 ") && flags.ends_with(".gitMinor=36"),
            "{flags}"
        );
    }
}
