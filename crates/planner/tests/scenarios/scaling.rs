//! Growing and shrinking a set.

use crate::script::tell;

#[test]
fn scaling_goes_up_and_down_in_order_and_keeps_every_claim() {
    let story = "
        ~ up replicas=3 claims
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
fn scale_down_waits_for_an_unhealthy_survivor() {
    let story = "
        ~ up replicas=3
        unready web-0
        replicas 1
        ready web-0
        finish web-2
        finish web-1
    ";
    insta::assert_snapshot!(tell(story), @r#"
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
        ~ up replicas=2
        unready web-0
        unready web-1
        replicas 0
        ready web-1
        finish web-1
        finish web-0
    ";
    insta::assert_snapshot!(tell(story), @r#"
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
fn a_scale_down_does_not_wait_for_pods_that_will_never_be_ready() {
    let story = "
        ~ up replicas=3
        ~ unready web-0
        ~ fail web-1
        ~ crash web-2
        replicas 0
        finish web-2
        finish web-0
    ";
    insta::assert_snapshot!(tell(story), @r#"
    > replicas 0
    delete pod/web-2
      CondemnedTerminating: web-1 waits until web-2 is gone, which is terminating
      = 3 pods, 0 ready, 2 of r1
    > finish web-2
    gone pod/web-2
    delete pod/web-1
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
fn raising_the_start_ordinal_takes_the_low_ones_down() {
    let story = "
        ~ up replicas=2 parallel
        start 1
        finish web-0
        ready web-2
    ";
    insta::assert_snapshot!(tell(story), @r#"
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
        ~ up replicas=2 claims when-scaled=Delete
        replicas 1
        finish web-1
        replicas 2
    ";
    insta::assert_snapshot!(tell(story), @r#"
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
