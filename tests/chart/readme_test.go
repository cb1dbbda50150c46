package chart

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const (
	readme     = chartFolder + "/README.md"
	tableStart = "<!-- values -->\n"
	tableEnd   = "<!-- end of values -->"
)

// table makes the rows of the table of values of what stands above each value in values.yaml.
func table(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(chartFolder + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	rows := &strings.Builder{}
	rows.WriteString("| value | default | meaning |\n|---|---|---|\n")
	writeRows(t, rows, "", document.Content[0])
	return rows.String()
}

// writeRows writes the rows of one mapping: a value with a description is a row, one without is a group.
func writeRows(t *testing.T, rows *strings.Builder, prefix string, mapping *yaml.Node) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		name, meaning := prefix+key.Value, description(key.HeadComment)
		switch {
		case meaning != "":
			fmt.Fprintf(rows, "| `%s` | `%s` | %s |\n", name, inline(t, value), meaning)
		case value.Kind == yaml.MappingNode && len(value.Content) > 0:
			writeRows(t, rows, name+".", value)
		default:
			t.Errorf("values.yaml: %s has no description that begins with --", name)
		}
	}
}

// description is the text after "--" in a comment, as one line; "" if there is none.
func description(comment string) string {
	var words []string
	for line := range strings.Lines(comment) {
		line = strings.TrimSpace(strings.TrimPrefix(line, "#"))
		if rest, starts := strings.CutPrefix(line, "-- "); starts {
			words = []string{rest}
		} else if len(words) > 0 {
			words = append(words, line)
		}
	}
	return strings.ReplaceAll(strings.TrimSpace(strings.Join(words, " ")), "|", `\|`)
}

// inline writes a value as JSON, which is YAML too; a plain word without its quotes.
func inline(t *testing.T, value *yaml.Node) string {
	var decoded any
	if err := value.Decode(&decoded); err != nil {
		t.Fatal(err)
	}
	if text, plain := decoded.(string); plain && text != "" {
		return text
	}
	text, err := json.Marshal(decoded)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheTableOfValuesIsFresh(t *testing.T) {
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), tableStart)
	old, after, closed := strings.Cut(rest, tableEnd)
	if !found || !closed {
		t.Fatalf("%s has no place for the table", readme)
	}
	fresh := table(t)
	if strings.Count(fresh, "\n") < 40 {
		t.Errorf("too few rows:\n%s", fresh)
	}
	if old == fresh {
		return
	}
	if os.Getenv("UPDATE_EXPECT") != "1" {
		t.Fatalf("%s is not what values.yaml says; `make chart UPDATE_EXPECT=1` writes it anew", readme)
	}
	if err := os.WriteFile(readme, []byte(before+tableStart+fresh+tableEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
