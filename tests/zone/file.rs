use std::sync::Arc;

use portolan::zone::{
    Found, Kind, State,
    file::{FileError, decode, encode},
};
use serde_json::json;

use crate::make::*;

fn written() -> Vec<u8> {
    let mut builder = builder();
    for object in [
        service("shop/web", json!({"clusterIPs": ["10.96.20.1", "fd00:96::1"], "ports": http(80)})),
        slice("shop/web/w", http(8080), json!([of_pod("10.0.0.1", "web-a"), hosted("10.0.0.2", "h")])),
        service("shop/alias", json!({"type": "ExternalName", "externalName": "API.Example"})),
        service("kube-system/kube-dns", json!({"clusterIP": "10.96.0.10"})),
    ] {
        builder.put(&object);
    }
    encode(&builder.publish(State::Synced, 42), 1_700_000_000)
}

#[test]
fn what_is_read_is_what_was_written() {
    let bytes = written();
    let mut own = options();
    own.ttl = 30;
    let saved = decode(&bytes, Arc::new(own)).unwrap();
    let snapshot = saved.snapshot;
    assert_eq!((saved.written_at, snapshot.serial(), snapshot.state()), (1_700_000_000, 42, State::Stale));
    assert_eq!(snapshot.options().ttl, 30, "the reader's own");
    assert_eq!(look(&snapshot, "web.shop.svc"), "service 10.96.20.1 fd00:96::1");
    assert_eq!(look(&snapshot, "web-a.web.shop.svc"), "endpoint 10.0.0.1");
    assert_eq!(srv(&snapshot, "web-a.web.shop.svc"), "100 10-0-0-1:8080");
    assert_eq!(names(&snapshot, "10.0.0.2"), ["h.web.shop.svc"]);
    assert_eq!(text(&snapshot.name_server().wire()), "kube-dns.kube-system.svc");
    let Found::Service(alias) = snapshot.find(&wire("alias.shop.svc")) else { panic!() };
    assert_eq!(alias.kind(), &Kind::Alias("API.Example".parse().unwrap()));
    assert_eq!(encode(&snapshot, 1_700_000_000), bytes);
}

#[test]
fn no_damage_goes_unseen() {
    let bytes = written();
    let options = Arc::new(options());
    for end in 0..bytes.len() {
        assert!(decode(&bytes[..end], options.clone()).is_err(), "cut at {end}");
        for bit in [0x01, 0x20, 0x80] {
            let mut damaged = bytes.clone();
            damaged[end] ^= bit;
            assert!(decode(&damaged, options.clone()).is_err(), "{bit:#x} at {end}");
        }
    }
    let longer = [&bytes[..], b" "].concat();
    assert_eq!(decode(&longer, options.clone()).unwrap_err(), FileError::Damaged);
    assert_eq!(decode(b"portolan-names 2 00", options).unwrap_err(), FileError::Format);
}

#[test]
fn other_options_make_other_names() {
    let mut own = options();
    own.namespaces = vec!["data".into()];
    assert_eq!(decode(&written(), Arc::new(own)).unwrap_err(), FileError::Options);
}
