//! The fixed program of the redirect of cluster DNS to this node.

use super::{Program, program::Choice};
use crate::model::Family;

/// The program as it stands in `rules/`, embedded at build time.
const IPV4: &str = include_str!("../../rules/dns-ipv4.nft");
const IPV6: &str = include_str!("../../rules/dns-ipv6.nft");

/// The name of the redirect's tables, one in family `ip` and one in `ip6`.
pub const DNS_TABLE: &str = "portolan-dns";

/// The marks of packets that the redirect knows, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedirectMarks {
    /// Set by the program in queries for this node, and by the process on the sockets that it answers and asks itself
    /// with: such packets are not tracked, and the routing rule finds the address local
    pub local: u32,
    /// Set by the process on sockets whose queries must not come back to it: to whom the Service names
    pub bypass: u32,
}

/// The marks in `rules/`: bits 12 and 6.
///
/// Others have, of 32 bits: kube-proxy 14 and 15, the CNI plugin portmap 13, Cilium 8 to 11, Calico 16 to 31, the AWS
/// CNI 7.
impl Default for RedirectMarks {
    fn default() -> Self {
        Self { local: 1 << 12, bypass: 1 << 6 }
    }
}

impl RedirectMarks {
    /// Whether another mark, such as the one that asks for masquerading, has a bit of these.
    pub fn collide(self, other: u32) -> bool {
        (self.local | self.bypass) & other != 0
    }
}

impl Program {
    /// The program of the redirect.
    pub fn redirect(family: Family, marks: RedirectMarks) -> Self {
        let source = match family {
            Family::V4 => IPV4,
            Family::V6 => IPV6,
        };
        let RedirectMarks { local, bypass } = RedirectMarks::default();
        let mut text = String::with_capacity(source.len());
        for line in source.lines().filter(|line| !line.starts_with('#')) {
            let words = line.split(' ').map(|word| match u32::from_str_radix(word.trim_start_matches("0x"), 16) {
                Ok(mark) if word.starts_with("0x") && mark == local => format!("{:#010x}", marks.local),
                Ok(mark) if word.starts_with("0x") && mark == bypass => format!("{:#010x}", marks.bypass),
                _ => word.to_owned(),
            });
            text.push_str(&words.collect::<Vec<_>>().join(" "));
            text.push('\n');
        }
        Self::of_text(family, DNS_TABLE, text.trim_start(), Choice::only_mark(marks.local))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_families_run_one_redirect() {
        let mut translated = IPV4.replace("IPv4", "IPv6").replace("ipv4.nft", "ipv6.nft");
        for (ipv4, ipv6) in [("table ip ", "table ip6 "), ("ip saddr", "ip6 saddr"), ("ip daddr", "ip6 daddr")] {
            translated = translated.replace(ipv4, ipv6);
        }
        assert_eq!(translated, IPV6, "rules/dns-ipv6.nft is rules/dns-ipv4.nft with ip read as ip6");
    }

    #[test]
    fn marks_change_only_themselves() {
        let default = Program::redirect(Family::V4, RedirectMarks::default());
        assert_eq!(default.text.matches("0x00001000").count(), 5);
        let other = Program::redirect(Family::V4, RedirectMarks { local: 0x40, bypass: 0x80 });
        let back = other.text.replace("0x00000040", "0x00001000").replace("0x00000080", "0x00000040");
        assert_eq!(back.replace(&other.fingerprint, &default.fingerprint), default.text);
        assert_eq!(default.own_chains().collect::<Vec<_>>(), ["prerouting", "output", "questions", "deliver", "hold"]);
    }
}
