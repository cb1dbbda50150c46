use ipnet::IpNet;

use super::pool::{Pool, Value};
use crate::{
    controlplane::{Options, validate::is_headless},
    model::{Family, IpRange, Located, parse_range},
    objects::{Object, ServiceSpec},
};

/// kubeadm's service network, used when nobody names one.
const DEFAULT_SERVICE_CIDR: (&str, Family) = ("10.96.0.0/12", Family::V4);

/// Where cluster IPs are allocated from if nobody names a service network.
pub fn default_service_cidr() -> Option<IpNet> {
    DEFAULT_SERVICE_CIDR.0.parse().ok()
}

/// Where everything is allocated from.
pub(super) struct Networks {
    /// The service networks that were named, in order
    given: Vec<IpNet>,
    cluster: PerFamily,
    load_balancer: PerFamily,
    /// Node ports
    pub ports: Pool,
}

impl Networks {
    pub fn new(options: &Options, objects: &[Located]) -> Self {
        let mut given = options.service_cidrs.clone();
        for located in objects {
            if let Object::ServiceCidr(cidr) = &located.object {
                given.extend(cidr.spec.cidrs.iter().filter_map(|range| parse_range(range)));
            }
        }
        let default = default_service_cidr().filter(|_| given.is_empty());
        let of = |family: Family| {
            let nets = given.iter().copied().chain(default).filter(move |net| Family::of(net.addr()) == family);
            Pool::cluster_ips(nets)
        };
        Self {
            cluster: PerFamily::new(of),
            load_balancer: load_balancer_pools(options),
            ports: Pool::node_ports(*options.node_port_range.start(), *options.node_port_range.end()),
            given,
        }
    }

    /// The pool of a family's cluster IPs; empty if the cluster has no service network of that family.
    pub fn cluster_ips(&self, family: Family) -> &Pool {
        self.cluster.of(family)
    }

    /// The pool of a family's load-balancer addresses.
    pub fn load_balancer_ips(&self, family: Family) -> &Pool {
        self.load_balancer.of(family)
    }

    /// The family of a Service that does not choose.
    pub fn default_family(&self) -> Family {
        self.given.first().map_or(DEFAULT_SERVICE_CIDR.1, |net| Family::of(net.addr()))
    }

    /// Checks a cluster IP that a manifest asks for. It must lie in a service network of its family, if one was named;
    /// unlike an allocated one it may be the first address, which is that of the Service `kubernetes`.
    pub fn check_cluster_ip(&self, value: Value) -> Result<(), String> {
        let Value::ClusterIp(ip) = value else { return Ok(()) };
        let nets: Vec<_> = self.given.iter().filter(|net| Family::of(net.addr()) == Family::of(ip)).collect();
        let is_special = |net: &IpNet| ip == net.network() || (ip.is_ipv4() && ip == net.broadcast());
        match nets.iter().find(|net| net.contains(&ip)) {
            Some(net) if is_special(net) => Err(format!("{ip} is an end of the service network {net}; choose another")),
            None if !nets.is_empty() => {
                let nets: Vec<_> = nets.iter().map(ToString::to_string).collect();
                Err(format!("{ip} is outside the service network {} (--service-cidr, ServiceCIDR)", nets.join(", ")))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The IP families of a Service, in order: the API server's rules (KEP-563), with one exception. While nobody has
    /// named a service network, families that need no allocation (explicit cluster IPs, headless Services) are taken
    /// as they come: the objects may be those of any cluster.
    pub fn families(&self, spec: &ServiceSpec) -> Result<Vec<Family>, (String, String)> {
        let headless = is_headless(spec);
        let mut explicit = Vec::new();
        if !headless {
            explicit.extend(spec.cluster_ips.iter().filter_map(|ip| super::address(ip)).map(Family::of));
        }
        let mut families: Vec<Family> = spec.ip_families.iter().map(|name| family(name)).collect();
        families.extend(explicit.iter().skip(families.len()));
        let selectorless = headless && spec.selector.is_empty();
        let dual = match spec.ip_family_policy.as_deref() {
            None | Some("") => selectorless,
            Some(policy) => policy != "SingleStack",
        };
        if families.len() == 2 && !dual {
            let reason = "two families or cluster IPs need PreferDualStack or RequireDualStack";
            return Err(("spec.ipFamilyPolicy".into(), reason.into()));
        }
        if families.is_empty() {
            families.push(self.default_family());
        }
        let available = |family: Family| {
            selectorless || !self.cluster_ips(family).is_empty() || (headless && self.given.is_empty())
        };
        let other = if families[0] == Family::V4 { Family::V6 } else { Family::V4 };
        if dual && families.len() == 1 && available(other) {
            families.push(other);
        }
        let wrong = families.iter().enumerate().find(|(i, family)| *i >= explicit.len() && !available(**family));
        if let Some((i, family)) = wrong {
            return Err((format!("spec.ipFamilies[{i}]"), no_network(*family)));
        }
        if spec.ip_family_policy.as_deref() == Some("RequireDualStack") && families.len() == 1 {
            return Err(("spec.ipFamilyPolicy".into(), no_network(other)));
        }
        Ok(families)
    }
}

/// A pool for each family of the addresses that load balancers may have.
pub(super) fn load_balancer_pools(options: &Options) -> PerFamily {
    let of = |family: Family| {
        let is_of = move |range: &IpRange| Family::of(range.first) == family;
        Pool::load_balancer_ips(options.load_balancer_pool.iter().copied().filter(is_of))
    };
    PerFamily::new(of)
}

/// One pool for each family.
pub(super) struct PerFamily {
    v4: Pool,
    v6: Pool,
}

impl PerFamily {
    fn new(pool: impl Fn(Family) -> Pool) -> Self {
        Self { v4: pool(Family::V4), v6: pool(Family::V6) }
    }

    pub fn of(&self, family: Family) -> &Pool {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

fn no_network(family: Family) -> String {
    format!("there is no {family} service network to allocate from; name one with --service-cidr")
}

/// The family that a valid entry of `ipFamilies` names.
fn family(name: &str) -> Family {
    if name == "IPv6" { Family::V6 } else { Family::V4 }
}
