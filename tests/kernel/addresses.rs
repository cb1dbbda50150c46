//! Interface addresses, and word of their changes.

use std::time::Duration;

use portolan::kernel::addresses::{AddressWatch, InterfaceAddresses};
use tokio::{runtime::Builder, time::timeout};

use crate::namespace::{in_namespace, ip, run};

fn in_runtime(test: impl Future<Output = ()>) {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

/// Two interfaces, `one` and `two`, by their numbers 10 and 20.
fn set_up() {
    run("ip", &["link", "add", "one", "index", "10", "type", "veth", "peer", "name", "two", "index", "20"]);
    for name in ["one", "two"] {
        run("ip", &["link", "set", name, "addrgenmode", "eui64", "up"]);
    }
}

fn add(address: &str, device: &str) {
    let mut arguments = vec!["address", "add", address, "dev", device];
    if address.contains(':') {
        arguments.push("nodad");
    }
    run("ip", &arguments);
}

#[test]
fn loopback_and_link_local_addresses_are_left_out() {
    in_namespace(|| {
        in_runtime(async {
            let watch = AddressWatch::open().unwrap();
            assert_eq!(watch.read().await.unwrap(), InterfaceAddresses::default());
            set_up();
            add("10.0.0.99/32", "lo");
            add("192.168.2.1/24", "two");
            add("192.168.1.1/24", "one");
            add("192.168.1.2/24", "one");
            add("fd00:1::1/64", "one");
            run("ip", &["address", "add", "172.16.0.1", "peer", "172.16.0.2", "dev", "two"]);
            let mut wanted =
                ["192.168.1.1", "192.168.1.2", "fd00:1::1", "192.168.2.1", "172.16.0.1", "10.0.0.99"].map(ip);
            let found = watch.read().await.unwrap();
            assert_eq!(found.preferred, [ip("192.168.1.1"), ip("fd00:1::1")], "no default route: the first interface");
            let mut found = found.all;
            assert_eq!(found.first(), Some(&ip("192.168.1.1")), "in the order of interfaces");
            assert_eq!(found.last(), Some(&ip("10.0.0.99")), "the loopback interface last");
            found.sort();
            wanted.sort();
            assert_eq!(found, wanted);
        });
    });
}

#[test]
fn the_default_route_decides_which_address_is_preferred() {
    in_namespace(|| {
        in_runtime(async {
            set_up();
            for (address, device) in
                [("192.168.1.1/24", "one"), ("fd00:1::1/64", "one"), ("192.168.2.1/24", "two"), ("fd00:2::1/64", "two")]
            {
                add(address, device);
            }
            add("192.168.2.9/24", "two");
            run("ip", &["route", "add", "default", "via", "192.168.2.254", "src", "192.168.2.9"]);
            run("ip", &["-6", "route", "add", "default", "via", "fd00:2::fe"]);
            let watch = AddressWatch::open().unwrap();
            assert_eq!(watch.read().await.unwrap().preferred, [ip("192.168.2.9"), ip("fd00:2::1")]);
            run("ip", &["-4", "route", "delete", "default"]);
            assert_eq!(watch.read().await.unwrap().preferred, [ip("192.168.1.1"), ip("fd00:2::1")]);
        });
    });
}

#[test]
fn changes_are_told_at_once_and_once() {
    in_namespace(|| {
        in_runtime(async {
            set_up();
            let mut watch = AddressWatch::open().unwrap();
            for (change, address) in [("add", "192.168.1.1/24"), ("add", "fd00:1::1/64"), ("delete", "192.168.1.1/24")]
            {
                run("ip", &["address", change, address, "dev", "one"]);
                timeout(Duration::from_secs(5), watch.changed()).await.expect("a change").unwrap();
                let found = watch.read().await.unwrap().all;
                let address = ip(address.split('/').next().unwrap());
                assert_eq!(found.contains(&address), change == "add", "{change} {address}");
                while timeout(Duration::from_millis(200), watch.changed()).await.is_ok() {} // e.g. duplicate detection
            }
        });
    });
}
