package show

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestJSONSteersNoTerminalAndMeansTheSame(t *testing.T) {
	t.Parallel()
	text := "\x1b[31m\x7f\u009b31m\u202egpj\u2066\U000e0001é漢🚚\u200d\u00a0 \"\\"
	var b strings.Builder
	out := Output{Writer: &b, Format: JSON}
	stream := NewRowStream(out, []string{"a"})
	if err := out.JSON(map[string]string{text: text}); err != nil {
		t.Fatal(err)
	}
	var doc map[string]string
	if err := json.Unmarshal([]byte(b.String()), &doc); err != nil || doc[text] != text {
		t.Errorf("got %q: %v", b.String(), err)
	}
	if err := stream.Write([]any{text}); err != nil {
		t.Fatal(err)
	}
	if err := stream.End(); err != nil {
		t.Fatal(err)
	}
	for _, r := range b.String() {
		if r != '\n' && !visible(r) {
			t.Errorf("%q stands in %q", r, b.String())
		}
	}
	if !strings.Contains(b.String(), "é漢🚚") {
		t.Errorf("what can be seen is escaped too: %q", b.String())
	}
}
