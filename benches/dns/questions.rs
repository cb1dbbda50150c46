use std::{fmt::Write, net::IpAddr};

use crate::{
    data::{Data, Kind, NAMESPACES, PORTS, ZONE, cluster_ips, owner, target},
    zonefile::nibbles,
};

/// A name, without the final dot, and a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub name: String,
    pub kind: String,
}

/// The mix: half of it A, a quarter AAAA, one in ten SRV, one in twenty PTR, one in ten for names that are not there.
/// The same every time.
pub fn mix(data: &Data, count: usize) -> Vec<Question> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    (0..count).map(|_| question(data, &mut random)).collect()
}

/// The questions as dnsperf reads them.
pub fn text(questions: &[Question]) -> String {
    questions.iter().fold(String::new(), |mut text, question| {
        let _ = writeln!(text, "{} {}", question.name, question.kind);
        text
    })
}

/// The questions of such a text.
pub fn read(text: &str) -> Vec<Question> {
    let question =
        |line: &str| line.split_once(' ').map(|(name, kind)| Question { name: name.into(), kind: kind.into() });
    text.lines().filter_map(question).collect()
}

fn question(data: &Data, random: &mut Random) -> Question {
    let number = random.below(data.services);
    // What an alias leads to is asked for by address only.
    let real = if Kind::of(number) == Kind::External { target(number) } else { number };
    match random.below(100) {
        0..50 => Question { name: format!("{}.{ZONE}", address_owner(data, number, random)), kind: "A".into() },
        50..75 => Question { name: format!("{}.{ZONE}", owner(number)), kind: "AAAA".into() },
        75..85 => {
            let (port, _) = PORTS[random.below(PORTS.len())];
            Question { name: format!("_{port}._tcp.{}.{ZONE}", owner(real)), kind: "SRV".into() }
        }
        85..90 => Question { name: reverse(address(data, real, random)), kind: "PTR".into() },
        _ => Question { name: missing(number, random), kind: if random.below(2) == 0 { "A" } else { "AAAA" }.into() },
    }
}

/// A Service, or, as often, an endpoint of a headless one.
fn address_owner(data: &Data, number: usize, random: &mut Random) -> String {
    if Kind::of(number) == Kind::Headless && random.below(2) == 0 {
        return format!("{}.{}", data.endpoint_label(number, random.below(data.endpoints)), owner(number));
    }
    owner(number)
}

/// A cluster IP or, as often, the address of an endpoint.
fn address(data: &Data, number: usize, random: &mut Random) -> IpAddr {
    if Kind::of(number) == Kind::Headless || random.below(2) == 0 {
        return data.address(number, random.below(data.endpoints)).into();
    }
    let addresses = cluster_ips(number);
    addresses[random.below(addresses.len())]
}

fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => format!("{}.ip6.arpa", nibbles(v6)),
    }
}

/// What a stub resolver asks on its way through the search path, and a mistyped name.
fn missing(number: usize, random: &mut Random) -> String {
    let here = format!("shop-{}.svc.{ZONE}", random.below(NAMESPACES));
    match random.below(5) {
        0 => format!("{}.{ZONE}.{here}", owner(number)),
        1 => format!("{}.{here}", owner(number)),
        2 => format!("www.site-{number}.example.com.{here}"),
        3 => format!("www.site-{number}.example.com.svc.{ZONE}"),
        _ => format!("wbe-{number}.{here}"),
    }
}

/// A xorshift generator.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % limit as u64).unwrap()
    }
}
