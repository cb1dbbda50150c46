package chart

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// metricName finds our metrics in a query, as they are scraped.
var metricName = regexp.MustCompile(`\b(?:portolan|kubeproxy|coredns)_[a-z_]+\b`)

// labelList and labelMatch find labels in a query, legendLabel in a legend.
var (
	labelList   = regexp.MustCompile(`\b(?:by|without) \(([a-z_, ]*)\)`)
	labelMatch  = regexp.MustCompile(`([a-z_]+)(?:=~|!~|!=|=)"`)
	legendLabel = regexp.MustCompile(`\{\{([a-z_]+)\}\}`)
	mapMatch    = regexp.MustCompile(`\bmap="([^"]*)"`)
)

// row finds a metric in docs/metrics.md, which is made of what the program serves: name, type, labels.
var row = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([a-z]+) \\| ([^|]*) \\|")

// documented returns the labels of each metric by the names under which it is scraped.
func documented(t *testing.T) map[string]map[string]bool {
	t.Helper()
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	metrics := map[string]map[string]bool{}
	for _, found := range row.FindAllStringSubmatch(string(page), -1) {
		labels := map[string]bool{"instance": true}
		for _, label := range strings.Split(found[3], ",") {
			labels[strings.Trim(label, " `")] = true
		}
		name := found[1]
		if found[2] != "histogram" {
			metrics[name] = labels
			continue
		}
		metrics[name+"_sum"], metrics[name+"_count"] = labels, labels
		metrics[name+"_bucket"] = map[string]bool{"le": true}
		for label := range labels {
			metrics[name+"_bucket"][label] = true
		}
	}
	// The one metric that is not in a table: only a node that answers names itself has it.
	if strings.Contains(string(page), "besides `portolan_dns_redirect`") {
		metrics["portolan_dns_redirect"] = map[string]bool{"instance": true, "address": true}
	}
	if len(metrics) < 40 {
		t.Fatalf("docs/metrics.md has only %d metrics that could be read", len(metrics))
	}
	return metrics
}

// usedLabels returns the labels that a query and its legend need.
func usedLabels(expr, legend string) []string {
	var labels []string
	for _, list := range labelList.FindAllStringSubmatch(expr, -1) {
		labels = append(labels, strings.Split(strings.ReplaceAll(list[1], " ", ""), ",")...)
	}
	for _, pattern := range []*regexp.Regexp{labelMatch, legendLabel} {
		for _, found := range pattern.FindAllStringSubmatch(expr+" "+legend, -1) {
			labels = append(labels, found[1])
		}
	}
	return labels
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
	metrics := documented(t)
	rules, err := os.ReadFile("../../rules/ipv4.nft")
	if err != nil {
		t.Fatal(err)
	}
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
			legend, _ := panel.at("targets", i, "legendFormat").(string)
			all := metricName.FindAllString(expr, -1)
			if len(all) == 0 {
				t.Errorf("panel %v asks for no metric of ours: %s", panel["title"], expr)
			}
			for _, asked := range all {
				labels, exists := metrics[asked]
				if !exists {
					t.Errorf("panel %v: docs/metrics.md has no %s", panel["title"], asked)
					continue
				}
				for _, label := range usedLabels(expr, legend) {
					if !labels[label] {
						t.Errorf("panel %v: %s has no label %s", panel["title"], asked, label)
					}
				}
			}
			for _, of := range mapMatch.FindAllStringSubmatch(expr, -1) {
				if !strings.Contains(string(rules), "map "+of[1]+" {") {
					t.Errorf("panel %v: the program has no map %s", panel["title"], of[1])
				}
			}
		}
	}
}
