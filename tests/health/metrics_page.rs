//! docs/metrics.md says what is exported: every name, type, label and meaning, made from a scrape.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use portolan::{
    kernel::Count,
    metrics::{Metrics, Probe, Stage, SyncTimes},
    model::{Family, Frontend, PortId, Protocol, ServiceId},
    tables::Contents,
};

use crate::page::{self, Metric, parse};

/// A scrape after everything happened once.
fn scrape() -> String {
    let metrics = Metrics::new(10);
    metrics.probed(Probe::Healthz, 200);
    metrics.probed(Probe::Livez, 503);
    metrics.queued(2, 3);
    let all = [Stage::Read, Stage::Compile, Stage::Commit, Stage::Conntrack];
    let stages: BTreeMap<Stage, Duration> = all.map(|stage| (stage, Duration::from_millis(3))).into();
    for full in [true, false] {
        metrics.synced(&SyncTimes { total: Duration::from_millis(12), full, stages: stages.clone(), operations: 7 });
    }
    metrics.verified();
    metrics.sync_failed();
    metrics.queued(1, 4);
    metrics.contents(&Contents::default());
    metrics.drift_repaired(Some("nft"));
    metrics.quarantined(1);
    metrics.refused_services(1);
    metrics.tracked(12, 262_144);
    metrics.watch_event("Service");
    metrics.watch_listed("Service");
    metrics.watch_failed("Service");
    for family in Family::ALL {
        metrics.programmed(family, Timestamp::now());
        metrics.programmed(family, Timestamp::UNIX_EPOCH);
        metrics.conntrack_cleaned(family, Duration::from_millis(3), 2);
    }
    let frontend = Frontend { address: [172, 30, 0, 1].into(), protocol: Protocol::Tcp, port: 80 };
    let port = PortId { service: ServiceId::new("shop", "web"), name: "http".into(), protocol: Protocol::Tcp };
    for packets in [5, 9] {
        let count = Count { frontend, dead_end: false, packets, bytes: 540 };
        metrics.traffic(&[count], |_| Some(port.clone()), |_| true);
    }
    metrics.render()
}

#[test]
fn the_page_lists_what_is_exported() {
    let metrics = parse(&scrape());
    assert!(metrics.len() > 30, "only {:?}", metrics.keys());
    for (name, metric) in &metrics {
        assert!(!metric.samples.is_empty(), "{name}: this test does not show its labels");
    }
    page::check("a scrape", &metrics);
}

/// What dashboards and alerts for kube-proxy ask for.
const KUBE_PROXY: [(&str, &str, &[&str]); 16] = [
    ("sync_proxy_rules_duration_seconds", "histogram", &["ip_family"]),
    ("sync_full_proxy_rules_duration_seconds", "histogram", &["ip_family"]),
    ("sync_partial_proxy_rules_duration_seconds", "histogram", &["ip_family"]),
    ("sync_proxy_rules_last_timestamp_seconds", "gauge", &["ip_family"]),
    ("sync_proxy_rules_last_queued_timestamp_seconds", "gauge", &["ip_family"]),
    ("network_programming_duration_seconds", "histogram", &["ip_family"]),
    ("sync_proxy_rules_endpoint_changes_pending", "gauge", &[]),
    ("sync_proxy_rules_endpoint_changes_total", "counter", &[]),
    ("sync_proxy_rules_service_changes_pending", "gauge", &[]),
    ("sync_proxy_rules_service_changes_total", "counter", &[]),
    ("sync_proxy_rules_nftables_sync_failures_total", "counter", &["ip_family"]),
    ("sync_proxy_rules_no_local_endpoints_total", "gauge", &["ip_family", "traffic_policy"]),
    ("proxy_healthz_total", "counter", &["code"]),
    ("proxy_livez_total", "counter", &["code"]),
    ("conntrack_reconciler_sync_duration_seconds", "histogram", &["ip_family"]),
    ("conntrack_reconciler_deleted_entries_total", "counter", &["ip_family"]),
];

#[test]
fn kube_proxys_metrics_keep_names_types_and_labels() {
    let metrics = parse(&scrape());
    for (name, kind, labels) in KUBE_PROXY {
        let metric = metrics.get(&format!("kubeproxy_{name}")).unwrap_or_else(|| panic!("{name} is missing"));
        let found: Vec<&str> = metric.labels.iter().map(String::as_str).filter(|label| *label != "le").collect();
        assert_eq!((metric.kind.as_str(), found.as_slice()), (kind, labels), "{name}");
    }
    let ours = metrics.keys().filter(|name| name.starts_with("kubeproxy_")).count();
    assert_eq!(ours, KUBE_PROXY.len(), "the list above is not complete");
}

fn buckets(metrics: &BTreeMap<String, Metric>, name: &str) -> Vec<f64> {
    let of_v4 = metrics[name].samples.iter().filter(|(series, _)| series.contains("ip_family=\"IPv4\""));
    let limits = of_v4.filter_map(|(series, _)| Some(series.split_once("le=\"")?.1.split_once('"')?.0));
    limits.map(|limit| limit.parse().unwrap()).collect()
}

#[test]
fn kube_proxys_histograms_keep_their_buckets() {
    let text = scrape();
    let metrics = parse(&text);
    let sync = buckets(&metrics, "kubeproxy_sync_proxy_rules_duration_seconds");
    let expected: Vec<f64> = (0..15).map(|n| 0.001 * f64::from(1 << n)).chain([f64::INFINITY]).collect();
    assert_eq!(sync, expected);
    let programming = buckets(&metrics, "kubeproxy_network_programming_duration_seconds");
    let by = |from: u32, to: u32, step: usize| (from..=to).step_by(step).map(f64::from);
    let steps = by(1, 59, 1).chain(by(60, 115, 5)).chain(by(120, 300, 30));
    let expected: Vec<f64> = [0.25, 0.5].into_iter().chain(steps).chain([f64::INFINITY]).collect();
    assert_eq!(programming, expected);
    assert!(text.contains("le=\"60\"") && !text.contains("le=\"60.0\""), "limits are written as Go writes them");
}

#[test]
fn values_are_what_happened() {
    let metrics = parse(&scrape());
    let value = |name: &str, series: &str| {
        let found = metrics[name].samples.iter().find(|(key, _)| key.strip_prefix(name) == Some(series));
        found.unwrap_or_else(|| panic!("{name}{series} is missing: {:?}", metrics[name])).1
    };
    assert_eq!(value("kubeproxy_sync_proxy_rules_service_changes_total", ""), 3.0);
    assert_eq!(value("kubeproxy_sync_proxy_rules_service_changes_pending", ""), 1.0, "two are programmed");
    assert_eq!(value("kubeproxy_sync_proxy_rules_endpoint_changes_pending", ""), 4.0);
    assert_eq!(value("portolan_element_operations_total", ""), 14.0);
    assert_eq!(value("portolan_drift_repairs_total", "{culprit=\"nft\"}"), 1.0);
    let web = "{service_namespace=\"shop\",service_name=\"web\",port_name=\"http\",protocol=\"TCP\"}";
    assert_eq!(value("portolan_service_new_connections_total", web), 4.0, "since this process began");
    assert_eq!(value("portolan_service_unserved_connections_total", web), 0.0);
    assert!(value("process_resident_memory_bytes", "") > 1e6);
    assert!(value("process_open_fds", "") >= 3.0);
    let now = Timestamp::now().as_second() as f64;
    assert!((now - 3600.0..=now + 1.0).contains(&value("process_start_time_seconds", "")));
    let family = "{ip_family=\"IPv6\"}";
    let programming = metrics["kubeproxy_network_programming_duration_seconds"].samples.iter();
    let counted = programming.filter(|(key, _)| key.ends_with(&format!("_count{family}"))).map(|(_, value)| *value);
    assert_eq!(counted.collect::<Vec<_>>(), [1.0], "a change from before the start is left out");
}

#[test]
fn programs_that_name_themselves_cannot_fill_the_memory() {
    let metrics = Metrics::new(0);
    for number in 0..100 {
        metrics.drift_repaired(Some(&format!("program-{number}")));
    }
    metrics.drift_repaired(None);
    let drift = &parse(&metrics.render())["portolan_drift_repairs_total"].samples;
    assert!(drift.len() <= 18, "{drift:?}");
    assert_eq!(drift.iter().map(|(_, count)| count).sum::<f64>(), 101.0);
}
