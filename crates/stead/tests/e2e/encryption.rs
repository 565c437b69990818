//! Secrets on the disk: encrypted, with a key of their own that a command changes.

use crate::harness::Stead;

const WORD: &[u8] = b"hunter2-hunter2";
/// As it stands in an object.
const ENCODED: &[u8] = b"aHVudGVyMi1odW50ZXIy";

fn tells(stead: &Stead) -> bool {
    let bytes = std::fs::read(stead.dir().join("state.redb")).expect("a database");
    [WORD, ENCODED].iter().any(|word| bytes.windows(word.len()).any(|window| window == *word))
}

fn password(stead: &Stead) -> String {
    stead.run("get secret login -o jsonpath={.data.password}")
}

#[test]
fn secrets_lie_encrypted_and_the_key_can_be_changed_and_must_not_be_lost() {
    let mut stead = Stead::start_with("encryption", &[], &["--no-node"]);
    let keys = stead.dir().join("encryption-keys");
    stead.run("create secret generic login --from-literal=password=hunter2-hunter2");
    let refusal = stead.fails("secrets rotate-key");
    assert!(
        refusal.contains("stop it with SIGTERM (its pods run on), rotate, and start it again"),
        "{refusal}"
    );
    stead.stop();
    assert!(!tells(&stead));
    let first = std::fs::read_to_string(&keys).expect("keys");
    let said = stead.run("secrets rotate-key");
    assert!(said.starts_with("1 Secrets are encrypted with a new key"), "{said}");
    let second = std::fs::read_to_string(&keys).expect("keys");
    assert!(first != second && second.lines().count() == 1);
    stead.up();
    assert_eq!(password(&stead).as_bytes(), ENCODED);
    stead.stop();

    std::fs::write(&keys, &first).expect("written");
    let refusal = stead.fails("up --no-node --listen 127.0.0.1:0");
    let expect =
        "does not hold the key that /core/secrets/default/login is sealed with: put the right file back";
    assert!(refusal.contains(expect) && refusal.lines().count() == 1, "{refusal}");
    std::fs::remove_file(&keys).expect("removed");
    let refusal = stead.fails("up --no-node --listen 127.0.0.1:0");
    assert!(refusal.contains("encryption-keys is missing") && refusal.lines().count() == 1, "{refusal}");
    std::fs::write(&keys, &second).expect("written");
    stead.up();
    assert_eq!(password(&stead).as_bytes(), ENCODED);
}
