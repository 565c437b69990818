//! Clients that others wrote, against stead: what they print when all is well. `cargo xtask test` fetches them and
//! names their folder in `STEAD_CLIENTS`.

mod kubectl;

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::harness::Home;

/// The folder of the clients.
fn clients() -> PathBuf {
    let folder = std::env::var_os("STEAD_CLIENTS");
    folder.expect("STEAD_CLIENTS names the clients' folder: run the tests with `cargo xtask test`").into()
}

/// What a program prints that runs a script against a namespace.
fn script(home: &Home, program: PathBuf, words: &[&str], script: &str) -> String {
    let mut command = Command::new(program);
    command.args(words).arg("-").arg(home.namespace()).current_dir(clients().join("node"));
    let output = home.feed(command, script);
    said(&output)
}

fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn the_python_client_makes_watches_patches_runs_and_deletes() {
    let home = Home::new("client-python");
    let text = script(&home, clients().join("python/bin/python"), &[], include_str!("python.py"));
    insta::assert_snapshot!(text, @r#"
    release v1.36.0
    made db with 2 replicas, by py
    again: 409 AlreadyExists
    absent: 404 NotFound
    wrong: 422 Invalid
    pods ['db-0', 'db-1'] True
    pages db-0 db-1 1
    patched python
    dry run 5 3
    exec db-0
    exec got a line
    exit 3
    forwarded db-1 None
    log True
    conflict
    forced blue
    maps ['d']
    left []
    "#);
}

#[test]
fn the_javascript_client_makes_watches_patches_runs_and_deletes() {
    let home = Home::new("client-javascript");
    let text = script(&home, "node".into(), &["--input-type=module"], include_str!("javascript.mjs"));
    insta::assert_snapshot!(text, @r#"
    made db with 2 replicas
    again: 409 AlreadyExists
    absent: 404 NotFound
    pods db-0 db-1
    patched javascript
    conflict: 409 Conflict
    forced blue
    exec db-0 Success 0
    exec got a line Failure 3
    forwarded db-0
    left 0
    "#);
}

#[test]
fn helm_installs_tests_upgrades_rolls_back_and_uninstalls() {
    if !clients().join("bin/helm").exists() {
        return;
    }
    let home = Home::new("client-helm");
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/clients/chart");
    let state = tempfile::tempdir().expect("a folder");
    let helm = |line: &str| {
        let mut command = Command::new(clients().join("bin/helm"));
        command.args(line.split(' ')).args(["--namespace", home.namespace()]).env("HOME", state.path());
        said(&home.feed(command, ""))
    };
    let colour = || home.run("get configmap db -o jsonpath={.data.colour}");
    helm(&format!("install db {chart} --wait --timeout 60s"));
    let tested = helm("test db --logs --timeout 60s");
    assert!(tested.contains("Phase:          Succeeded") && tested.contains("red"), "{tested}");
    helm(&format!("upgrade db {chart} --set replicas=2,colour=blue --wait --timeout 60s"));
    assert_eq!(
        (colour().as_str(), home.run("get sts db -o jsonpath={.status.readyReplicas}").as_str()),
        ("blue", "2")
    );
    helm("rollback db 1 --wait --timeout 60s");
    assert_eq!(colour(), "red");
    let history = helm("history db -o json");
    assert_eq!(history.matches("\"revision\"").count(), 3, "{history}");
    helm("uninstall db --wait --timeout 60s");
    assert_eq!(home.run("get sts,svc,configmap -o name"), "configmap/kube-root-ca.crt\n");
}
