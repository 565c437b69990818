//! Talking to one registry, or to a mirror of it.

use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use oci_client::{Reference as Remote, RegistryOperation};

use crate::manifest::{ACCEPTED, MAX_DOCUMENT};
use crate::pull::{Auth, Fault};
use crate::reference::Reference;

/// A registry that does not take a connection within this is not reachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A registry that sends nothing for this long is given up.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How much of a registry's own words goes into a message, in characters.
const MAX_WORDS: usize = 200;

/// Another place to pull a registry's images from: `docker.io=http://127.0.0.1:5000`. What is not there is then
/// pulled from the registry itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mirror {
    /// The registry as names have it.
    host: String,
    /// Host and port of the mirror.
    authority: String,
    plain_http: bool,
    /// Put before the repository: `proxy/docker.io/` for a URL that ends so; mostly empty.
    prefix: String,
}

impl FromStr for Mirror {
    type Err = String;

    /// Parses `HOST=URL`; the error is a sentence.
    fn from_str(text: &str) -> Result<Self, String> {
        let why = || format!("mirror {text:?} is not HOST=URL, such as docker.io=http://127.0.0.1:5000");
        let (host, url) = text.split_once('=').ok_or_else(why)?;
        let (plain_http, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(why()),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.trim_matches('/');
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        // A name made of its parts is good exactly when they are.
        let probe = |host: &str, prefix: &str| Reference::parse(&format!("{host}/{prefix}x")).ok();
        let registry = |host: &str, prefix: &str| {
            probe(host, prefix).is_some_and(|name| name.registry() == host || host == "index.docker.io")
        };
        let authority_good = authority.contains(['.', ':']) || authority == "localhost";
        if host.is_empty() || !registry(host, "") || !registry(authority, &prefix) || !authority_good {
            return Err(why());
        }
        Ok(Self { host: host.to_owned(), authority: authority.to_owned(), plain_http, prefix })
    }
}

/// Where an image may be pulled from.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// For messages: what the user wrote.
    pub(crate) shown: String,
    authority: String,
    plain_http: bool,
    prefix: String,
    auth: Auth,
}

/// The mirrors of a name's registry in their order, then the registry. Only the registry gets the credentials.
pub(crate) fn endpoints(name: &Reference, mirrors: &[Mirror], auth: &Auth) -> Vec<Endpoint> {
    let mirrors = mirrors.iter().filter(|mirror| mirror.host == name.registry()).map(|mirror| Endpoint {
        shown: format!("mirror {}/{}", mirror.authority, mirror.prefix).trim_end_matches('/').to_owned(),
        authority: mirror.authority.clone(),
        plain_http: mirror.plain_http,
        prefix: mirror.prefix.clone(),
        auth: Auth::Anonymous,
    });
    let own = Endpoint {
        shown: name.registry().to_owned(),
        authority: name.registry().to_owned(),
        plain_http: is_loopback(name.registry()),
        prefix: String::new(),
        auth: auth.clone(),
    };
    mirrors.chain([own]).collect()
}

/// As docker and containerd have it: a registry on this machine needs no TLS.
fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A repository at an endpoint.
pub(crate) struct Repository {
    client: Client,
    auth: RegistryAuth,
    authority: String,
    repository: String,
}

impl Repository {
    /// Makes a client and lets it authenticate.
    pub(crate) async fn open(endpoint: &Endpoint, name: &Reference) -> Result<Self, Fault> {
        let protocol = if endpoint.plain_http { ClientProtocol::Http } else { ClientProtocol::Https };
        let client = Client::try_from(ClientConfig {
            protocol,
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            user_agent: concat!("stead/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        })
        .map_err(|error| fault(&error))?;
        let auth = match &endpoint.auth {
            Auth::Anonymous => RegistryAuth::Anonymous,
            Auth::Basic { username, password } => RegistryAuth::Basic(username.clone(), password.clone()),
        };
        let repository = Self {
            client,
            auth,
            authority: endpoint.authority.clone(),
            repository: format!("{}{}", endpoint.prefix, name.repository()),
        };
        let any = repository.tagged("latest");
        let token = repository.client.auth(&any, &repository.auth, RegistryOperation::Pull).await;
        token.map_err(|error| fault(&error))?;
        Ok(repository)
    }

    fn tagged(&self, tag: &str) -> Remote {
        Remote::with_tag(self.authority.clone(), self.repository.clone(), tag.to_owned())
    }

    fn pinned(&self, digest: &str) -> Remote {
        Remote::with_digest(self.authority.clone(), self.repository.clone(), digest.to_owned())
    }

    /// The manifest or index that a name's digest or tag leads to.
    pub(crate) async fn manifest(&self, tag: Option<&str>, digest: Option<&str>) -> Result<Bytes, Fault> {
        let remote = match digest {
            Some(digest) => self.pinned(digest),
            None => self.tagged(tag.unwrap_or("latest")),
        };
        let pulled = self.client.pull_manifest_raw(&remote, &self.auth, &ACCEPTED).await;
        let (bytes, _) = pulled.map_err(|error| fault(&error))?;
        // oci-client has no limit of its own: all of it was in memory once.
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(Fault::Bad(format!("its manifest has more than {MAX_DOCUMENT} bytes")));
        }
        Ok(bytes)
    }

    /// A small blob, whole.
    pub(crate) async fn document(&self, digest: &str) -> Result<Vec<u8>, Fault> {
        let mut stream = self.blob(digest).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk?);
            if bytes.len() as u64 > MAX_DOCUMENT {
                return Err(Fault::Bad(format!("its configuration has more than {MAX_DOCUMENT} bytes")));
            }
        }
        Ok(bytes)
    }

    /// A blob, piece by piece. It ends with a fault if its digest is wrong.
    pub(crate) async fn blob(&self, digest: &str) -> Result<BoxStream<'static, Result<Bytes, Fault>>, Fault> {
        let pulled = self.client.pull_blob_stream(&self.pinned(digest), digest).await;
        let stream = pulled.map_err(|error| fault(&error))?.stream;
        Ok(stream.map(|chunk| chunk.map_err(|error| broken(&error))).boxed())
    }
}

/// Sorts a failure by what its reader can do about it.
fn fault(error: &OciDistributionError) -> Fault {
    match error {
        OciDistributionError::UnauthorizedError { .. } => Fault::Unauthorized,
        OciDistributionError::AuthenticationFailure(_) => Fault::Unauthorized,
        OciDistributionError::ImageManifestNotFoundError(_) => Fault::NotFound,
        OciDistributionError::ServerError { code: 404, .. } => Fault::NotFound,
        OciDistributionError::ServerError { code: 401 | 403, .. } => Fault::Unauthorized,
        OciDistributionError::ServerError { code, message, .. } => {
            Fault::Refused(format!("HTTP status {code} {}", words(message)).trim_end().to_owned())
        }
        OciDistributionError::RegistryError { envelope, .. } => envelope_fault(&envelope.errors),
        OciDistributionError::DigestError(error) => Fault::Bad(error.to_string()),
        OciDistributionError::RequestError(_) => Fault::Unreachable(root_cause(error)),
        OciDistributionError::IoError(error) => broken(error),
        other => Fault::Refused(words(&other.to_string())),
    }
}

fn envelope_fault(errors: &[oci_client::errors::OciError]) -> Fault {
    let has = |codes: &[OciErrorCode]| errors.iter().any(|error| codes.contains(&error.code));
    if has(&[OciErrorCode::Unauthorized, OciErrorCode::Denied]) {
        return Fault::Unauthorized;
    }
    let unknown = [
        OciErrorCode::ManifestUnknown,
        OciErrorCode::NameUnknown,
        OciErrorCode::NotFound,
        OciErrorCode::BlobUnknown,
        OciErrorCode::ManifestBlobUnknown,
    ];
    if has(&unknown) {
        return Fault::NotFound;
    }
    let messages: Vec<_> = errors.iter().map(|error| error.message.as_str()).collect();
    Fault::Refused(words(&messages.join("; ")))
}

/// A stream that ended early, or with the wrong content.
fn broken(error: &std::io::Error) -> Fault {
    let inner = error.get_ref();
    if inner.is_some_and(|inner| inner.is::<oci_client::errors::DigestError>()) {
        return Fault::Bad(error.to_string());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    Fault::Unreachable(cause.to_string())
}

/// The innermost error says what happened; the outer ones repeat the address.
fn root_cause(error: &OciDistributionError) -> String {
    if let OciDistributionError::RequestError(request) = error
        && request.is_timeout()
    {
        return "it does not answer".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    words(&cause.to_string())
}

/// Somebody else's words, made fit for one line.
fn words(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(MAX_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_come_first_and_get_no_credentials() {
        let mirrors: Vec<Mirror> = ["docker.io=http://127.0.0.1:5000", "quay.io=https://m.example/a/b/"]
            .map(|text| text.parse().unwrap())
            .into();
        let auth = Auth::Basic { username: "u".into(), password: "p".into() };
        let name = Reference::parse("postgres:14").unwrap();
        let shown = |name: &Reference| {
            endpoints(name, &mirrors, &auth)
                .iter()
                .map(|e| format!("{} http={} auth={:?}", e.shown, e.plain_http, e.auth))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            shown(&name),
            [
                "mirror 127.0.0.1:5000 http=true auth=Anonymous",
                "docker.io http=false auth=Basic { username: \"u\", .. }"
            ]
        );
        let name = Reference::parse("quay.io/x/y").unwrap();
        assert_eq!(shown(&name)[0], "mirror m.example/a/b http=false auth=Anonymous");
        let name = Reference::parse("localhost:5000/x").unwrap();
        assert_eq!(shown(&name), ["localhost:5000 http=true auth=Basic { username: \"u\", .. }"]);
    }

    #[test]
    fn a_bad_mirror_is_refused() {
        for text in ["docker.io", "docker.io=ftp://x.y", "=http://x.y", "docker.io=http://", "docker.io=x.y"]
        {
            let error = text.parse::<Mirror>().unwrap_err();
            let start = format!("mirror {text:?} is not HOST=URL");
            assert!(error.starts_with(&start), "{error}");
        }
    }
}
