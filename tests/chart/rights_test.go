package chart

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// container returns the program's container.
func container(t *testing.T, r *release) object {
	t.Helper()
	containers := r.object(t, "DaemonSet/portolan").at("spec", "template", "spec", "containers").([]any)
	if len(containers) != 1 {
		t.Fatalf("%d containers", len(containers))
	}
	return containers[0].(map[string]any)
}

func expect(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// The rights are exactly these: what the watches and the events need.
func TestTheRightsAreTheLeast(t *testing.T) {
	reading := []string{
		"core services get,list,watch",
		"core namespaces list,watch",
		"core nodes list,watch",
		"discovery.k8s.io endpointslices list,watch",
		"networking.k8s.io servicecidrs list,watch",
	}
	for _, events := range []bool{true, false} {
		want := reading
		if events {
			want = append(want, "events.k8s.io events create")
		}
		r := mustRender(t, "config.events", events)
		var got []string
		for _, rule := range r.object(t, "ClusterRole/portolan")["rules"].([]any) {
			rule := object(rule.(map[string]any))
			expect(t, "fields of a rule", len(rule), 3)
			group, _ := rule.at("apiGroups", 0).(string)
			if group == "" {
				group = "core"
			}
			got = append(got, fmt.Sprintf("%s %s %s", group, join(rule["resources"]), join(rule["verbs"])))
		}
		expect(t, "rules", got, want)
		for key := range r.objects {
			if strings.HasPrefix(key, "Role") {
				t.Errorf("%s: there is no right inside of a namespace", key)
			}
		}
	}
}

func join(list any) string {
	var words []string
	for _, word := range list.([]any) {
		words = append(words, word.(string))
	}
	return strings.Join(words, ",")
}

func TestTheBindingIsForThePodsAccount(t *testing.T) {
	for _, name := range []string{"", "another"} {
		r := mustRender(t, "serviceAccount.name", name)
		account := r.object(t, "DaemonSet/portolan").at("spec", "template", "spec", "serviceAccountName")
		want := map[string]any{"kind": "ServiceAccount", "name": account, "namespace": "kube-system"}
		expect(t, "subjects", r.object(t, "ClusterRoleBinding/portolan")["subjects"], []any{want})
		r.object(t, fmt.Sprintf("ServiceAccount/%v", account))
	}
}

// notPrivileged is asked of every combination: only conntrack.manage brings a privileged container, and that is not the one
// that stays.
func notPrivileged(t *testing.T, r *release, manage, dns bool) {
	t.Helper()
	capabilities := []any{"NET_ADMIN"}
	if dns {
		// Port 53.
		capabilities = append(capabilities, "NET_BIND_SERVICE")
	}
	expect(t, "security context", container(t, r)["securityContext"], map[string]any{
		"runAsUser":                float64(0),
		"privileged":               false,
		"allowPrivilegeEscalation": false,
		"readOnlyRootFilesystem":   true,
		"capabilities":             map[string]any{"drop": []any{"ALL"}, "add": capabilities},
	})
	pod := object(r.object(t, "DaemonSet/portolan").at("spec", "template", "spec").(map[string]any))
	init, _ := pod["initContainers"].([]any)
	if manage {
		expect(t, "init container", object(init[0].(map[string]any)).at("securityContext", "privileged"), true)
		init = init[1:]
	}
	expect(t, "further init containers", len(init), 0)
	for _, field := range []string{"hostPID", "hostIPC"} {
		expect(t, field, pod[field], nil)
	}
	for _, volume := range pod["volumes"].([]any) {
		expect(t, "a folder of the host", volume.(map[string]any)["hostPath"], nil)
	}
}

func TestThePodIsMadeForANode(t *testing.T) {
	r := mustRender(t)
	pod := object(r.object(t, "DaemonSet/portolan").at("spec", "template", "spec").(map[string]any))
	expect(t, "hostNetwork", pod["hostNetwork"], true)
	expect(t, "dnsPolicy", pod["dnsPolicy"], "Default")
	expect(t, "priorityClassName", pod["priorityClassName"], "system-node-critical")
	expect(t, "tolerations", pod["tolerations"], []any{map[string]any{"operator": "Exists"}})
	expect(t, "nodeSelector", pod["nodeSelector"], map[string]any{"kubernetes.io/os": "linux"})
	expect(t, "automountServiceAccountToken", pod["automountServiceAccountToken"], false)
	expect(t, "seccomp", pod.at("securityContext", "seccompProfile", "type"), "RuntimeDefault")
	expect(t, "memory limit", container(t, r).at("resources", "limits"), nil)
	expect(t, "maxUnavailable",
		r.object(t, "DaemonSet/portolan").at("spec", "updateStrategy", "rollingUpdate", "maxUnavailable"), "10%")
}

func TestThePodRollsWhenTheConfigurationChanges(t *testing.T) {
	checksum := func(pairs ...any) any {
		annotations := mustRender(t, pairs...).object(t, "DaemonSet/portolan").at("spec", "template", "metadata", "annotations")
		return annotations.(map[string]any)["checksum/config"]
	}
	if checksum() == nil || checksum() == checksum("config.masqueradeAll", true) || checksum() != checksum("log", "debug") {
		t.Error("the checksum must be that of the configuration")
	}
}
