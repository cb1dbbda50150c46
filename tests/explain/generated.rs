//! The same over generated clusters: whatever the objects say, packets do what was predicted from them.

use std::{cell::RefCell, env, fmt::Write};

use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::select,
    test_runner::{Config, TestCaseError, TestRunner},
};

use crate::{
    caller::{CLIENT, Caller, OUTSIDE},
    manifests::{Manifests, base},
    packets::{self, Expected, Predicted},
    stage::{Stage, can_run},
};

/// Clusters in a run, unless PROPTEST_CASES says otherwise.
const CASES: u32 = 6;
/// web-1 and web-3 run on node-1, web-2 and web-4 on node-2.
const PODS: [(&str, u8, u8); 4] = [("web-1", 1, 11), ("web-2", 2, 11), ("web-3", 1, 12), ("web-4", 2, 12)];
/// What a slice says of an endpoint: ready, serving, terminating.
type State = (bool, bool, bool);
const STATES: [State; 5] =
    [(true, true, false), (true, true, false), (false, false, false), (false, true, true), (false, false, true)];

/// A Service without a selector, and its slices.
#[derive(Clone, Debug)]
struct Generated {
    kind: &'static str,
    external_ips: bool,
    internal: &'static str,
    external: &'static str,
    affinity: bool,
    ranges: &'static str,
    protocol: &'static str,
    /// Each pod's state and zone hint; `None` is not in the slice
    pods: Vec<Option<(State, Option<&'static str>)>>,
}

fn service() -> impl Strategy<Value = Generated> {
    let policy = || select(vec!["Cluster", "Local"]);
    let ranges = select(vec!["", "", "192.168.49.0/24", "10.244.0.0/16", "203.0.113.0/24, \"fd00:49::/64\""]);
    let hint = option::weighted(0.7, select(vec!["zone-a", "zone-b"]));
    let pods = vec(option::weighted(0.6, (select(STATES.to_vec()), hint)), PODS.len());
    let kind = select(vec!["ClusterIP", "NodePort", "LoadBalancer", "LoadBalancer"]);
    (kind, any::<bool>(), policy(), policy(), proptest::bool::weighted(0.2), ranges, select(vec!["TCP", "UDP"]), pods)
        .prop_map(|(kind, external_ips, internal, external, affinity, ranges, protocol, pods)| Generated {
            kind,
            external_ips,
            internal,
            external,
            affinity,
            ranges,
            protocol,
            pods,
        })
}

impl Generated {
    fn is_external(&self) -> bool {
        self.kind != "ClusterIP" || self.external_ips
    }

    /// The Service with this number, as objects.
    fn text(&self, number: usize) -> String {
        let Generated { kind, internal, external, protocol, .. } = self;
        let mut text = format!(
            "# service shop/gen-{number}\napiVersion: v1\nkind: Service\nmetadata: {{name: gen-{number}, namespace: \
             shop}}\nspec:\n  type: {kind}\n  clusterIP: 10.96.0.{number}\n  clusterIPs: [10.96.0.{number}, \
             \"fd00:96::{number}\"]\n  ipFamilies: [IPv4, IPv6]\n  ipFamilyPolicy: RequireDualStack\n  \
             internalTrafficPolicy: {internal}\n"
        );
        if self.is_external() {
            let _ = writeln!(text, "  externalTrafficPolicy: {external}");
        }
        if self.external_ips {
            let last = 6 + number;
            let _ = writeln!(text, "  externalIPs: [198.51.100.{last}, \"fd00:51::{last}\"]");
        }
        if self.affinity {
            text += "  sessionAffinity: ClientIP\n";
        }
        if *kind == "LoadBalancer" && !self.ranges.is_empty() {
            let _ = writeln!(text, "  loadBalancerSourceRanges: [{}]", self.ranges);
        }
        let node_port = if *kind == "ClusterIP" { String::new() } else { format!(", nodePort: {}", 30080 + number) };
        let _ =
            writeln!(text, "  ports:\n  - {{name: web, protocol: {protocol}, port: 80, targetPort: 8080{node_port}}}");
        if *kind == "LoadBalancer" {
            let last = 126 + number;
            let _ = writeln!(
                text,
                "status: {{loadBalancer: {{ingress: [{{ip: 192.0.2.{last}}}, {{ip: \"fd00:2::{last}\"}}]}}}}"
            );
        }
        text + &self.slice(number, "IPv4") + &self.slice(number, "IPv6")
    }

    fn slice(&self, number: usize, family: &str) -> String {
        let lower = family.to_lowercase();
        let mut text = format!(
            "---\n# slice {family} {number}\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: \
             gen-{number}-{lower}, namespace: shop, labels: {{kubernetes.io/service-name: gen-{number}}}}}\naddressType: \
             {family}\nports: [{{name: web, protocol: {}, port: 8080}}]\nendpoints:\n",
            self.protocol
        );
        let mut any = false;
        for ((pod, node, last), state) in PODS.iter().zip(&self.pods) {
            let Some(((ready, serving, terminating), hint)) = state else { continue };
            let address = match family {
                "IPv4" => format!("10.244.{node}.{last}"),
                _ => format!("\"fd00:10:244:{node}::{last}\""),
            };
            let hint = hint.map(|zone| format!(", hints: {{forZones: [{{name: {zone}}}]}}")).unwrap_or_default();
            let conditions = format!("{{ready: {ready}, serving: {serving}, terminating: {terminating}}}");
            let _ = writeln!(
                text,
                "- {{addresses: [{address}], nodeName: node-{node}, conditions: {conditions}, targetRef: {{kind: Pod, \
                 name: {pod}, namespace: shop}}{hint}}}"
            );
            any = true;
        }
        if any { text } else { text.replace("endpoints:\n", "endpoints: []\n") }
    }

    /// What clients may dial, with the target as the command is told.
    fn frontends(&self, number: usize) -> Vec<String> {
        let mut all = vec![format!("10.96.0.{number}:80"), format!("[fd00:96::{number}]:80")];
        if self.external_ips {
            let last = 6 + number;
            all.extend([format!("198.51.100.{last}:80"), format!("[fd00:51::{last}]:80")]);
        }
        if self.kind == "LoadBalancer" {
            let last = 126 + number;
            all.extend([format!("192.0.2.{last}:80"), format!("[fd00:2::{last}]:80")]);
        }
        if self.kind != "ClusterIP" {
            let port = 30080 + number;
            all.extend([format!("192.168.49.11:{port}"), format!("[fd00:49::11]:{port}")]);
        }
        all
    }
}

fn manifests(services: &[Generated]) -> Manifests {
    let cluster = base().without("service shop/web");
    services.iter().enumerate().fold(cluster, |all, (index, service)| all.and(&service.text(index + 1)))
}

/// Asks everything of everybody.
fn check(stage: &Stage, services: &[Generated]) -> Result<usize, String> {
    stage.write(&manifests(services));
    stage.apply(&[]);
    let mut asked = 0;
    for (index, service) in services.iter().enumerate() {
        for target in service.frontends(index + 1) {
            let outside = if target.starts_with('[') { Caller::Outside(2) } else { OUTSIDE };
            for caller in [CLIENT, Caller::Pod("shop/client-2", 2), Caller::Host(1), outside] {
                let is_node_port = target.contains(":3008");
                // Its answers would come back past the node that translates.
                if is_node_port && caller.node() == 2 {
                    continue;
                }
                question(stage, caller, &format!("{target}/{}", service.protocol), service.affinity)?;
                asked += 1;
            }
        }
    }
    Ok(asked)
}

fn question(stage: &Stage, caller: Caller, target: &str, sticky: bool) -> Result<(), String> {
    let said = caller.said();
    let output = stage.portolan(caller.node(), &["explain", target, "--from", &said, "-o", "json"], &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    let about =
        |wrong: &str| format!("{said} asks {target}: {wrong}\n{text}{}", String::from_utf8_lossy(&output.stderr));
    let answer: serde_json::Value = serde_json::from_str(&text).map_err(|error| about(&error.to_string()))?;
    let predicted = Predicted::parse(&answer["prediction"]);
    let works = predicted.outcome == "answered";
    if output.status.code() != Some(i32::from(!works)) {
        return Err(about(&format!("exit code {:?}", output.status.code())));
    }
    let expected = Expected { caller, decided_by: caller.node(), sticky, partly: false, cause: None };
    packets::compare(stage, packets::frontend(target), &predicted, &expected).map(drop).map_err(|wrong| about(&wrong))
}

#[test]
fn packets_do_what_was_predicted_from_any_objects() {
    if !can_run("packets_do_what_was_predicted_from_any_objects") {
        return;
    }
    let cases = env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    let config = Config { cases, max_shrink_iters: 12, failure_persistence: None, ..Config::default() };
    let stage = RefCell::new(Stage::build());
    let asked = RefCell::new(0);
    let result = TestRunner::new(config).run(&vec(service(), 2), |services| {
        let mut stage = stage.borrow_mut();
        let checked = check(&stage, &services);
        stage.reset();
        *asked.borrow_mut() += checked.map_err(TestCaseError::fail)?;
        Ok(())
    });
    println!("{} questions", asked.borrow());
    result.unwrap_or_else(|error| panic!("{error}"));
}
