//! Tokens of service accounts for pods: asked for, kept, and asked for anew in good time (upstream:
//! `pkg/kubelet/token/token_manager.go`).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Method;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use serde_json::json;

use crate::host::now;
use crate::volume_plan::Missing;

/// The oldest that a token gets, however long it is good for.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(24);
/// The share of its life that is left when a token is replaced, in percent.
const LEFT_PERCENT: i64 = 20;
/// How long a token that could not be replaced is used before that is tried again.
const RETRY: SignedDuration = SignedDuration::from_secs(10);

/// What a volume asks of a token: its audience (empty for the API) and its life in seconds.
pub(crate) type Asked = (String, i64);

/// The tokens of one pod, by what was asked of them.
pub(crate) type PodTokens = BTreeMap<Asked, String>;

struct Held {
    token: String,
    expires: Timestamp,
    refresh_at: Timestamp,
}

/// The tokens of all pods here, by uid: as many for each as its volumes ask for.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<HashMap<String, BTreeMap<Asked, Held>>>);

impl Tokens {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, BTreeMap<Asked, Held>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All tokens that the pod's volumes ask for, new ones where there are none or the old ones are due.
    pub(crate) async fn of(&self, client: &Client, pod: &Pod) -> Result<PodTokens, Missing> {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let mut tokens = PodTokens::new();
        for (volume, asked) in asked(pod) {
            let known = self
                .lock()
                .get(&uid)
                .and_then(|held| held.get(&asked))
                .map(|held| (held.token.clone(), held.expires, held.refresh_at));
            let token = match known {
                Some((token, _, refresh_at)) if now() < refresh_at => token,
                known => match request(client, pod, &asked).await {
                    Ok(held) => {
                        let token = held.token.clone();
                        self.lock().entry(uid.clone()).or_default().insert(asked.clone(), held);
                        token
                    }
                    Err(error) => {
                        let old = known.filter(|(_, expires, _)| now() < *expires).map(|(token, ..)| token);
                        self.postpone(&uid, &asked);
                        old.ok_or_else(|| missing(&volume, &error))?
                    }
                },
            };
            tokens.insert(asked, token);
        }
        Ok(tokens)
    }

    fn postpone(&self, uid: &str, asked: &Asked) {
        if let Some(held) = self.lock().get_mut(uid).and_then(|tokens| tokens.get_mut(asked)) {
            held.refresh_at = now() + RETRY;
        }
    }

    /// In how long a token of the pod is to be replaced; zero when that is due.
    pub(crate) fn due_in(&self, uid: &str) -> Option<Duration> {
        let all = self.lock();
        let first = all.get(uid)?.values().map(|held| held.refresh_at).min()?;
        Some(Duration::try_from(first.duration_since(now())).unwrap_or_default())
    }

    /// The pod is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }
}

fn missing(volume: &str, error: &kube::Error) -> Missing {
    let why = match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    };
    Missing { volume: volume.to_owned(), why: format!("failed to fetch token: {why}") }
}

/// What the pod's volumes ask for, each with the volume's name.
fn asked(pod: &Pod) -> impl Iterator<Item = (String, Asked)> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.flat_map(|volume| {
        let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        let tokens = sources.filter_map(|source| source.service_account_token.as_ref());
        tokens.map(move |token| {
            (volume.name.clone(), what(token.audience.as_deref(), token.expiration_seconds))
        })
    })
}

/// What a projection asks for.
pub(crate) fn what(audience: Option<&str>, seconds: Option<i64>) -> Asked {
    (audience.unwrap_or_default().to_owned(), seconds.unwrap_or(3600))
}

async fn request(client: &Client, pod: &Pod, (audience, seconds): &Asked) -> Result<Held, kube::Error> {
    let meta = &pod.metadata;
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let account =
        pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default");
    let audiences: Vec<&str> = Some(audience.as_str()).filter(|a| !a.is_empty()).into_iter().collect();
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {
        "audiences": audiences, "expirationSeconds": seconds,
        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": meta.name, "uid": meta.uid},
    }});
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
    let answer = client::send_json(client, Method::POST, &path, &body).await?;
    let told = |field: &str| answer["status"][field].as_str().unwrap_or_default().to_owned();
    let asked_at = now();
    let fallback = asked_at + SignedDuration::from_secs(*seconds);
    let expires = told("expirationTimestamp").parse().unwrap_or(fallback);
    let refresh_at = refresh_at(asked_at, expires);
    Ok(Held { token: told("token"), expires, refresh_at })
}

/// When a token that was asked for at `asked` and is good until `expires` is replaced.
fn refresh_at(asked: Timestamp, expires: Timestamp) -> Timestamp {
    let life = expires.duration_since(asked).as_secs();
    let left = SignedDuration::from_secs(life.saturating_mul(LEFT_PERCENT) / 100);
    (expires - left).min(asked + MAX_AGE).max(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_replaced_at_four_fifths_of_their_life_and_after_a_day_at_the_latest() {
        let asked: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let check = |seconds: i64, expect: i64| {
            let at = refresh_at(asked, asked + SignedDuration::from_secs(seconds));
            assert_eq!(at.duration_since(asked).as_secs(), expect, "{seconds}");
        };
        check(3600, 2880);
        check(600, 480);
        check(7 * 24 * 3600, 24 * 3600);
        check(-5, 0);
    }
}
