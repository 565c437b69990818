//! Ports of this machine that lead into a pod.

use std::io::Read;
use std::net::TcpStream;

use kube::api::Api;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Serves a file to its own loopback alone.
const SERVE: &str =
    "mkdir /www; head -c 1000000 /dev/urandom > /www/file; exec httpd -f -p 127.0.0.1:8080 -h /www";

const ASK: &[u8] = b"GET /file HTTP/1.0\r\n\r\n";

fn serve(home: &Home, name: &str) -> Vec<u8> {
    let ports = json!([{"name": "web", "containerPort": 8080}]);
    let mut pod = pod(name, SERVE, json!({"ports": ports}));
    pod["spec"]["containers"][0]["readinessProbe"] = json!({"periodSeconds": 1,
        "exec": {"command": ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/file"]}});
    start(home, pod);
    let file = home.client_of(Client::Stead, &format!("exec {name} -- cat /www/file")).output();
    file.expect("stead runs").stdout
}

fn body(answer: &[u8]) -> &[u8] {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an HTTP answer");
    &answer[end + 4..]
}

#[test]
fn many_connections_at_once_reach_what_listens_on_the_pods_loopback() {
    let home = Home::new("streams-ports");
    let file = serve(&home, "web");
    for way in Way::all() {
        let forward = way.follow(&home, "port-forward pod/web :8080");
        let line = forward.line();
        let port =
            line.strip_prefix("Forwarding from 127.0.0.1:").and_then(|rest| rest.strip_suffix(" -> 8080"));
        let port: u16 = port.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{way:?}: {line}"));
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    let mut connection = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
                    connection.write_all(ASK).expect("written");
                    let mut answer = Vec::new();
                    connection.read_to_end(&mut answer).expect("read");
                    assert!(body(&answer) == file, "{way:?}: {} bytes", answer.len());
                });
            }
        });
    }
}

#[test]
fn kube_rs_forwards_in_channels() {
    let home = Home::new("streams-channels");
    let file = serve(&home, "web");
    let pods: Api<Pod> = home.all();
    home.wait_for(async {
        let mut forward = pods.portforward("web", &[8080, 9]).await.expect("a connection");
        let mut stream = forward.take_stream(8080).expect("a stream");
        let refused = forward.take_error(9).expect("errors");
        stream.write_all(ASK).await.expect("written");
        let mut answer = vec![0; file.len()];
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a head"));
        }
        stream.read_exact(&mut answer).await.expect("read");
        assert!(answer == file);
        let refused = refused.await.expect("a sentence");
        assert!(
            refused.contains("error forwarding port 9 to pod web") && refused.contains("refused"),
            "{refused}"
        );
    });
}

#[test]
fn a_service_s_ports_lead_to_its_pods() {
    let home = Home::new("streams-service");
    let file = serve(&home, "web");
    home.create::<k8s_openapi::api::core::v1::Service>(json!({"metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "web"}]}}));
    let forward = Way { client: Client::Stead, spdy: false }.follow(&home, "port-forward svc/web :80");
    let line = forward.line();
    let port = line.strip_prefix("Forwarding from 127.0.0.1:").and_then(|rest| rest.strip_suffix(" -> 8080"));
    let port: u16 = port.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{line}"));
    let mut connection = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    connection.write_all(ASK).expect("written");
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).expect("read");
    assert!(body(&answer) == file);
    let refusal =
        home.client_of(Client::Stead, "port-forward pod/web 8080:nothing").output().expect("stead runs");
    assert!(text(&refusal.stderr).contains("invalid port \"8080:nothing\""), "{}", text(&refusal.stderr));
}
