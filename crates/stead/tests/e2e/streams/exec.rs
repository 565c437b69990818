//! Commands in containers, and files copied by them.

use super::*;

#[test]
fn exit_codes_and_outputs_are_the_commands() {
    let home = Home::new("streams-exec");
    start(&home, pod("p", REST, json!({})));
    for way in Way::all() {
        let ran = way.feed(&home, "exec p -- sh -c 'echo out; echo err >&2; exit 7'", b"");
        assert_eq!(ran.status.code(), Some(7), "{way:?}: {}", text(&ran.stderr));
        assert_eq!(text(&ran.stdout), "out\n", "{way:?}");
        assert!(text(&ran.stderr).starts_with("err\n"), "{way:?}: {}", text(&ran.stderr));
        let ran = way.feed(&home, "exec p -- nothing", b"");
        assert_eq!(ran.status.code(), Some(1), "{way:?}");
        assert!(text(&ran.stderr).contains("nothing"), "{way:?}: {}", text(&ran.stderr));
    }
}

#[test]
fn bytes_go_through_a_command_unharmed() {
    let home = Home::new("streams-bytes");
    start(&home, pod("p", REST, json!({})));
    let sent = noise(8 << 20);
    for way in Way::all() {
        let ran = way.feed(&home, "exec -i p -- cat", &sent);
        assert!(ran.status.success(), "{way:?}: {}", text(&ran.stderr));
        assert!(
            ran.stdout == sent,
            "{way:?}: {} of {} bytes came back the same",
            ran.stdout.len(),
            sent.len()
        );
    }
}

#[test]
fn files_are_copied_both_ways() {
    let home = Home::new("streams-cp");
    start(&home, pod("p", REST, json!({})));
    let folder = tempfile::tempdir().expect("a folder");
    let (here, back) = (folder.path().join("here"), folder.path().join("back"));
    let sent = noise(4 << 20);
    std::fs::write(&here, &sent).expect("written");
    for way in Way::all() {
        let copied = way.feed(&home, &format!("cp '{}' p:/tmp/there", here.display()), b"");
        assert!(copied.status.success(), "{way:?}: {}", text(&copied.stderr));
        let copied = way.feed(&home, &format!("cp p:/tmp/there '{}'", back.display()), b"");
        assert!(copied.status.success(), "{way:?}: {}", text(&copied.stderr));
        assert!(std::fs::read(&back).expect("a file") == sent, "{way:?}: the file came back different");
        std::fs::remove_file(&back).expect("removed");
    }
}
