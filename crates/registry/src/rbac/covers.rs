//! Whether some rules give everything that others give: nobody hands out more than they have
//! (upstream: `component-helpers/auth/rbac/validation/policy_comparator.go`).

use std::collections::BTreeMap;

use super::rule::{Rule, has, url_matches};

/// What of `wanted` none of `held` gives: rules of one resource or path each.
pub fn uncovered(held: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let parts = wanted.iter().flat_map(break_down);
    let mut merged: BTreeMap<[Vec<String>; 4], Rule> = BTreeMap::new();
    for part in parts.filter(|part| !held.iter().any(|rule| covers(rule, part))) {
        let of = [&part.api_groups, &part.resources, &part.non_resource_urls, &part.resource_names]
            .map(Vec::clone);
        match merged.get_mut(&of) {
            Some(rule) if has(&rule.verbs, &part.verbs[0]) => {}
            Some(rule) => rule.verbs.extend(part.verbs),
            None => drop(merged.insert(of, part)),
        }
    }
    merged.into_values().collect()
}

/// The rule as rules of one verb and one resource or path each.
fn break_down(rule: &Rule) -> Vec<Rule> {
    let mut parts = Vec::new();
    let one = |word: &String| vec![word.clone()];
    for verb in &rule.verbs {
        for url in &rule.non_resource_urls {
            parts.push(Rule { verbs: one(verb), non_resource_urls: one(url), ..Rule::default() });
        }
        for group in &rule.api_groups {
            for resource in &rule.resources {
                let part = Rule {
                    verbs: one(verb),
                    api_groups: one(group),
                    resources: one(resource),
                    ..Rule::default()
                };
                if rule.resource_names.is_empty() {
                    parts.push(part);
                    continue;
                }
                parts.extend(
                    rule.resource_names.iter().map(|name| Rule { resource_names: one(name), ..part.clone() }),
                );
            }
        }
    }
    parts
}

/// Whether `held` gives all of a part that [`break_down`] made.
fn covers(held: &Rule, part: &Rule) -> bool {
    let all = |list: &[String], words: &[String]| words.iter().all(|word| has(list, word));
    all(&held.verbs, &part.verbs)
        && all(&held.api_groups, &part.api_groups)
        && part.resources.iter().all(|wanted| held.resources.iter().any(|r| resource_covers(r, wanted)))
        && (held.resource_names.is_empty()
            || (!part.resource_names.is_empty()
                && part.resource_names.iter().all(|name| held.resource_names.contains(name))))
        && part
            .non_resource_urls
            .iter()
            .all(|wanted| held.non_resource_urls.iter().any(|url| url_matches(url, wanted)))
}

fn resource_covers(held: &str, wanted: &str) -> bool {
    if held == "*" || held == wanted {
        return true;
    }
    let (Some(part), Some((_, wanted_part))) = (held.strip_prefix("*/"), wanted.split_once('/')) else {
        return false;
    };
    part == wanted_part
}
