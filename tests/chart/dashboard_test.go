package chart

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// metricName finds our metrics in a query: the prefix, and the name without what Prometheus appends.
var metricName = regexp.MustCompile(`\b(portolan|kubeproxy)_([a-z_]+?)(_total|_bucket|_sum|_count)?\b`)

// metricsSource returns the program's source of metrics, where each is registered by its name.
func metricsSource(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("../../src/metrics/*.rs")
	if err != nil || len(files) == 0 {
		t.Fatalf("src/metrics has no files: %v", err)
	}
	var source strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(text)
	}
	return source.String()
}

func TestTheDashboardAsksForMetricsThatExist(t *testing.T) {
	r := mustRender(t, "metrics.dashboard.enabled", true)
	text := r.object(t, "ConfigMap/portolan-dashboard").at("data", "portolan.json").(string)
	var board object
	if err := json.Unmarshal([]byte(text), &board); err != nil {
		t.Fatal(err)
	}
	panels, _ := board["panels"].([]any)
	if len(panels) < 6 {
		t.Fatalf("%d panels", len(panels))
	}
	source := metricsSource(t)
	ids := map[any]bool{}
	for _, panel := range panels {
		panel := object(panel.(map[string]any))
		if ids[panel["id"]] {
			t.Errorf("two panels have the id %v", panel["id"])
		}
		ids[panel["id"]] = true
		targets, _ := panel["targets"].([]any)
		if panel["title"] == nil || panel["gridPos"] == nil || len(targets) == 0 {
			t.Errorf("panel %v: a title, a place and a question are needed", panel["id"])
		}
		for i := range targets {
			expr, _ := panel.at("targets", i, "expr").(string)
			asked := metricName.FindStringSubmatch(expr)
			if asked == nil {
				t.Errorf("panel %v asks for no metric of ours: %s", panel["title"], expr)
			} else if !strings.Contains(source, `"`+asked[2]+`"`) && !strings.Contains(source, `"`+asked[1]+"_"+asked[2]+`"`) {
				t.Errorf("panel %v: src/metrics registers no %s", panel["title"], asked[0])
			}
		}
	}
}
