use domain::base::{Rtype, iana::Rcode};

use crate::{
    sandbox::eventually,
    server::{OBJECTS, Server},
};

const NAMES: &str = "kubernetes cluster.local\n  reload 2s 1s";

#[test]
fn a_changed_manifest_is_answered() {
    let server = Server::started(NAMES);
    let address = || server.ask("web.shop.svc.cluster.local", Rtype::A).data;
    assert_eq!(address(), ["10.96.20.1"]);
    server.write("objects/all.yaml", &OBJECTS.replace("10.96.20.1,", "10.96.20.9,"));
    eventually("the new address is answered", || address() == ["10.96.20.9"]);
    server.write(
        "objects/more.yaml",
        "{apiVersion: v1, kind: Service, metadata: {name: new, namespace: other}, spec: \
         {clusterIP: 10.96.20.77, ports: [{port: 80}]}}",
    );
    eventually("a new Service is answered", || {
        server.ask("new.other.svc.cluster.local", Rtype::A).data == ["10.96.20.77"]
    });
    std::fs::remove_file(server.path("objects/more.yaml")).unwrap();
    eventually("the Service is gone, and its namespace", || {
        server.ask("other.svc.cluster.local", Rtype::A).rcode == Rcode::NXDOMAIN
    });
    // A file that cannot be read takes nothing away.
    server.write("objects/all.yaml", "kind: [");
    eventually("it is told", || server.log().contains("all.yaml"));
    assert_eq!(address(), ["10.96.20.9"]);
}

#[test]
fn a_bad_configuration_leaves_the_old_one_and_a_good_one_takes_its_place() {
    let server = Server::started(NAMES);
    server.corefile(&format!("{NAMES}\n  nonsense"));
    eventually("the failure is counted", || server.metric("coredns_reload_failed_total") == Some(1.0));
    assert!(server.log().contains("nonsense"), "{}", server.log());
    assert_eq!(server.ask("web.shop.svc.cluster.local", Rtype::A).data, ["10.96.20.1"]);
    // Other names: these are made anew. Another block, another socket.
    let more =
        format!("kubernetes cluster.test\n  reload 2s 1s\n}}\nmore.test:{} {{\n any", crate::server::free_port());
    server.corefile(&more);
    eventually("the new zone is answered", || server.ask("web.shop.svc.cluster.test", Rtype::A).data == ["10.96.20.1"]);
    assert_eq!(server.ask("web.shop.svc.cluster.local", Rtype::A).rcode, Rcode::REFUSED);
    assert_eq!(server.metric("coredns_reload_failed_total"), Some(1.0), "a bad one counts once");
    server.write("objects/all.yaml", &OBJECTS.replace("10.96.20.1,", "10.96.20.9,"));
    eventually("changes are followed", || server.ask("web.shop.svc.cluster.test", Rtype::A).data == ["10.96.20.9"]);
}

#[test]
fn names_go_with_their_block_wherever_it_stands() {
    let server = Server::started(NAMES);
    let text = std::fs::read_to_string(server.path("Corefile")).unwrap();
    let first = format!("first.test:{} {{\n  hosts {{\n    192.0.2.7 a.first.test\n  }}\n}}\n", server.port);
    server.write("Corefile", &format!("{first}{text}"));
    eventually("a block before is answered", || server.ask("a.first.test", Rtype::A).data == ["192.0.2.7"]);
    let address = || server.ask("web.shop.svc.cluster.local", Rtype::A).data;
    assert_eq!(address(), ["10.96.20.1"]);
    server.write("objects/all.yaml", &OBJECTS.replace("10.96.20.1,", "10.96.20.9,"));
    eventually("changes are followed", || address() == ["10.96.20.9"]);
    server.write("Corefile", &text);
    eventually("the block is gone", || server.ask("a.first.test", Rtype::A).rcode == Rcode::REFUSED);
    assert_eq!(address(), ["10.96.20.9"]);
    assert!(!server.log().contains("reading all objects"), "{}", server.log());
}

#[test]
fn names_that_cannot_take_over_leave_the_others_alive() {
    let server = Server::started(NAMES);
    // Other objects, and an address that somebody has.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let choosing = "kubernetes cluster.local {\n    namespaces other\n  }\n  reload 2s 1s";
    server.corefile(&format!("{choosing}\n}}\nmore.test:{port} {{\n  bind 127.0.0.1\n  any"));
    eventually("the failure is counted", || server.metric("coredns_reload_failed_total") == Some(1.0));
    let address = || server.ask("web.shop.svc.cluster.local", Rtype::A).data;
    assert_eq!(address(), ["10.96.20.1"]);
    server.write("objects/all.yaml", &OBJECTS.replace("10.96.20.1,", "10.96.20.9,"));
    eventually("changes are followed", || address() == ["10.96.20.9"]);
    server.corefile(choosing);
    eventually("other names take over", || server.ask("web.shop.svc.cluster.local", Rtype::A).rcode == Rcode::NXDOMAIN);
    server.corefile(NAMES);
    eventually("and the first ones again", || address() == ["10.96.20.9"]);
}

#[test]
fn the_address_that_clients_ask_is_no_upstream() {
    let server = Server::started(&format!("{NAMES}\n  forward . 10.96.0.10"));
    assert!(!server.log().contains("cluster's DNS"), "{}", server.log());
    server.write(
        "objects/dns.yaml",
        "{apiVersion: v1, kind: Service, metadata: {name: kube-dns, namespace: kube-system}, spec: \
         {clusterIP: 10.96.0.10, ports: [{port: 53}]}}",
    );
    eventually("it is told", || server.log().contains("it is the address of the cluster's DNS"));
}

#[test]
fn what_cannot_be_started_with_is_told() {
    let mut server = Server::new("nonsense");
    server.start();
    eventually("it ends", || server.process.as_mut().unwrap().ended());
    assert!(server.log().contains("nonsense"), "{}", server.log());
}
