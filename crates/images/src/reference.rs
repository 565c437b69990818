//! Names of images, as docker writes and completes them.
//!
//! The grammar is that of github.com/distribution/reference (`reference.go`, `normalize.go`).

use std::fmt;
use std::str::FromStr;

/// The longest repository, from upstream's `RepositoryNameTotalLengthMax`.
const MAX_REPOSITORY: usize = 255;
/// The longest tag, from upstream's grammar.
const MAX_TAG: usize = 128;

/// A complete name: registry, repository, and a tag or a digest or both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// The name of an image cannot be understood; Kubernetes' reason for it is `InvalidImageName`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("image name {name:?} is not valid: {why}")]
pub struct ReferenceError {
    /// The name as it was given.
    pub name: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Reference {
    /// Parses a name and completes it: `postgres` is `docker.io/library/postgres:latest`.
    pub fn parse(name: &str) -> Result<Self, ReferenceError> {
        parse(name).map_err(|why| ReferenceError { name: name.to_owned(), why })
    }

    /// The registry as the name has it: `docker.io`, `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository within the registry: `library/postgres`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `None` when only a digest was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, when one was given: then the tag says nothing.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// The name without tag and digest.
    pub(crate) fn without_version(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The form in which the store keeps it: the digest decides, where there is one.
    pub(crate) fn key(&self) -> String {
        match &self.digest {
            Some(digest) => format!("{}@{digest}", self.without_version()),
            None => self.to_string(),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(name: &str) -> Result<Self, ReferenceError> {
        Self::parse(name)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn parse(name: &str) -> Result<Reference, &'static str> {
    if name.is_empty() {
        return Err("it is empty");
    }
    if name.bytes().any(|b| b.is_ascii_whitespace()) {
        return Err("it has a space in it");
    }
    let (rest, digest) = match name.split_once('@') {
        Some((rest, digest)) => (rest, Some(check_digest(digest)?)),
        None => (name, None),
    };
    // A colon after the last slash starts the tag; one before it belongs to the registry's port.
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(check_tag(tag)?)),
        _ => (rest, None),
    };
    if path.len() == 64 && path.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("64 hex digits are an image's id, not a name");
    }
    let (registry, repository) = split_registry(path);
    check_registry(&registry)?;
    check_repository(&repository)?;
    let tag = match (&digest, tag) {
        (None, None) => Some("latest".to_owned()),
        (_, tag) => tag,
    };
    Ok(Reference { registry, repository, tag, digest })
}

/// Upstream's `splitDockerDomain`: only what looks like a host is one.
fn split_registry(path: &str) -> (String, String) {
    let (mut registry, mut repository) = match path.split_once('/') {
        Some((host, rest))
            if host.contains(['.', ':'])
                || host == "localhost"
                || host.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (host, rest.to_owned())
        }
        _ => ("docker.io", path.to_owned()),
    };
    if registry == "index.docker.io" {
        registry = "docker.io";
    }
    if registry == "docker.io" && !repository.contains('/') {
        repository = format!("library/{repository}");
    }
    (registry.to_owned(), repository)
}

fn check_registry(registry: &str) -> Result<(), &'static str> {
    const WHY: &str = "the registry must be a host name or address, with or without a port";
    let (host, port) = match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            address.parse::<std::net::Ipv6Addr>().map_err(|_| WHY)?;
            (None, port.strip_prefix(':').or(port.is_empty().then_some("0")))
        }
        None => match registry.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(registry), Some("0")),
        },
    };
    let good_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let good_host = host.is_none_or(|host| host.split('.').all(good_label));
    let good_port =
        port.is_some_and(|port| port.parse::<u16>().is_ok() && port.bytes().all(|b| b.is_ascii_digit()));
    if good_host && good_port { Ok(()) } else { Err(WHY) }
}

fn check_repository(repository: &str) -> Result<(), &'static str> {
    if repository.len() > MAX_REPOSITORY {
        return Err("the repository is longer than 255 characters");
    }
    if repository.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("the repository must be lower case");
    }
    if repository.split('/').all(good_component) {
        Ok(())
    } else {
        Err("the repository must be of lower-case letters and digits, with single . _ - / between them")
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn good_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let separators = component.split(|c: char| c.is_ascii() && alphanumeric(c as u8));
    let bytes = component.as_bytes();
    bytes.first().copied().is_some_and(alphanumeric)
        && bytes.last().copied().is_some_and(alphanumeric)
        && separators
            .filter(|run| !run.is_empty())
            .all(|run| matches!(run, "." | "_" | "__") || run.bytes().all(|b| b == b'-'))
}

fn check_tag(tag: &str) -> Result<String, &'static str> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let good = !tag.is_empty()
        && tag.len() <= MAX_TAG
        && word(tag.as_bytes()[0])
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-');
    if good {
        Ok(tag.to_owned())
    } else {
        Err("the tag must be of 1 to 128 letters, digits, _ . - and not start with . or -")
    }
}

fn check_digest(digest: &str) -> Result<String, &'static str> {
    crate::digest::Digest::try_from(digest.to_owned())
        .map(String::from)
        .map_err(|_| "the digest must be sha256: and 64 lower-case hex digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

    #[test]
    fn names_are_completed_as_docker_does() {
        let digest = format!("sha256:{HEX}");
        for (name, full) in [
            ("postgres", "docker.io/library/postgres:latest"),
            ("postgres:14", "docker.io/library/postgres:14"),
            ("bitnami/postgresql:16.1", "docker.io/bitnami/postgresql:16.1"),
            ("index.docker.io/library/redis", "docker.io/library/redis:latest"),
            ("docker.io/redis", "docker.io/library/redis:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app:v1", "localhost:5000/app:v1"),
            ("test.com:5000", "docker.io/library/test.com:5000"),
            ("foo_bar.com:8080", "docker.io/library/foo_bar.com:8080"),
            ("[::1]:5000/app", "[::1]:5000/app:latest"),
            ("registry.k8s.io/e2e-test-images/agnhost:2.53", "registry.k8s.io/e2e-test-images/agnhost:2.53"),
            ("a/b__c/d--e/f.g", "docker.io/a/b__c/d--e/f.g:latest"),
        ] {
            assert_eq!(Reference::parse(name).unwrap().to_string(), full, "{name}");
        }
        let pinned = Reference::parse(&format!("host:5000/x:1@{digest}")).unwrap();
        assert_eq!(pinned.to_string(), format!("host:5000/x:1@{digest}"));
        assert_eq!(pinned.key(), format!("host:5000/x@{digest}"));
        assert_eq!(Reference::parse(&format!("x@{digest}")).unwrap().tag(), None);
    }

    #[test]
    fn a_bad_name_is_refused_in_one_sentence() {
        for (name, why) in [
            ("", "it is empty"),
            ("a b", "it has a space in it"),
            ("Postgres:14", "the repository must be lower case"),
            ("postgres:", "the tag must be of 1 to 128 letters, digits, _ . - and not start with . or -"),
            (
                "a//b",
                "the repository must be of lower-case letters and digits, with single . _ - / between them",
            ),
            (
                "a/b___c",
                "the repository must be of lower-case letters and digits, with single . _ - / between them",
            ),
            ("x@sha256:12", "the digest must be sha256: and 64 lower-case hex digits"),
            ("-host.com/x", "the registry must be a host name or address, with or without a port"),
            ("host.com:99999/x", "the registry must be a host name or address, with or without a port"),
            (HEX, "64 hex digits are an image's id, not a name"),
        ] {
            let error = Reference::parse(name).unwrap_err();
            assert_eq!(error.to_string(), format!("image name {name:?} is not valid: {why}"));
        }
    }
}
