//! The manifests of a situation: a cluster that works, and what is changed in it.

/// The cluster that works: Service shop/web on 10.96.0.1 and fd00:96::1, its pods web-1 on node-1 and web-2 on node-2, and
/// clients that are no endpoints. Each object begins with a line that names it.
const BASE: &str = include_str!("base.yaml");

/// YAML documents, each found by its first line, such as `# service shop/web`.
#[derive(Clone)]
pub struct Manifests(Vec<String>);

/// The cluster that works.
pub fn base() -> Manifests {
    Manifests(BASE.split("---\n").map(str::to_owned).collect())
}

/// The same, with node port 30080.
pub fn node_port() -> Manifests {
    base().web("type: ClusterIP", "type: NodePort").web("port: 80,", "port: 80, nodePort: 30080,")
}

/// The same, with the load-balancer addresses 192.0.2.127 and fd00:2::127.
pub fn load_balancer() -> Manifests {
    let addresses = "{ip: 192.0.2.127}, {ip: \"fd00:2::127\"}";
    let status = format!("status: {{loadBalancer: {{ingress: [{addresses}]}}}}\n");
    node_port().web("type: NodePort", "type: LoadBalancer").append("service shop/web", &status)
}

/// No load balancer yet.
pub fn pending() -> Manifests {
    node_port().web("type: NodePort", "type: LoadBalancer")
}

/// A Service without a selector, and what somebody wrote in place of its endpoints.
pub fn without_selector(endpoints: &str) -> Manifests {
    base().web("  selector: {app: web}\n", "").web("targetPort: http", "targetPort: 8080").and(endpoints)
}

impl Manifests {
    /// Changes Service shop/web.
    #[track_caller]
    pub fn web(self, from: &str, to: &str) -> Self {
        self.change("service shop/web", from, to)
    }

    /// Changes both of the Service's pods.
    #[track_caller]
    pub fn pods(self, from: &str, to: &str) -> Self {
        self.change("pod shop/web-1", from, to).change("pod shop/web-2", from, to)
    }

    /// Replaces every `from` in one object; there must be one.
    #[track_caller]
    pub fn change(mut self, which: &str, from: &str, to: &str) -> Self {
        let text = self.find(which);
        assert!(text.contains(from), "{which} has no {from:?}");
        *text = text.replace(from, to);
        self
    }

    /// Adds lines at the end of one object.
    #[track_caller]
    pub fn append(mut self, which: &str, lines: &str) -> Self {
        self.find(which).push_str(lines);
        self
    }

    /// Leaves an object out.
    #[track_caller]
    pub fn without(mut self, which: &str) -> Self {
        self.find(which);
        self.0.retain(|text| !is(text, which));
        self
    }

    /// Adds objects.
    pub fn and(mut self, text: &str) -> Self {
        self.0.extend(text.split("---\n").map(str::to_owned));
        self
    }

    /// A copy of the Service under another name, with these cluster IPs.
    #[track_caller]
    pub fn copy_of_web(mut self, name: &str, cluster_ips: [&str; 2]) -> Self {
        let text = self.find("service shop/web").replace("service shop/web", &format!("service shop/{name}"));
        let text = text.replace("name: web\n", &format!("name: {name}\n"));
        self.0.push(text.replace("10.96.0.1", cluster_ips[0]).replace("fd00:96::1", cluster_ips[1]));
        self
    }

    /// All of it as one file.
    pub fn text(&self) -> String {
        self.0.join("---\n")
    }

    #[track_caller]
    fn find(&mut self, which: &str) -> &mut String {
        self.0.iter_mut().find(|text| is(text, which)).unwrap_or_else(|| panic!("there is no {which}"))
    }
}

fn is(text: &str, which: &str) -> bool {
    text.lines().next() == Some(&format!("# {which}"))
}
