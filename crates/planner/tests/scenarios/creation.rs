//! How pods come to be: in order or all at once, and what keeps them from it.

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
fn a_deleted_pod_comes_back_with_its_claim_once_it_is_really_gone() {
    let story = "
        ~ up replicas=3 claims
        delete web-1
        finish web-1
        ready web-1
    ";
    insta::assert_snapshot!(tell(story), @r#"
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
fn a_failed_pod_is_deleted_and_made_again_and_the_order_resumes() {
    let story = "
        ~ set replicas=2
        fail web-0
        ready web-0
        ready web-1
    ";
    insta::assert_snapshot!(tell(story), @r#"
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
        ~ foreign web-1
        set replicas=2
        ready web-0
        delete web-1
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
        ~ orphan web-0
        ~ ready web-0
        set replicas=1
        finish web-0
        ready web-0
    ";
    insta::assert_snapshot!(tell(story), @r#"
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
        ~ up replicas=1
        label web-0 other
        delete web-0
        finish web-0
    ";
    insta::assert_snapshot!(tell(story), @r#"
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
        ~ up replicas=1 claims
        delete-claim data-web-0
        delete web-0
        finish web-0
        release-claim data-web-0
        ready web-0
    ";
    insta::assert_snapshot!(tell(story), @r#"
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
