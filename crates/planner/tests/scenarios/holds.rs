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
    insta::assert_snapshot!(tell(story), @"");
}

#[test]
fn reserving_an_ordinal_later_takes_that_one_pod_away_once_another_stands_in() {
    let story = "
        ~ set replicas=3 claims
        ~ ready web-0
        ~ ready web-1
        ~ ready web-2
        reserve 1
        ready web-3
        finish web-1
        reserve 7
        ready web-1
        finish web-3
    ";
    insta::assert_snapshot!(tell(story), @"");
}

#[test]
fn a_partition_counts_replicas_where_ordinals_are_reserved() {
    let story = "
        ~ set replicas=3 reserve=1,2 partition=2 parallel
        ~ ready web-0 web-3 web-4
        image web:2
    ";
    insta::assert_snapshot!(tell(story), @"");
}

#[test]
fn a_pause_stops_a_rollout_where_it_is_and_pods_keep_their_revision() {
    let story = "
        ~ set replicas=4
        ~ ready web-0
        ~ ready web-1
        ~ ready web-2
        ~ ready web-3
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
    insta::assert_snapshot!(tell(story), @"");
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
    insta::assert_snapshot!(tell(story), @"");
}
