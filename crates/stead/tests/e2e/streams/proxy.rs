//! The API as a way to what pods and services serve.

use k8s_openapi::api::core::v1::Service;

use super::*;

const SERVE: &str = "mkdir -p /www/dir; echo hello > /www/index.html; exec httpd -f -p 8080 -h /www";

#[test]
fn the_api_s_proxy_reaches_pods_and_services() {
    let home = Home::new("streams-proxy");
    let mut web = pod("web", SERVE, json!({"ports": [{"containerPort": 8080}]}));
    web["spec"]["containers"][0]["readinessProbe"] = json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1});
    start(&home, web);
    home.create::<Service>(json!({"metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}}));
    home.wait(
        "jsonpath={.endpoints[0].conditions.ready}=true",
        "endpointslice -l kubernetes.io/service-name=web",
    );
    let base = format!("/api/v1/namespaces/{}", home.namespace());
    let ask = |path: &str| {
        let request = http::Request::get(format!("{base}/{path}")).body(Vec::new()).expect("a request");
        home.wait_for(home.api().request_text(request))
    };
    for place in ["pods/web", "pods/http:web:8080", "services/web:http", "services/web:80"] {
        let said =
            ask(&format!("{place}/proxy/index.html")).unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(said, "hello\n", "{place}");
    }
    let refused = ask("pods/web:9/proxy/").expect_err("nobody listens").to_string();
    assert!(
        refused.contains("error trying to reach service: dial tcp") && refused.contains("refused"),
        "{refused}"
    );
    let refused = ask("services/web:81/proxy/").expect_err("no such port").to_string();
    assert!(refused.contains("no service port 81 found for service \"web\""), "{refused}");
}
