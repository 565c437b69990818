//! The instance's own certificates: a CA, the server's and the admin's, kept in `DIR/pki`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa};
use rcgen::{Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use crate::authn::{KeyError, TokenKey};
use crate::user::SYSTEM_MASTERS;

/// How long the CA is good for.
const CA_DAYS: i64 = 3650;
/// How long the other certificates are good for.
const LEAF_DAYS: i64 = 1095;
/// A certificate with less time left than this is made anew at the next start.
const RENEW_DAYS: i64 = 365;
const DAY_SECONDS: i64 = 86_400;

/// Why certificates could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file of `DIR/pki` could not be read or written.
    #[error("cannot use {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// A file of `DIR/pki` does not hold what it should.
    #[error(
        "{path} is damaged ({why}); move the folder away and start again to get new certificates and a new kubeconfig"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// The key of tokens could not be made.
    #[error(transparent)]
    Tokens(#[from] KeyError),
    /// The certificates cannot be used for TLS.
    #[error("cannot use the certificates for TLS: {0}")]
    Tls(String),
}

/// The certificates of one instance.
pub struct Pki {
    ca_pem: String,
    admin_pem: String,
    admin_key_pem: String,
    server: Arc<rustls::ServerConfig>,
    tokens: Arc<TokenKey>,
}

impl Pki {
    /// Reads the certificates in `dir`, and makes those that are missing, near their end, or (the server's)
    /// made for other names. `names` are the addresses and names by which clients reach the server, besides
    /// localhost, this machine's name and the names of the Service `kubernetes`.
    ///
    /// # Errors
    /// When files cannot be read or written, or hold something else.
    pub fn load_or_create(dir: &Path, names: &[String]) -> Result<Self, PkiError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|source| PkiError::File { path: dir.to_owned(), source })?;
        let now = Timestamp::now();
        let ca = Pair::ensure(dir, "ca", |pem| is_fresh(pem, now, None), || make_ca(now))?;
        let key = KeyPair::from_pem(&ca.key_pem)?;
        let issuer = Issuer::from_ca_cert_pem(&ca.certificate_pem, key)?;
        let signed = |pem: &str| is_signed_by(pem, &ca.certificate_pem);
        let server_names = server_names(names);
        let server = Pair::ensure(
            dir,
            "server",
            |pem| is_fresh(pem, now, Some(&server_names)) && signed(pem),
            || make_server(now, &issuer, &server_names),
        )?;
        let admin = Pair::ensure(
            dir,
            "admin",
            |pem| is_fresh(pem, now, None) && signed(pem),
            || make_admin(now, &issuer),
        )?;
        let config = server_config(&ca.certificate_pem, &server)?;
        Ok(Self {
            ca_pem: ca.certificate_pem,
            admin_pem: admin.certificate_pem,
            admin_key_pem: admin.key_pem,
            server: Arc::new(config),
            tokens: Arc::new(token_key(dir)?),
        })
    }

    /// What signs service-account tokens.
    pub fn tokens(&self) -> Arc<TokenKey> {
        Arc::clone(&self.tokens)
    }

    /// What the TLS listener works with.
    pub fn server_config(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.server)
    }

    /// The certificate (PEM) that clients trust.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// A kubeconfig for the admin, all certificates inside. `server` is the URL, `name` names cluster,
    /// user and context.
    pub fn kubeconfig(&self, server: &str, name: &str) -> String {
        let [ca, certificate, key] =
            [&self.ca_pem, &self.admin_pem, &self.admin_key_pem].map(|pem| BASE64.encode(pem));
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {name}\n\
             clusters:\n- name: {name}\n  cluster:\n    server: {server}\n    certificate-authority-data: {ca}\n\
             users:\n- name: {name}-admin\n  user:\n    client-certificate-data: {certificate}\n    client-key-data: {key}\n\
             contexts:\n- name: {name}\n  context:\n    cluster: {name}\n    user: {name}-admin\n    namespace: default\n"
        )
    }
}

/// A certificate and its key, both PEM.
struct Pair {
    certificate_pem: String,
    key_pem: String,
}

impl Pair {
    /// The pair in `dir` if both halves are there and `is_good`, else a new one, written there.
    fn ensure(
        dir: &Path,
        name: &str,
        is_good: impl Fn(&str) -> bool,
        make: impl FnOnce() -> Result<Self, PkiError>,
    ) -> Result<Self, PkiError> {
        let (certificate, key) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
        if let (Some(certificate_pem), Some(key_pem)) = (read(&certificate)?, read(&key)?) {
            if let Err(error) = KeyPair::from_pem(&key_pem) {
                return Err(PkiError::Damaged { path: key, why: error.to_string() });
            }
            if is_good(&certificate_pem) {
                return Ok(Self { certificate_pem, key_pem });
            }
        }
        let made = make()?;
        write(&key, &made.key_pem)?;
        write(&certificate, &made.certificate_pem)?;
        Ok(made)
    }
}

/// The key of service-account tokens in `dir`, made when it is missing.
fn token_key(dir: &Path) -> Result<TokenKey, PkiError> {
    let path = dir.join("sa.key");
    let pem = match read(&path)? {
        Some(pem) => pem,
        None => {
            let pem = TokenKey::new_pem()?;
            write(&path, &pem)?;
            pem
        }
    };
    TokenKey::from_pem(&pem).map_err(|error| PkiError::Damaged { path, why: error.to_string() })
}

fn read(path: &Path) -> Result<Option<String>, PkiError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PkiError::File { path: path.to_owned(), source }),
    }
}

/// Writes a file that only its owner may read, whole or not at all.
fn write(path: &Path, text: &str) -> Result<(), PkiError> {
    let new = path.with_extension("new");
    let written = (|| {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    })();
    written.map_err(|source| PkiError::File { path: path.to_owned(), source })
}

fn make_ca(now: Timestamp) -> Result<Pair, PkiError> {
    let mut params = params(now, CA_DAYS, "stead-ca", None)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(Pair { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
}

fn make_server(
    now: Timestamp,
    issuer: &Issuer<'_, KeyPair>,
    names: &BTreeSet<String>,
) -> Result<Pair, PkiError> {
    let mut params = params(now, LEAF_DAYS, "stead", None)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.subject_alt_names = names
        .iter()
        .map(|name| {
            Ok(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.as_str().try_into()?),
            })
        })
        .collect::<Result<_, rcgen::Error>>()?;
    sign(params, issuer)
}

fn make_admin(now: Timestamp, issuer: &Issuer<'_, KeyPair>) -> Result<Pair, PkiError> {
    let mut params = params(now, LEAF_DAYS, "stead-admin", Some(SYSTEM_MASTERS))?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    sign(params, issuer)
}

fn sign(mut params: CertificateParams, issuer: &Issuer<'_, KeyPair>) -> Result<Pair, PkiError> {
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    Ok(Pair { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
}

fn params(
    now: Timestamp,
    days: i64,
    common_name: &str,
    organization: Option<&str>,
) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    let day = |offset: i64| {
        let then = now.checked_add(SignedDuration::from_hours(24 * offset)).unwrap_or(now);
        let date = then.to_zoned(TimeZone::UTC).date();
        // Both are positive within a month and a year.
        rcgen::date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    // A clock that is a little behind must not make the first start fail.
    params.not_before = day(-1);
    params.not_after = day(days);
    Ok(params)
}

/// The names and addresses of the server, sorted.
fn server_names(extra: &[String]) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = [
        "localhost",
        "127.0.0.1",
        "::1",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ]
    .map(str::to_owned)
    .into();
    if let Ok(hostname) = fs::read_to_string("/proc/sys/kernel/hostname") {
        names.extend(Some(hostname.trim().to_owned()).filter(|h| !h.is_empty()));
    }
    names.extend(extra.iter().cloned());
    names
}

/// Whether a certificate can be read, has time left, and is for exactly these names.
fn is_fresh(pem: &str, now: Timestamp, names: Option<&BTreeSet<String>>) -> bool {
    let Ok(der) = CertificateDer::from_pem_slice(pem.as_bytes()) else { return false };
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else { return false };
    let left = certificate.validity().not_after.timestamp() - now.as_second();
    left > RENEW_DAYS * DAY_SECONDS && names.is_none_or(|names| *names == names_of(&certificate))
}

fn names_of(certificate: &X509Certificate<'_>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for extension in certificate.extensions() {
        let ParsedExtension::SubjectAlternativeName(alternative) = extension.parsed_extension() else {
            continue;
        };
        for name in &alternative.general_names {
            match name {
                GeneralName::DNSName(name) => {
                    names.insert((*name).to_owned());
                }
                GeneralName::IPAddress(bytes) => {
                    let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                    let address = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
                    names.extend(address.map(|a| a.to_string()));
                }
                _ => {}
            }
        }
    }
    names
}

/// Whether a certificate carries the CA's key identifier: a CA that was made anew needs new certificates.
fn is_signed_by(pem: &str, ca_pem: &str) -> bool {
    let (Ok(der), Ok(ca_der)) =
        (CertificateDer::from_pem_slice(pem.as_bytes()), CertificateDer::from_pem_slice(ca_pem.as_bytes()))
    else {
        return false;
    };
    let (Ok((_, certificate)), Ok((_, ca))) =
        (X509Certificate::from_der(&der), X509Certificate::from_der(&ca_der))
    else {
        return false;
    };
    let wanted = ca.extensions().iter().find_map(|e| match e.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
        _ => None,
    });
    let found = certificate.extensions().iter().find_map(|e| match e.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0),
        _ => None,
    });
    wanted.is_some() && wanted == found
}

fn server_config(ca_pem: &str, server: &Pair) -> Result<rustls::ServerConfig, PkiError> {
    let tls = |why: &dyn std::fmt::Display| PkiError::Tls(why.to_string());
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(|e| tls(&e))?;
    roots.add(ca).map_err(|e| tls(&e))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    // Whoever shows a certificate must have one of ours; who shows none is anonymous.
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .map_err(|e| tls(&e))?;
    let chain = vec![CertificateDer::from_pem_slice(server.certificate_pem.as_bytes()).map_err(|e| tls(&e))?];
    let key = PrivateKeyDer::from_pem_slice(server.key_pem.as_bytes()).map_err(|e| tls(&e))?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| tls(&e))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|e| tls(&e))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modes(dir: &Path) -> BTreeSet<(String, u32)> {
        let entries = fs::read_dir(dir).expect("a folder");
        entries
            .map(|entry| {
                let entry = entry.expect("an entry");
                let mode = entry.metadata().expect("metadata").permissions().mode() & 0o777;
                (entry.file_name().to_string_lossy().into_owned(), mode)
            })
            .collect()
    }

    #[test]
    fn certificates_are_kept_private_and_made_anew_only_when_names_change() {
        let dir = tempfile::tempdir().expect("a folder");
        let dir = dir.path().join("pki");
        let first = Pki::load_or_create(&dir, &["10.0.0.1".to_owned()]).expect("made");
        let files = ["admin.crt", "admin.key", "ca.crt", "ca.key", "sa.key", "server.crt", "server.key"];
        assert_eq!(modes(&dir), files.map(|f| (f.to_owned(), 0o600)).into());
        let server = || fs::read_to_string(dir.join("server.crt")).expect("a certificate");
        let before = server();
        let again = Pki::load_or_create(&dir, &["10.0.0.1".to_owned()]).expect("read");
        assert_eq!(
            (server(), &again.admin_pem, &again.ca_pem),
            (before.clone(), &first.admin_pem, &first.ca_pem)
        );
        let moved = Pki::load_or_create(&dir, &["10.0.0.2".to_owned()]).expect("made anew");
        assert_ne!(server(), before);
        assert_eq!((&moved.admin_pem, &moved.ca_pem), (&first.admin_pem, &first.ca_pem));
    }

    #[test]
    fn a_new_ca_brings_new_certificates() {
        let dir = tempfile::tempdir().expect("a folder");
        let first = Pki::load_or_create(dir.path(), &[]).expect("made");
        fs::remove_file(dir.path().join("ca.crt")).expect("removed");
        let second = Pki::load_or_create(dir.path(), &[]).expect("made");
        assert_ne!(first.ca_pem, second.ca_pem);
        assert_ne!(first.admin_pem, second.admin_pem);
    }

    #[test]
    fn a_damaged_key_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        Pki::load_or_create(dir.path(), &[]).expect("made");
        fs::write(dir.path().join("server.key"), "no key").expect("written");
        let error = Pki::load_or_create(dir.path(), &[]).err().expect("refused").to_string();
        assert!(error.contains("server.key is damaged"), "{error}");
    }

    #[test]
    fn the_admins_certificate_names_a_master() {
        let dir = tempfile::tempdir().expect("a folder");
        let pki = Pki::load_or_create(dir.path(), &[]).expect("made");
        let der = CertificateDer::from_pem_slice(pki.admin_pem.as_bytes()).expect("PEM");
        let user = crate::UserInfo::from_certificate(&der).expect("a user");
        assert_eq!(user.name, "stead-admin");
        assert_eq!(user.groups, [SYSTEM_MASTERS, "system:authenticated"]);
    }
}
