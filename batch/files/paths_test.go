package files

import (
	"os/exec"
	"strings"
	"testing"
)

// What was written to a folder is found again by its path.
func TestASlashAtTheEndOfAPathChangesNothing(t *testing.T) {
	plain, slashed := DefaultPaths().Resolved(), DefaultPaths()
	for _, path := range []*string{&slashed.Input, &slashed.Output, &slashed.Archive, &slashed.Backups} {
		*path += "/"
	}
	if got := slashed.Resolved(); got != plain {
		t.Errorf("%+v, want %+v", got, plain)
	}
	if got := (Paths{}).Resolved().Output; got != "" {
		t.Errorf("an empty path becomes %q", got)
	}
}

func TestPathsThatCannotBeUsedAreRefused(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*Paths){
		"":              func(*Paths) {},
		"reserve = -1":  func(p *Paths) { p.Reserve = -1 },
		"output = ":     func(p *Paths) { p.Output = "output" },
		"checkpoints =": func(p *Paths) { p.Checkpoints = "checkpoints" },
		"archive = ":    func(p *Paths) { p.Archive = "" },
		"processed = ":  func(p *Paths) { p.Processed = p.Input + "/" },
		"error = ":      func(p *Paths) { p.Error = p.Input + "/." },
	} {
		p := DefaultPaths()
		change(&p)
		if err := p.Validate(); (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), "[paths] "+want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// Operators copy the lines that noggin advises, and a name may come from the platform.
func TestAnyTextIsOneWordOfAShell(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "plain-name_1.dump", "two words", "it's", "a;b", "$(id)", "`id`", "a\nb", `back\slash`, "*", "~", "a&b", `"quoted"`} {
		out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", "set -- "+ShellQuoted(text)+`; printf '%d %s.' "$#" "$1"`).Output()
		if err != nil || string(out) != "1 "+text+"." {
			t.Errorf("%q becomes %q, %v", text, out, err)
		}
	}
}
