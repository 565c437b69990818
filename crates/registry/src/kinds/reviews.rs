//! Kinds that are answered and not stored: a client creates one, and gets it back with its status filled in. What
//! they ask and what they may not say stands in `crate::reviews`.

use crate::kind::{Kind, Scope, Strategy};
use crate::reviews::{Answered, Question};

const fn answered(
    group: &'static str,
    names: [&'static str; 3],
    scope: Scope,
    question: Question,
) -> Answered {
    let [kind, plural, singular] = names;
    let kind = Kind {
        group,
        version: "v1",
        kind,
        plural,
        singular,
        short_names: &[],
        categories: &[],
        scope,
        subresources: &[],
        ephemeral: true,
        late_status: false,
        has_generation: false,
        strategy: &Unstored,
    };
    Answered { kind, question }
}

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";

/// Every kind that is answered and not stored, in discovery order.
pub static ANSWERED: &[Answered] = &[
    answered(AUTHENTICATION, ["TokenReview", "tokenreviews", "tokenreview"], Scope::Cluster, Question::Token),
    answered(
        AUTHENTICATION,
        ["SelfSubjectReview", "selfsubjectreviews", "selfsubjectreview"],
        Scope::Cluster,
        Question::WhoAmI,
    ),
    answered(
        AUTHORIZATION,
        ["SubjectAccessReview", "subjectaccessreviews", "subjectaccessreview"],
        Scope::Cluster,
        Question::MayThey,
    ),
    answered(
        AUTHORIZATION,
        ["LocalSubjectAccessReview", "localsubjectaccessreviews", "localsubjectaccessreview"],
        Scope::Namespaced,
        Question::MayThey,
    ),
    answered(
        AUTHORIZATION,
        ["SelfSubjectAccessReview", "selfsubjectaccessreviews", "selfsubjectaccessreview"],
        Scope::Cluster,
        Question::MayI,
    ),
    answered(
        AUTHORIZATION,
        ["SelfSubjectRulesReview", "selfsubjectrulesreviews", "selfsubjectrulesreview"],
        Scope::Cluster,
        Question::WhatMayI,
    ),
];

/// There are no rules for what is never stored.
struct Unstored;

impl Strategy for Unstored {}
