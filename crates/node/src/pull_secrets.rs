//! With which credentials an image is asked for: those of the pod's `imagePullSecrets`
//! (`pkg/credentialprovider`). Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use images::{Auth, Reference};
use k8s_openapi::api::core::v1::{Pod, Secret};
use serde_json::{Map, Value};

/// What Docker calls its own registry in its file of credentials.
const DOCKER_HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// The names of the Secrets that the pod names.
pub(crate) fn names(pod: &Pod) -> impl Iterator<Item = &str> {
    let secrets = pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten());
    secrets.map(|secret| secret.name.as_str()).filter(|name| !name.is_empty())
}

/// The credentials for an image among these Secrets, those first whose registry's name says most.
pub(crate) fn credentials<'s>(secrets: impl IntoIterator<Item = &'s Secret>, image: &Reference) -> Vec<Auth> {
    let mut found: Vec<(usize, Auth)> = Vec::new();
    for secret in secrets {
        for (place, entry) in entries(secret) {
            let place = place_of(&place);
            if is_for(&place, image)
                && let Some(auth) = auth(&entry)
                && !found.iter().any(|(_, held)| *held == auth)
            {
                found.push((place.len(), auth));
            }
        }
    }
    // Stable: of two places that say as much, the Secret that is named first.
    found.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    found.into_iter().map(|(_, auth)| auth).collect()
}

/// What a Secret of one of the two types says, by registry.
fn entries(secret: &Secret) -> Map<String, Value> {
    let data =
        |key: &str| -> Option<Value> { serde_json::from_slice(&secret.data.as_ref()?.get(key)?.0).ok() };
    let all = match secret.type_.as_deref() {
        Some("kubernetes.io/dockerconfigjson") => {
            data(".dockerconfigjson").and_then(|mut file| file.get_mut("auths").map(Value::take))
        }
        Some("kubernetes.io/dockercfg") => data(".dockercfg"),
        _ => None,
    };
    match all {
        Some(Value::Object(all)) => all,
        _ => Map::new(),
    }
}

/// A registry's name with whatever path limits it, as the file has it: `https://index.docker.io/v1/` is the host.
fn place_of(written: &str) -> String {
    let bare = written.trim_start_matches("https://").trim_start_matches("http://");
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let path = path.trim_matches('/');
    if path.is_empty() || matches!(path, "v1" | "v2") { host.to_owned() } else { format!("{host}/{path}") }
}

/// Whether the credentials of a place are for an image: the host is the same, part by part, where `*` stands for
/// anything, and the repository lies below the path.
fn is_for(place: &str, image: &Reference) -> bool {
    let (host, path) = place.split_once('/').unwrap_or((place, ""));
    let is_hub = |host: &str| DOCKER_HUB.contains(&host);
    let registry = image.registry();
    let same_host = (is_hub(host) && is_hub(registry)) || matches(host, registry);
    let below = image.repository().strip_prefix(path);
    same_host && below.is_some_and(|rest| path.is_empty() || rest.is_empty() || rest.starts_with('/'))
}

fn matches(pattern: &str, host: &str) -> bool {
    let split = |host: &str| {
        let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
        (name.split('.').map(str::to_owned).collect::<Vec<_>>(), port.to_owned())
    };
    let ((pattern, pattern_port), (host, port)) = (split(pattern), split(host));
    let part = |(pattern, part): (&String, &String)| match pattern.split_once('*') {
        None => pattern == part,
        Some((before, after)) => {
            part.len() >= before.len() + after.len() && part.starts_with(before) && part.ends_with(after)
        }
    };
    pattern_port == port && pattern.len() == host.len() && pattern.iter().zip(&host).all(part)
}

/// User and password, which may stand together in `auth`.
fn auth(entry: &Value) -> Option<Auth> {
    let text = |field: &str| entry[field].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    if let (Some(username), Some(password)) = (text("username"), text("password")) {
        return Some(Auth::Basic { username, password });
    }
    let decoded = BASE64.decode(text("auth")?.trim()).ok()?;
    let (username, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    let password = password.trim_end_matches('\0').to_owned();
    Some(Auth::Basic { username: username.to_owned(), password })
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "json! literals read best as they are")]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(auths: Value) -> Secret {
        let file = BASE64.encode(json!({"auths": auths}).to_string());
        let secret = json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": file}});
        serde_json::from_value(secret).unwrap()
    }

    fn users(secrets: &[Secret], image: &str) -> Vec<String> {
        let found = credentials(secrets, &Reference::parse(image).unwrap()).into_iter();
        let user = |auth| match auth {
            Auth::Basic { username, .. } => username,
            Auth::Anonymous => "nobody".to_owned(),
        };
        found.map(user).collect()
    }

    fn by(user: &str) -> Value {
        json!({"username": user, "password": "p"})
    }

    #[test]
    fn credentials_are_for_the_registry_and_the_path_that_they_name() {
        let secrets = [
            secret(json!({"https://index.docker.io/v1/": by("hub"), "*.example.org": by("any"),
                "registry.example.org/team": by("team"), "localhost:5000": by("local")})),
            secret(
                json!({"registry.example.org": by("host"), "other.test": {"auth": BASE64.encode("me:secret")}}),
            ),
        ];
        assert_eq!(users(&secrets, "postgres:17"), ["hub"]);
        assert_eq!(users(&secrets, "registry.example.org/team/db"), ["team", "host", "any"]);
        assert_eq!(users(&secrets, "registry.example.org/teams/db"), ["host", "any"]);
        assert_eq!(users(&secrets, "a.registry.example.org/db"), [""; 0], "a star is one part of the name");
        assert_eq!(users(&secrets, "localhost:5000/db"), ["local"]);
        assert_eq!(users(&secrets, "localhost:5001/db"), [""; 0]);
        assert_eq!(users(&secrets, "other.test/db"), ["me"]);
    }

    #[test]
    fn the_older_type_is_read_and_others_are_not() {
        let file = BASE64.encode(json!({"r.test": {"auth": BASE64.encode("old:p:q")}}).to_string());
        let older = json!({"type": "kubernetes.io/dockercfg", "data": {".dockercfg": file}});
        let older: Secret = serde_json::from_value(older).unwrap();
        let image = Reference::parse("r.test/x").unwrap();
        let expected = Auth::Basic { username: "old".to_owned(), password: "p:q".to_owned() };
        assert_eq!(credentials([&older], &image), [expected]);
        let opaque = Secret { type_: Some("Opaque".to_owned()), ..older };
        assert_eq!(credentials([&opaque], &image), []);
    }
}
