//! Stories about one StatefulSet, told by what the planners do: every line of a story is carried out, all
//! planners come to rest, and what they did to pods, claims and revisions follows, with what they wait for.

use crate::script::tell;

#[test]
fn pods_come_up_in_order_each_after_its_predecessor_is_ready() {
    let story = "
        set replicas=3 claims
        ready web-0
        ready web-1
        ready web-2
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > set replicas=3 claims
    create revision r1
    create claim/data-web-0
    create pod/web-0 of r1
      PredecessorNotReady: web-1 waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > ready web-0
    create claim/data-web-1
    create pod/web-1 of r1
      PredecessorNotReady: web-2 waits until web-1 is Ready
      = 2 pods, 1 ready, 2 of r1
    > ready web-1
    create claim/data-web-2
    create pod/web-2 of r1
      PredecessorNotReady: statefulset/web waits until web-2 is Ready
      = 3 pods, 2 ready, 3 of r1
    > ready web-2
      = 3 pods, 3 ready, 3 of r1
    "#);
}

#[test]
fn scaling_goes_up_and_down_in_order_and_keeps_every_claim() {
    let story = "
        set replicas=3 claims
        ready web-0
        ready web-1
        ready web-2
        replicas 5
        ready web-3
        ready web-4
        replicas 2
        finish web-4
        finish web-3
        finish web-2
        replicas 4
        ready web-2
        ready web-3
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > set replicas=3 claims
    create revision r1
    create claim/data-web-0
    create pod/web-0 of r1
      PredecessorNotReady: web-1 waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > ready web-0
    create claim/data-web-1
    create pod/web-1 of r1
      PredecessorNotReady: web-2 waits until web-1 is Ready
      = 2 pods, 1 ready, 2 of r1
    > ready web-1
    create claim/data-web-2
    create pod/web-2 of r1
      PredecessorNotReady: statefulset/web waits until web-2 is Ready
      = 3 pods, 2 ready, 3 of r1
    > ready web-2
      = 3 pods, 3 ready, 3 of r1
    > replicas 5
    create claim/data-web-3
    create pod/web-3 of r1
      PredecessorNotReady: web-4 waits until web-3 is Ready
      = 4 pods, 3 ready, 4 of r1
    > ready web-3
    create claim/data-web-4
    create pod/web-4 of r1
      PredecessorNotReady: statefulset/web waits until web-4 is Ready
      = 5 pods, 4 ready, 5 of r1
    > ready web-4
      = 5 pods, 5 ready, 5 of r1
    > replicas 2
    delete pod/web-4
      CondemnedTerminating: web-3 waits until web-4 is gone, which is terminating
      = 5 pods, 5 ready, 4 of r1
    > finish web-4
    gone pod/web-4
    delete pod/web-3
      CondemnedTerminating: web-2 waits until web-3 is gone, which is terminating
      = 4 pods, 4 ready, 3 of r1
    > finish web-3
    gone pod/web-3
    delete pod/web-2
      CondemnedTerminating: statefulset/web waits until web-2 is gone, which is terminating
      = 3 pods, 3 ready, 2 of r1
    > finish web-2
    gone pod/web-2
      = 2 pods, 2 ready, 2 of r1
    > replicas 4
    create pod/web-2 of r1
      PredecessorNotReady: web-3 waits until web-2 is Ready
      = 3 pods, 2 ready, 3 of r1
    > ready web-2
    create pod/web-3 of r1
      PredecessorNotReady: statefulset/web waits until web-3 is Ready
      = 4 pods, 3 ready, 4 of r1
    > ready web-3
      = 4 pods, 4 ready, 4 of r1
    "#);
}

#[test]
fn a_deleted_pod_comes_back_with_its_claim_once_it_is_really_gone() {
    let story = "
        set replicas=3 claims
        ready web-0
        ready web-1
        ready web-2
        delete web-1
        finish web-1
        ready web-1
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > set replicas=3 claims
    create revision r1
    create claim/data-web-0
    create pod/web-0 of r1
      PredecessorNotReady: web-1 waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > ready web-0
    create claim/data-web-1
    create pod/web-1 of r1
      PredecessorNotReady: web-2 waits until web-1 is Ready
      = 2 pods, 1 ready, 2 of r1
    > ready web-1
    create claim/data-web-2
    create pod/web-2 of r1
      PredecessorNotReady: statefulset/web waits until web-2 is Ready
      = 3 pods, 2 ready, 3 of r1
    > ready web-2
      = 3 pods, 3 ready, 3 of r1
    > delete web-1
    delete pod/web-1
      PredecessorTerminating: statefulset/web waits until web-1 is gone, which is terminating
      = 3 pods, 3 ready, 2 of r1
    > finish web-1
    gone pod/web-1
    create pod/web-1 of r1
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      = 3 pods, 2 ready, 3 of r1
    > ready web-1
      = 3 pods, 3 ready, 3 of r1
    "#);
}

#[test]
fn an_update_rolls_from_the_last_to_the_first_each_waiting_for_the_one_before() {
    let story = "
        set replicas=3
        ready web-0
        ready web-1
        ready web-2
        image web:2
        finish web-2
        ready web-2
        finish web-1
        ready web-1
        finish web-0
        ready web-0
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > set replicas=3
    create revision r1
    create pod/web-0 of r1
      PredecessorNotReady: web-1 waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > ready web-0
    create pod/web-1 of r1
      PredecessorNotReady: web-2 waits until web-1 is Ready
      = 2 pods, 1 ready, 2 of r1
    > ready web-1
    create pod/web-2 of r1
      PredecessorNotReady: statefulset/web waits until web-2 is Ready
      = 3 pods, 2 ready, 3 of r1
    > ready web-2
      = 3 pods, 3 ready, 3 of r1
    > image web:2
    create revision r2
    delete pod/web-2
      PredecessorTerminating: statefulset/web waits until web-2 is gone, which is terminating
      UpdateWaitsForReady: web-1 is updated once web-2 is available
      = 3 pods, 3 ready, 2 of r1, 0 of r2
    > finish web-2
    gone pod/web-2
    create pod/web-2 of r2
      PredecessorNotReady: statefulset/web waits until web-2 is Ready
      UpdateWaitsForReady: web-1 is updated once web-2 is available
      = 3 pods, 2 ready, 2 of r1, 1 of r2
    > ready web-2
    delete pod/web-1
      PredecessorTerminating: statefulset/web waits until web-1 is gone, which is terminating
      UpdateWaitsForReady: web-0 is updated once web-1 is available
      = 3 pods, 3 ready, 1 of r1, 1 of r2
    > finish web-1
    gone pod/web-1
    create pod/web-1 of r2
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      UpdateWaitsForReady: web-0 is updated once web-1 is available
      = 3 pods, 2 ready, 1 of r1, 2 of r2
    > ready web-1
    delete pod/web-0
      PredecessorTerminating: statefulset/web waits until web-0 is gone, which is terminating
      = 3 pods, 3 ready, 0 of r1, 2 of r2
    > finish web-0
    gone pod/web-0
    create pod/web-0 of r2
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      = 3 pods, 2 ready, 0 of r1, 3 of r2
    > ready web-0
      = 3 pods, 3 ready, 3 of r2
    "#);
}

#[test]
fn a_partition_holds_the_lower_ordinals_back_even_when_they_are_deleted() {
    let story = "
        set replicas=3 partition=2
        ready web-0
        ready web-1
        ready web-2
        image web:2
        finish web-2
        ready web-2
        delete web-0
        finish web-0
        ready web-0
        partition 1
        finish web-1
        ready web-1
        partition 0
        finish web-0
        ready web-0
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > set replicas=3 partition=2
    create revision r1
    create pod/web-0 of r1
      PredecessorNotReady: web-1 waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > ready web-0
    create pod/web-1 of r1
      PredecessorNotReady: web-2 waits until web-1 is Ready
      = 2 pods, 1 ready, 2 of r1
    > ready web-1
    create pod/web-2 of r1
      PredecessorNotReady: statefulset/web waits until web-2 is Ready
      = 3 pods, 2 ready, 3 of r1
    > ready web-2
      = 3 pods, 3 ready, 3 of r1
    > image web:2
    create revision r2
    delete pod/web-2
      PredecessorTerminating: statefulset/web waits until web-2 is gone, which is terminating
      PartitionHolds: the partition (2) keeps 2 of 3 pods at their revision; lower spec.updateStrategy.rollingUpdate.partition to update them
      = 3 pods, 3 ready, 2 of r1, 0 of r2
    > finish web-2
    gone pod/web-2
    create pod/web-2 of r2
      PredecessorNotReady: statefulset/web waits until web-2 is Ready
      PartitionHolds: the partition (2) keeps 2 of 3 pods at their revision; lower spec.updateStrategy.rollingUpdate.partition to update them
      = 3 pods, 2 ready, 2 of r1, 1 of r2
    > ready web-2
      PartitionHolds: the partition (2) keeps 2 of 3 pods at their revision; lower spec.updateStrategy.rollingUpdate.partition to update them
      = 3 pods, 3 ready, 2 of r1, 1 of r2
    > delete web-0
    delete pod/web-0
      PredecessorTerminating: statefulset/web waits until web-0 is gone, which is terminating
      PartitionHolds: the partition (2) keeps 1 of 3 pods at their revision; lower spec.updateStrategy.rollingUpdate.partition to update them
      = 3 pods, 3 ready, 1 of r1, 1 of r2
    > finish web-0
    gone pod/web-0
    create pod/web-0 of r1
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      PartitionHolds: the partition (2) keeps 2 of 3 pods at their revision; lower spec.updateStrategy.rollingUpdate.partition to update them
      = 3 pods, 2 ready, 2 of r1, 1 of r2
    > ready web-0
      PartitionHolds: the partition (2) keeps 2 of 3 pods at their revision; lower spec.updateStrategy.rollingUpdate.partition to update them
      = 3 pods, 3 ready, 2 of r1, 1 of r2
    > partition 1
    delete pod/web-1
      PredecessorTerminating: statefulset/web waits until web-1 is gone, which is terminating
      PartitionHolds: the partition (1) keeps 1 of 3 pods at their revision; lower spec.updateStrategy.rollingUpdate.partition to update them
      = 3 pods, 3 ready, 1 of r1, 1 of r2
    > finish web-1
    gone pod/web-1
    create pod/web-1 of r2
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      PartitionHolds: the partition (1) keeps 1 of 3 pods at their revision; lower spec.updateStrategy.rollingUpdate.partition to update them
      = 3 pods, 2 ready, 1 of r1, 2 of r2
    > ready web-1
      PartitionHolds: the partition (1) keeps 1 of 3 pods at their revision; lower spec.updateStrategy.rollingUpdate.partition to update them
      = 3 pods, 3 ready, 1 of r1, 2 of r2
    > partition 0
    delete pod/web-0
      PredecessorTerminating: statefulset/web waits until web-0 is gone, which is terminating
      = 3 pods, 3 ready, 0 of r1, 2 of r2
    > finish web-0
    gone pod/web-0
    create pod/web-0 of r2
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      = 3 pods, 2 ready, 0 of r1, 3 of r2
    > ready web-0
      = 3 pods, 3 ready, 3 of r2
    "#);
}

#[test]
fn on_delete_updates_only_what_somebody_deletes() {
    let story = "
        set replicas=2 on-delete
        ready web-0
        ready web-1
        image web:2
        delete web-1
        finish web-1
        ready web-1
        delete web-0
        finish web-0
        ready web-0
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > set replicas=2 on-delete
    create revision r1
    create pod/web-0 of r1
      PredecessorNotReady: web-1 waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > ready web-0
    create pod/web-1 of r1
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      = 2 pods, 1 ready, 2 of r1
    > ready web-1
      = 2 pods, 2 ready, 2 of r1
    > image web:2
    create revision r2
      OnDelete: 2 of 2 pods are of an older revision and are replaced when you delete them (OnDelete), for instance: delete pod web-0
      = 2 pods, 2 ready, 2 of r1, 0 of r2
    > delete web-1
    delete pod/web-1
      PredecessorTerminating: statefulset/web waits until web-1 is gone, which is terminating
      OnDelete: 1 of 2 pods are of an older revision and are replaced when you delete them (OnDelete), for instance: delete pod web-0
      = 2 pods, 2 ready, 1 of r1, 0 of r2
    > finish web-1
    gone pod/web-1
    create pod/web-1 of r2
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      OnDelete: 1 of 2 pods are of an older revision and are replaced when you delete them (OnDelete), for instance: delete pod web-0
      = 2 pods, 1 ready, 1 of r1, 1 of r2
    > ready web-1
      OnDelete: 1 of 2 pods are of an older revision and are replaced when you delete them (OnDelete), for instance: delete pod web-0
      = 2 pods, 2 ready, 1 of r1, 1 of r2
    > delete web-0
    delete pod/web-0
      PredecessorTerminating: statefulset/web waits until web-0 is gone, which is terminating
      = 2 pods, 2 ready, 0 of r1, 1 of r2
    > finish web-0
    gone pod/web-0
    create pod/web-0 of r2
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      = 2 pods, 1 ready, 0 of r1, 2 of r2
    > ready web-0
      = 2 pods, 2 ready, 2 of r2
    "#);
}

#[test]
fn going_back_to_the_old_template_reuses_its_revision() {
    let story = "
        set replicas=2
        ready web-0
        ready web-1
        image web:2
        finish web-1
        image web:1
        ready web-1
        finish web-1
        ready web-1
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > set replicas=2
    create revision r1
    create pod/web-0 of r1
      PredecessorNotReady: web-1 waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > ready web-0
    create pod/web-1 of r1
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      = 2 pods, 1 ready, 2 of r1
    > ready web-1
      = 2 pods, 2 ready, 2 of r1
    > image web:2
    create revision r2
    delete pod/web-1
      PredecessorTerminating: statefulset/web waits until web-1 is gone, which is terminating
      UpdateWaitsForReady: web-0 is updated once web-1 is available
      = 2 pods, 2 ready, 1 of r1, 0 of r2
    > finish web-1
    gone pod/web-1
    create pod/web-1 of r2
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      UpdateWaitsForReady: web-0 is updated once web-1 is available
      = 2 pods, 1 ready, 1 of r1, 1 of r2
    > image web:1
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      = 2 pods, 1 ready, 1 of r1
    > ready web-1
    delete pod/web-1
      PredecessorTerminating: statefulset/web waits until web-1 is gone, which is terminating
      = 2 pods, 2 ready, 1 of r1
    > finish web-1
    gone pod/web-1
    create pod/web-1 of r1
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      = 2 pods, 1 ready, 2 of r1
    > ready web-1
      = 2 pods, 2 ready, 2 of r1
    "#);
}

#[test]
fn parallel_sets_make_and_take_down_all_pods_at_once() {
    let story = "
        set replicas=3 parallel claims
        ready web-0 web-1 web-2
        replicas 1
        finish web-1
        finish web-2
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > set replicas=3 parallel claims
    create revision r1
    create claim/data-web-0
    create pod/web-0 of r1
    create claim/data-web-1
    create pod/web-1 of r1
    create claim/data-web-2
    create pod/web-2 of r1
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      PredecessorNotReady: statefulset/web waits until web-2 is Ready
      = 3 pods, 0 ready, 3 of r1
    > ready web-0 web-1 web-2
      = 3 pods, 3 ready, 3 of r1
    > replicas 1
    delete pod/web-2
    delete pod/web-1
      CondemnedTerminating: statefulset/web waits until web-2 is gone, which is terminating
      CondemnedTerminating: statefulset/web waits until web-1 is gone, which is terminating
      = 3 pods, 3 ready, 1 of r1
    > finish web-1
    gone pod/web-1
      CondemnedTerminating: statefulset/web waits until web-2 is gone, which is terminating
      = 2 pods, 2 ready, 1 of r1
    > finish web-2
    gone pod/web-2
      = 1 pods, 1 ready, 1 of r1
    "#);
}

#[test]
fn parallel_sets_still_update_one_at_a_time() {
    let story = "
        set replicas=3 parallel
        ready web-0 web-1 web-2
        image web:2
        finish web-2
        ready web-2
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > set replicas=3 parallel
    create revision r1
    create pod/web-0 of r1
    create pod/web-1 of r1
    create pod/web-2 of r1
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      PredecessorNotReady: statefulset/web waits until web-2 is Ready
      = 3 pods, 0 ready, 3 of r1
    > ready web-0 web-1 web-2
      = 3 pods, 3 ready, 3 of r1
    > image web:2
    create revision r2
    delete pod/web-2
      PredecessorTerminating: statefulset/web waits until web-2 is gone, which is terminating
      UpdateWaitsForReady: web-1 is updated once web-2 is available
      = 3 pods, 3 ready, 2 of r1, 0 of r2
    > finish web-2
    gone pod/web-2
    create pod/web-2 of r2
      PredecessorNotReady: statefulset/web waits until web-2 is Ready
      UpdateWaitsForReady: web-1 is updated once web-2 is available
      = 3 pods, 2 ready, 2 of r1, 1 of r2
    > ready web-2
    delete pod/web-1
      PredecessorTerminating: statefulset/web waits until web-1 is gone, which is terminating
      UpdateWaitsForReady: web-0 is updated once web-1 is available
      = 3 pods, 3 ready, 1 of r1, 1 of r2
    "#);
}

#[test]
fn max_unavailable_lets_that_many_go_at_once() {
    let story = "
        set replicas=4 max-unavailable=2
        ready web-0
        ready web-1
        ready web-2
        ready web-3
        image web:2
        finish web-3
        finish web-2
        ready web-2
        finish web-1
        ready web-3
        ready web-1
        finish web-0
        ready web-0
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > set replicas=4 max-unavailable=2
    create revision r1
    create pod/web-0 of r1
      PredecessorNotReady: web-1 waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > ready web-0
    create pod/web-1 of r1
      PredecessorNotReady: web-2 waits until web-1 is Ready
      = 2 pods, 1 ready, 2 of r1
    > ready web-1
    create pod/web-2 of r1
      PredecessorNotReady: web-3 waits until web-2 is Ready
      = 3 pods, 2 ready, 3 of r1
    > ready web-2
    create pod/web-3 of r1
      PredecessorNotReady: statefulset/web waits until web-3 is Ready
      = 4 pods, 3 ready, 4 of r1
    > ready web-3
      = 4 pods, 4 ready, 4 of r1
    > image web:2
    create revision r2
    delete pod/web-3
    delete pod/web-2
      PredecessorTerminating: statefulset/web waits until web-2 is gone, which is terminating
      UpdateWaitsForReady: web-1 is updated once web-3 is available
      = 4 pods, 4 ready, 2 of r1, 0 of r2
    > finish web-3
    gone pod/web-3
      PredecessorTerminating: web-3 waits until web-2 is gone, which is terminating
      UpdateWaitsForReady: web-1 is updated once web-2 is available
      = 3 pods, 3 ready, 2 of r1, 0 of r2
    > finish web-2
    gone pod/web-2
    create pod/web-2 of r2
      PredecessorNotReady: web-3 waits until web-2 is Ready
      UpdateWaitsForReady: web-1 is updated once web-2 is available
      = 3 pods, 2 ready, 2 of r1, 1 of r2
    > ready web-2
    create pod/web-3 of r2
    delete pod/web-1
      PredecessorTerminating: statefulset/web waits until web-1 is gone, which is terminating
      UpdateWaitsForReady: web-0 is updated once web-3 is available
      = 4 pods, 3 ready, 1 of r1, 2 of r2
    > finish web-1
    gone pod/web-1
    create pod/web-1 of r2
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      UpdateWaitsForReady: web-0 is updated once web-3 is available
      = 4 pods, 2 ready, 1 of r1, 3 of r2
    > ready web-3
    delete pod/web-0
      PredecessorTerminating: statefulset/web waits until web-0 is gone, which is terminating
      = 4 pods, 3 ready, 0 of r1, 3 of r2
    > ready web-1
      PredecessorTerminating: statefulset/web waits until web-0 is gone, which is terminating
      = 4 pods, 4 ready, 0 of r1, 3 of r2
    > finish web-0
    gone pod/web-0
    create pod/web-0 of r2
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      = 4 pods, 3 ready, 0 of r1, 4 of r2
    > ready web-0
      = 4 pods, 4 ready, 4 of r2
    "#);
}

#[test]
fn unavailable_outdated_pods_of_a_parallel_set_cost_nothing() {
    let story = "
        set replicas=3 parallel
        ready web-0 web-2
        image web:2
        finish web-1
        ready web-1
        finish web-2
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > set replicas=3 parallel
    create revision r1
    create pod/web-0 of r1
    create pod/web-1 of r1
    create pod/web-2 of r1
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      PredecessorNotReady: statefulset/web waits until web-2 is Ready
      = 3 pods, 0 ready, 3 of r1
    > ready web-0 web-2
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      = 3 pods, 2 ready, 3 of r1
    > image web:2
    create revision r2
    delete pod/web-1
      PredecessorTerminating: statefulset/web waits until web-1 is gone, which is terminating
      UpdateWaitsForReady: web-2 is updated once web-1 is available
      = 3 pods, 2 ready, 2 of r1, 0 of r2
    > finish web-1
    gone pod/web-1
    create pod/web-1 of r2
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      UpdateWaitsForReady: web-2 is updated once web-1 is available
      = 3 pods, 2 ready, 2 of r1, 1 of r2
    > ready web-1
    delete pod/web-2
      PredecessorTerminating: statefulset/web waits until web-2 is gone, which is terminating
      UpdateWaitsForReady: web-0 is updated once web-2 is available
      = 3 pods, 3 ready, 1 of r1, 1 of r2
    > finish web-2
    gone pod/web-2
    create pod/web-2 of r2
      PredecessorNotReady: statefulset/web waits until web-2 is Ready
      UpdateWaitsForReady: web-0 is updated once web-2 is available
      = 3 pods, 2 ready, 1 of r1, 2 of r2
    "#);
}

#[test]
fn a_failed_pod_is_deleted_and_made_again_and_the_order_resumes() {
    let story = "
        set replicas=2
        fail web-0
        ready web-0
        ready web-1
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > set replicas=2
    create revision r1
    create pod/web-0 of r1
      PredecessorNotReady: web-1 waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > fail web-0
    delete pod/web-0
    gone pod/web-0
    create pod/web-0 of r1
      PredecessorNotReady: web-1 waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > ready web-0
    create pod/web-1 of r1
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      = 2 pods, 1 ready, 2 of r1
    > ready web-1
      = 2 pods, 2 ready, 2 of r1
    "#);
}

#[test]
fn a_name_held_by_somebody_elses_pod_is_reported() {
    let story = "
        foreign web-1
        set replicas=2
        ready web-0
        delete web-1
        finish web-1
        ready web-1
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > foreign web-1
    create pod/web-1
      no set
    > set replicas=2
    create revision r1
    create pod/web-0 of r1
      PredecessorNotReady: web-1 waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > ready web-0
      NameHeldByForeignPod: web-1 cannot be made: a pod of that name exists and is not the set's; delete it
      = 1 pods, 1 ready, 1 of r1
    > delete web-1
    delete pod/web-1
      NameHeldByForeignPod: web-1 is made once the pod of that name is gone, which is terminating
      = 1 pods, 1 ready, 1 of r1
    > finish web-1
    gone pod/web-1
    create pod/web-1 of r1
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      = 2 pods, 1 ready, 2 of r1
    > ready web-1
      = 2 pods, 2 ready, 2 of r1
    "#);
}

#[test]
fn an_orphan_that_fits_is_adopted_and_replaced_like_any_outdated_pod() {
    let story = "
        orphan web-0
        ready web-0
        set replicas=1
        finish web-0
        ready web-0
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > orphan web-0
    create pod/web-0
      no set
    > ready web-0
      no set
    > set replicas=1
    set owners of pod/web-0
    create revision r1
    delete pod/web-0
      PredecessorTerminating: statefulset/web waits until web-0 is gone, which is terminating
      = 1 pods, 1 ready, 0 of r1
    > finish web-0
    gone pod/web-0
    create pod/web-0 of r1
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > ready web-0
      = 1 pods, 1 ready, 1 of r1
    "#);
}

#[test]
fn a_pod_whose_labels_no_longer_match_is_released_and_blocks_its_name() {
    let story = "
        set replicas=1
        ready web-0
        label web-0 other
        delete web-0
        finish web-0
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > set replicas=1
    create revision r1
    create pod/web-0 of r1
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > ready web-0
      = 1 pods, 1 ready, 1 of r1
    > label web-0 other
    set owners of pod/web-0
      NameHeldByForeignPod: web-0 cannot be made: a pod of that name exists and is not the set's; delete it
      = 0 pods, 0 ready, 0 of r1
    > delete web-0
    delete pod/web-0
      NameHeldByForeignPod: web-0 is made once the pod of that name is gone, which is terminating
      = 0 pods, 0 ready, 0 of r1
    > finish web-0
    gone pod/web-0
    create pod/web-0 of r1
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    "#);
}

#[test]
fn a_claim_that_is_being_deleted_blocks_its_pod_until_it_is_gone() {
    let story = "
        set replicas=1 claims
        ready web-0
        delete-claim data-web-0
        delete web-0
        finish web-0
        release-claim data-web-0
        ready web-0
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > set replicas=1 claims
    create revision r1
    create claim/data-web-0
    create pod/web-0 of r1
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > ready web-0
      = 1 pods, 1 ready, 1 of r1
    > delete-claim data-web-0
    delete claim/data-web-0
      = 1 pods, 1 ready, 1 of r1
    > delete web-0
    delete pod/web-0
      PredecessorTerminating: statefulset/web waits until web-0 is gone, which is terminating
      = 1 pods, 1 ready, 0 of r1
    > finish web-0
    gone pod/web-0
      ClaimTerminating: web-0 is made once its old claim data-web-0 is gone, which is being deleted
      = 0 pods, 0 ready, 0 of r1
    > release-claim data-web-0
    gone claim/data-web-0
    create claim/data-web-0
    create pod/web-0 of r1
    delete the data of data-web-0
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > ready web-0
      = 1 pods, 1 ready, 1 of r1
    "#);
}

#[test]
fn min_ready_seconds_hold_the_next_pod_back() {
    let story = "
        set replicas=2 min-ready=10
        ready web-0
        tick 4
        tick 6
        ready web-1
        tick 10
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > set replicas=2 min-ready=10
    create revision r1
    create pod/web-0 of r1
      PredecessorNotReady: web-1 waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > ready web-0
      MinReadySeconds: web-1 waits until web-0 has been Ready for 10 s (minReadySeconds)
      = 1 pods, 1 ready, 0 available, 1 of r1
    > tick 4
      MinReadySeconds: web-1 waits until web-0 has been Ready for 10 s (minReadySeconds)
      = 1 pods, 1 ready, 0 available, 1 of r1
    > tick 6
    create pod/web-1 of r1
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      = 2 pods, 1 ready, 2 of r1
    > ready web-1
      MinReadySeconds: statefulset/web waits until web-1 has been Ready for 10 s (minReadySeconds)
      = 2 pods, 2 ready, 1 available, 2 of r1
    > tick 10
      = 2 pods, 2 ready, 2 of r1
    "#);
}

#[test]
fn scale_down_waits_for_an_unhealthy_survivor() {
    let story = "
        set replicas=3
        ready web-0
        ready web-1
        ready web-2
        unready web-0
        replicas 1
        ready web-0
        finish web-2
        finish web-1
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > set replicas=3
    create revision r1
    create pod/web-0 of r1
      PredecessorNotReady: web-1 waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > ready web-0
    create pod/web-1 of r1
      PredecessorNotReady: web-2 waits until web-1 is Ready
      = 2 pods, 1 ready, 2 of r1
    > ready web-1
    create pod/web-2 of r1
      PredecessorNotReady: statefulset/web waits until web-2 is Ready
      = 3 pods, 2 ready, 3 of r1
    > ready web-2
      = 3 pods, 3 ready, 3 of r1
    > unready web-0
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      = 3 pods, 2 ready, 3 of r1
    > replicas 1
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      SurvivorUnhealthy: web-2 goes once web-0, which stays, is available
      = 3 pods, 2 ready, 3 of r1
    > ready web-0
    delete pod/web-2
      CondemnedTerminating: web-1 waits until web-2 is gone, which is terminating
      = 3 pods, 3 ready, 2 of r1
    > finish web-2
    gone pod/web-2
    delete pod/web-1
      CondemnedTerminating: statefulset/web waits until web-1 is gone, which is terminating
      = 2 pods, 2 ready, 1 of r1
    > finish web-1
    gone pod/web-1
      = 1 pods, 1 ready, 1 of r1
    "#);
}

#[test]
fn scale_down_halts_while_all_are_unhealthy_and_lets_the_lowest_go() {
    let story = "
        set replicas=2
        ready web-0
        ready web-1
        unready web-0
        unready web-1
        replicas 0
        ready web-1
        finish web-1
        finish web-0
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > set replicas=2
    create revision r1
    create pod/web-0 of r1
      PredecessorNotReady: web-1 waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > ready web-0
    create pod/web-1 of r1
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      = 2 pods, 1 ready, 2 of r1
    > ready web-1
      = 2 pods, 2 ready, 2 of r1
    > unready web-0
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      = 2 pods, 1 ready, 2 of r1
    > unready web-1
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      = 2 pods, 0 ready, 2 of r1
    > replicas 0
      CondemnedUnhealthy: web-1 is not Ready, and not the only one: it goes once it is Ready, or when you delete it
      = 2 pods, 0 ready, 2 of r1
    > ready web-1
    delete pod/web-1
      CondemnedTerminating: web-0 waits until web-1 is gone, which is terminating
      = 2 pods, 1 ready, 1 of r1
    > finish web-1
    gone pod/web-1
    delete pod/web-0
      CondemnedTerminating: statefulset/web waits until web-0 is gone, which is terminating
      = 1 pods, 0 ready, 0 of r1
    > finish web-0
    gone pod/web-0
      = 0 pods, 0 ready, 0 of r1
    "#);
}

#[test]
fn a_pod_stuck_in_a_bad_rollout_is_replaced_when_the_template_is_mended() {
    let story = "
        set replicas=2
        ready web-0
        ready web-1
        image web:bad
        finish web-1
        crash web-1
        image web:3
        finish web-1
        ready web-1
        finish web-0
        ready web-0
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > set replicas=2
    create revision r1
    create pod/web-0 of r1
      PredecessorNotReady: web-1 waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > ready web-0
    create pod/web-1 of r1
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      = 2 pods, 1 ready, 2 of r1
    > ready web-1
      = 2 pods, 2 ready, 2 of r1
    > image web:bad
    create revision r2
    delete pod/web-1
      PredecessorTerminating: statefulset/web waits until web-1 is gone, which is terminating
      UpdateWaitsForReady: web-0 is updated once web-1 is available
      = 2 pods, 2 ready, 1 of r1, 0 of r2
    > finish web-1
    gone pod/web-1
    create pod/web-1 of r2
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      UpdateWaitsForReady: web-0 is updated once web-1 is available
      = 2 pods, 1 ready, 1 of r1, 1 of r2
    > crash web-1
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      UpdateWaitsForReady: web-0 is updated once web-1 is available
      = 2 pods, 1 ready, 1 of r1, 1 of r2
    > image web:3
    create revision r3
    delete pod/web-1
      PredecessorTerminating: statefulset/web waits until web-1 is gone, which is terminating
      UpdateWaitsForReady: web-0 is updated once web-1 is available
      = 2 pods, 1 ready, 1 of r1, 0 of r3
    > finish web-1
    gone pod/web-1
    create pod/web-1 of r3
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      UpdateWaitsForReady: web-0 is updated once web-1 is available
      = 2 pods, 1 ready, 1 of r1, 1 of r3
    > ready web-1
    delete pod/web-0
      PredecessorTerminating: statefulset/web waits until web-0 is gone, which is terminating
      = 2 pods, 2 ready, 0 of r1, 1 of r3
    > finish web-0
    gone pod/web-0
    create pod/web-0 of r3
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      = 2 pods, 1 ready, 0 of r1, 2 of r3
    > ready web-0
      = 2 pods, 2 ready, 2 of r3
    "#);
}

#[test]
fn a_pod_that_only_starts_is_left_alone_by_the_next_template() {
    let story = "
        set replicas=2
        ready web-0
        image web:2
        ready web-1
        finish web-1
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > set replicas=2
    create revision r1
    create pod/web-0 of r1
      PredecessorNotReady: web-1 waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > ready web-0
    create pod/web-1 of r1
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      = 2 pods, 1 ready, 2 of r1
    > image web:2
    create revision r2
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      UpdateWaitsForReady: web-0 is updated once web-1 is available
      = 2 pods, 1 ready, 2 of r1, 0 of r2
    > ready web-1
    delete pod/web-1
      PredecessorTerminating: statefulset/web waits until web-1 is gone, which is terminating
      UpdateWaitsForReady: web-0 is updated once web-1 is available
      = 2 pods, 2 ready, 1 of r1, 0 of r2
    > finish web-1
    gone pod/web-1
    create pod/web-1 of r2
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      UpdateWaitsForReady: web-0 is updated once web-1 is available
      = 2 pods, 1 ready, 1 of r1, 1 of r2
    "#);
}

#[test]
fn raising_the_start_ordinal_takes_the_low_ones_down() {
    let story = "
        set replicas=2 parallel
        ready web-0 web-1
        start 1
        finish web-0
        ready web-2
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > set replicas=2 parallel
    create revision r1
    create pod/web-0 of r1
    create pod/web-1 of r1
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      = 2 pods, 0 ready, 2 of r1
    > ready web-0 web-1
      = 2 pods, 2 ready, 2 of r1
    > start 1
    create pod/web-2 of r1
    delete pod/web-0
      PredecessorNotReady: statefulset/web waits until web-2 is Ready
      CondemnedTerminating: statefulset/web waits until web-0 is gone, which is terminating
      = 3 pods, 2 ready, 2 of r1
    > finish web-0
    gone pod/web-0
      PredecessorNotReady: statefulset/web waits until web-2 is Ready
      = 2 pods, 1 ready, 2 of r1
    > ready web-2
      = 2 pods, 2 ready, 2 of r1
    "#);
}

#[test]
fn claims_of_pods_scaled_away_go_with_them_when_the_policy_says_so() {
    let story = "
        set replicas=2 claims when-scaled=Delete
        ready web-0
        ready web-1
        replicas 1
        finish web-1
        replicas 2
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > set replicas=2 claims when-scaled=Delete
    create revision r1
    create claim/data-web-0
    create pod/web-0 of r1
      PredecessorNotReady: web-1 waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > ready web-0
    create claim/data-web-1
    create pod/web-1 of r1
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      = 2 pods, 1 ready, 2 of r1
    > ready web-1
      = 2 pods, 2 ready, 2 of r1
    > replicas 1
    set owners of claim/data-web-1
    delete pod/web-1
      CondemnedTerminating: statefulset/web waits until web-1 is gone, which is terminating
      = 2 pods, 2 ready, 1 of r1
    > finish web-1
    gone pod/web-1
    delete claim/data-web-1
    gone claim/data-web-1
    delete the data of data-web-1
      = 1 pods, 1 ready, 1 of r1
    > replicas 2
    create claim/data-web-1
    create pod/web-1 of r1
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      = 2 pods, 1 ready, 2 of r1
    "#);
}

#[test]
fn claims_go_with_the_set_when_the_policy_says_so() {
    let story = "
        set replicas=1 claims when-deleted=Delete
        ready web-0
        delete-set
        finish web-0
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > set replicas=1 claims when-deleted=Delete
    create revision r1
    create claim/data-web-0
    create pod/web-0 of r1
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > ready web-0
      = 1 pods, 1 ready, 1 of r1
    > delete-set
    delete pod/web-0
    delete claim/data-web-0
    delete revision r1
    gone revision r1
      no set
    > finish web-0
    gone pod/web-0
    gone claim/data-web-0
    delete the data of data-web-0
      no set
    "#);
}

#[test]
fn deleting_a_set_leaves_its_claims_and_the_next_set_finds_them() {
    let story = "
        set replicas=1 claims
        ready web-0
        delete-set
        finish web-0
        set replicas=1 claims
        ready web-0
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > set replicas=1 claims
    create revision r1
    create claim/data-web-0
    create pod/web-0 of r1
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > ready web-0
      = 1 pods, 1 ready, 1 of r1
    > delete-set
    delete pod/web-0
    delete revision r1
    gone revision r1
      no set
    > finish web-0
    gone pod/web-0
      no set
    > set replicas=1 claims
    create revision r1
    create pod/web-0 of r1
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > ready web-0
      = 1 pods, 1 ready, 1 of r1
    "#);
}

#[test]
fn a_set_deleted_in_the_foreground_goes_after_its_pods() {
    let story = "
        set replicas=2 parallel
        ready web-0 web-1
        delete-set foregroundDeletion
        finish web-0
        finish web-1
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > set replicas=2 parallel
    create revision r1
    create pod/web-0 of r1
    create pod/web-1 of r1
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      = 2 pods, 0 ready, 2 of r1
    > ready web-0 web-1
      = 2 pods, 2 ready, 2 of r1
    > delete-set foregroundDeletion
    delete pod/web-0
    delete pod/web-1
    delete revision r1
    gone revision r1
      BeingDeleted: it is being deleted: its pods go with it, and its claims only where the retention policy says so
      = 2 pods, 2 ready, 0 of r1
    > finish web-0
    gone pod/web-0
      BeingDeleted: it is being deleted: its pods go with it, and its claims only where the retention policy says so
      = 1 pods, 1 ready, 0 of r1
    > finish web-1
    gone pod/web-1
      no set
    "#);
}

#[test]
fn a_set_deleted_with_orphan_leaves_its_pods_to_the_next_set() {
    let story = "
        set replicas=2 parallel claims
        ready web-0 web-1
        delete-set orphan
        set replicas=2 parallel claims
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > set replicas=2 parallel claims
    create revision r1
    create claim/data-web-0
    create pod/web-0 of r1
    create claim/data-web-1
    create pod/web-1 of r1
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      = 2 pods, 0 ready, 2 of r1
    > ready web-0 web-1
      = 2 pods, 2 ready, 2 of r1
    > delete-set orphan
    set owners of pod/web-0
    set owners of pod/web-1
    set owners of revision r1
      no set
    > set replicas=2 parallel claims
    set owners of pod/web-0
    set owners of pod/web-1
    set owners of revision r1
      = 2 pods, 2 ready, 2 of r1
    "#);
}

#[test]
fn history_is_cut_to_its_limit() {
    let story = "
        set replicas=1 history=1
        ready web-0
        image web:2
        finish web-0
        ready web-0
        image web:3
        finish web-0
        ready web-0
        image web:4
        finish web-0
        ready web-0
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > set replicas=1 history=1
    create revision r1
    create pod/web-0 of r1
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > ready web-0
      = 1 pods, 1 ready, 1 of r1
    > image web:2
    create revision r2
    delete pod/web-0
      PredecessorTerminating: statefulset/web waits until web-0 is gone, which is terminating
      = 1 pods, 1 ready, 0 of r1, 0 of r2
    > finish web-0
    gone pod/web-0
    create pod/web-0 of r2
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      = 1 pods, 0 ready, 0 of r1, 1 of r2
    > ready web-0
      = 1 pods, 1 ready, 1 of r2
    > image web:3
    create revision r3
    delete pod/web-0
      PredecessorTerminating: statefulset/web waits until web-0 is gone, which is terminating
      = 1 pods, 1 ready, 0 of r2, 0 of r3
    > finish web-0
    gone pod/web-0
    create pod/web-0 of r3
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      = 1 pods, 0 ready, 0 of r2, 1 of r3
    > ready web-0
    delete revision r1
    gone revision r1
      = 1 pods, 1 ready, 1 of r3
    > image web:4
    create revision r4
    delete pod/web-0
      PredecessorTerminating: statefulset/web waits until web-0 is gone, which is terminating
      = 1 pods, 1 ready, 0 of r3, 0 of r4
    > finish web-0
    gone pod/web-0
    create pod/web-0 of r4
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      = 1 pods, 0 ready, 0 of r3, 1 of r4
    > ready web-0
    delete revision r2
    gone revision r2
      = 1 pods, 1 ready, 1 of r4
    "#);
}
