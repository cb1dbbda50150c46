//! What is wrong with a name, asked for by a pod's own resolver.

use crate::{
    caller::Caller,
    manifests::{Manifests, base},
    situation::{Dns, Situation},
};

const VISITOR: Caller = Caller::Pod("other/visitor", 1);

/// The Service without a cluster IP.
pub fn headless() -> Manifests {
    let ips = "  clusterIP: 10.96.0.1\n  clusterIPs: [10.96.0.1, \"fd00:96::1\"]\n";
    base().web(ips, "  clusterIP: None\n  clusterIPs: [None]\n")
}

/// With an alias of db.example.com.
pub fn alias() -> Manifests {
    base().and(
        "# service shop/db\napiVersion: v1\nkind: Service\nmetadata: {name: db, namespace: shop}\nspec: {type: \
         ExternalName, externalName: db.example.com}\n",
    )
}

pub fn situations() -> Vec<Situation> {
    let at = |name, target, asked| Situation::new(name, base()).dns(Dns::Runs).asks_by_name(target, asked, 80);
    let of = |name, manifests: Manifests| {
        Situation::new(name, manifests).dns(Dns::Runs).asks_by_name("web:8080", "web", 8080)
    };
    let not_ready = |manifests: Manifests| manifests.pods("status: \"True\"", "status: \"False\"");
    vec![
        at("name: of another namespace's Service", "web:80", "web")
            .from(VISITOR)
            .fails("other-namespace", &["shop/web", "web.shop"]),
        at("name: with the wrong namespace", "web.other:80", "web.other").fails("other-namespace", &["shop/web"]),
        at("name: misspelt", "wbe:80", "wbe").fails("no-such-service", &["shop/web"]),
        at("name: the namespace misspelt", "web.shp:80", "web.shp")
            .from(VISITOR)
            .fails("other-namespace", &["web.shop"]),
        at("name: misspelt, in full", "wbe.shop.svc.cluster.local:80", "wbe.shop.svc.cluster.local")
            .fails("no-such-service", &["shop/web"]),
        at("name: the cluster domain is another", "web.shop.svc.cluster.lokal:80", "web.shop.svc.cluster.lokal")
            .fails("no-such-service", &["cluster.lokal"]),
        at("name: nobody has anything like it", "payments:80", "payments").fails("no-such-service", &["payments"]),
        Situation::new("name: an alias", alias())
            .dns(Dns::Runs)
            .asks_by_name("db:80", "db", 80)
            .works_but("external-name", &["db.example.com"]),
        of("name: headless, and nobody is ready", not_ready(headless())).fails("not-ready", &["web-1", "web-2"]),
        of("name: headless, and the selector is wrong", headless().web("app: web", "app: wbe"))
            .fails("selector-matches-nothing", &["app=wbe"]),
        at("name: of the world, and the upstream is away", "www.example.com:80", "www.example.com")
            .dns(Dns::WithoutUpstream)
            .live()
            .fails("upstream-dead", &["192.0.2.53"]),
        at("name: nobody answers for names", "web:80", "web").dns(Dns::Dead).live().fails("dns-dead", &["10.96.0.10"]),
    ]
}

/// Names with which nothing is wrong.
pub fn healthy() -> Vec<Situation> {
    let at = |name, target, asked| Situation::new(name, base()).dns(Dns::Runs).asks_by_name(target, asked, 80);
    vec![
        at("name: short, in the same namespace", "web:80", "web"),
        at("name: with the namespace", "web.shop:80", "web.shop").from(VISITOR),
        at("name: in full", "web.shop.svc.cluster.local:80", "web.shop.svc.cluster.local").from(VISITOR),
        at("name: of the world", "www.example.com:80", "www.example.com"),
        Situation::new("name: headless, by the pods' port", headless())
            .dns(Dns::Runs)
            .asks_by_name("web:8080", "web", 8080),
    ]
}
