//! Which ordinals a set has, and how long its name may be.

use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::json;

use super::*;
use crate::harness::Home;

#[test]
fn the_first_ordinal_can_be_set_raised_lowered_and_taken_away() {
    let home = Home::new("ordinals-start");
    let start = |at: u32| json!({"ordinals": {"start": at}});
    home.create::<StatefulSet>(with(set("db", 2, plain()), start(3)));
    complete(&home, "db");
    only_ready(&home, &["db-3", "db-4"]);
    let kept = home.get::<k8s_openapi::api::core::v1::Pod>("db-4");
    home.patch::<StatefulSet>("db", &spec(start(4)));
    let all = only_ready(&home, &["db-4", "db-5"]);
    assert_eq!(uid(&all["db-4"]), uid(&kept), "it stays as it is");
    home.patch::<StatefulSet>("db", &spec(start(2)));
    only_ready(&home, &["db-2", "db-3"]);
    home.patch::<StatefulSet>("db", &spec(json!({"ordinals": null})));
    only_ready(&home, &["db-0", "db-1"]);
    complete(&home, "db");
}

#[test]
fn reserved_ordinals_are_skipped_and_the_count_stays() {
    let home = Home::new("ordinals-reserved");
    let mut db = set("db", 3, plain());
    db["metadata"]["annotations"] = json!({"stead.dev/reserve-ordinals": "1"});
    home.create::<StatefulSet>(db);
    complete(&home, "db");
    only_ready(&home, &["db-0", "db-2", "db-3"]);
    let refusal = home.fails("annotate sts db stead.dev/reserve-ordinals=1-x --overwrite");
    assert!(refusal.contains("metadata.annotations[stead.dev/reserve-ordinals]"), "{refusal}");
    home.run("annotate sts db stead.dev/reserve-ordinals=0,2-3 --overwrite");
    only_ready(&home, &["db-1", "db-4", "db-5"]);
    home.run("annotate sts db stead.dev/reserve-ordinals-");
    only_ready(&home, &["db-0", "db-1", "db-2"]);
    complete(&home, "db");
}

#[test]
fn a_name_of_sixty_characters_comes_up_and_rolls() {
    let home = Home::new("ordinals-long");
    let name = "n".repeat(60);
    home.create::<StatefulSet>(with_claims(set(&name, 2, plain())));
    complete(&home, &name);
    home.patch::<StatefulSet>(&name, &version("2"));
    complete(&home, &name);
    let all = pods(&home);
    assert_eq!(names(&all), [format!("{name}-0"), format!("{name}-1")]);
    assert!(all.values().all(|pod| version_of(pod) == "2"));
}
