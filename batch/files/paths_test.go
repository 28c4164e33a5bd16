package files

import "testing"

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
