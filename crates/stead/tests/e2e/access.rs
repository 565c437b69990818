//! Who may do what, with real clients and real pods: roles, being taken for others, tokens from the command line and
//! tokens in pods.

use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, ListParams};
use kube::config::Kubeconfig;
use serde_json::json;

use crate::harness::{Home, is_ready};

/// A service account `robot` that may read pods in the home, and nothing else.
fn with_robot(home: &Home) {
    home.create::<ServiceAccount>(json!({"metadata": {"name": "robot"}}));
    home.run("create role reader --verb=get,list --resource=pods");
    home.run(&format!("create rolebinding robot --role=reader --serviceaccount={}:robot", home.namespace()));
}

/// The home as whoever has this token sees it.
fn with_token(home: &Home, token: &str) -> kube::Client {
    let mut kubeconfig = Kubeconfig::read_from(home.kubeconfig()).expect("stead's kubeconfig");
    let info = kubeconfig.auth_infos[0].auth_info.as_mut().expect("a user");
    (info.client_certificate_data, info.client_key_data) = (None, None);
    info.token = Some(token.to_owned().into());
    home.client(kubeconfig)
}

/// That the client may list pods, and is refused secrets in upstream's words.
fn check_robot(home: &Home, client: &kube::Client) {
    let namespace = home.namespace();
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    home.ask(pods.list(&ListParams::default()));
    let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(client.clone(), namespace);
    let error = home.try_ask(secrets.list(&ListParams::default())).expect_err("refused");
    let kube::Error::Api(status) = error else { panic!("{error}") };
    assert_eq!(
        status.message,
        format!(
            "secrets is forbidden: User \"system:serviceaccount:{namespace}:robot\" cannot list resource \"secrets\" in \
             API group \"\" in the namespace \"{namespace}\""
        )
    );
}

#[test]
fn roles_hold_for_whoever_is_taken_for_their_subject() {
    let home = Home::new("access-roles");
    with_robot(&home);
    let robot = format!("--as=system:serviceaccount:{}:robot", home.namespace());
    assert_eq!(home.run("auth can-i delete pods"), "yes\n");
    assert_eq!(home.run(&format!("auth can-i list pods {robot}")), "yes\n");
    assert_eq!(home.stead(&format!("auth can-i get pods/x {robot}")), "yes\n");
    home.fails(&format!("auth can-i delete pods {robot}"));
    let refused = home.fails(&format!("delete pod x {robot}"));
    assert!(refused.contains("cannot delete resource \"pods\" in API group \"\""), "{refused}");
    for listed in
        [home.run(&format!("auth can-i --list {robot}")), home.stead(&format!("auth can-i --list {robot}"))]
    {
        let row = listed.lines().find(|line| line.starts_with("pods ")).unwrap_or_else(|| panic!("{listed}"));
        assert!(row.ends_with("[get list]"), "{row}");
    }
    for said in [home.run(&format!("auth whoami {robot}")), home.stead(&format!("auth whoami {robot}"))] {
        assert!(said.contains(&format!("system:serviceaccount:{}:robot", home.namespace())), "{said}");
    }
    // What aggregates: the roles that everybody knows are filled in.
    home.run("create rolebinding viewer --clusterrole=view --user=jane");
    assert_eq!(home.run("auth can-i list configmaps --as=jane"), "yes\n");
    home.fails("auth can-i list secrets --as=jane");
    home.delete::<RoleBinding>("robot");
    home.fails(&format!("auth can-i list pods {robot}"));
    home.delete::<Role>("reader");
}

#[test]
fn a_token_from_the_command_line_is_what_its_account_is() {
    let home = Home::new("access-tokens");
    with_robot(&home);
    for token in [home.run("create token robot"), home.stead("create token robot --duration 15m")] {
        check_robot(&home, &with_token(&home, token.trim()));
    }
}

#[test]
fn a_pod_reaches_the_api_and_is_its_account_there() {
    let home = Home::new("access-pods");
    with_robot(&home);
    home.create::<Pod>(json!({"metadata": {"name": "p"}, "spec": {
        "serviceAccountName": "robot", "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "c", "image": "busybox", "imagePullPolicy": "Never", "command": ["sleep", "600"]}],
    }}));
    home.until_one("p", "the pod is Ready", is_ready);
    // The root of trust, the names and the port are where any client library looks for them.
    let file =
        |name: &str| home.run(&format!("exec p -- cat /var/run/secrets/kubernetes.io/serviceaccount/{name}"));
    assert_eq!(file("namespace").trim(), home.namespace());
    assert!(file("ca.crt").starts_with("-----BEGIN CERTIFICATE-----"));
    let token = file("token");
    check_robot(&home, &with_token(&home, token.trim()));
    for host in ["$KUBERNETES_SERVICE_HOST", "kubernetes.default.svc"] {
        let connect = format!("nc -w 5 {host} $KUBERNETES_SERVICE_PORT < /dev/null && echo open");
        assert_eq!(home.run(&format!("exec p -- sh -c '{connect}'")).trim(), "open", "{host}");
    }
    // The token ends with its pod.
    let client = with_token(&home, token.trim());
    home.delete::<Pod>("p");
    home.until("the pod is gone", |all: &crate::harness::Objects<Pod>| all.is_empty());
    let pods: Api<Pod> = Api::namespaced(client, home.namespace());
    let error = home.try_ask(pods.list(&ListParams::default())).expect_err("refused");
    assert!(matches!(&error, kube::Error::Api(status) if status.code == 401), "{error}");
}
