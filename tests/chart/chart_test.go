// Package chart checks charts/portolan: rendered by Helm's engine, linted strictly and validated against the schemas of
// Kubernetes in every combination of its switches.
//
// `go test ./...` needs nothing but the module cache; UPDATE_EXPECT=1 writes the table of values in the chart's README
// anew. `go tool helm` is Helm itself, in the version that the checks use.
package chart

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"sigs.k8s.io/yaml"
)

const chartFolder = "../../charts/portolan"

// object is one Kubernetes object as the chart renders it.
type object map[string]any

// release is what the chart becomes with some values.
type release struct {
	// objects by "Kind/name".
	objects map[string]object
	// notes is the text that Helm prints after installing.
	notes string
}

// set makes a tree of values of "a.b.c" and its value.
func set(values map[string]any, dotted string, value any) {
	names := strings.Split(dotted, ".")
	for _, name := range names[:len(names)-1] {
		next, ok := values[name].(map[string]any)
		if !ok {
			next = map[string]any{}
			values[name] = next
		}
		values = next
	}
	values[names[len(names)-1]] = value
}

// with makes values of pairs: a dotted name, its value. The API server's address is always among them.
func with(pairs ...any) map[string]any {
	values := map[string]any{"apiServer": "192.0.2.10:6443"}
	for i := 0; i+1 < len(pairs); i += 2 {
		set(values, pairs[i].(string), pairs[i+1])
	}
	return values
}

// loadChart reads the chart once; rendering leaves it as it is.
var loadChart = sync.OnceValues(func() (*chartv2.Chart, error) { return loader.Load(chartFolder) })

// render renders the chart as `helm install portolan --namespace kube-system` would.
func render(values map[string]any) (*release, error) {
	chart, err := loadChart()
	if err != nil {
		return nil, err
	}
	options := common.ReleaseOptions{Name: "portolan", Namespace: "kube-system", Revision: 1, IsInstall: true}
	top, err := util.ToRenderValues(chart, values, options, nil)
	if err != nil {
		return nil, err
	}
	files, err := engine.Engine{Strict: true}.Render(chart, top)
	if err != nil {
		return nil, err
	}
	result := &release{objects: map[string]object{}}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		switch {
		case path.Base(file) == "NOTES.txt":
			result.notes = files[file]
		case strings.HasSuffix(file, ".yaml"):
			if err := result.add(files[file]); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
		}
	}
	return result, nil
}

// add reads a file of objects. A key that is there twice is an error, as for the API server's strict decoder.
func (r *release) add(text string) error {
	for document := range strings.SplitSeq("\n"+text, "\n---\n") {
		var o object
		if err := yaml.UnmarshalStrict([]byte(document), &o); err != nil {
			return fmt.Errorf("%w in\n%s", err, document)
		}
		if o == nil {
			continue
		}
		key := fmt.Sprintf("%v/%v", o["kind"], o.at("metadata", "name"))
		if _, twice := r.objects[key]; twice {
			return fmt.Errorf("%s is there twice", key)
		}
		r.objects[key] = o
	}
	return nil
}

// at returns what stands at this path of names and indices; nil, if nothing does.
func (o object) at(path ...any) any {
	var here any = map[string]any(o)
	for _, step := range path {
		switch step := step.(type) {
		case string:
			here, _ = here.(map[string]any)[step]
		case int:
			here = here.([]any)[step]
		}
		if here == nil {
			return nil
		}
	}
	return here
}

func mustRender(t *testing.T, pairs ...any) *release {
	t.Helper()
	result, err := render(with(pairs...))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// object returns one that must be there.
func (r *release) object(t *testing.T, key string) object {
	t.Helper()
	o, found := r.objects[key]
	if !found {
		t.Fatalf("%s is not among %v", key, slices.Sorted(maps.Keys(r.objects)))
	}
	return o
}

// configuration returns the file that the program is given.
func (r *release) configuration(t *testing.T) map[string]any {
	t.Helper()
	text := r.object(t, "ConfigMap/portolan").at("data", "config.yaml").(string)
	var config map[string]any
	if err := yaml.UnmarshalStrict([]byte(text), &config); err != nil {
		t.Fatal(err)
	}
	return config
}
