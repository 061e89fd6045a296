//! The cluster's certificate authority, and the certificate of each component: its identity to the
//! API server, or its proof to those who call it. Files are PEM, in one directory per cluster.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};

/// A certificate and its key.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    /// The certificate's file.
    pub(super) certificate: PathBuf,
    /// The key's file.
    pub(super) key: PathBuf,
}

/// The keys of service-account tokens, which no certificate goes with.
#[derive(Debug, Clone)]
pub(super) struct TokenKeys {
    /// The file of the key that signs.
    pub(super) private: PathBuf,
    /// The file of the key that proves.
    pub(super) public: PathBuf,
}

/// Who calls the API server: the user's name and group, which RBAC goes by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity<'a> {
    /// The user: the certificate's common name.
    pub(super) user: &'a str,
    /// The group: its organization.
    pub(super) group: Option<&'a str>,
}

/// The authority that all of a cluster's certificates are signed by.
#[derive(Debug)]
pub(super) struct Authority {
    dir: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority that keeps its files in `dir`, which it makes.
    pub(super) fn new(dir: PathBuf) -> Result<Self> {
        fs::create_dir(&dir).with_context(|| dir.display().to_string())?;
        let mut params = params("landfall-lab", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let authority = Self { dir, issuer };
        fs::write(authority.certificate(), authority.issuer.pem()).context("ca.crt")?;
        Ok(authority)
    }

    /// The file of the authority's own certificate.
    pub(super) fn certificate(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// What a client shows the API server.
    pub(super) fn client(&self, name: &str, identity: Identity<'_>) -> Result<Pair> {
        let mut params = params(identity.user, identity.group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(name, params)
    }

    /// What a server shows its clients, which call it by these names and addresses.
    pub(super) fn server(&self, name: &str, names: &[&str], ips: &[IpAddr]) -> Result<Pair> {
        let mut params = params(name, None);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in names {
            params
                .subject_alt_names
                .push(SanType::DnsName((*name).try_into()?));
        }
        let ips = ips.iter().map(|ip| SanType::IpAddress(*ip));
        params.subject_alt_names.extend(ips);
        self.sign(name, params)
    }

    /// A key that signs service-account tokens, and its public half, which proves them.
    pub(super) fn token_keys(&self) -> Result<TokenKeys> {
        let key = KeyPair::generate()?;
        let keys = TokenKeys {
            private: self.dir.join("service-accounts.key"),
            public: self.dir.join("service-accounts.pub"),
        };
        write_secret(&keys.private, &key.serialize_pem())?;
        fs::write(&keys.public, key.public_key_pem()).context("service-accounts.pub")?;
        Ok(keys)
    }

    fn sign(&self, name: &str, mut params: CertificateParams) -> Result<Pair> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let pair = Pair {
            certificate: self.dir.join(format!("{name}.crt")),
            key: self.dir.join(format!("{name}.key")),
        };
        fs::write(&pair.certificate, certificate.pem())
            .with_context(|| pair.certificate.display().to_string())?;
        write_secret(&pair.key, &key.serialize_pem())?;
        Ok(pair)
    }
}

fn params(user: &str, group: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, user);
    if let Some(group) = group {
        params
            .distinguished_name
            .push(DnType::OrganizationName, group);
    }
    params
}

/// Writes a file that only its owner may read.
fn write_secret(place: &Path, text: &str) -> Result<()> {
    let file = File::options()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(place);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| place.display().to_string())
}
