use super::harness::Stead;

const SET: &str = "\
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: web
  labels: {app: web}
spec:
  serviceName: web
  replicas: 3
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: web
        image: busybox:1
";

const POD: &str = "\
apiVersion: v1
kind: Pod
metadata:
  name: db-0
  labels: {app: db}
spec:
  nodeName: n1
  containers:
  - {name: main, image: busybox}
  - {name: side, image: busybox}
";

/// The first words of each line: ages are never the same.
fn without_ages(table: &str) -> String {
    let cut = |line: &str| line.rsplit_once("   ").map_or(line, |(rest, _)| rest).trim_end().to_owned();
    table.lines().map(cut).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_set_is_applied_scaled_and_deleted() {
    let stead = Stead::start().await;
    let file = stead.manifest("web.yaml", SET);
    let apply = format!("apply -f {}", file.display());
    assert_eq!(stead.ok(&apply).await, "statefulset.apps/web created\n");
    assert_eq!(stead.ok(&apply).await, "statefulset.apps/web unchanged\n");
    stead.manifest("web.yaml", &SET.replace("replicas: 3", "replicas: 5"));
    assert_eq!(
        stead.ok(&format!("{apply} --dry-run=server")).await,
        "statefulset.apps/web configured (server dry run)\n"
    );
    assert_eq!(stead.ok(&apply).await, "statefulset.apps/web configured\n");
    assert_eq!(stead.ok("get sts web -o jsonpath={.spec.replicas}").await, "5");

    assert_eq!(stead.ok("scale sts/web --replicas=2").await, "statefulset.apps/web scaled\n");
    assert_eq!(
        stead.fails("scale sts web --replicas=1 --current-replicas=3").await,
        "error: Expected replicas to be 3, was 2\n"
    );
    assert_eq!(stead.ok("set image sts/web web=busybox:2").await, "statefulset.apps/web image updated\n");
    assert_eq!(stead.ok("get sts -o jsonpath={..image}").await, "busybox:2");
    assert_eq!(stead.ok("rollout restart sts web").await, "statefulset.apps/web restarted\n");
    assert_eq!(stead.ok("delete sts/web").await, "statefulset.apps \"web\" deleted\n");
    assert_eq!(
        stead.fails("get sts web").await,
        "Error from server (NotFound): statefulsets.apps \"web\" not found\n"
    );
}

#[tokio::test]
async fn what_another_owns_is_applied_on_the_server_only_by_force() {
    let stead = Stead::start().await;
    let file = stead.manifest("web.yaml", SET);
    let apply = format!("apply --server-side -f {}", file.display());
    assert_eq!(stead.ok(&apply).await, "statefulset.apps/web serverside-applied\n");
    assert_eq!(stead.ok("scale sts/web --replicas=5").await, "statefulset.apps/web scaled\n");
    let said = stead.fails(&apply).await;
    assert!(said.contains("Apply failed with 1 conflict: conflict with"), "{said}");
    assert!(said.contains(": .spec.replicas"), "{said}");
    let dry = format!("{apply} --force-conflicts --dry-run=server");
    assert_eq!(stead.ok(&dry).await, "statefulset.apps/web serverside-applied (server dry run)\n");
    assert_eq!(stead.ok("get sts web -o jsonpath={.spec.replicas}").await, "5");
    assert_eq!(
        stead.ok(&format!("{apply} --force-conflicts")).await,
        "statefulset.apps/web serverside-applied\n"
    );
    assert_eq!(stead.ok("get sts web -o jsonpath={.spec.replicas}").await, "3");
    assert!(
        stead.fails(&format!("{apply} --dry-run=client")).await.contains("did you mean --dry-run=server")
    );
}

#[tokio::test]
async fn a_manifest_with_a_typo_is_refused_by_file_and_field() {
    let stead = Stead::start().await;
    let file = stead.manifest("web.yaml", &SET.replace("replicas: 3", "replcas: 3"));
    let said = stead.fails(&format!("apply -f {}", file.display())).await;
    assert!(said.starts_with("Error from server (BadRequest): error when creating \""), "{said}");
    assert!(said.contains("unknown field \"spec.replcas\""), "{said}");
    stead.manifest("web.yaml", &SET.replace("kind: StatefulSet", "kind: StatefulSett"));
    let said = stead.fails(&format!("apply -f {}", file.display())).await;
    assert!(said.contains("no matches for kind \"StatefulSett\" in version \"apps/v1\""), "{said}");
}

#[tokio::test]
async fn one_refused_object_does_not_hold_up_the_others() {
    let stead = Stead::start().await;
    let both = format!("{}---\n{SET}", SET.replace("name: web\n  labels", "name: Not_A_Name\n  labels"));
    let file = stead.manifest("both.yaml", &both);
    let ran = stead.run(&["apply", "-f", &file.display().to_string()]).await;
    assert_eq!((ran.out.as_str(), ran.code), ("statefulset.apps/web created\n", 1), "{ran:?}");
    assert!(
        ran.err.starts_with("The StatefulSet \"Not_A_Name\" is invalid: metadata.name: Invalid value"),
        "{ran:?}"
    );
}

#[tokio::test]
async fn a_broken_file_and_an_unknown_kind_do_not_hold_up_the_others_either() {
    let stead = Stead::start().await;
    std::fs::create_dir(stead.dir().join("all")).expect("made");
    stead.manifest("all/1-tabs.yaml", "kind: ConfigMap\n\tapiVersion: v1\n");
    stead.manifest("all/2-tree.yaml", "apiVersion: example.com/v1\nkind: Tree\nmetadata: {name: oak}\n");
    stead.manifest("all/3-set.yaml", SET);
    for (verb, done) in [("apply", "created"), ("apply", "unchanged"), ("create", "")] {
        let ran = stead.run(&[verb, "-f", &stead.dir().join("all").display().to_string()]).await;
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.out.contains(&format!("statefulset.apps/web {done}")) || done.is_empty(), "{ran:?}");
        let lines: Vec<&str> = ran.err.lines().collect();
        assert!(lines[0].contains("all/1-tabs.yaml: line 2: "), "{ran:?}");
        assert!(lines[1].contains("no matches for kind \"Tree\" in version \"example.com/v1\""), "{ran:?}");
    }
}

#[tokio::test]
async fn files_without_their_flag_are_told_apart_from_nonsense() {
    let stead = Stead::start().await;
    let said = stead.fails("apply web.yaml").await;
    assert_eq!(
        said,
        "error: unexpected args [\"web.yaml\"]: files are named by -f, as in apply -f web.yaml\n"
    );
}

#[tokio::test]
async fn tables_show_what_the_server_tells() {
    let stead = Stead::start().await;
    let ran = stead.run(&["get", "pods"]).await;
    assert_eq!((ran.err.as_str(), ran.code), ("No resources found in default namespace.\n", 0));
    stead.manifest("a.yaml", SET);
    stead.manifest("b.yaml", POD);
    stead.ok(&format!("create -f {}", stead.dir().display())).await;
    insta::assert_snapshot!(without_ages(&stead.ok("get pods,sts").await), @r"
NAME       READY   STATUS    RESTARTS
pod/db-0   0/2     Pending   0

NAME                   READY
statefulset.apps/web   0/3
");
    assert_eq!(
        without_ages(&stead.ok("get pods -A --no-headers").await),
        "default   db-0   0/2   Pending   0"
    );
    assert_eq!(stead.ok("get pods --show-labels --no-headers -o name").await, "pod/db-0\n");
    assert_eq!(stead.ok("get sts/web pod/db-0 -o name").await, "statefulset.apps/web\npod/db-0\n");
    assert_eq!(
        stead.ok("get pods -o custom-columns=NAME:.metadata.name,NODE:.spec.nodeName").await,
        "NAME   NODE\ndb-0   n1\n"
    );
    let none = stead.run(&["get", "pods", "-l", "app=none", "-o", "jsonpath={.items}"]).await;
    assert_eq!(none.out, "[]");
    assert!(
        stead
            .ok("get sts web -o yaml")
            .await
            .contains("kind: StatefulSet\nmetadata:\n  creationTimestamp: \"")
    );
    assert_eq!(
        stead.fails("get nothings").await,
        "error: the server doesn't have a resource type \"nothings\"; api-resources lists those it has\n"
    );
    assert_eq!(stead.ok("get --raw /readyz").await, "ok");
}

#[tokio::test]
async fn labels_and_annotations_change() {
    let stead = Stead::start().await;
    stead.ok("create configmap c --from-literal=a=1").await;
    assert_eq!(stead.ok("label cm c tier=front").await, "configmap/c labeled\n");
    assert_eq!(
        stead.fails("label cm c tier=back").await,
        "error: 'tier' already has a value (front), and --overwrite is false\n"
    );
    assert_eq!(stead.ok("label cm c tier=back --overwrite").await, "configmap/c labeled\n");
    assert_eq!(stead.ok("label cm/c --list").await, "tier=back\n");
    assert_eq!(stead.ok("get cm -l tier=back -o name").await, "configmap/c\n");
    assert_eq!(stead.ok("label cm c tier-").await, "configmap/c unlabeled\n");
    assert_eq!(stead.ok("annotate cm c note=x").await, "configmap/c annotated\n");
    assert_eq!(stead.ok("get cm c -o jsonpath={.metadata.annotations.note}").await, "x");
}

#[tokio::test]
async fn patches_of_all_forms_are_sent() {
    let stead = Stead::start().await;
    stead.ok("create cm c --from-literal=a=1").await;
    assert_eq!(stead.ok("patch cm c -p {\"data\":{\"b\":\"2\"}}").await, "configmap/c patched\n");
    assert_eq!(stead.ok("patch cm c -p {\"data\":{\"b\":\"2\"}}").await, "configmap/c patched (no change)\n");
    assert_eq!(stead.ok("patch cm c --type=merge -p {\"data\":{\"a\":null}}").await, "configmap/c patched\n");
    let json = "[{\"op\":\"add\",\"path\":\"/data/c\",\"value\":\"3\"}]";
    assert_eq!(stead.ok(&format!("patch cm c --type=json -p {json}")).await, "configmap/c patched\n");
    assert_eq!(stead.ok("get cm c -o jsonpath={.data}").await, r#"{"b":"2","c":"3"}"#);
}

#[tokio::test]
async fn small_objects_are_created_from_flags() {
    let stead = Stead::start().await;
    assert_eq!(stead.ok("create ns shop").await, "namespace/shop created\n");
    assert_eq!(
        stead.ok("create secret generic s --from-literal=password=x -n shop").await,
        "secret/s created\n"
    );
    assert_eq!(stead.ok("get secret s -n shop -o jsonpath={.data.password}").await, "eA==");
    assert_eq!(stead.ok("create sa robot").await, "serviceaccount/robot created\n");
    assert_eq!(
        stead.fails("create ns shop").await,
        "Error from server (AlreadyExists): namespaces \"shop\" already exists\n"
    );
    assert_eq!(
        stead.ok("create cm c --from-literal=a=yes --dry-run=client -o yaml").await,
        "apiVersion: v1\ndata:\n  a: \"yes\"\nkind: ConfigMap\nmetadata:\n  name: c\n"
    );
}

#[tokio::test]
async fn waits_end_when_the_object_is_as_it_should_be() {
    let stead = Stead::start().await;
    let wait = stead.ok("wait --for=jsonpath={.data.a}=2 cm/c --timeout=60s");
    stead.ok("create cm c --from-literal=a=1").await;
    let change = async {
        stead.ok("patch cm c -p {\"data\":{\"a\":\"2\"}}").await;
    };
    let (said, ()) = tokio::join!(wait, change);
    assert_eq!(said, "configmap/c condition met\n");

    let (said, _) = tokio::join!(stead.ok("wait --for=delete cm/c --timeout=60s"), stead.ok("delete cm c"));
    assert!(said.is_empty() || said == "configmap/c condition met\n", "{said}");
    let (said, _) = tokio::join!(
        stead.ok("wait --for=create cm/later --timeout=60s"),
        stead.ok("create cm later --from-literal=a=1")
    );
    assert_eq!(said, "configmap/later condition met\n");
    assert_eq!(
        stead.fails("wait --for=condition=Ready cm/later --timeout=0").await,
        "error: timed out waiting for the condition on configmaps/later\n"
    );
    assert_eq!(
        stead.fails("wait --for=condition=Ready pods --all").await,
        "error: no matching resources found\n"
    );
}

#[tokio::test]
async fn deletes_need_to_know_what() {
    let stead = Stead::start().await;
    stead.ok("create cm a --from-literal=a=1").await;
    stead.ok("create cm b --from-literal=a=1").await;
    stead.ok("label cm b kill=me").await;
    let said = stead.fails("delete cm").await;
    assert!(said.contains("no name was specified"), "{said}");
    assert_eq!(stead.ok("delete cm -l kill=me").await, "configmap \"b\" deleted\n");
    assert_eq!(stead.ok("delete cm a --dry-run=client").await, "configmap \"a\" deleted (dry run)\n");
    assert_eq!(stead.ok("delete cm a nothere --ignore-not-found").await, "configmap \"a\" deleted\n");
    assert_eq!(
        stead.fails("delete cm a").await,
        "Error from server (NotFound): configmaps \"a\" not found\n"
    );
}

#[tokio::test]
async fn logs_and_exec_reach_the_container() {
    let stead = Stead::start().await;
    let file = stead.manifest("pod.yaml", POD);
    stead.ok(&format!("create -f {}", file.display())).await;
    let ran = stead.run(&["logs", "db-0", "--tail=3"]).await;
    assert_eq!((ran.out.as_str(), ran.code), ("main of db-0 tail Some(3)\n", 0));
    assert_eq!(ran.err, "Defaulted container \"main\" out of: main, side\n");
    assert_eq!(
        stead.ok("logs -l app=db --all-containers --prefix").await,
        "[pod/db-0/main] main of db-0 tail Some(10)\n[pod/db-0/side] side of db-0 tail Some(10)\n"
    );
    let ran = stead.run(&["exec", "db-0", "-c", "side", "--", "echo", "a b"]).await;
    assert_eq!((ran.out.as_str(), ran.err.as_str(), ran.code), ("echo a b\n", "to stderr\n", 0));
    let ran = stead.run(&["exec", "db-0", "-c", "side", "--", "exit", "7"]).await;
    assert_eq!((ran.err.as_str(), ran.code), ("to stderr\ncommand terminated with exit code 7\n", 7));
    let said = stead.fails("exec db-0 sh").await;
    assert!(said.contains("Use exec [POD] -- [COMMAND] instead"), "{said}");
    let said = stead.fails("exec db-0 -c other -- true").await;
    assert_eq!(said, "error: container other not found in pod db-0; it has: main, side\n");
}

#[tokio::test]
async fn descriptions_and_events_are_told() {
    let stead = Stead::start().await;
    let file = stead.manifest("pod.yaml", POD);
    stead.ok(&format!("create -f {}", file.display())).await;
    let uid = stead.ok("get pod db-0 -o jsonpath={.metadata.uid}").await;
    let event = format!(
        "apiVersion: v1\nkind: Event\nmetadata: {{name: e}}\ntype: Warning\nreason: Failed\nmessage: no image\n\
         involvedObject: {{kind: Pod, name: db-0, namespace: default, uid: {uid}}}\n"
    );
    let file = stead.manifest("event.yaml", &event);
    stead.ok(&format!("create -f {}", file.display())).await;
    let told = stead.ok("describe pod db").await;
    assert!(told.starts_with("Name:             db-0\n"), "{told}");
    assert!(told.contains("Warning  Failed  <unknown>        no image\n"), "{told}");
    let events = stead.ok("events --for pod/db-0").await;
    assert!(events.contains("Warning   Failed   Pod/db-0   no image\n"), "{events}");
    assert_eq!(stead.ok("events --for pod/other").await, "");
}

#[tokio::test]
async fn a_rolls_history_can_be_read_and_gone_back_to() {
    let stead = Stead::start().await;
    let file = stead.manifest("web.yaml", SET);
    stead.ok(&format!("apply -f {}", file.display())).await;
    let uid = stead.ok("get sts web -o jsonpath={.metadata.uid}").await;
    for (number, image) in [(1, "busybox:0"), (2, "busybox:1")] {
        let revision = format!(
            "apiVersion: apps/v1\nkind: ControllerRevision\nmetadata:\n  name: web-{number}\n  ownerReferences:\n  \
             - {{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: {uid}, controller: true}}\nrevision: {number}\n\
             data: {{spec: {{template: {{$patch: replace, metadata: {{labels: {{app: web}}}}, spec: {{containers: [{{name: web, image: '{image}'}}]}}}}}}}}\n"
        );
        let file = stead.manifest("revision.yaml", &revision);
        stead.ok(&format!("create -f {}", file.display())).await;
    }
    assert_eq!(
        stead.ok("rollout history sts/web").await,
        "statefulset.apps/web \nREVISION  CHANGE-CAUSE\n1         <none>\n2         <none>\n\n"
    );
    assert!(
        stead.ok("rollout history sts/web --revision=1").await.contains("    Image:         busybox:0\n")
    );
    assert_eq!(stead.ok("rollout undo sts/web").await, "statefulset.apps/web rolled back\n");
    assert_eq!(stead.ok("get sts web -o jsonpath={..image}").await, "busybox:0");
    assert_eq!(
        stead.ok("rollout status sts/web --watch=false").await,
        "Waiting for statefulset spec update to be observed...\n"
    );
    let refused = stead.fails("rollout undo sts/web --to-revision=9").await;
    assert_eq!(refused, "error: unable to find specified revision 9 in history: there are 1, 2\n");
}

#[tokio::test]
async fn nobody_at_the_address_says_how_to_start_stead() {
    let stead = Stead::start().await;
    let dir = stead.dir().display().to_string();
    // Nothing has listened at tcpmux's port for decades.
    let free = "127.0.0.1:1";
    let kubeconfig = std::fs::read_to_string(stead.dir().join("kubeconfig")).expect("read");
    let server = kubeconfig.lines().find(|line| line.contains("server:")).expect("a server").to_owned();
    let moved = kubeconfig.replace(&server, &format!("    server: https://{free}"));
    std::fs::write(stead.dir().join("kubeconfig"), moved).expect("written");
    assert_eq!(
        stead.fails("get pods").await,
        format!(
            "error: stead is not running: nothing answers at https://{free}; start it with `stead up --data-dir {dir}`\n"
        )
    );
}

#[tokio::test]
async fn the_servers_kinds_are_listed() {
    let stead = Stead::start().await;
    let all = stead.ok("api-resources").await;
    assert!(all.starts_with("NAME "), "{all}");
    assert!(
        all.lines().any(|line| line.split_whitespace().eq([
            "statefulsets",
            "sts",
            "apps/v1",
            "true",
            "StatefulSet"
        ])),
        "{all}"
    );
    let cluster = stead.ok("api-resources --namespaced=false -o name").await;
    assert!(cluster.contains("nodes\n") && !cluster.contains("pods\n"), "{cluster}");
    assert!(stead.ok("version").await.contains("Server Version: v1."));
}
