package chart

import (
	"fmt"
	"testing"
)

// The central DNS reads names and nothing else, and has no right to the node.
func TestTheCentralDnsHasTheLeastRights(t *testing.T) {
	for corefile, pods := range map[string]bool{
		"": false,
		".:53 {\n kubernetes cluster.local {\n  pods verified\n }\n}": true,
	} {
		r := mustRender(t, "dns.mode", "central", "dns.corefile", corefile)
		want := []string{"services,namespaces list,watch", "endpointslices list,watch"}
		if pods {
			want = append(want, "pods list,watch")
		}
		var got []string
		for _, rule := range r.object(t, "ClusterRole/portolan-dns")["rules"].([]any) {
			rule := object(rule.(map[string]any))
			got = append(got, fmt.Sprintf("%s %s", join(rule["resources"]), join(rule["verbs"])))
		}
		expect(t, "rules", got, want)
		pod := object(r.object(t, "Deployment/portolan-dns").at("spec", "template", "spec").(map[string]any))
		expect(t, "account", pod["serviceAccountName"], "portolan-dns")
		expect(t, "hostNetwork", pod["hostNetwork"], nil)
		expect(t, "dnsPolicy", pod["dnsPolicy"], "Default")
		expect(t, "capabilities", pod.at("containers", 0, "securityContext", "capabilities"),
			map[string]any{"drop": []any{"ALL"}, "add": []any{"NET_BIND_SERVICE"}})
	}
}

// A node may read Pods only where names of pods are verified.
func TestNodesReadPodsOnlyToVerifyThem(t *testing.T) {
	verified := ".:53 {\n kubernetes cluster.local {\n  pods  verified\n }\n}"
	for _, c := range []struct {
		pairs []any
		want  bool
	}{
		{[]any{"dns.mode", "off", "dns.corefile", verified}, false},
		{[]any{"dns.mode", "local"}, false},
		{[]any{"dns.mode", "local", "dns.corefile", verified}, true},
		{[]any{"dns.mode", "local", "dns.corefileConfigMap", "coredns"}, true},
		{[]any{"dns.mode", "central", "dns.corefile", verified}, false},
	} {
		found := false
		for _, rule := range mustRender(t, c.pairs...).object(t, "ClusterRole/portolan")["rules"].([]any) {
			found = found || join(rule.(map[string]any)["resources"]) == "pods"
		}
		expect(t, fmt.Sprint(c.pairs), found, c.want)
	}
}

func TestWhatTheDnsIsTold(t *testing.T) {
	dns := []any{"--corefile", "/etc/coredns/Corefile", "--dns-service", "kube-system/kube-dns"}
	node := append([]any{"run", "--config", "/etc/portolan/config.yaml", "--node", "$(PORTOLAN_NODE)", "--dns", "local"}, dns...)
	central := append([]any{"dns", "--apiserver", "https://192.0.2.10:6443"}, dns...)
	central = append(central, "--dns-snapshot-file=/var/lib/portolan/names")
	r := mustRender(t, "dns.mode", "local", "dns.central.withLocal", true)
	expect(t, "a node", container(t, r)["args"], node)
	expect(t, "central", r.object(t, "Deployment/portolan-dns").at("spec", "template", "spec", "containers", 0, "args"), central)

	r = mustRender(t, "dns.mode", "central", "dns.snapshot", false)
	expect(t, "a node that does not answer", container(t, r)["args"], node[:5])
	expect(t, "central", r.object(t, "Deployment/portolan-dns").at("spec", "template", "spec", "containers", 0, "args"),
		append(central[:7:7], "--dns-snapshot-file="))
}

// Each form has its Corefile where its arguments say.
func TestTheCorefileIsMounted(t *testing.T) {
	for name, want := range map[string]string{"": "portolan-dns", "coredns": "coredns"} {
		r := mustRender(t, "dns.mode", "local", "dns.central.withLocal", true, "dns.corefileConfigMap", name)
		for _, key := range []string{"DaemonSet/portolan", "Deployment/portolan-dns"} {
			pod := object(r.object(t, key).at("spec", "template", "spec").(map[string]any))
			volumes := map[string]any{}
			for _, volume := range pod["volumes"].([]any) {
				volumes[object(volume.(map[string]any))["name"].(string)] = object(volume.(map[string]any)).at("configMap", "name")
			}
			expect(t, key, volumes["corefile"], want)
			mounts := map[string]any{}
			for _, mount := range pod.at("containers", 0, "volumeMounts").([]any) {
				mounts[mount.(map[string]any)["name"].(string)] = mount.(map[string]any)["mountPath"]
			}
			expect(t, key+" Corefile", mounts["corefile"], "/etc/coredns")
			_, kept := mounts["names"]
			expect(t, key+" snapshot", kept, key == "Deployment/portolan-dns")
		}
		_, own := r.objects["ConfigMap/portolan-dns"]
		expect(t, "a Corefile of our own", own, name == "")
	}
}

// Prometheus finds the central DNS where there is one, and takes nodes for nothing else.
func TestTheCentralDnsIsScraped(t *testing.T) {
	monitored := []any{"metrics.expose", true, "metrics.serviceMonitor.enabled", true}
	r := mustRender(t, append([]any{"dns.mode", "central"}, monitored...)...)
	service, monitor := r.object(t, "Service/portolan-dns-metrics"), r.object(t, "ServiceMonitor/portolan-dns")
	pod := object(r.object(t, "Deployment/portolan-dns").at("spec", "template").(map[string]any))
	for key, value := range service.at("spec", "selector").(map[string]any) {
		expect(t, "a pod's label "+key, pod.at("metadata", "labels", key), value)
	}
	for key, value := range monitor.at("spec", "selector", "matchLabels").(map[string]any) {
		expect(t, "the Service's label "+key, service.at("metadata", "labels", key), value)
	}
	name := "app.kubernetes.io/name"
	expect(t, "nodes", r.object(t, "ServiceMonitor/portolan").at("spec", "selector", "matchLabels", name), "portolan")
	expect(t, "not a node", service.at("metadata", "labels", name), "portolan-dns")

	for _, pairs := range [][]any{append([]any{"dns.mode", "local"}, monitored...), {"dns.mode", "central", "metrics.expose", true}} {
		_, there := mustRender(t, pairs...).objects["Service/portolan-dns-metrics"]
		expect(t, fmt.Sprint(pairs), there, false)
	}
}
