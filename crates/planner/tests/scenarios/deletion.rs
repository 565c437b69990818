//! Deleting a set, and what stays.

use crate::script::tell;

#[test]
fn claims_go_with_the_set_when_the_policy_says_so() {
    let story = "
        ~ up replicas=1 claims when-deleted=Delete
        delete-set
        finish web-0
    ";
    insta::assert_snapshot!(tell(story), @r#"
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
        ~ up replicas=1 claims
        delete-set
        finish web-0
        set replicas=1 claims
        ready web-0
    ";
    insta::assert_snapshot!(tell(story), @r#"
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
        ~ up replicas=2 parallel
        delete-set foregroundDeletion
        finish web-0
        finish web-1
    ";
    insta::assert_snapshot!(tell(story), @r#"
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
        ~ up replicas=2 parallel claims
        delete-set orphan
        set replicas=2 parallel claims
    ";
    insta::assert_snapshot!(tell(story), @r#"
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
