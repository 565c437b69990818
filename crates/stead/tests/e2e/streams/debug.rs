//! Ephemeral containers.

use kube::api::{Api, Patch, PatchParams};

use super::*;

#[test]
fn an_ephemeral_container_joins_a_running_pod() {
    let home = Home::new("streams-debug");
    start(&home, pod("p", &format!("echo marked > /tmp/mark; {REST}"), json!({})));
    let pods: Api<Pod> = home.all();
    let add = |name: &str, more: Value| {
        let mut container = json!({"name": name, "image": "busybox", "imagePullPolicy": "Never"});
        container.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let patch = json!({"spec": {"ephemeralContainers": [container]}});
        let params = PatchParams::default();
        home.try_ask(pods.patch_subresource("ephemeralcontainers", "p", &params, &Patch::Strategic(patch)))
    };
    add(
        "look",
        json!({"targetContainerName": "main", "stdin": true, "command": ["sh", "-c",
        "cat /proc/1/root/tmp/mark; read line; echo heard $line"]}),
    )
    .expect("an ephemeral container");
    let state = |pod: &Pod| {
        let all = pod.status.as_ref().and_then(|status| status.ephemeral_container_statuses.clone());
        all.and_then(|all| all.first()?.state.clone()).unwrap_or_default()
    };
    home.until_one("p", "it runs", |pod: &Pod| state(pod).running.is_some());
    let way = Way { client: Client::Stead, spdy: false };
    let ran = way.feed(&home, "exec p -c look -- echo inside", b"");
    assert_eq!(text(&ran.stdout), "inside\n", "{}", text(&ran.stderr));
    let ran = way.feed(&home, "attach -i p -c look", b"me\n");
    assert_eq!(text(&ran.stdout), "heard me\n", "{}", text(&ran.stderr));
    let ended =
        home.until_one("p", "it has ended, and stays so", |pod: &Pod| state(pod).terminated.is_some());
    assert_eq!(state(&ended).terminated.expect("ended").exit_code, 0);
    assert!(is_ready(&ended), "nobody waits for it");
    assert_eq!(
        home.stead("logs p -c look"),
        "marked\nheard me\n",
        "it saw the other's files through its process"
    );
    let refused =
        add("late", json!({"ports": [{"containerPort": 80}]})).expect_err("it does not serve").to_string();
    assert!(refused.contains("].ports: Forbidden: cannot be set for an Ephemeral Container"), "{refused}");
    let refused = home.fails("patch pod p --type=merge -p '{\"spec\":{\"ephemeralContainers\":[]}}'");
    assert!(refused.contains("pod updates may not change fields"), "{refused}");
}

#[test]
fn kubectl_debug_brings_a_shell_along() {
    if !Client::all().contains(&Client::Kubectl) {
        return;
    }
    let home = Home::new("streams-kubectl-debug");
    start(&home, pod("p", REST, json!({})));
    for (index, way) in Way::all().into_iter().filter(|way| way.client == Client::Kubectl).enumerate() {
        let line =
            format!("debug p -i -c look{index} --image=busybox --image-pull-policy=Never --target=main");
        let ran = way.feed(&home, &format!("{line} -- sh -c 'read line; echo heard $line'"), b"me\n");
        assert!(ran.status.success(), "{way:?}: {}", text(&ran.stderr));
        assert!(
            text(&ran.stdout).contains("heard me\n"),
            "{way:?}: {}{}",
            text(&ran.stdout),
            text(&ran.stderr)
        );
    }
}
