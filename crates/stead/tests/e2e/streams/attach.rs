//! Joining a container's own process.

use kube::api::{Api, AttachParams, TerminalSize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Says what it reads, twice.
const ANSWER: &str = "read one; echo got $one; read two; echo bye $two; exit 3";

#[test]
fn who_attaches_feeds_the_process_and_hears_it() {
    let home = Home::new("streams-attach");
    for (index, way) in Way::all().into_iter().enumerate() {
        let name = format!("p{index}");
        start(&home, pod(&name, ANSWER, json!({"stdin": true, "stdinOnce": true})));
        let ran = way.feed(&home, &format!("attach -i {name}"), b"hello\nworld\n");
        assert!(ran.status.success(), "{way:?}: {}", text(&ran.stderr));
        assert_eq!(text(&ran.stdout), "got hello\nbye world\n", "{way:?}");
        home.until_one(&name, "it has ended by itself", |pod: &Pod| {
            let ended = pod
                .status
                .as_ref()
                .and_then(|status| status.container_statuses.as_ref()?.first()?.state.clone());
            ended.and_then(|state| state.terminated).is_some_and(|ended| ended.exit_code == 3)
        });
        // What was heard was logged too.
        assert_eq!(home.stead(&format!("logs {name}")), "got hello\nbye world\n");
    }
}

#[test]
fn input_that_is_for_one_ends_with_the_one() {
    let home = Home::new("streams-once");
    start(&home, pod("once", "cat; echo end", json!({"stdin": true, "stdinOnce": true})));
    for way in Way::all().into_iter().take(1) {
        let ran = way.feed(&home, "attach -i once", b"all of it\n");
        assert_eq!(text(&ran.stdout), "all of it\nend\n", "{}", text(&ran.stderr));
    }
}

#[test]
fn a_terminal_is_joined_with_its_size() {
    let home = Home::new("streams-tty");
    let script = "stty -echo; trap 'stty size' WINCH; echo ready; while read line; do echo said $line; done";
    start(&home, pod("p", script, json!({"stdin": true, "tty": true})));
    let pods: Api<Pod> = home.all();
    home.wait_for(async {
        let params = AttachParams::interactive_tty();
        let mut attached = pods.attach("p", &params).await.expect("attached");
        let mut stdin = attached.stdin().expect("an input");
        let mut stdout = attached.stdout().expect("an output");
        let mut sizes = attached.terminal_size().expect("sizes");
        let mut heard = String::new();
        stdin.write_all(b"hello\n").await.expect("written");
        hear(&mut stdout, &mut heard, "said hello").await;
        futures::SinkExt::send(&mut sizes, TerminalSize { width: 100, height: 30 }).await.expect("sent");
        // A shell runs its trap when the line is there.
        stdin.write_all(b"again\n").await.expect("written");
        hear(&mut stdout, &mut heard, "30 100").await;
    });
}

/// Reads until the words have come.
async fn hear(stdout: &mut (impl AsyncReadExt + Unpin), heard: &mut String, words: &str) {
    let mut piece = [0; 1024];
    while !heard.contains(words) {
        let count = stdout.read(&mut piece).await.expect("read");
        assert!(count > 0, "it ended before it said {words:?}: {heard}");
        heard.push_str(&text(&piece[..count]));
    }
}

#[test]
fn a_container_that_says_much_waits_for_who_is_attached() {
    let home = Home::new("streams-much");
    let script = "read go; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo done";
    for (index, way) in Way::all().into_iter().enumerate() {
        let name = format!("p{index}");
        start(&home, pod(&name, script, json!({"stdin": true, "stdinOnce": true})));
        let ran = way.feed(&home, &format!("attach -i {name}"), b"go\n");
        assert_eq!(ran.stdout.len(), 3_000_006, "{way:?}: {}", text(&ran.stderr));
        assert!(ran.stdout.ends_with(b"x\ndone\n"), "{way:?}");
    }
}

#[test]
fn run_starts_a_pod_and_joins_it() {
    if !Client::all().contains(&Client::Kubectl) {
        return;
    }
    let home = Home::new("streams-run");
    for way in Way::all().into_iter().filter(|way| way.client == Client::Kubectl) {
        let line = "run once --rm -i --restart=Never --image=busybox --image-pull-policy=Never -- \
                    sh -c 'read line; echo heard $line'";
        let ran = way.feed(&home, line, b"me\n");
        assert!(ran.status.success(), "{way:?}: {}", text(&ran.stderr));
        assert!(text(&ran.stdout).contains("heard me\n"), "{way:?}: {}", text(&ran.stdout));
        home.until("it was removed", |all: &crate::harness::Objects<Pod>| !all.contains_key("once"));
    }
}
