//! `acl`: who may ask what (2.5).

use std::net::IpAddr;

use domain::base::Rtype;

use super::lies_in_any;
use crate::config::dns::{AclAction, AclRule};

/// What is done with a query for `name` from `source`: what the first rule that matches says, else it is allowed.
pub fn decide(rules: &[AclRule], name: &[u8], qtype: Rtype, source: IpAddr) -> AclAction {
    let source = source.to_canonical();
    let matches = |rule: &&AclRule| {
        (rule.types.is_empty() || rule.types.contains(&qtype))
            && (rule.nets.is_empty() || rule.nets.iter().any(|net| net.contains(&source)))
            && (rule.zones.is_empty() || lies_in_any(name, &rule.zones))
    };
    rules.iter().find(matches).map_or(AclAction::Allow, |rule| rule.action)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::dns::corefile::name;

    fn rule(action: AclAction, zones: &[&str], types: &[Rtype], nets: &[&str]) -> AclRule {
        AclRule {
            zones: zones.iter().map(|zone| name(zone).unwrap()).collect(),
            action,
            types: types.to_vec(),
            nets: nets.iter().map(|net| net.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rules = [
            rule(AclAction::Allow, &[], &[], &["192.168.1.0/24", "fd00::/8"]),
            rule(AclAction::Filter, &["a.example"], &[Rtype::AAAA], &[]),
            rule(AclAction::Drop, &[], &[Rtype::ANY], &[]),
            rule(AclAction::Block, &[], &[], &["192.168.0.0/16"]),
        ];
        let decide =
            |n: &str, qtype, source: &str| decide(&rules, name(n).unwrap().as_slice(), qtype, source.parse().unwrap());
        assert_eq!(decide("a.example", Rtype::AAAA, "192.168.1.9"), AclAction::Allow);
        assert_eq!(decide("x.a.example", Rtype::AAAA, "192.168.2.9"), AclAction::Filter);
        assert_eq!(decide("b.example", Rtype::AAAA, "::ffff:192.168.2.9"), AclAction::Block);
        assert_eq!(decide("b.example", Rtype::ANY, "10.0.0.1"), AclAction::Drop);
        assert_eq!(decide("b.example", Rtype::A, "10.0.0.1"), AclAction::Allow);
        assert_eq!(decide("b.example", Rtype::A, "fd01::1"), AclAction::Allow);
    }
}
