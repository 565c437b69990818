//! `v1` ServiceAccount.

use jiff::Timestamp;
use serde_json::Value;

use crate::kind::{Column, Kind, Scope, Strategy, Subresource};
use crate::print::{self, AGE, NAME, column};
use crate::value::items;

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "ServiceAccount",
    plural: "serviceaccounts",
    singular: "serviceaccount",
    short_names: &["sa"],
    categories: &[],
    scope: Scope::Namespaced,
    subresources: &[Subresource::Token],
    ephemeral: false,
    late_status: false,
    has_generation: false,
    strategy: &Rules,
};

const COLUMNS: &[Column] = &[NAME, column("Secrets", "string", "How many secrets the account names."), AGE];

/// Upstream: `ValidateServiceAccount`, which checks the metadata only.
struct Rules;

impl Strategy for Rules {
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, account: &Value, now: Timestamp) -> Vec<Value> {
        vec![print::name(account), items(&account["secrets"]).len().into(), print::age(account, now)]
    }
}
