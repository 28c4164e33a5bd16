package report

import "testing"

func TestATextfileIsSortedAndEscaped(t *testing.T) {
	t.Parallel()
	m := new(metrics)
	m.counter("z_total", "The last\nof all.", 1<<40)
	m.gauge("empty", "Not written.", "label")
	g := m.gauge("a_bytes", `A \ first.`, "folders", "mount")
	g.set(1.5, "output", "/srv/\"b\"\\\n")
	g.set(2, "input", "\xff")
	g.add(1, "input", "\xff")
	want := `# HELP noggin_a_bytes A \\ first.
# TYPE noggin_a_bytes gauge
noggin_a_bytes{folders="input",mount="�"} 3
noggin_a_bytes{folders="output",mount="/srv/\"b\"\\\n"} 1.5
# HELP noggin_z_total The last\nof all.
# TYPE noggin_z_total counter
noggin_z_total 1.099511627776e+12
`
	if got := m.text(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
