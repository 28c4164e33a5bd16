package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// metrics are figures for Prometheus, in families of one name each. They are written in
// its text format (prometheus.io/docs/instrumenting/exposition_formats).
type metrics struct{ families []*family }

// family is a figure with one value for each combination of its labels' values.
type family struct {
	name, help, kind string
	labels           []string
	samples          []sample
}

type sample struct {
	values []string // of the labels
	figure float64
}

// gauge adds a family whose figures go up and down. One without figures is not written.
func (m *metrics) gauge(name, help string, labels ...string) *family {
	f := &family{name: "noggin_" + name, help: help, kind: "gauge", labels: labels}
	m.families = append(m.families, f)
	return f
}

// counter adds a figure that only grows.
func (m *metrics) counter(name, help string, figure int64) {
	f := m.gauge(name, help)
	f.kind = "counter"
	f.set(float64(figure))
}

// set sets the figure of these values of the labels.
func (f *family) set(figure float64, values ...string) { *f.at(values) = figure }

// add adds to the figure of these values of the labels.
func (f *family) add(figure float64, values ...string) { *f.at(values) += figure }

func (f *family) at(values []string) *float64 {
	for i := range f.samples {
		if slices.Equal(f.samples[i].values, values) {
			return &f.samples[i].figure
		}
	}
	f.samples = append(f.samples, sample{values: values})
	return &f.samples[len(f.samples)-1].figure
}

var (
	helpEscapes  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	valueEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

// text is the textfile: the families in the order of their names, and the figures in that
// of their labels' values.
func (m *metrics) text() string {
	var b strings.Builder
	for _, f := range slices.SortedFunc(slices.Values(m.families), func(a, b *family) int { return cmp.Compare(a.name, b.name) }) {
		if len(f.samples) == 0 {
			continue
		}
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", f.name, helpEscapes.Replace(f.help), f.name, f.kind)
		slices.SortFunc(f.samples, func(a, b sample) int { return slices.Compare(a.values, b.values) })
		for _, s := range f.samples {
			fmt.Fprintf(&b, "%s%s %s\n", f.name, f.braces(s.values), strconv.FormatFloat(s.figure, 'g', -1, 64))
		}
	}
	return b.String()
}

// braces are the labels with their values, as they stand behind the name.
func (f *family) braces(values []string) string {
	if len(f.labels) == 0 {
		return ""
	}
	pairs := make([]string, len(f.labels))
	for i, label := range f.labels {
		pairs[i] = label + `="` + valueEscapes.Replace(strings.ToValidUTF8(values[i], "\ufffd")) + `"`
	}
	return "{" + strings.Join(pairs, ",") + "}"
}
