//! Answers in other forms than the object itself.

use serde_json::json;

use crate::harness::{CONFIG_MAPS, Harness, TABLE, config_map};

#[tokio::test]
async fn a_table_carries_as_much_of_the_object_as_asked() {
    let api = Harness::start().await;
    let made = api.post(CONFIG_MAPS, &config_map("a")).await.expect(201);
    let row = |query: &'static str| {
        let api = &api;
        async move {
            let table = api.get_as(&format!("{CONFIG_MAPS}{query}"), TABLE).await.expect(200);
            assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
            table["rows"][0].clone()
        }
    };
    let metadata = row("").await;
    assert_eq!((&metadata["cells"][0], &metadata["cells"][1]), (&json!("a"), &json!(1)));
    assert_eq!(metadata["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(metadata["object"]["metadata"], made["metadata"]);
    assert_eq!(row("?includeObject=Object").await["object"], made);
    assert!(row("?includeObject=None").await["object"].is_null());
}

#[tokio::test]
async fn metadata_alone_can_be_listed() {
    let api = Harness::start().await;
    let made = api.post(CONFIG_MAPS, &config_map("a")).await.expect(201);
    let accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let list = api.get_as(CONFIG_MAPS, accept).await.expect(200);
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["metadata"], made["metadata"]);
    assert!(list["items"][0]["data"].is_null());
    let accept = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    let one = api.get_as(&format!("{CONFIG_MAPS}/a"), accept).await.expect(200);
    assert_eq!((&one["kind"], &one["metadata"]), (&json!("PartialObjectMetadata"), &made["metadata"]));
}
