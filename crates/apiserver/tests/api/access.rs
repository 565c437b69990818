//! Who may ask for what.

use crate::harness::{CONFIG_MAPS, Harness};

#[tokio::test]
async fn only_masters_see_objects_and_others_learn_who_what_and_where() {
    let api = Harness::start().await;
    let (code, _) = api.get_as_user(CONFIG_MAPS, "ada", &["system:masters"]).await;
    assert_eq!(code, 200);
    let (code, message) = api.get_as_user(CONFIG_MAPS, "ada", &["system:authenticated"]).await;
    assert_eq!(code, 403);
    assert_eq!(
        message,
        "configmaps is forbidden: User \"ada\" cannot list resource \"configmaps\" in API group \"\" in the namespace \
         \"default\": only members of the group \"system:masters\" may"
    );
    let one = "/apis/storage.k8s.io/v1/storageclasses/standard";
    let (code, message) = api.get_as_user(one, "ada", &[]).await;
    assert_eq!(code, 403);
    assert!(message.contains("User \"ada\" cannot get resource \"storageclasses\""), "{message}");
    assert!(message.contains("at the cluster scope"), "{message}");
    assert_eq!(api.get_as_user("/apis", "ada", &["system:authenticated"]).await.0, 200);
    for closed in [CONFIG_MAPS, "/apis", "/no/such/path"] {
        assert_eq!(api.get_as_user(closed, "system:anonymous", &[]).await.0, 401, "{closed}");
    }
}
