//! Rolling a template out, and back.

use crate::script::tell;

#[test]
fn an_update_rolls_from_the_last_to_the_first_each_waiting_for_the_one_before() {
    let story = "
        ~ up replicas=3
        image web:2
        finish web-2
        ready web-2
        finish web-1
        ready web-1
        finish web-0
        ready web-0
    ";
    insta::assert_snapshot!(tell(story), @r#"
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
        ~ up replicas=3 partition=2
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
        ~ up replicas=2 on-delete
        image web:2
        delete web-1
        finish web-1
        ready web-1
        delete web-0
        finish web-0
        ready web-0
    ";
    insta::assert_snapshot!(tell(story), @r#"
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
        ~ up replicas=2
        image web:2
        finish web-1
        image web:1
        ready web-1
        finish web-1
        ready web-1
    ";
    insta::assert_snapshot!(tell(story), @r#"
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
fn parallel_sets_still_update_one_at_a_time() {
    let story = "
        ~ up replicas=3 parallel
        image web:2
        finish web-2
        ready web-2
    ";
    insta::assert_snapshot!(tell(story), @r#"
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
        ~ up replicas=4 max-unavailable=2
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
        ~ set replicas=3 parallel
        ~ ready web-0 web-2
        image web:2
        finish web-1
        ready web-1
        finish web-2
    ";
    insta::assert_snapshot!(tell(story), @r#"
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
fn a_pod_stuck_in_a_bad_rollout_is_replaced_when_the_template_is_mended() {
    let story = "
        ~ up replicas=2
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
        ~ set replicas=2
        ~ ready web-0
        image web:2
        ready web-1
        finish web-1
    ";
    insta::assert_snapshot!(tell(story), @r#"
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
fn history_is_cut_to_its_limit() {
    let story = "
        ~ up replicas=1 history=1
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

#[test]
fn without_order_a_missing_pod_is_made_at_the_revision_that_it_is_to_have() {
    let story = "
        ~ up replicas=3 parallel bare
        ~ image web:2
        ~ delete web-0
        finish web-0
        ready web-0
        finish web-2
        ready web-2
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > finish web-0
    gone pod/web-0
    create pod/web-0 of r2
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      PredecessorTerminating: statefulset/web waits until web-2 is gone, which is terminating
      UpdateWaitsForReady: web-1 is updated once web-2 is available
      = 3 pods, 2 ready, 1 of r1, 1 of r2
    > ready web-0
      PredecessorTerminating: statefulset/web waits until web-2 is gone, which is terminating
      UpdateWaitsForReady: web-1 is updated once web-2 is available
      = 3 pods, 3 ready, 1 of r1, 1 of r2
    > finish web-2
    gone pod/web-2
    create pod/web-2 of r2
      PredecessorNotReady: statefulset/web waits until web-2 is Ready
      UpdateWaitsForReady: web-1 is updated once web-2 is available
      = 3 pods, 2 ready, 1 of r1, 2 of r2
    > ready web-2
    delete pod/web-1
      PredecessorTerminating: statefulset/web waits until web-1 is gone, which is terminating
      = 3 pods, 3 ready, 0 of r1, 2 of r2
    "#);
}
