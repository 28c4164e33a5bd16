package importcsv

import (
	"testing"

	"golang.org/x/sys/unix"

	"noggin/batch/batchtest"
)

// A program on another host may have a file of a shared folder open, for days. A volume
// mounted upon the file stands in: that cannot be moved or removed either.
func TestAFileThatCannotBeMovedHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	for name, processed := range map[string]func(t *testing.T, b *inbox){
		"on one volume":  func(*testing.T, *inbox) {},
		"on two volumes": func(t *testing.T, b *inbox) { b.Paths.Processed = batchtest.Tmpfs(t, "size=1m") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newInbox(t)
			processed(t, b)
			b.put("a.csv", "tip\n"+tipA+"\n")
			b.put("b.csv", "tip\n"+tipB+"\n")
			if err := unix.Mount(b.path("a.csv"), b.path("a.csv"), "", unix.MS_BIND, ""); err != nil {
				t.Skipf("needs the right to mount: %v", err)
			}
			t.Cleanup(func() { _ = unix.Unmount(b.path("a.csv"), unix.MNT_DETACH) })
			s := b.run(Options{})
			if s.Failed != 1 || len(s.Files) != 2 || s.Files[1].Outcome != fileImported || s.Files[1].MovedTo == "" || b.records() != 2 {
				t.Errorf("%+v", s)
			}
			batchtest.Must(t, unix.Unmount(b.path("a.csv"), unix.MNT_DETACH))
			if s := b.run(Options{}); s.Failed != 0 || len(s.Files) != 1 || s.Files[0].MovedTo == "" {
				t.Errorf("when it is free: %+v", s)
			}
		})
	}
}
