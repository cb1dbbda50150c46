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
var metricName = regexp.MustCompile(`\b(portolan|kubeproxy|coredns)_([a-z_]+?)(_total|_bucket|_sum|_count)?\b`)

// metricsSource returns the program's sources of metrics, where each is registered by its name.
func metricsSource(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("../../src/metrics/*.rs")
	if err != nil || len(files) == 0 {
		t.Fatalf("src/metrics has no files: %v", err)
	}
	files = append(files, "../../src/dns/process/metrics.rs")
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

// registers tells whether a metric is in the source: with or without its prefix, and what is appended to it.
func registers(source string, asked []string) bool {
	whole := asked[1] + "_" + asked[2]
	for _, name := range []string{asked[2], whole, whole + asked[3]} {
		if strings.Contains(source, `"`+name+`"`) {
			return true
		}
	}
	return false
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
		if panel["type"] == "row" {
			continue
		}
		targets, _ := panel["targets"].([]any)
		if panel["title"] == nil || panel["gridPos"] == nil || len(targets) == 0 {
			t.Errorf("panel %v: a title, a place and a question are needed", panel["id"])
		}
		for i := range targets {
			expr, _ := panel.at("targets", i, "expr").(string)
			all := metricName.FindAllStringSubmatch(expr, -1)
			if len(all) == 0 {
				t.Errorf("panel %v asks for no metric of ours: %s", panel["title"], expr)
			}
			for _, asked := range all {
				if !registers(source, asked) {
					t.Errorf("panel %v: nothing registers %s", panel["title"], asked[0])
				}
			}
		}
	}
}
