//! The seed, walked from top to bottom: its PostgreSQL StatefulSet, unchanged, with real servers.

use crate::harness::{Client, Stead, Timeline};

/// What a user adds to the seed's manifest: the password and the class of its disks.
const SECRET: &str = "
apiVersion: v1
kind: Secret
metadata: {name: postgres-secret}
stringData: {password: hunter2}
";
const FAST_SSD: &str = "
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: fast-ssd}
provisioner: stead.dev/local
volumeBindingMode: WaitForFirstConsumer
";

#[test]
fn seed_walkthrough() {
    for client in Client::all() {
        println!("the walk, in the words of {client:?}");
        let mut walk = Walk::begin(client);
        walk.three_servers_come_up_in_order();
        walk.two_names_work_from_another_pod();
        walk.a_deleted_pod_comes_back_with_its_disk();
        walk.scaling_is_ordered_and_keeps_claims();
        walk.updates_roll_from_the_highest_down();
        walk.a_partition_holds_the_lower_ordinals_back();
        walk.on_delete_waits_for_a_hand();
        walk.a_deleted_set_leaves_its_data();
        walk.a_crash_in_the_middle_of_a_roll_changes_nothing();
    }
}

struct Walk {
    stead: Stead,
    timeline: Timeline,
}

impl Walk {
    fn begin(client: Client) -> Self {
        let stead = Stead::start("seed-walkthrough", &["postgres", "myapp"]).speaking(client);
        let timeline = Timeline::watch(&stead.kubeconfig());
        Self { stead, timeline }
    }

    /// Runs SQL on a server by name, from the client's pod, once the server takes connections.
    fn sql(&self, server: &str, query: &str) -> String {
        let script = format!(
            "until pg_isready -q -h {server}; do sleep 0.1; done; \
             PGPASSWORD=hunter2 psql -qtA -h {server} -U postgres -c \"{query}\""
        );
        self.stead.shell("app", &script).trim().to_owned()
    }

    fn rolled_out(&self) {
        self.stead.run("rollout status statefulset/postgres --timeout=120s");
    }

    /// The pods that are there, by name.
    fn pods(&self) -> String {
        self.stead.field("pods -l app=postgres", ".items[*].metadata.name")
    }

    fn partition(&self, partition: u32) {
        let strategy = format!(r#"{{"type":"RollingUpdate","rollingUpdate":{{"partition":{partition}}}}}"#);
        let patch = format!(r#"{{"spec":{{"updateStrategy":{strategy}}}}}"#);
        self.stead.run(&format!("patch statefulset postgres -p '{patch}'"));
    }

    fn images(&self) -> String {
        self.stead.field("pods -l app=postgres", ".items[*].spec.containers[0].image")
    }

    fn three_servers_come_up_in_order(&mut self) {
        self.stead.apply(SECRET);
        self.stead.apply(FAST_SSD);
        self.stead.apply_example("postgres.yaml");
        self.rolled_out();
        assert_eq!(
            self.timeline.take(),
            [
                "+postgres-0",
                "postgres-0 ready",
                "+postgres-1",
                "postgres-1 ready",
                "+postgres-2",
                "postgres-2 ready"
            ],
            "each only after its predecessor is Ready"
        );
        let phases = self.stead.field("pvc", ".items[*].status.phase");
        assert_eq!(phases, "Bound Bound Bound");
        let claims = self.stead.field("pvc", ".items[*].metadata.name");
        assert_eq!(claims, "data-postgres-0 data-postgres-1 data-postgres-2");
        let volumes = self.stead.field("pvc", ".items[*].spec.volumeName");
        let different: std::collections::HashSet<&str> = volumes.split(' ').collect();
        assert_eq!(different.len(), 3, "every server has a volume of its own: {volumes}");
    }

    fn two_names_work_from_another_pod(&mut self) {
        self.stead.apply_example("client-pod.yaml");
        self.stead.wait("condition=Ready", "pod/app");
        assert_eq!(
            self.stead.shell("app", "echo $DB_PRIMARY_HOST $DB_REPLICA_HOST").trim(),
            "postgres-0.database postgres-1.database"
        );
        self.sql("postgres-0.database", "create table users(name text)");
        self.sql("postgres-0.database", "insert into users values (0)");
        assert_eq!(self.sql("postgres-0.database", "select name from users"), "0");
        // Three servers that know nothing of each other: the replica has no such table, and is there.
        assert_eq!(self.sql("postgres-1.database.default.svc.cluster.local", "select 1"), "1");
        self.sql("postgres-1.database", "create table users(name text)");
        self.sql("postgres-1.database", "insert into users values (1)");
    }

    fn a_deleted_pod_comes_back_with_its_disk(&mut self) {
        self.timeline.take();
        let uid = |walk: &Self| walk.stead.field("pod postgres-1", ".metadata.uid");
        let volume = |walk: &Self| walk.stead.field("pvc data-postgres-1", ".spec.volumeName");
        let (old, disk) = (uid(self), volume(self));
        self.stead.run("delete pod postgres-1");
        self.rolled_out();
        self.stead.wait("condition=Ready", "pod/postgres-1");
        assert_ne!(uid(self), old, "a new pod");
        assert_eq!(volume(self), disk, "the same disk");
        assert_eq!(self.sql("postgres-1.database", "select name from users"), "1");
        assert_eq!(
            self.timeline.take(),
            ["postgres-1 terminating", "-postgres-1", "+postgres-1", "postgres-1 ready"]
        );
    }

    fn scaling_is_ordered_and_keeps_claims(&mut self) {
        self.stead.run("scale statefulset postgres --replicas=5");
        self.rolled_out();
        assert_eq!(
            self.timeline.take(),
            ["+postgres-3", "postgres-3 ready", "+postgres-4", "postgres-4 ready"]
        );
        self.sql("postgres-4.database", "create table users(name text)");
        self.sql("postgres-4.database", "insert into users values (4)");

        self.stead.run("scale statefulset postgres --replicas=2");
        self.stead.wait("delete", "pod/postgres-2");
        assert_eq!(
            self.timeline.take(),
            [
                "postgres-4 terminating",
                "-postgres-4",
                "postgres-3 terminating",
                "-postgres-3",
                "postgres-2 terminating",
                "-postgres-2"
            ],
            "each fully gone before the next"
        );
        assert_eq!(self.stead.field("pvc", ".items[*].status.phase"), "Bound Bound Bound Bound Bound");

        self.stead.run("scale statefulset postgres --replicas=5");
        self.rolled_out();
        assert_eq!(self.sql("postgres-4.database", "select name from users"), "4");
        self.stead.run("scale statefulset postgres --replicas=3");
        self.stead.wait("delete", "pod/postgres-3");
        self.timeline.take();
    }

    fn updates_roll_from_the_highest_down(&mut self) {
        self.stead.run("set image statefulset/postgres postgres=postgres:15");
        self.rolled_out();
        assert_eq!(
            self.timeline.take(),
            [
                "postgres-2 terminating",
                "-postgres-2",
                "+postgres-2",
                "postgres-2 ready",
                "postgres-1 terminating",
                "-postgres-1",
                "+postgres-1",
                "postgres-1 ready",
                "postgres-0 terminating",
                "-postgres-0",
                "+postgres-0",
                "postgres-0 ready",
            ],
            "each waits for the one before"
        );
        assert_eq!(self.images(), "postgres:15 postgres:15 postgres:15");
        assert_eq!(self.sql("postgres-0.database", "select name from users"), "0");
    }

    fn a_partition_holds_the_lower_ordinals_back(&mut self) {
        self.partition(2);
        self.stead.run("set image statefulset/postgres postgres=postgres:14");
        self.rolled_out();
        assert_eq!(self.images(), "postgres:15 postgres:15 postgres:14");
        self.partition(0);
        self.rolled_out();
        assert_eq!(self.images(), "postgres:14 postgres:14 postgres:14");
        self.timeline.take();
    }

    fn on_delete_waits_for_a_hand(&mut self) {
        self.stead.run(
            r#"patch statefulset postgres --type=merge -p '{"spec":{"updateStrategy":{"type":"OnDelete","rollingUpdate":null}}}'"#,
        );
        self.stead.run("set image statefulset/postgres postgres=postgres:15");
        // The set has seen the new template, and leaves the pods alone.
        let generation = self.stead.field("statefulset postgres", ".metadata.generation");
        self.stead
            .wait(&format!("jsonpath={{.status.observedGeneration}}={generation}"), "statefulset/postgres");
        assert_eq!(self.timeline.take(), [""; 0]);
        self.stead.run("delete pod postgres-2");
        self.stead.wait("condition=Ready", "pod/postgres-2");
        assert_eq!(self.images(), "postgres:14 postgres:14 postgres:15");
        self.stead.run(
            r#"patch statefulset postgres --type=merge -p '{"spec":{"updateStrategy":{"type":"RollingUpdate"}}}'"#,
        );
        self.rolled_out();
        self.timeline.take();
    }

    fn a_deleted_set_leaves_its_data(&mut self) {
        self.stead.run("delete statefulset postgres");
        for pod in ["postgres-0", "postgres-1", "postgres-2"] {
            self.stead.wait("delete", &format!("pod/{pod}"));
        }
        assert_eq!(self.pods(), "");
        assert_eq!(self.stead.field("pvc", ".items[*].status.phase"), "Bound Bound Bound Bound Bound");
        self.stead.apply_example("postgres.yaml");
        self.rolled_out();
        assert_eq!(self.sql("postgres-0.database", "select name from users"), "0");
        assert_eq!(self.sql("postgres-1.database", "select name from users"), "1");
        self.timeline.take();
    }

    fn a_crash_in_the_middle_of_a_roll_changes_nothing(&mut self) {
        self.partition(2);
        self.stead.run("set image statefulset/postgres postgres=postgres:15");
        self.rolled_out();
        // One of three is replaced; the rest of the roll has just begun when stead dies.
        self.partition(0);
        self.stead.kill();
        self.stead.up();
        self.timeline = Timeline::watch(&self.stead.kubeconfig());
        self.rolled_out();
        assert_eq!(self.images(), "postgres:15 postgres:15 postgres:15");
        assert_eq!(self.sql("postgres-0.database", "select name from users"), "0");
        let seen = self.timeline.take();
        for pod in ["postgres-0", "postgres-1", "postgres-2"] {
            let made = seen.iter().filter(|what| **what == format!("+{pod}")).count();
            assert!(made <= 1, "{pod} was made {made} times: {seen:?}");
        }
        let restarts =
            self.stead.field("pods -l app=postgres", ".items[*].status.containerStatuses[0].restartCount");
        assert_eq!(restarts, "0 0 0", "no server was restarted by the crash of its manager");
    }
}
