//! The authorizer against a naive reading of the rules, and the default roles as upstream's are known to be.

use proptest::prelude::*;
use registry::rbac::{Attributes, Policy, Rule, Subject, defaults, reconcile::reconcile, uncovered};
use serde_json::{Value, json};

fn word(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(words).prop_map(str::to_owned)
}

fn words(words: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(word(words), 0..3)
}

const VERBS: &[&str] = &["get", "list", "*"];
const GROUPS: &[&str] = &["", "apps", "*"];
const RESOURCES: &[&str] = &["pods", "pods/log", "sets", "sets/scale", "*/scale", "*"];
const NAMES: &[&str] = &["a", "b"];
const URLS: &[&str] = &["/api", "/api/*", "/ver", "*"];

fn rule() -> impl Strategy<Value = Value> {
    (words(VERBS), words(GROUPS), words(RESOURCES), words(NAMES), words(URLS)).prop_map(
        |(verbs, groups, resources, names, urls)| {
            json!({"verbs": verbs, "apiGroups": groups, "resources": resources, "resourceNames": names,
                "nonResourceURLs": urls})
        },
    )
}

/// kind, namespace, name, content: an object of the group.
type Object = (&'static str, String, String, Value);

fn role() -> impl Strategy<Value = Object> {
    (any::<bool>(), word(&["n1", "n2"]), word(&["r1", "r2"]), prop::collection::vec(rule(), 0..3)).prop_map(
        |(cluster, namespace, name, rules)| {
            let (kind, namespace) =
                if cluster { ("clusterroles", String::new()) } else { ("roles", namespace) };
            (kind, namespace, name, json!({"rules": rules}))
        },
    )
}

fn binding() -> impl Strategy<Value = Object> {
    let subject =
        (word(&["User", "Group", "ServiceAccount"]), word(&["u1", "g1", "s1"]), word(&["", "n1", "n2"]));
    let subjects = prop::collection::vec(subject, 0..3);
    (
        any::<bool>(),
        any::<bool>(),
        word(&["n1", "n2"]),
        word(&["b1", "b2"]),
        word(&["r1", "r2", "r3"]),
        subjects,
    )
        .prop_map(|(cluster, of_cluster, namespace, name, role, subjects)| {
            let (kind, namespace) =
                if cluster { ("clusterrolebindings", String::new()) } else { ("rolebindings", namespace) };
            let role_kind = if cluster || of_cluster { "ClusterRole" } else { "Role" };
            let subjects: Vec<Value> = subjects
                .into_iter()
                .map(|(kind, name, namespace)| match kind.as_str() {
                    "ServiceAccount" => json!({"kind": kind, "name": name, "namespace": namespace}),
                    _ => json!({"kind": kind, "name": name}),
                })
                .collect();
            let content = json!({"roleRef": {"kind": role_kind, "name": role}, "subjects": subjects});
            (kind, namespace, name, content)
        })
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn names_it(list: &Value, word: &str) -> bool {
    strings(list).iter().any(|entry| *entry == "*" || *entry == word)
}

/// What the documentation says that a rule allows, read as it stands there.
fn naive_rule(rule: &Value, asked: &Attributes<'_>) -> bool {
    if !names_it(&rule["verbs"], asked.verb) {
        return false;
    }
    if let Some(path) = asked.path {
        return strings(&rule["nonResourceURLs"]).iter().any(|url| match url.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => *url == path,
        });
    }
    let full = match asked.subresource {
        "" => asked.resource.to_owned(),
        part => format!("{}/{part}", asked.resource),
    };
    let any_part = format!("*/{}", asked.subresource);
    let resource = strings(&rule["resources"])
        .iter()
        .any(|r| *r == "*" || *r == full || (!asked.subresource.is_empty() && *r == any_part));
    let names = strings(&rule["resourceNames"]);
    names_it(&rule["apiGroups"], asked.group) && resource && (names.is_empty() || names.contains(&asked.name))
}

fn naive(objects: &[Object], user: &str, groups: &[String], asked: &Attributes<'_>) -> bool {
    let find = |kind: &str, namespace: &str, name: &str| {
        objects.iter().rfind(|(k, ns, n, _)| *k == kind && ns == namespace && n == name)
    };
    objects.iter().any(|(kind, namespace, name, content)| {
        let latest = find(kind, namespace, name).is_some_and(|(.., last)| std::ptr::eq(last, content));
        let applies = match *kind {
            "clusterrolebindings" => true,
            "rolebindings" => namespace == asked.namespace,
            _ => false,
        };
        if !latest || !applies {
            return false;
        }
        let speaks_of = content["subjects"].as_array().expect("subjects").iter().any(|subject| {
            let named = subject["name"].as_str().expect("a name");
            match subject["kind"].as_str() {
                Some("User") => named == user,
                Some("Group") => groups.iter().any(|group| group == named),
                _ => {
                    let own = subject["namespace"].as_str().unwrap_or_default();
                    let within = if own.is_empty() { namespace.as_str() } else { own };
                    user == format!("system:serviceaccount:{within}:{named}")
                }
            }
        });
        let role = content["roleRef"]["name"].as_str().expect("a role");
        let role = match content["roleRef"]["kind"].as_str() {
            Some("ClusterRole") => find("clusterroles", "", role),
            _ => find("roles", namespace, role),
        };
        let allows =
            |rules: &Value| rules.as_array().expect("rules").iter().any(|rule| naive_rule(rule, asked));
        speaks_of && role.is_some_and(|(.., role)| allows(&role["rules"]))
    })
}

fn policy(objects: &[Object]) -> Policy {
    let mut policy = Policy::default();
    for (kind, namespace, name, content) in objects {
        policy.apply(kind, namespace, name, Some(content));
    }
    policy
}

proptest! {
    #[test]
    fn the_authorizer_agrees_with_a_naive_reading_of_the_rules(
        objects in prop::collection::vec(prop_oneof![role(), binding()], 0..12),
        user in word(&["u1", "system:serviceaccount:n1:s1", "nobody"]), in_group in any::<bool>(),
        verb in word(&["get", "list", "delete"]), group in word(&["", "apps"]),
        resource in word(&["pods", "sets"]), subresource in word(&["", "log", "scale"]),
        namespace in word(&["", "n1", "n2"]), name in word(&["", "a", "b"]),
        path in prop::option::of(word(&["/api", "/api/v1", "/version"])), gone in any::<prop::sample::Index>(),
    ) {
        let groups: Vec<String> = Some("g1".to_owned()).filter(|_| in_group).into_iter().collect();
        let asked = Attributes {
            verb: &verb, group: &group, resource: &resource, subresource: &subresource, namespace: &namespace,
            name: &name, path: path.as_deref(), fields: &[],
        };
        let who = Subject { name: &user, groups: &groups };
        let mut known = policy(&objects);
        prop_assert_eq!(known.decide(who, &asked).allowed, naive(&objects, &user, &groups, &asked));
        // All rules that somebody has say the same, and an object that goes takes its rules along.
        let held = known.rules_for(who, &namespace);
        prop_assert_eq!(held.rules.iter().any(|rule| rule.allows(&asked)), known.decide(who, &asked).allowed);
        if !objects.is_empty() {
            let (kind, within, called, _) = gone.get(&objects).clone();
            let left: Vec<Object> =
                objects.iter().filter(|(k, ns, n, _)| (*k, ns, n) != (kind, &within, &called)).cloned().collect();
            known.apply(kind, &within, &called, None);
            prop_assert_eq!(known.decide(who, &asked).allowed, naive(&left, &user, &groups, &asked));
        }
    }

    #[test]
    fn what_is_covered_is_allowed_by_who_covers_it(
        held in prop::collection::vec(rule(), 0..3), wanted in prop::collection::vec(rule(), 0..3),
        verb in word(&["get", "list"]), group in word(&["", "apps"]), resource in word(&["pods", "sets"]),
        subresource in word(&["", "log", "scale"]), name in word(&["", "a", "b"]),
    ) {
        let read = |rules: &[Value]| rules.iter().map(Rule::from_value).collect::<Vec<_>>();
        let (held, wanted) = (read(&held), read(&wanted));
        let asked = Attributes {
            verb: &verb, group: &group, resource: &resource, subresource: &subresource, name: &name,
            ..Attributes::default()
        };
        let allows = |rules: &[Rule]| rules.iter().any(|rule| rule.allows(&asked));
        if uncovered(&held, &wanted).is_empty() {
            prop_assert!(allows(&held) || !allows(&wanted));
        }
        let mut both = held.clone();
        both.extend(uncovered(&held, &wanted));
        prop_assert!(uncovered(&both, &wanted).is_empty());
    }
}

#[test]
fn the_default_roles_let_in_whom_upstreams_let_in() {
    let mut known = Policy::default();
    for object in defaults::objects() {
        let plural = format!("{}s", object["kind"].as_str().expect("a kind").to_lowercase());
        let within = object["metadata"]["namespace"].as_str().unwrap_or_default();
        known.apply(&plural, within, object["metadata"]["name"].as_str().expect("a name"), Some(&object));
    }
    let may = |user: &str, groups: &[&str], verb: &str, group: &str, resource: &str| {
        let groups: Vec<String> = groups.iter().map(|g| (*g).to_owned()).collect();
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let asked =
            Attributes { verb, group, resource, subresource, namespace: "n", ..Attributes::default() };
        known.decide(Subject { name: user, groups: &groups }, &asked).allowed
    };
    assert!(may("system:kube-scheduler", &[], "create", "", "pods/binding"));
    assert!(!may("system:kube-scheduler", &[], "create", "", "pods"));
    assert!(may("system:kube-controller-manager", &[], "watch", "any.group", "things"));
    assert!(!may("system:kube-controller-manager", &[], "delete", "", "pods"));
    // What nodes may do, the Node authorizer says.
    assert!(!may("system:node:n1", &["system:nodes"], "patch", "", "pods/status"));
    assert!(!may("system:node:n1", &["system:nodes"], "update", "", "secrets"));
    let controller = "system:serviceaccount:kube-system:statefulset-controller";
    assert!(may(controller, &[], "create", "", "pods"));
    assert!(!may(controller, &[], "create", "", "secrets"));
    assert!(may(
        "ada",
        &["system:authenticated"],
        "create",
        "authorization.k8s.io",
        "selfsubjectaccessreviews"
    ));
    assert!(!may("ada", &["system:authenticated"], "get", "", "pods"));
    assert!(may("ada", &["system:masters"], "anything", "", "anywhere"));
}

#[test]
fn a_default_role_gets_what_it_lacks_and_keeps_what_it_has() {
    let expected =
        defaults::objects().into_iter().find(|o| o["metadata"]["name"] == "system:kube-dns").expect("a role");
    assert_eq!(reconcile(&expected, &expected), None);
    let mut old = expected.clone();
    let own = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]});
    old["rules"] =
        json!([own, {"verbs": ["watch"], "apiGroups": [""], "resources": ["services", "endpoints"]}]);
    old["metadata"]["labels"] = json!({"mine": "yes"});
    let new = reconcile(&expected, &old).expect("a change");
    assert!(uncovered(&Rule::all_of(&new), &Rule::all_of(&expected)).is_empty());
    assert_eq!(new["rules"][0], own);
    assert_eq!(new["metadata"]["labels"]["mine"], "yes");
    assert_eq!(new["metadata"]["labels"]["kubernetes.io/bootstrapping"], "rbac-defaults");
    assert_eq!(reconcile(&expected, &new), None);
}

#[test]
fn every_controller_of_upstream_has_its_role_and_nothing_that_stead_adds_is_called_like_one() {
    let objects = defaults::objects();
    let names = |kind: &str| -> Vec<&str> {
        let of_kind = objects.iter().filter(|object| object["kind"] == kind);
        of_kind.filter_map(|object| object["metadata"]["name"].as_str()).collect()
    };
    for controller in
        ["statefulset-controller", "cronjob-controller", "certificate-controller", "service-controller"]
    {
        let role = format!("system:controller:{controller}");
        assert!(names("ClusterRole").contains(&role.as_str()), "{role}");
        assert!(names("ClusterRoleBinding").contains(&role.as_str()), "{role}");
    }
    let upstream: Vec<&str> =
        names("ClusterRole").into_iter().filter(|name| name.contains(":controller:")).collect();
    assert_eq!(upstream.len(), 38, "{upstream:?}");
    let own: Vec<&str> = names("ClusterRole").into_iter().filter(|name| name.starts_with("stead:")).collect();
    assert_eq!(own.len(), 6, "{own:?}");
    let reader = objects.iter().find(|object| {
        object["kind"] == "RoleBinding"
            && object["roleRef"]["name"] == "extension-apiserver-authentication-reader"
    });
    let reader = reader.expect("bound");
    assert_eq!(reader["metadata"]["name"], "system::extension-apiserver-authentication-reader");
    assert_eq!(reader["metadata"]["namespace"], "kube-system");
    assert_eq!(reader["subjects"].as_array().map(Vec::len), Some(2));
    assert_eq!(names("Role").len(), 7);
    // Nobody is in it: nodes are asked about by themselves.
    let nodes =
        objects.iter().find(|o| o["kind"] == "ClusterRoleBinding" && o["metadata"]["name"] == "system:node");
    assert!(nodes.expect("as upstream").get("subjects").is_none());
}
