package chart

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"
)

// schemas validates objects as strictly as an API server with fieldValidation=Strict.
type schemas struct {
	// byKind holds the schema of each "apiVersion/kind".
	byKind map[string]*jsonschema.Schema
}

// loadSchemas makes schemas of the OpenAPI document in the Kubernetes module of tests/cluster: the version whose API server
// the other tests run.
func loadSchemas(t *testing.T) *schemas {
	t.Helper()
	command := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes")
	command.Dir = "../cluster"
	command.Stderr = os.Stderr
	folder, err := command.Output()
	if err == nil && len(strings.TrimSpace(string(folder))) == 0 {
		download := exec.Command("go", "mod", "download", "k8s.io/kubernetes")
		download.Dir, download.Stderr = "../cluster", os.Stderr
		if err = download.Run(); err == nil {
			again := exec.Command("go", command.Args[1:]...)
			again.Dir = "../cluster"
			folder, err = again.Output()
		}
	}
	if err != nil {
		t.Fatalf("cannot find the module k8s.io/kubernetes of tests/cluster/go.mod: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(folder)), "api/openapi-spec/swagger.json"))
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	definitions := document.(map[string]any)["definitions"].(map[string]any)
	for _, definition := range definitions {
		strict(definition.(map[string]any))
	}
	return compile(t, definitions)
}

// strict makes a definition refuse unknown fields, and repairs the one type that OpenAPI 2 cannot express.
func strict(definition map[string]any) {
	if _, hasFields := definition["properties"]; hasFields {
		if _, open := definition["additionalProperties"]; !open {
			definition["additionalProperties"] = false
		}
	}
	if definition["format"] == "int-or-string" {
		delete(definition, "format")
		definition["type"] = []any{"integer", "string"}
	}
}

func compile(t *testing.T, definitions map[string]any) *schemas {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft4)
	const base = "kubernetes.json"
	if err := compiler.AddResource(base, map[string]any{"definitions": definitions}); err != nil {
		t.Fatal(err)
	}
	result := &schemas{byKind: map[string]*jsonschema.Schema{}}
	for name, definition := range definitions {
		kinds, _ := definition.(map[string]any)["x-kubernetes-group-version-kind"].([]any)
		if len(kinds) != 1 {
			continue
		}
		kind := kinds[0].(map[string]any)
		apiVersion := strings.TrimPrefix(fmt.Sprintf("%v/%v", kind["group"], kind["version"]), "/")
		schema, err := compiler.Compile(base + "#/definitions/" + name)
		if err != nil {
			t.Fatal(err)
		}
		result.byKind[fmt.Sprintf("%s/%v", apiVersion, kind["kind"])] = schema
	}
	return result
}

// validate returns what an API server would have against an object.
func (s *schemas) validate(o object) error {
	key := fmt.Sprintf("%v/%v", o["apiVersion"], o["kind"])
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if key == "monitoring.coreos.com/v1/ServiceMonitor" {
		return yaml.UnmarshalStrict(text, &monitoringv1.ServiceMonitor{})
	}
	schema, known := s.byKind[key]
	if !known {
		return fmt.Errorf("%s is no kind of this Kubernetes", key)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

func TestTheSchemasAreStrict(t *testing.T) {
	schemas := loadSchemas(t)
	objects := mustRender(t, "metrics.expose", true, "metrics.serviceMonitor.enabled", true).objects
	for _, wrong := range []struct {
		key   string
		edit  func(object)
		about string
	}{
		{"DaemonSet/portolan", func(o object) { o.at("spec").(map[string]any)["updateStrategi"] = nil }, "updateStrategi"},
		{"DaemonSet/portolan", func(o object) { delete(o.at("spec").(map[string]any), "selector") }, "selector"},
		{"DaemonSet/portolan", func(o object) { o.at("spec", "template", "spec").(map[string]any)["hostNetwork"] = "yes" }, "hostNetwork"},
		{"ClusterRole/portolan", func(o object) { o.at("rules", 0).(map[string]any)["verb"] = []any{"get"} }, "verb"},
		{"ServiceMonitor/portolan", func(o object) { o.at("spec").(map[string]any)["endpoint"] = []any{} }, "endpoint"},
	} {
		o := objects[wrong.key]
		if err := schemas.validate(o); err != nil {
			t.Errorf("%s as rendered: %v", wrong.key, err)
		}
		var copied object
		text, _ := yaml.Marshal(o)
		_ = yaml.Unmarshal(text, &copied)
		wrong.edit(copied)
		if err := schemas.validate(copied); err == nil || !strings.Contains(err.Error(), wrong.about) {
			t.Errorf("%s with a wrong %s: got %v", wrong.key, wrong.about, err)
		}
	}
}
