//! What users ask for beyond upstream: ordinals that are left out, and rollouts that are paused.

use crate::script::tell;

#[test]
fn a_reserved_ordinal_is_skipped_and_the_count_stays() {
    let story = "
        set replicas=3 reserve=1 claims
        ready web-0
        ready web-2
        ready web-3
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > set replicas=3 reserve=1 claims
    create revision r1
    create claim/data-web-0
    create pod/web-0 of r1
      PredecessorNotReady: web-2 waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > ready web-0
    create claim/data-web-2
    create pod/web-2 of r1
      PredecessorNotReady: web-3 waits until web-2 is Ready
      = 2 pods, 1 ready, 2 of r1
    > ready web-2
    create claim/data-web-3
    create pod/web-3 of r1
      PredecessorNotReady: statefulset/web waits until web-3 is Ready
      = 3 pods, 2 ready, 3 of r1
    > ready web-3
      = 3 pods, 3 ready, 3 of r1
    "#);
}

#[test]
fn reserving_an_ordinal_later_takes_that_one_pod_away_once_another_stands_in() {
    let story = "
        ~ up replicas=3 claims
        reserve 1
        ready web-3
        finish web-1
        reserve 7
        ready web-1
        finish web-3
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > reserve 1
    create claim/data-web-3
    create pod/web-3 of r1
      PredecessorNotReady: statefulset/web waits until web-3 is Ready
      SurvivorUnhealthy: web-1 goes once web-3, which stays, is available
      = 4 pods, 3 ready, 4 of r1
    > ready web-3
    delete pod/web-1
      CondemnedTerminating: statefulset/web waits until web-1 is gone, which is terminating
      = 4 pods, 4 ready, 3 of r1
    > finish web-1
    gone pod/web-1
      = 3 pods, 3 ready, 3 of r1
    > reserve 7
    create pod/web-1 of r1
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      SurvivorUnhealthy: web-3 goes once web-1, which stays, is available
      = 4 pods, 3 ready, 4 of r1
    > ready web-1
    delete pod/web-3
      CondemnedTerminating: statefulset/web waits until web-3 is gone, which is terminating
      = 4 pods, 4 ready, 3 of r1
    > finish web-3
    gone pod/web-3
      = 3 pods, 3 ready, 3 of r1
    "#);
}

#[test]
fn a_rollout_is_complete_where_fewer_ordinals_are_free_than_wanted() {
    let story = "
        ~ set replicas=3 reserve=1-2147483647
        ~ ready web-0
        image web:2
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
    "#);
}

#[test]
fn a_partition_counts_replicas_where_ordinals_are_reserved() {
    let story = "
        ~ set replicas=3 reserve=1,2 partition=2 parallel
        ~ ready web-0 web-3 web-4
        image web:2
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > image web:2
    create revision r2
    delete pod/web-4
      PredecessorTerminating: statefulset/web waits until web-4 is gone, which is terminating
      PartitionHolds: the partition (2) keeps 2 of 3 pods at their revision; lower spec.updateStrategy.rollingUpdate.partition to update them
      = 3 pods, 3 ready, 2 of r1, 0 of r2
    "#);
}

#[test]
fn a_pause_stops_a_rollout_where_it_is_and_pods_keep_their_revision() {
    let story = "
        ~ up replicas=4
        ~ image web:2
        ~ finish web-3
        ~ ready web-3
        ~ finish web-2
        pause
        ready web-2
        delete web-1
        finish web-1
        ready web-1
        delete web-3
        finish web-3
        ready web-3
        resume
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > pause
      PredecessorNotReady: statefulset/web waits until web-2 is Ready
      Paused: it is paused: 2 of 4 pods are of another revision; to go on, remove the annotation stead.dev/paused
      = 4 pods, 3 ready, 2 of r1, 2 of r2
    > ready web-2
      Paused: it is paused: 2 of 4 pods are of another revision; to go on, remove the annotation stead.dev/paused
      = 4 pods, 4 ready, 2 of r1, 2 of r2
    > delete web-1
    delete pod/web-1
      PredecessorTerminating: statefulset/web waits until web-1 is gone, which is terminating
      Paused: it is paused: 1 of 4 pods are of another revision; to go on, remove the annotation stead.dev/paused
      = 4 pods, 4 ready, 1 of r1, 2 of r2
    > finish web-1
    gone pod/web-1
    create pod/web-1 of r1
      PredecessorNotReady: statefulset/web waits until web-1 is Ready
      Paused: it is paused: 2 of 4 pods are of another revision; to go on, remove the annotation stead.dev/paused
      = 4 pods, 3 ready, 2 of r1, 2 of r2
    > ready web-1
      Paused: it is paused: 2 of 4 pods are of another revision; to go on, remove the annotation stead.dev/paused
      = 4 pods, 4 ready, 2 of r1, 2 of r2
    > delete web-3
    delete pod/web-3
      PredecessorTerminating: statefulset/web waits until web-3 is gone, which is terminating
      Paused: it is paused: 2 of 4 pods are of another revision; to go on, remove the annotation stead.dev/paused
      = 4 pods, 4 ready, 2 of r1, 1 of r2
    > finish web-3
    gone pod/web-3
    create pod/web-3 of r2
      PredecessorNotReady: statefulset/web waits until web-3 is Ready
      Paused: it is paused: 2 of 4 pods are of another revision; to go on, remove the annotation stead.dev/paused
      = 4 pods, 3 ready, 2 of r1, 2 of r2
    > ready web-3
      Paused: it is paused: 2 of 4 pods are of another revision; to go on, remove the annotation stead.dev/paused
      = 4 pods, 4 ready, 2 of r1, 2 of r2
    > resume
    delete pod/web-1
      PredecessorTerminating: statefulset/web waits until web-1 is gone, which is terminating
      UpdateWaitsForReady: web-0 is updated once web-1 is available
      = 4 pods, 4 ready, 1 of r1, 2 of r2
    "#);
}

#[test]
fn a_paused_set_leaves_even_stuck_pods_alone_but_scales() {
    let story = "
        ~ set replicas=1
        crash web-0
        pause
        image web:2
        replicas 2
        resume
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > crash web-0
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > pause
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      = 1 pods, 0 ready, 1 of r1
    > image web:2
    create revision r2
      PredecessorNotReady: statefulset/web waits until web-0 is Ready
      Paused: it is paused: 1 of 1 pods are of another revision; to go on, remove the annotation stead.dev/paused
      = 1 pods, 0 ready, 1 of r1, 0 of r2
    > replicas 2
      PredecessorNotReady: web-1 waits until web-0 is Ready
      Paused: it is paused: 1 of 2 pods are of another revision; to go on, remove the annotation stead.dev/paused
      = 1 pods, 0 ready, 1 of r1, 0 of r2
    > resume
    delete pod/web-0
      PredecessorTerminating: web-1 waits until web-0 is gone, which is terminating
      = 1 pods, 0 ready, 0 of r1, 0 of r2
    "#);
}
