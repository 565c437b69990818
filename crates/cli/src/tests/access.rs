use super::harness::Stead;

#[tokio::test]
async fn roles_are_made_from_flags_and_asked_about() {
    let stead = Stead::start().await;
    let made = stead.run(&["create", "role", "r", "--verb=get,list", "--resource=pods,pods/log,sts"]).await;
    assert_eq!(made.out, "role.rbac.authorization.k8s.io/r created\n", "{}", made.err);
    let rules = stead.run(&["get", "role", "r", "-o", "jsonpath={.rules}"]).await.out;
    assert_eq!(
        rules,
        "[{\"apiGroups\":[\"\"],\"resources\":[\"pods\",\"pods/log\"],\"verbs\":[\"get\",\"list\"]},\
         {\"apiGroups\":[\"apps\"],\"resources\":[\"statefulsets\"],\"verbs\":[\"get\",\"list\"]}]"
    );
    let bind = ["create", "rolebinding", "b", "--role=r", "--user=ada", "--serviceaccount=default:robot"];
    assert_eq!(stead.run(&bind).await.out, "rolebinding.rbac.authorization.k8s.io/b created\n");

    let yes = stead.run(&["auth", "can-i", "list", "sts", "--as=ada"]).await;
    assert_eq!((yes.out.as_str(), yes.code), ("yes\n", 0), "{}", yes.err);
    let no = stead.run(&["auth", "can-i", "delete", "pods/x", "--as=ada"]).await;
    assert_eq!((no.out.as_str(), no.code), ("no\n", 1));
    let part =
        ["auth", "can-i", "get", "pods", "--subresource=log", "--as=system:serviceaccount:default:robot"];
    assert_eq!(stead.run(&part).await.out, "yes\n");
    let path = stead.run(&["auth", "can-i", "get", "/metrics", "--as=ada", "-q"]).await;
    assert_eq!((path.out.as_str(), path.code), ("", 1));
    let wide = stead.run(&["auth", "can-i", "list", "pods", "-A", "--as=ada"]).await;
    assert_eq!((wide.out.as_str(), wide.code), ("no\n", 1));

    let nobody = stead.run(&["create", "rolebinding", "c", "--role=r", "--clusterrole=r"]).await;
    assert_ne!(nobody.code, 0);
}

#[tokio::test]
async fn one_learns_who_one_is_and_gets_tokens() {
    let stead = Stead::start().await;
    let admin = stead.run(&["auth", "whoami"]).await.out;
    assert_eq!(
        admin,
        "ATTRIBUTE   VALUE\nUsername    stead-admin\nGroups      [system:masters system:authenticated]\n"
    );
    stead.run(&["create", "serviceaccount", "robot"]).await;
    let token = stead.run(&["create", "token", "robot", "--duration=1h"]).await;
    assert_eq!(token.out.trim().split('.').count(), 3, "{}", token.err);
    let short = stead.run(&["create", "token", "robot", "--duration=1m"]).await;
    assert!(short.err.contains("may not specify a duration less than 10 minutes"), "{}", short.err);
}
