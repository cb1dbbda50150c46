package chart

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
)

// choice is one switch of the chart: what it may be set to.
type choice struct {
	name    string
	options []any
}

// switches are all values that add, remove or replace parts of what is rendered.
var switches = []choice{
	{"conntrack.manage", []any{false, true}},
	{"kubeProxy.configMap", []any{"", "kube-proxy"}},
	{"kubeProxy.cleanup", []any{false, true}},
	{"metrics.expose", []any{false, true}},
	{"metrics.serviceMonitor.enabled", []any{false, true}},
	{"metrics.dashboard.enabled", []any{false, true}},
	{"serviceAccount.create", []any{false, true}},
	{"rbac.create", []any{false, true}},
	{"config.events", []any{false, true}},
	{"config.healthzBindAddress", []any{"[::]:10256", "127.0.0.1:10256"}},
	{"apiServer", []any{"", "192.0.2.10:6443"}},
}

// dnsSwitches are those of the cluster's names, with what they meet; the others do not touch what they add.
var dnsSwitches = []choice{
	{"dns.mode", []any{"off", "local", "central"}},
	{"dns.corefileConfigMap", []any{"", "coredns"}},
	{"dns.snapshot", []any{false, true}},
	{"dns.central.withLocal", []any{false, true}},
	{"kubeProxy.configMap", []any{"", "kube-proxy"}},
	{"conntrack.manage", []any{false, true}},
	{"rbac.create", []any{false, true}},
	{"apiServer", []any{"", "192.0.2.10:6443"}},
}

// settings are the booleans of values.yaml that are passed on to the program and change nothing else.
var settings = []string{"config.masqueradeAll", "config.bindAddressHardFail", "config.ownTable", "config.conntrackTcpBeLiberal"}

// full sets every value that is empty by default and fits any combination of switches.
func full() []any {
	return []any{
		"image.tag", "1.2.3",
		"image.pullPolicy", "Always",
		"imagePullSecrets", []any{map[string]any{"name": "registry"}},
		"nameOverride", "proxy",
		"fullnameOverride", "a-name-of-its-own",
		"config.clusterCidr", []any{"10.244.0.0/16", "fd00:10:244::/56"},
		"config.detectLocalMode", "ClusterCIDR",
		"config.podBridgeInterface", "cni0",
		"config.podInterfaceNamePrefix", "veth",
		"config.nodeportAddresses", []any{"192.168.0.0/16", "primary"},
		"config.serviceCidr", []any{"10.96.0.0/12"},
		"metrics.serviceMonitor.labels", map[string]any{"release": "prometheus"},
		"dns.mode", "local",
		"dns.service", "dns-system/names",
		"dns.clusterDomain", "cluster.example",
		"dns.central.withLocal", true,
		"dns.central.replicas", 3,
		"dns.central.labels", map[string]any{},
		"dns.central.tolerations", []any{},
		"serviceAccount.name", "another",
		"serviceAccount.annotations", map[string]any{"example.org/owner": "us"},
		"resources", map[string]any{"limits": map[string]any{"memory": "1Gi"}},
		"tolerations", []any{},
		"affinity", map[string]any{"nodeAffinity": map[string]any{
			"requiredDuringSchedulingIgnoredDuringExecution": map[string]any{"nodeSelectorTerms": []any{map[string]any{
				"matchExpressions": []any{map[string]any{"key": "portolan", "operator": "Exists"}}}}}}},
		"updateStrategy", map[string]any{"type": "OnDelete"},
		"podAnnotations", map[string]any{"example.org/note": "yes"},
		"podLabels", map[string]any{"team": "network"},
		"extraArgs", []any{"--own-table"},
		"extraEnv", []any{map[string]any{"name": "RUST_BACKTRACE", "value": "1"}},
	}
}

// combinations calls f with every combination of the switches.
func combinations(switches []choice, f func(pairs []any)) {
	total := 1
	for _, s := range switches {
		total *= len(s.options)
	}
	for number := range total {
		var pairs []any
		for _, s := range switches {
			pairs = append(pairs, s.name, s.options[number%len(s.options)])
			number /= len(s.options)
		}
		f(pairs)
	}
}

// chosen returns what a combination sets a switch to.
func chosen(pairs []any, name string) any {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] == name {
			return pairs[i+1]
		}
	}
	return nil
}

// refusals says why the chart must refuse a combination: for one of these reasons. None, if it must not.
func refusals(pairs []any) (reasons []string) {
	if chosen(pairs, "apiServer") == "" && chosen(pairs, "kubeProxy.configMap") == "" {
		reasons = append(reasons, "apiServer is needed")
	}
	if chosen(pairs, "metrics.serviceMonitor.enabled") == true && chosen(pairs, "metrics.expose") == false {
		reasons = append(reasons, "metrics.serviceMonitor.enabled needs metrics.expose")
	}
	if chosen(pairs, "apiServer") == "" && hasDeployment(pairs) {
		reasons = append(reasons, "the central DNS needs apiServer")
	}
	return reasons
}

// hasDeployment says whether a combination asks for the central DNS.
func hasDeployment(pairs []any) bool {
	mode := chosen(pairs, "dns.mode")
	return mode == "central" || mode == "local" && chosen(pairs, "dns.central.withLocal") == true
}

func TestEveryCombinationOfSwitchesIsValid(t *testing.T) {
	rendered, total := validOrRefused(t, switches)
	if total != 2048 || rendered < 1000 {
		t.Errorf("%d combinations, not 2048: the list of switches must have changed", total)
	}
}

func TestEveryCombinationOfDnsSwitchesIsValid(t *testing.T) {
	rendered, total := validOrRefused(t, dnsSwitches)
	if total != 384 || rendered < 200 {
		t.Errorf("%d combinations, not 384: the list of switches must have changed", total)
	}
}

// validOrRefused checks every combination of switches: how many are rendered, and how many there are.
func validOrRefused(t *testing.T, switches []choice) (int64, int64) {
	schemas := loadSchemas(t)
	var all [][]any
	combinations(switches, func(pairs []any) { all = append(all, pairs) })
	var rendered, refused atomic.Int64
	t.Run("all", func(t *testing.T) {
		// Linting reads the chart anew each time, which takes a while: a share for each CPU.
		for share := range slices.Chunk(all, len(all)/runtime.NumCPU()+1) {
			t.Run("share", func(t *testing.T) {
				t.Parallel()
				for _, pairs := range share {
					if refusedOrValid(t, schemas, pairs) {
						rendered.Add(1)
					} else {
						refused.Add(1)
					}
				}
			})
		}
	})
	t.Logf("%d combinations rendered and valid, %d refused", rendered.Load(), refused.Load())
	return rendered.Load(), rendered.Load() + refused.Load()
}

// refusedOrValid checks one combination; true if it is one that is rendered.
func refusedOrValid(t *testing.T, schemas *schemas, pairs []any) bool {
	t.Helper()
	result, err := render(with(pairs...))
	if reasons := refusals(pairs); len(reasons) > 0 {
		expected := func(reason string) bool { return err != nil && strings.Contains(err.Error(), reason) }
		if !slices.ContainsFunc(reasons, expected) {
			t.Fatalf("%v: must be refused because %v, got %v", pairs, reasons, err)
		}
		return false
	}
	if err != nil {
		t.Fatalf("%v: %v", pairs, err)
	}
	for key, o := range result.objects {
		if err := schemas.validate(o); err != nil {
			t.Fatalf("%v: %s: %v", pairs, key, err)
		}
	}
	strictlyLinted(t, with(pairs...))
	notPrivileged(t, result, chosen(pairs, "conntrack.manage") == true, chosen(pairs, "dns.mode") == "local")
	if _, found := result.objects["Deployment/portolan-dns"]; found != hasDeployment(pairs) {
		t.Errorf("a Deployment: %v", found)
	}
	if t.Failed() {
		t.Fatalf("with %v", pairs)
	}
	return true
}

func TestEveryValueSetIsValid(t *testing.T) {
	schemas := loadSchemas(t)
	for _, configMap := range []string{"", "kube-proxy"} {
		pairs := append(full(), "kubeProxy.configMap", configMap, "conntrack.manage", true, "metrics.expose", true,
			"metrics.serviceMonitor.enabled", true, "metrics.dashboard.enabled", true)
		for key, o := range mustRender(t, pairs...).objects {
			if err := schemas.validate(o); err != nil {
				t.Errorf("%s: %v", key, err)
			}
			if !strings.Contains(key, "a-name-of-its-own") && key != "ServiceAccount/another" {
				t.Errorf("%s does not have the name that was asked for", key)
			}
		}
	}
}

// strictlyLinted lints as `helm lint --strict` does: warnings are errors.
func strictlyLinted(t *testing.T, values map[string]any) {
	t.Helper()
	for _, message := range lint.RunAll(chartFolder, values, "kube-system").Messages {
		if message.Severity >= support.WarningSev {
			t.Errorf("%v: %v", values, message)
		}
	}
}

func TestStrictLintOfTheValuesThatShipAndOfAll(t *testing.T) {
	strictlyLinted(t, map[string]any{})
	strictlyLinted(t, with(full()...))
}

func TestEveryBooleanIsASwitchOrASetting(t *testing.T) {
	chart, err := loadChart()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	var walk func(prefix string, values map[string]any)
	walk = func(prefix string, values map[string]any) {
		for name, value := range values {
			switch value := value.(type) {
			case map[string]any:
				walk(prefix+name+".", value)
			case bool:
				found++
				isSwitch := slices.ContainsFunc(slices.Concat(switches, dnsSwitches),
					func(s choice) bool { return s.name == prefix+name })
				if isSwitch == slices.Contains(settings, prefix+name) {
					t.Errorf("%s%s must be either in switches or in settings", prefix, name)
				}
			}
		}
	}
	walk("", chart.Values)
	if found < 10 {
		t.Errorf("only %d booleans found", found)
	}
}

func TestWrongValuesAreRefused(t *testing.T) {
	for _, pairs := range [][]any{
		{"apiSrver", "192.0.2.10:6443"},
		{"apiServer", "http://192.0.2.10:6443"},
		{"apiServer", "192.0.2.10"},
		{"config.clusterCIDR", []any{"10.244.0.0/16"}},
		{"config.clusterCidr", []any{"10.244.0.0"}},
		{"config.detectLocalMode", "NodeCidr"},
		{"config.masqueradeBit", 32},
		{"config.minSyncPeriod", "100"},
		{"config.healthzBindAddress", ""},
		{"conntrack.manage", "yes"},
		{"dns.mode", "on"},
		{"dns.mode", "node"},
		{"dns.service", "kube-dns"},
		{"dns.central.replicas", 0},
		{"image.digest", "sha256:12"},
	} {
		_, err := render(with(pairs...))
		if err == nil || !strings.Contains(err.Error(), "schema") && !strings.Contains(err.Error(), "additional properties") {
			t.Errorf("%s: must be refused by the schema, got %v", fmt.Sprint(pairs...), err)
		}
	}
}
