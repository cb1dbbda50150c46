package chart

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// What the chart starts is what the end-to-end tests start: `run`, the configuration file and the node's name.
func TestTheArguments(t *testing.T) {
	args := []any{"run", "--config", "/etc/portolan/config.yaml", "--node", "$(PORTOLAN_NODE)"}
	expect(t, "args", container(t, mustRender(t))["args"], args)

	r := mustRender(t, "conntrack.manage", true, "extraArgs", []any{"--own-table"})
	expect(t, "args", container(t, r)["args"], append(args, "--own-table"))
	init := object(r.object(t, "DaemonSet/portolan").at("spec", "template", "spec", "initContainers", 0).(map[string]any))
	expect(t, "init args", init["args"], append(args, "--own-table", "--init-only"))
}

// Whoever is started in the container by `kubectl exec`, such as `portolan explain --live`, answers for the same names.
func TestCommandsBesideTheAgentHaveItsNames(t *testing.T) {
	variables := func(pairs ...any) map[string]any {
		found := map[string]any{}
		for _, variable := range container(t, mustRender(t, pairs...))["env"].([]any) {
			found[variable.(map[string]any)["name"].(string)] = variable.(map[string]any)["value"]
		}
		return found
	}
	plain, names := variables(), variables("dns.mode", "local")
	expect(t, "PORTOLAN_COREFILE", plain["PORTOLAN_COREFILE"], nil)
	expect(t, "PORTOLAN_COREFILE", names["PORTOLAN_COREFILE"], "/etc/coredns/Corefile")
	expect(t, "PORTOLAN_DNS_SERVICE", names["PORTOLAN_DNS_SERVICE"], "kube-system/kube-dns")
}

func TestTheConfiguration(t *testing.T) {
	config := mustRender(t).configuration(t)
	for name, want := range map[string]any{
		"apiserver":                      "https://192.0.2.10:6443",
		"healthzBindAddress":             "0.0.0.0:10256",
		"metricsBindAddress":             "127.0.0.1:10249",
		"oomScoreAdj":                    float64(-997),
		"conntrackMaxPerCore":            float64(0),
		"conntrackTcpTimeoutEstablished": "0s",
		"nodeportAddresses":              []any{"primary"},
		"events":                         true,
		"clusterCidr":                    nil,
		"detectLocalMode":                nil,
		"cleanupKubeProxy":               nil,
	} {
		expect(t, name, config[name], want)
	}

	config = mustRender(t, "apiServer", "https://[2001:db8::1]:6443", "kubeProxy.cleanup", true, "conntrack.manage", true,
		"metrics.expose", true, "config.healthzBindAddress", "[::]:10356", "config.metricsBindAddress", "127.0.0.1:9100",
		"config.clusterCidr", []any{"10.244.0.0/16"}).configuration(t)
	for name, want := range map[string]any{
		"apiserver":                      "https://[2001:db8::1]:6443",
		"healthzBindAddress":             "[::]:10356",
		"metricsBindAddress":             "[::]:9100",
		"conntrackMaxPerCore":            float64(32768),
		"conntrackTcpTimeoutEstablished": "24h",
		"clusterCidr":                    []any{"10.244.0.0/16"},
		"cleanupKubeProxy":               true,
	} {
		expect(t, name, config[name], want)
	}
}

// kube-proxy's ConfigMap is mounted where its own text expects it, and what the chart decides comes by environment.
func TestTheConfigMapOfKubeProxy(t *testing.T) {
	r := mustRender(t, "kubeProxy.configMap", "kube-proxy", "apiServer", "")
	c := container(t, r)
	expect(t, "args", c["args"], []any{"run", "--config", "/var/lib/kube-proxy/config.conf", "--node", "$(PORTOLAN_NODE)"})
	expect(t, "mount", c.at("volumeMounts", 0, "mountPath"), "/var/lib/kube-proxy")
	volume := r.object(t, "DaemonSet/portolan").at("spec", "template", "spec", "volumes", 0, "configMap", "name")
	expect(t, "ConfigMap", volume, "kube-proxy")
	if _, own := r.objects["ConfigMap/portolan"]; own {
		t.Error("there must be no configuration of our own")
	}
	environment := map[string]any{}
	for _, variable := range c["env"].([]any) {
		environment[variable.(map[string]any)["name"].(string)] = variable.(map[string]any)["value"]
	}
	for name, want := range map[string]any{
		"PORTOLAN_HEALTHZ_BIND_ADDRESS":              "0.0.0.0:10256",
		"PORTOLAN_METRICS_BIND_ADDRESS":              "127.0.0.1:10249",
		"PORTOLAN_OOM_SCORE_ADJ":                     "-997",
		"PORTOLAN_CONNTRACK_MAX_PER_CORE":            "0",
		"PORTOLAN_CONNTRACK_TCP_TIMEOUT_CLOSE_WAIT":  "0s",
		"PORTOLAN_CONNTRACK_TCP_BE_LIBERAL":          "false",
		"PORTOLAN_CONNTRACK_TCP_TIMEOUT_ESTABLISHED": "0s",
		"PORTOLAN_APISERVER":                         nil,
	} {
		expect(t, name, environment[name], want)
	}
}

// What is run beside the agent with `kubectl exec` has its environment, and so its settings.
func TestCommandsBesideTheAgentHaveItsSettings(t *testing.T) {
	for configMap, file := range map[string]string{
		"": "/etc/portolan/config.yaml", "kube-proxy": "/var/lib/kube-proxy/config.conf",
	} {
		environment := map[string]object{}
		for _, variable := range container(t, mustRender(t, "kubeProxy.configMap", configMap))["env"].([]any) {
			variable := object(variable.(map[string]any))
			environment[variable["name"].(string)] = variable
		}
		expect(t, "PORTOLAN_CONFIG", environment["PORTOLAN_CONFIG"]["value"], file)
		expect(t, "PORTOLAN_NODE", environment["PORTOLAN_NODE"].at("valueFrom", "fieldRef", "fieldPath"), "spec.nodeName")
	}
}

// The scheduler knows every port of the node that the agent takes.
func TestThePortsAreListed(t *testing.T) {
	ports := func(pairs ...any) map[any]any {
		listed := map[any]any{}
		for _, port := range container(t, mustRender(t, pairs...))["ports"].([]any) {
			port := port.(map[string]any)
			listed[port["name"]] = port["containerPort"]
		}
		return listed
	}
	expect(t, "ports", ports(), map[any]any{"health": float64(10256), "metrics": float64(10249)})
	page := []any{"config.pageAddress", "127.0.0.1:10245"}
	expect(t, "ports", ports(page...), map[any]any{"health": float64(10256), "metrics": float64(10249), "page": float64(10245)})
	// Its configuration is kube-proxy's there, which knows of no page.
	expect(t, "ports", ports(append(page, "kubeProxy.configMap", "kube-proxy")...),
		map[any]any{"health": float64(10256), "metrics": float64(10249)})
}

func TestTheProbesAskTheHealthPort(t *testing.T) {
	for address, want := range map[string][]any{
		"0.0.0.0:10256":       {float64(10256), nil},
		"[::]:10356":          {float64(10356), nil},
		"127.0.0.1:10256":     {float64(10256), "127.0.0.1"},
		"[2001:db8::1]:10256": {float64(10256), "2001:db8::1"},
	} {
		c := container(t, mustRender(t, "config.healthzBindAddress", address))
		for probe, path := range map[string]string{"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"} {
			expect(t, probe+" path", c.at(probe, "httpGet", "path"), path)
			expect(t, probe+" at "+address, []any{c.at(probe, "httpGet", "port"), c.at(probe, "httpGet", "host")}, want)
		}
	}
}

func TestTheTestPodChecksAServiceAndTheNode(t *testing.T) {
	r := mustRender(t)
	pod := r.object(t, "Pod/portolan-test")
	expect(t, "hook", pod.at("metadata", "annotations", "helm.sh/hook"), "test")
	expect(t, "args", pod.at("spec", "containers", 0, "args"),
		[]any{"check", "$(KUBERNETES_PORT)", "http://$(NODE_IP):10256/readyz"})
	expect(t, "hostNetwork", pod.at("spec", "hostNetwork"), nil)
	selector := r.object(t, "DaemonSet/portolan").at("spec", "selector", "matchLabels").(map[string]any)
	labels := pod.at("metadata", "labels").(map[string]any)
	if labels["app.kubernetes.io/name"] == selector["app.kubernetes.io/name"] {
		t.Error("the DaemonSet would take the test for one of its pods")
	}

	loopback := mustRender(t, "config.healthzBindAddress", "127.0.0.1:10256").object(t, "Pod/portolan-test")
	expect(t, "args", loopback.at("spec", "containers", 0, "args"), []any{"check", "$(KUBERNETES_PORT)"})
}

func TestTheMonitorFindsTheService(t *testing.T) {
	r := mustRender(t, "metrics.expose", true, "metrics.serviceMonitor.enabled", true)
	service, monitor := r.object(t, "Service/portolan-metrics"), r.object(t, "ServiceMonitor/portolan")
	expect(t, "clusterIP", service.at("spec", "clusterIP"), "None")
	expect(t, "port", monitor.at("spec", "endpoints", 0, "port"), service.at("spec", "ports", 0, "name"))
	labels := service.at("metadata", "labels").(map[string]any)
	for name, value := range monitor.at("spec", "selector", "matchLabels").(map[string]any) {
		expect(t, name, labels[name], value)
	}
	selector := r.object(t, "DaemonSet/portolan").at("spec", "selector", "matchLabels")
	expect(t, "selector of the Service", service.at("spec", "selector"), selector)
}

func TestTheChartInstallsThisVersion(t *testing.T) {
	cargo, err := os.ReadFile("../../Cargo.toml")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^version = "(.+)"$`).FindSubmatch(cargo)[1]
	expect(t, "image", container(t, mustRender(t))["image"], "ghcr.io/portolan-net/portolan:"+string(version))
	digest := "sha256:" + strings.Repeat("0", 64)
	expect(t, "image", container(t, mustRender(t, "image.digest", digest))["image"], "ghcr.io/portolan-net/portolan@"+digest)
}

// effective has the program read a configuration file, with this environment, and returns what it makes of it. PORTOLAN names
// the program.
func effective(t *testing.T, file []byte, environment ...string) map[string]any {
	t.Helper()
	program := os.Getenv("PORTOLAN")
	if program == "" {
		t.Skip("SKIPPED: PORTOLAN does not name the program; `make chart` builds it")
	}
	given, taken := filepath.Join(t.TempDir(), "given"), filepath.Join(t.TempDir(), "taken")
	if err := os.WriteFile(given, file, 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(program, "run", "--config", given, "--node", "node-1", "--write-config-to", taken)
	command.Env = environment
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s\n%s", command.Args, err, output, file)
	}
	text, err := os.ReadFile(taken)
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := yaml.UnmarshalStrict(text, &config); err != nil {
		t.Fatal(err)
	}
	return config
}

// Every setting is a flag of `portolan run`, and the program takes the file.
func TestTheProgramTakesTheConfiguration(t *testing.T) {
	for name, pairs := range map[string][]any{
		"default":  nil,
		"switched": {"conntrack.manage", true, "kubeProxy.cleanup", true, "metrics.expose", true, "config.events", false},
		"full": {"config.clusterCidr", []any{"10.244.0.0/16", "fd00:10:244::/56"}, "config.detectLocalMode", "ClusterCIDR",
			"config.serviceCidr", []any{"10.96.0.0/12"}, "config.nodeportAddresses", []any{"192.168.0.0/16"},
			"config.ownTable", true, "config.masqueradeAll", true, "config.bindAddressHardFail", true},
		"bridge": {"config.detectLocalMode", "BridgeInterface", "config.podBridgeInterface", "cni0"},
		"prefix": {"config.detectLocalMode", "InterfaceNamePrefix", "config.podInterfaceNamePrefix", "veth"},
	} {
		t.Run(name, func(t *testing.T) {
			config := mustRender(t, pairs...).configuration(t)
			text, err := yaml.Marshal(config)
			if err != nil {
				t.Fatal(err)
			}
			taken := effective(t, text)
			for name, value := range config {
				expect(t, name, comparable(taken[name]), comparable(value))
			}
		})
	}
}

// What the chart decides by environment counts more than what kube-proxy's file says.
func TestTheProgramTakesTheEnvironment(t *testing.T) {
	r := mustRender(t, "kubeProxy.configMap", "kube-proxy", "kubeProxy.cleanup", true, "config.metricsBindAddress", "127.0.0.1:9100")
	var environment []string
	for _, variable := range container(t, r)["env"].([]any) {
		if variable := variable.(map[string]any); variable["value"] != nil {
			environment = append(environment, fmt.Sprintf("%v=%v", variable["name"], variable["value"]))
		}
	}
	taken := effective(t, []byte(`
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: /var/lib/kube-proxy/kubeconfig.conf}
clusterCIDR: 10.244.0.0/16
mode: nftables
healthzBindAddress: 127.0.0.1:1
metricsBindAddress: 127.0.0.1:2
oomScoreAdj: -999
conntrack: {maxPerCore: 1000, tcpEstablishedTimeout: 1h}
`), environment...)
	for name, want := range map[string]any{
		"apiserver":                      "https://192.0.2.10:6443",
		"clusterCidr":                    []any{"10.244.0.0/16"},
		"healthzBindAddress":             "0.0.0.0:10256",
		"metricsBindAddress":             "127.0.0.1:9100",
		"oomScoreAdj":                    float64(-997),
		"conntrackMaxPerCore":            float64(0),
		"conntrackTcpTimeoutEstablished": "0s",
		"cleanupKubeProxy":               true,
	} {
		expect(t, name, comparable(taken[name]), comparable(want))
	}
}

// comparable makes 24h and 24h0m0s the same.
func comparable(value any) any {
	if text, ok := value.(string); ok {
		if duration, err := time.ParseDuration(text); err == nil {
			return duration
		}
	}
	return value
}
