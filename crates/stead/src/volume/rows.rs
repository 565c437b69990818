//! Volumes as text.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use apimachinery::quantity::Quantity;
use planner::World;
use planner::volume_binder::inventory::{self, Use};
use serde_json::{Value, json};
use volumes::{Backing, VolumeSpec, Volumes};

/// How to show volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// All of it, for programs
    Json,
    /// Names alone
    Name,
}

/// How a volume is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its object's phase: Bound, Released, Available, Failed.
    Known(String),
    /// Deleted at this time, and not removed yet.
    InTrash(SystemTime),
    /// On disk without an object.
    Found,
    /// On disk; nobody can say more, as stead does not run.
    OnDisk,
    /// Its object is there, and its data is not.
    Missing,
}

/// A volume.
#[derive(Clone, Debug)]
pub(super) struct Row {
    name: String,
    claim: Option<String>,
    set: Option<String>,
    pods: Vec<String>,
    size: Option<u64>,
    used: Option<u64>,
    /// `directory`, `ext4`, `xfs` or `block`.
    backing: &'static str,
    state: State,
}

impl Row {
    fn new(name: &str, spec: Option<&VolumeSpec>, used: Option<u64>, state: State) -> Self {
        Self {
            name: name.to_owned(),
            claim: spec.map(|spec| format!("{}/{}", spec.namespace, spec.claim)),
            set: None,
            pods: Vec::new(),
            size: spec.map(|spec| spec.capacity_bytes),
            used,
            backing: spec.map_or("-", backing),
            state,
        }
    }
}

fn backing(spec: &VolumeSpec) -> &'static str {
    match (spec.backing, spec.fs_type) {
        (Backing::Directory, _) => "directory",
        (Backing::Image, Some(fs_type)) => fs_type.name(),
        (Backing::Image, None) => "block",
    }
}

/// All volumes of the disk, and those that should be there.
pub(super) fn rows(volumes: &Volumes, world: Option<&World>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let on_disk = volumes.list()?;
    for volume in &on_disk {
        let known = world.and_then(|world| inventory::use_of(world, &volume.name));
        let state = match (world, &known) {
            (None, _) => State::OnDisk,
            (_, None) => State::Found,
            (_, Some(known)) => State::Known(known.phase.clone()),
        };
        let mut row = Row::new(&volume.name, volume.spec.as_ref(), volumes.used(&volume.name)?, state);
        if let Some(Use { claim, set, pods, .. }) = known {
            (row.claim, row.set, row.pods) = (claim.or(row.claim), set, pods);
        }
        rows.push(row);
    }
    for trashed in volumes.trash()? {
        let used = volumes.used_in_trash(&trashed);
        rows.push(Row::new(&trashed.name, trashed.spec.as_ref(), Some(used), State::InTrash(trashed.since)));
    }
    if let Some(world) = world {
        let missing = inventory::of_nodes(world).filter(|name| !on_disk.iter().any(|v| v.name == *name));
        for name in missing {
            let mut row = Row::new(name, None, None, State::Missing);
            if let Some(Use { claim, set, pods, .. }) = inventory::use_of(world, name) {
                (row.claim, row.set, row.pods) = (claim, set, pods);
            }
            rows.push(row);
        }
    }
    Ok(rows)
}

/// The volumes as text, with a line break at the end of each line.
pub(super) fn show(rows: &[Row], format: Option<Format>, now: SystemTime) -> String {
    match format {
        None => table(rows, now) + &advice(rows),
        Some(Format::Name) => rows.iter().fold(String::new(), |out, row| out + &row.name + "\n"),
        Some(Format::Json) => {
            let all: Vec<Value> = rows.iter().map(value).collect();
            format!("{:#}\n", Value::from(all))
        }
    }
}

fn value(row: &Row) -> Value {
    let deleted = match row.state {
        State::InTrash(since) => jiff::Timestamp::try_from(since).ok().map(|at| at.to_string()),
        _ => None,
    };
    json!({
        "name": row.name, "claim": row.claim, "set": row.set, "pods": row.pods, "size": row.size,
        "used": row.used, "backing": row.backing, "state": word(&row.state), "deleted": deleted,
    })
}

fn word(state: &State) -> &str {
    match state {
        State::Known(phase) => phase,
        State::InTrash(_) => "InTrash",
        State::Found => "Found",
        State::OnDisk => "OnDisk",
        State::Missing => "Missing",
    }
}

fn table(rows: &[Row], now: SystemTime) -> String {
    let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), human);
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let lines = rows.iter().map(|row| {
        let state = match row.state {
            State::InTrash(since) => format!("InTrash ({} left)", left(since, now)),
            _ => word(&row.state).to_owned(),
        };
        [
            row.name.clone(),
            or_dash(row.claim.as_deref().unwrap_or_default()),
            or_dash(row.set.as_deref().unwrap_or_default()),
            or_dash(&row.pods.join(",")),
            bytes(row.size),
            bytes(row.used),
            row.backing.to_owned(),
            state,
        ]
    });
    let head = ["NAME", "CLAIM", "SET", "POD", "SIZE", "USED", "BACKING", "STATE"].map(str::to_owned);
    let lines: Vec<_> = std::iter::once(head).chain(lines).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let mut out = String::new();
    for line in &lines {
        let padded = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let padded = padded.collect::<Vec<_>>().join("   ");
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{}", padded.trim_end());
    }
    out
}

/// What can be done about those that are not as they should be: a sentence each.
fn advice(rows: &[Row]) -> String {
    let mut out = String::new();
    for row in rows {
        let name = &row.name;
        let said = match row.state {
            State::Found => format!(
                "{name} has no PersistentVolume: `stead volume adopt {name}` gives it back to its claim\n"
            ),
            State::InTrash(_) => {
                format!("{name} is deleted: `stead volume undelete {name}` brings it back\n")
            }
            State::Missing => format!(
                "{name} has a PersistentVolume, but no data on this disk: bring its folder back from a backup\n"
            ),
            State::Known(_) | State::OnDisk => continue,
        };
        out += &said;
    }
    if out.is_empty() { out } else { format!("\n{out}") }
}

/// As quantities are written, to one decimal.
fn human(bytes: u64) -> String {
    let mut suffixes = ["", "Ki", "Mi", "Gi", "Ti", "Pi"].iter();
    let mut scaled = bytes as f64;
    let mut suffix = suffixes.next();
    while scaled >= 1024.0
        && let Some(larger) = suffixes.next()
    {
        scaled /= 1024.0;
        suffix = Some(larger);
    }
    let whole = Quantity::from_bytes(i64::try_from(bytes).unwrap_or(i64::MAX)).to_string();
    let rounded = format!("{scaled:.1}{}", suffix.unwrap_or(&""));
    if whole.len() <= rounded.len() { whole } else { rounded }
}

/// How long a deleted volume stays yet.
fn left(since: SystemTime, now: SystemTime) -> String {
    let left = node::KEEP_TRASH.saturating_sub(now.duration_since(since).unwrap_or(Duration::ZERO));
    let minutes = left.as_secs() / 60;
    if minutes >= 60 { format!("{} h", minutes / 60) } else { format!("{minutes} min") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, state: State) -> Row {
        Row {
            name: name.to_owned(),
            claim: Some("default/data-db-0".to_owned()),
            set: Some("db".to_owned()),
            pods: vec!["db-0".to_owned()],
            size: Some(10 << 30),
            used: Some(1_500_000),
            backing: "ext4",
            state,
        }
    }

    #[test]
    fn whoever_reads_the_list_knows_what_to_do() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100_000);
        let rows = [
            row("pvc-a", State::Known("Bound".to_owned())),
            row("pvc-b", State::InTrash(now - Duration::from_secs(3600))),
            Row { set: None, pods: Vec::new(), size: None, ..row("pvc-c", State::Found) },
            Row { used: None, ..row("pvc-d", State::Missing) },
        ];
        insta::assert_snapshot!(show(&rows, None, now), @r"
        NAME    CLAIM               SET   POD    SIZE   USED    BACKING   STATE
        pvc-a   default/data-db-0   db    db-0   10Gi   1.4Mi   ext4      Bound
        pvc-b   default/data-db-0   db    db-0   10Gi   1.4Mi   ext4      InTrash (23 h left)
        pvc-c   default/data-db-0   -     -      -      1.4Mi   ext4      Found
        pvc-d   default/data-db-0   db    db-0   10Gi   -       ext4      Missing

        pvc-b is deleted: `stead volume undelete pvc-b` brings it back
        pvc-c has no PersistentVolume: `stead volume adopt pvc-c` gives it back to its claim
        pvc-d has a PersistentVolume, but no data on this disk: bring its folder back from a backup
        ");
        assert_eq!(show(&rows[..1], Some(Format::Name), now), "pvc-a\n");
        let parsed: Value = serde_json::from_str(&show(&rows, Some(Format::Json), now)).unwrap();
        assert_eq!(parsed[1]["state"], "InTrash");
        assert_eq!(parsed[1]["deleted"], "1970-01-02T02:46:40Z");
        assert_eq!(parsed[2]["size"], Value::Null);
    }

    #[test]
    fn sizes_are_short_and_true() {
        for (bytes, shown) in
            [(0, "0"), (512, "512"), (1024, "1Ki"), (1536, "1536"), (1_500_000, "1.4Mi"), (10 << 30, "10Gi")]
        {
            assert_eq!(human(bytes), shown);
        }
    }
}
