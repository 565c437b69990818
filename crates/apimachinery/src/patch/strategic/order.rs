//! The order of a merged list: the patch's items in the patch's order, the server's own in the server's, and
//! the two interleaved as the server had them, as far as it knew both.

use serde_json::Value;

use super::identity;

/// What tells the items apart, in their order.
pub(super) fn identities<'a>(items: &'a [Value], merge_key: Option<&str>) -> Vec<&'a Value> {
    items.iter().filter_map(|item| identity(item, merge_key)).collect()
}

pub(super) fn in_order(
    items: Vec<Value>,
    patch_order: &[&Value],
    server_order: &[&Value],
    merge_key: Option<&str>,
) -> Vec<Value> {
    let position = |order: &[&Value], item: &Value| {
        let id = identity(item, merge_key)?;
        order.iter().position(|other| *other == id)
    };
    let mut patched: Vec<(usize, Value)> = Vec::new();
    let mut server_only: Vec<(Option<usize>, Value)> = Vec::new();
    for item in items {
        match position(patch_order, &item) {
            Some(at) => patched.push((at, item)),
            None => server_only.push((position(server_order, &item), item)),
        }
    }
    patched.sort_by_key(|(at, _)| *at);
    server_only.sort_by_key(|(at, _)| at.unwrap_or(usize::MAX));

    let mut ordered = Vec::with_capacity(patched.len() + server_only.len());
    let mut server_only = server_only.into_iter().peekable();
    for (_, item) in patched {
        let here = position(server_order, &item);
        while let Some((_, ours)) =
            server_only.next_if(|(at, _)| matches!((at, here), (Some(at), Some(here)) if *at < here))
        {
            ordered.push(ours);
        }
        ordered.push(item);
    }
    ordered.extend(server_only.map(|(_, ours)| ours));
    ordered
}
