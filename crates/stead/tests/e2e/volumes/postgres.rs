//! A database on a volume that is full.

use crate::harness::Stead;

/// As people write it.
const MANIFEST: &str = include_str!("../../../../../examples/postgres.yaml");

/// SQL on the server itself, once it takes connections.
fn sql(stead: &Stead, query: &str) -> String {
    let script = format!(
        "until pg_isready -q -h 127.0.0.1; do sleep 0.1; done; \
         PGPASSWORD=swordfish psql -qtA -h 127.0.0.1 -U postgres -c \"{query}\" 2>&1 || true"
    );
    stead.shell("postgres-0", &script).trim().to_owned()
}

#[test]
fn postgresql_hears_that_its_volume_is_full_and_goes_on_when_it_has_grown() {
    let stead = Stead::start("volumes-postgres", &["postgres"]);
    stead.apply_example("postgres-secret.yaml");
    stead.apply(
        "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: fast-ssd}, \
         provisioner: stead.dev/local, parameters: {backing: image, fsType: xfs}, allowVolumeExpansion: true, \
         volumeBindingMode: WaitForFirstConsumer}",
    );
    stead.apply(&MANIFEST.replace("replicas: 3", "replicas: 1").replace("storage: 10Gi", "storage: 300Mi"));
    stead.wait("condition=Available", "sts/postgres");
    sql(&stead, "create table t (id int); create unlogged table pad (text text)");
    sql(&stead, "insert into t values (1)");
    let pad = |rows: u32| {
        let rows = format!("select repeat(chr(97), 1000) from generate_series(1, {rows})");
        sql(&stead, &format!("insert into pad {rows}"))
    };
    let said = pad(300_000);
    assert!(said.contains("No space left on device"), "{said}");

    stead.run(
        "patch sts postgres --type json -p '[{\"op\": \"replace\", \"path\": \
         \"/spec/volumeClaimTemplates/0/spec/resources/requests/storage\", \"value\": \"600Mi\"}]'",
    );
    stead.wait("jsonpath={.status.capacity.storage}=600Mi", "pvc/data-postgres-0");
    assert_eq!(pad(50_000), "");
    sql(&stead, "drop table pad");
    sql(&stead, "insert into t values (2)");
    // Another server on the same volume has what was acknowledged.
    stead.run("delete pod postgres-0");
    stead.wait("condition=Available", "sts/postgres");
    assert_eq!(sql(&stead, "select count(*) from t"), "2");
}
