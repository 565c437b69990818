//! What `rollout` thinks: how far a StatefulSet's roll is, which revisions there are
//! (`k8s.io/kubectl/pkg/polymorphichelpers`).

use apimachinery::annotations::PAUSED;
use apimachinery::meta::ObjectExt;
use apimachinery::patch::strategic;
use apimachinery::schema::Schema;
use planner::explain;
use planner::stateful_set::conditions;
use serde_json::Value;

use crate::error::Error;

/// Why somebody changed the template, by their own word.
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

/// How far a roll is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// One sentence.
    pub(crate) text: String,
    /// Whether there is nothing left to wait for.
    pub(crate) done: bool,
}

impl Progress {
    fn waiting(text: String) -> Self {
        Self { text, done: false }
    }

    fn done(text: String) -> Self {
        Self { text, done: true }
    }
}

/// How far the roll of a StatefulSet is.
///
/// # Errors
/// When the set is not updated by itself (OnDelete).
pub(crate) fn progress(set: &Value) -> Result<Progress, Error> {
    let (spec, status) = (&set["spec"], &set["status"]);
    let count = |value: &Value| value.as_i64().unwrap_or_default();
    if spec["updateStrategy"]["type"].as_str().is_some_and(|strategy| strategy != "RollingUpdate") {
        return Err(Error::plain("rollout status is only available for RollingUpdate strategy type"));
    }
    if !is_observed(set) {
        return Ok(Progress::waiting("Waiting for statefulset spec update to be observed...".to_owned()));
    }
    let replicas = spec["replicas"].as_i64().unwrap_or(1);
    let missing = replicas - count(&status["readyReplicas"]);
    if missing > 0 {
        return Ok(Progress::waiting(format!("Waiting for {missing} pods to be ready...")));
    }
    let updated = count(&status["updatedReplicas"]);
    let rolling = &spec["updateStrategy"]["rollingUpdate"];
    if rolling.is_object() {
        let wanted = replicas - count(&rolling["partition"]);
        if updated < wanted {
            return Ok(Progress::waiting(format!(
                "Waiting for partitioned roll out to finish: {updated} out of {wanted} new pods have been updated..."
            )));
        }
        return Ok(Progress::done(format!(
            "partitioned roll out complete: {updated} new pods have been updated..."
        )));
    }
    let text = |field: &str| status[field].as_str().unwrap_or_default();
    if text("updateRevision") != text("currentRevision") {
        return Ok(Progress::waiting(format!(
            "waiting for statefulset rolling update to complete {updated} pods at revision {}...",
            text("updateRevision")
        )));
    }
    Ok(Progress::done(format!(
        "statefulset rolling update complete {} pods at revision {}...",
        count(&status["currentReplicas"]),
        text("currentRevision")
    )))
}

/// Whether the status speaks of the spec as it is now.
fn is_observed(set: &Value) -> bool {
    let observed = set["status"]["observedGeneration"].as_i64().unwrap_or_default();
    observed > 0 && observed >= set["metadata"]["generation"].as_i64().unwrap_or_default()
}

/// Whether somebody has stopped the set's updates.
pub(crate) fn is_paused(set: &Value) -> bool {
    set.annotation(PAUSED) == Some("true")
}

/// Whether the set needs help.
pub(crate) fn is_stalled(set: &Value) -> bool {
    condition(set, conditions::STALLED).is_some_and(|stalled| stalled["status"] == "True")
}

/// What the set waits for, as its conditions say it; one sentence, and where there is more.
pub(crate) fn cause(set: &Value) -> Option<String> {
    if !is_observed(set) {
        return None;
    }
    let (kind, word) = match is_stalled(set) {
        true => (conditions::STALLED, "stalled: "),
        false => (conditions::PROGRESSING, ""),
    };
    let says = condition(set, kind)?;
    let message = says["message"].as_str().filter(|message| !message.is_empty())?;
    let name = set.name();
    let message = match message.strip_prefix("it ") {
        Some(rest) => format!("statefulset/{name} {rest}"),
        None => message.to_owned(),
    };
    let flag = explain::flag(set.namespace());
    let message = message.trim_end_matches('.');
    Some(format!("{word}{message}; see: stead why sts/{name}{flag}"))
}

fn condition<'s>(set: &'s Value, kind: &str) -> Option<&'s Value> {
    let mut conditions = set["status"]["conditions"].as_array()?.iter();
    conditions.find(|condition| condition["type"] == kind)
}

/// The set's own revisions, the oldest first.
pub(crate) fn history(set: &Value, revisions: Vec<Value>) -> Vec<Value> {
    let owned = |revision: &Value| revision.controller_uid() == set.uid();
    let mut own: Vec<Value> = revisions.into_iter().filter(owned).collect();
    own.sort_by_key(number);
    own
}

/// A revision's number.
pub(crate) fn number(revision: &Value) -> i64 {
    revision["revision"].as_i64().unwrap_or_default()
}

/// `REVISION  CHANGE-CAUSE`, tabs for columns; one sentence when there is nothing to list.
pub(crate) fn overview(history: &[Value]) -> String {
    if history.is_empty() {
        return "No rollout history found.".to_owned();
    }
    let line = |revision: &Value| {
        format!("{}\t{}\n", number(revision), revision.annotation(CHANGE_CAUSE).unwrap_or("<none>"))
    };
    "REVISION\tCHANGE-CAUSE\n".to_owned() + &history.iter().map(line).collect::<String>()
}

/// The revision with a number; the one before the last for 0.
///
/// # Errors
/// When there is none.
pub(crate) fn find(history: &[Value], wanted: i64) -> Result<&Value, Error> {
    if wanted == 0 {
        let last_but_one = history.len().checked_sub(2).and_then(|at| history.get(at));
        return last_but_one.ok_or_else(|| Error::plain("no last revision to roll back to"));
    }
    history.iter().find(|revision| number(revision) == wanted).ok_or_else(|| {
        let known: Vec<String> = history.iter().map(|r| number(r).to_string()).collect();
        Error::plain(format!(
            "unable to find specified revision {wanted} in history: there are {}",
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        ))
    })
}

/// The set as it was at a revision.
///
/// # Errors
/// When the revision does not hold a patch for such a set.
pub(crate) fn restored(set: &Value, revision: &Value) -> Result<Value, Error> {
    let type_id = Schema::builtin()
        .gvk("apps/v1", "StatefulSet")
        .ok_or_else(|| Error::plain("nothing is known about StatefulSets of apps/v1"))?;
    let mut restored = set.clone();
    strategic::apply(&mut restored, &revision["data"], type_id)
        .map_err(|e| Error::plain(format!("revision {} cannot be read: {e}", number(revision))))?;
    Ok(restored)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set() -> Value {
        json!({"metadata": {"name": "web", "generation": 2, "uid": "u"},
            "spec": {"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}},
            "status": {"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 3, "currentReplicas": 3,
                "currentRevision": "web-1", "updateRevision": "web-1"}})
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Value), done: bool, text: &str) {
        let mut set = set();
        change(&mut set);
        assert_eq!(progress(&set).expect("progress"), Progress { text: text.to_owned(), done });
    }

    #[test]
    fn a_roll_is_told_in_kubectls_words() {
        check(|_| {}, true, "partitioned roll out complete: 3 new pods have been updated...");
        check(
            |set| set["metadata"]["generation"] = 3.into(),
            false,
            "Waiting for statefulset spec update to be observed...",
        );
        check(|set| set["status"]["readyReplicas"] = 2.into(), false, "Waiting for 1 pods to be ready...");
        check(
            |set| set["status"]["updatedReplicas"] = 1.into(),
            false,
            "Waiting for partitioned roll out to finish: 1 out of 3 new pods have been updated...",
        );
        check(
            |set| {
                set["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = 2.into();
                set["status"]["updatedReplicas"] = 1.into();
            },
            true,
            "partitioned roll out complete: 1 new pods have been updated...",
        );
        let bare = |set: &mut Value| set["spec"]["updateStrategy"] = json!({"type": "RollingUpdate"});
        check(bare, true, "statefulset rolling update complete 3 pods at revision web-1...");
        check(
            |set| {
                bare(set);
                set["status"]["updateRevision"] = "web-2".into();
                set["status"]["updatedReplicas"] = 1.into();
            },
            false,
            "waiting for statefulset rolling update to complete 1 pods at revision web-2...",
        );
    }

    #[test]
    fn a_set_that_nobody_rolls_has_no_status_of_a_roll() {
        let mut set = set();
        set["spec"]["updateStrategy"]["type"] = "OnDelete".into();
        assert!(progress(&set).is_err());
    }

    #[test]
    fn what_a_roll_waits_for_is_what_the_conditions_say() {
        let mut set = set();
        set["metadata"]["namespace"] = "shop".into();
        assert_eq!(cause(&set), None);
        let condition = |kind: &str, status: &str, message: &str| json!({"type": kind, "status": status, "message": message});
        let progress = condition("Progressing", "True", "web-1 waits until web-0 is Ready");
        set["status"]["conditions"] = json!([progress, condition("Stalled", "False", "")]);
        assert!(!is_stalled(&set));
        insta::assert_snapshot!(cause(&set).expect("a cause"), @r#"
        web-1 waits until web-0 is Ready; see: stead why sts/web -n shop
        "#);
        set["status"]["conditions"] = json!([condition(
            "Progressing",
            "False",
            "it is paused: 1 of 3 pods are of \
            another revision"
        )]);
        insta::assert_snapshot!(cause(&set).expect("a cause"), @r#"
        statefulset/web is paused: 1 of 3 pods are of another revision; see: stead why sts/web -n shop
        "#);
        let stalled =
            condition("Stalled", "True", "web-2 is not Ready: Unschedulable: 1 Insufficient memory.");
        set["status"]["conditions"] = json!([progress, stalled]);
        assert!(is_stalled(&set));
        let mut mended = set.clone();
        mended["metadata"]["generation"] = 3.into();
        assert_eq!(cause(&mended), None, "the conditions are about what was mended");
        insta::assert_snapshot!(cause(&set).expect("a cause"), @r#"
        stalled: web-2 is not Ready: Unschedulable: 1 Insufficient memory; see: stead why sts/web -n shop
        "#);
    }

    fn revision(number: i64, owner: &str) -> Value {
        json!({"metadata": {"name": format!("web-{number}"), "ownerReferences": [{"controller": true, "uid": owner}]}, "revision": number})
    }

    #[test]
    fn history_holds_the_sets_own_revisions_in_order() {
        let own = history(&set(), vec![revision(3, "u"), revision(1, "u"), revision(2, "other")]);
        assert_eq!(overview(&own), "REVISION\tCHANGE-CAUSE\n1\t<none>\n3\t<none>\n");
        assert_eq!(find(&own, 0).map(number).ok(), Some(1));
        assert_eq!(find(&own, 3).map(number).ok(), Some(3));
        assert_eq!(
            find(&own, 7).expect_err("none").to_string(),
            "error: unable to find specified revision 7 in history: there are 1, 3"
        );
        assert!(find(&own[..1], 0).is_err());
        assert_eq!(overview(&[]), "No rollout history found.");
    }

    #[test]
    fn a_revision_brings_its_template_back() {
        let mut set = set();
        set["spec"]["template"] =
            json!({"spec": {"containers": [{"name": "c", "image": "new", "tty": true}]}});
        let old = json!({"spec": {"template": {"$patch": "replace", "spec": {"containers": [{"name": "c", "image": "old"}]}}}});
        let restored = restored(&set, &json!({"revision": 1, "data": old})).expect("a set");
        assert_eq!(
            restored["spec"]["template"]["spec"]["containers"],
            json!([{"name": "c", "image": "old"}])
        );
        assert_eq!(restored["spec"]["replicas"], 3);
    }
}
