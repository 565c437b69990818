//! The environment that a container's program finds beyond what it was given.

/// What every container finds in its environment if nobody says otherwise: containerd's `WithDefaultPathEnv`,
/// CRI's HOSTNAME, runc's HOME, TERM with a terminal.
pub(super) fn complete_env(given: &[String], home: Option<&str>, hostname: &str, tty: bool) -> Vec<String> {
    let mut env = given.to_vec();
    add_unless_there(&mut env, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    add_unless_there(&mut env, "HOSTNAME", hostname);
    if tty {
        add_unless_there(&mut env, "TERM", "xterm");
    }
    add_unless_there(&mut env, "HOME", home.unwrap_or("/"));
    env
}

/// Adds `name=value` unless `name` is there.
pub(super) fn add_unless_there(env: &mut Vec<String>, name: &str, value: &str) {
    let there = env.iter().any(|e| e.split_once('=').is_some_and(|(n, _)| n == name));
    if !there {
        env.push(format!("{name}={value}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_completed_but_never_overruled() {
        let given = ["FOO=1".to_owned(), "HOME=/srv".to_owned()];
        assert_eq!(
            complete_env(&given, Some("/root"), "db-0", true),
            [
                "FOO=1",
                "HOME=/srv",
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "HOSTNAME=db-0",
                "TERM=xterm",
            ]
        );
        assert_eq!(
            complete_env(&["PATH=/b".to_owned()], None, "x", false),
            ["PATH=/b", "HOSTNAME=x", "HOME=/"]
        );
    }
}
