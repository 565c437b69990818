//! Which names are allowed where, in upstream's words
//! (`k8s.io/apimachinery/pkg/util/validation`, `pkg/api/validation/path`, `k8s.io/apiserver/pkg/storage/names`).

/// The longest DNS label, in bytes (RFC 1123).
pub const DNS1123_LABEL_MAX_LENGTH: usize = 63;
/// The longest DNS subdomain, in bytes (RFC 1123).
pub const DNS1123_SUBDOMAIN_MAX_LENGTH: usize = 253;
/// The longest label value, in bytes.
pub const LABEL_VALUE_MAX_LENGTH: usize = 63;
/// The longest name of a port, in bytes (RFC 6335).
pub const PORT_NAME_MAX_LENGTH: usize = 15;

/// The longest name that a generated suffix still fits behind, in bytes.
const MAX_GENERATED_NAME_LENGTH: usize = 63;

const QUALIFIED_NAME: Rule = Rule {
    words: "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
            alphanumeric character",
    regex: "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]",
    examples: &["MyName", "my.name", "123-abc"],
};
const LABEL_VALUE: Rule = Rule {
    words: "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
            must start and end with an alphanumeric character",
    regex: "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
    examples: &["MyValue", "my_value", "12345"],
};
const DNS1123_LABEL: Rule = Rule {
    words: "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
            start and end with an alphanumeric character",
    regex: "[a-z0-9]([-a-z0-9]*[a-z0-9])?",
    examples: &["my-name", "123-abc"],
};
const DNS1123_SUBDOMAIN: Rule = Rule {
    words: "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
            and must start and end with an alphanumeric character",
    regex: r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
    examples: &["example.com"],
};
const DNS1035_LABEL: Rule = Rule {
    words: "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
            alphabetic character, and end with an alphanumeric character",
    regex: "[a-z]([-a-z0-9]*[a-z0-9])?",
    examples: &["my-name", "abc-123"],
};
const ENV_VAR_NAME: Rule = Rule {
    words: "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or \
            '.', and must not start with a digit",
    regex: "[-._a-zA-Z][-._a-zA-Z0-9]*",
    examples: &["my.env-name", "MY_ENV.NAME", "MyEnvName1"],
};
const CONFIG_MAP_KEY: Rule = Rule {
    words: "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    regex: "[-._a-zA-Z0-9]+",
    examples: &["key.name", "KEY_NAME", "key-name"],
};

/// A rule that upstream states as a regular expression: what it says when a name breaks it.
struct Rule {
    words: &'static str,
    regex: &'static str,
    examples: &'static [&'static str],
}

impl Rule {
    fn broken(&self) -> String {
        let examples: Vec<String> = self.examples.iter().map(|e| format!("'{e}', ")).collect();
        format!(
            "{} (e.g. {}regex used for validation is '{}')",
            self.words,
            examples.join(" or "),
            self.regex
        )
    }
}

/// A label of a DNS name: the names of namespaces, containers, volumes and services' pods.
pub fn dns1123_label(value: &str) -> Result<(), String> {
    let mut faults = Faults::default();
    faults.longer_than(value, DNS1123_LABEL_MAX_LENGTH, "characters");
    if !is_dns1123_label(value) {
        // What is a subdomain but not a label has dots.
        faults.add(if is_dns1123_subdomain(value) {
            "must not contain dots".to_owned()
        } else {
            DNS1123_LABEL.broken()
        });
    }
    faults.verdict()
}

/// A DNS name of one or more labels: the names of most objects.
pub fn dns1123_subdomain(value: &str) -> Result<(), String> {
    let mut faults = Faults::default();
    faults.longer_than(value, DNS1123_SUBDOMAIN_MAX_LENGTH, "characters");
    if !is_dns1123_subdomain(value) {
        faults.add(DNS1123_SUBDOMAIN.broken());
    }
    faults.verdict()
}

/// A DNS label that begins with a letter (RFC 1035): the names of services.
pub fn dns1035_label(value: &str) -> Result<(), String> {
    let mut faults = Faults::default();
    faults.longer_than(value, DNS1123_LABEL_MAX_LENGTH, "characters");
    if !(is_dns1123_label(value) && value.starts_with(|c: char| c.is_ascii_lowercase())) {
        faults.add(DNS1035_LABEL.broken());
    }
    faults.verdict()
}

/// A name with an optional DNS subdomain and `/` in front: keys of labels, annotations, finalizers, resources.
pub fn qualified_name(value: &str) -> Result<(), String> {
    let mut faults = Faults::default();
    let mut parts = value.split('/');
    let name = match (parts.next(), parts.next(), parts.next()) {
        (Some(name), None, _) => name,
        (Some(prefix), Some(name), None) => {
            if prefix.is_empty() {
                faults.add("prefix part must be non-empty");
            } else if let Err(why) = dns1123_subdomain(prefix) {
                faults.add(format!("prefix part {why}"));
            }
            name
        }
        _ => {
            return Err(format!(
                "a qualified name {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                QUALIFIED_NAME.broken()
            ));
        }
    };
    if name.is_empty() {
        faults.add("name part must be non-empty");
    } else if name.len() > DNS1123_LABEL_MAX_LENGTH {
        faults.add(format!("name part must be no more than {DNS1123_LABEL_MAX_LENGTH} bytes"));
    }
    if !is_qualified(name) {
        faults.add(format!("name part {}", QUALIFIED_NAME.broken()));
    }
    faults.verdict()
}

/// The value of a label; empty is fine.
pub fn label_value(value: &str) -> Result<(), String> {
    let mut faults = Faults::default();
    faults.longer_than(value, LABEL_VALUE_MAX_LENGTH, "bytes");
    if !(value.is_empty() || is_qualified(value)) {
        faults.add(LABEL_VALUE.broken());
    }
    faults.verdict()
}

/// The name of a container's or a service's port (IANA service names, RFC 6335).
pub fn port_name(value: &str) -> Result<(), String> {
    let mut faults = Faults::default();
    faults.longer_than(value, PORT_NAME_MAX_LENGTH, "characters");
    if value.is_empty() || !value.bytes().all(is_lower_alphanumeric_or_dash) {
        faults.add("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    }
    if !value.bytes().any(|b| b.is_ascii_lowercase()) {
        faults.add("must contain at least one letter (a-z)");
    }
    if value.contains("--") {
        faults.add("must not contain consecutive hyphens");
    }
    if value.starts_with('-') || value.ends_with('-') {
        faults.add("must not begin or end with a hyphen");
    }
    faults.verdict()
}

/// A port's number: 1 to 65535.
pub fn port_number(value: i64) -> Result<(), String> {
    if (1..=65535).contains(&value) {
        Ok(())
    } else {
        Err("must be between 1 and 65535, inclusive".to_owned())
    }
}

/// The name of an environment variable: any printable ASCII but `=`
/// (upstream's `IsRelaxedEnvVarName`, the rule since 1.34).
pub fn env_var_name(value: &str) -> Result<(), String> {
    if value.is_empty() {
        return Err("environment variable name must be non-empty".to_owned());
    }
    if value.chars().all(|c| (' '..='~').contains(&c) && c != '=') {
        return Ok(());
    }
    Err("a valid environment variable name must consist only of printable ASCII characters other than '='"
        .to_owned())
}

/// The name of an environment variable as most programs expect it
/// (upstream's `IsEnvVarName`): keys that `envFrom` turns into variables, `envFrom[].prefix`.
pub fn strict_env_var_name(value: &str) -> Result<(), String> {
    let mut faults = Faults::default();
    let starts_well = value.starts_with(|c: char| !c.is_ascii_digit());
    if !(starts_well && value.bytes().all(is_key_byte)) {
        faults.add(ENV_VAR_NAME.broken());
    }
    faults.climbs(value);
    faults.verdict()
}

/// A key of a ConfigMap or a Secret, which becomes the name of a file.
pub fn config_map_key(value: &str) -> Result<(), String> {
    let mut faults = Faults::default();
    faults.longer_than(value, DNS1123_SUBDOMAIN_MAX_LENGTH, "characters");
    if value.is_empty() || !value.bytes().all(is_key_byte) {
        faults.add(CONFIG_MAP_KEY.broken());
    }
    faults.climbs(value);
    faults.verdict()
}

/// A name that can stand as one segment of a URL's path: the loosest rule that any object's name obeys.
pub fn path_segment_name(value: &str) -> Result<(), String> {
    let mut faults = Faults::default();
    if value == "." || value == ".." {
        return Err(format!("may not be '{value}'"));
    }
    for part in ["/", "%"] {
        if value.contains(part) {
            faults.add(format!("may not contain '{part}'"));
        }
    }
    faults.verdict()
}

/// The name that `metadata.generateName` and five random characters make. A long `base` is cut so that the
/// result stays a DNS label (`k8s.io/apiserver/pkg/storage/names.SimpleNameGenerator`).
pub fn generate_name(base: &str, suffix: &str) -> String {
    let room = MAX_GENERATED_NAME_LENGTH.saturating_sub(suffix.len());
    let mut end = base.len().min(room);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}", &base[..end])
}

/// The alphabet of random suffixes: no vowels and nothing that looks like another character, so that no
/// words arise (`k8s.io/apimachinery/pkg/util/rand`).
pub const SUFFIX_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Everything that is wrong with one name, in upstream's order.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, fault: impl Into<String>) {
        self.0.push(fault.into());
    }

    fn longer_than(&mut self, value: &str, max: usize, unit: &str) {
        if value.len() > max {
            self.add(format!("must be no more than {max} {unit}"));
        }
    }

    /// Names that become files may not lead out of their directory.
    fn climbs(&mut self, value: &str) {
        if value == "." || value == ".." {
            self.add(format!("must not be '{value}'"));
        } else if value.starts_with("..") {
            self.add("must not start with '..'");
        }
    }

    fn verdict(self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0.join("; ")) }
    }
}

fn is_lower_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_lower_alphanumeric_or_dash(byte: u8) -> bool {
    is_lower_alphanumeric(byte) || byte == b'-'
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

fn is_dns1123_label(value: &str) -> bool {
    let bytes = value.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(&first), Some(&last))
        if is_lower_alphanumeric(first) && is_lower_alphanumeric(last))
        && bytes.iter().copied().all(is_lower_alphanumeric_or_dash)
}

fn is_dns1123_subdomain(value: &str) -> bool {
    value.split('.').all(is_dns1123_label)
}

fn is_qualified(value: &str) -> bool {
    let bytes = value.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(first), Some(last))
        if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric())
        && bytes.iter().copied().all(is_key_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rule: fn(&str) -> Result<(), String>, good: &[&str], bad: &[(&str, &str)]) {
        for name in good {
            assert_eq!(rule(name), Ok(()), "{name:?}");
        }
        for (name, why) in bad {
            let said = rule(name).expect_err(name);
            assert!(said.contains(why), "{name:?}: {said}");
        }
    }

    #[test]
    fn dns_names_follow_the_rfcs() {
        let long = "a".repeat(64);
        let longest = "a".repeat(63);
        check(
            dns1123_label,
            &["a", "0", "db-0", &longest],
            &[
                ("", "a lowercase RFC 1123 label must consist"),
                ("a.b", "must not contain dots"),
                ("Db", "lower case alphanumeric"),
                (
                    "-a",
                    "(e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
                ),
                (&long, "must be no more than 63 characters"),
            ],
        );
        check(
            dns1123_subdomain,
            &["a", "a.b", "db-0.database"],
            &[
                ("a..b", "a lowercase RFC 1123 subdomain"),
                (".a", "RFC 1123"),
                (&format!("a{}", ".a".repeat(127)), "must be no more than 253 characters"),
            ],
        );
        check(
            dns1035_label,
            &["a", "db-0"],
            &[("0-db", "DNS-1035 label"), ("", "DNS-1035"), ("a-", "end with")],
        );
    }

    #[test]
    fn keys_and_values_of_labels() {
        check(
            qualified_name,
            &["app", "a.b_c-D", "app.kubernetes.io/name"],
            &[
                ("", "name part must be non-empty; name part must consist of alphanumeric"),
                ("/a", "prefix part must be non-empty"),
                ("a/", "name part must be non-empty"),
                ("A_b/c", "prefix part a lowercase RFC 1123 subdomain"),
                ("a/b/c", "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"),
                (&"a".repeat(64), "name part must be no more than 63 bytes"),
            ],
        );
        check(
            label_value,
            &["", "v1.2_3-4"],
            &[("-a", "a valid label must be an empty string or"), (&"a".repeat(64), "no more than 63 bytes")],
        );
    }

    #[test]
    fn names_of_ports_variables_and_keys() {
        check(
            port_name,
            &["http", "a1", "my-port"],
            &[
                ("", "must contain only alpha-numeric"),
                ("80", "must contain at least one letter"),
                ("a--b", "must not contain consecutive hyphens"),
                ("-a", "must not begin or end with a hyphen"),
                ("much-too-long-name", "must be no more than 15 characters"),
            ],
        );
        check(
            env_var_name,
            &["PATH", "my.env", "1", "a b"],
            &[("", "must be non-empty"), ("A=B", "other than '='")],
        );
        check(
            strict_env_var_name,
            &["PATH", "a.b-c"],
            &[("1A", "must not start with a digit"), ("..", "must not be")],
        );
        check(
            config_map_key,
            &["a.b", ".pgpass", "1"],
            &[
                ("", "a valid config key"),
                ("a/b", "config key"),
                ("..a", "must not start with '..'"),
                (".", "must not be '.'"),
            ],
        );
        check(
            path_segment_name,
            &["system:node", "A B"],
            &[(".", "may not be '.'"), ("a/b", "'/'"), ("a%b", "'%'")],
        );
    }

    #[test]
    fn generated_names_stay_within_a_label() {
        assert_eq!(generate_name("web-", "x4z2b"), "web-x4z2b");
        assert_eq!(generate_name(&"a".repeat(80), "x4z2b"), format!("{}x4z2b", "a".repeat(58)));
        assert_eq!(generate_name("", "x4z2b"), "x4z2b");
    }
}
