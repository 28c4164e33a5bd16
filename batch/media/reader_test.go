package media

import (
	"bytes"
	"runtime"
	"sync"
	"testing"
)

// meteredFile counts the bytes that are read of it.
type meteredFile struct {
	data []byte
	read int
}

func (f *meteredFile) ReadAt(p []byte, at int64) (int, error) {
	n, err := bytes.NewReader(f.data).ReadAt(p, at)
	f.read += n
	return n, err
}

// A run judges thousands of files: it reads each once, and does not take new memory for each.
// The test is alone at work, as it measures the memory of the whole process.
func TestAJudgementReadsAFileOnceIntoMemoryThatIsUsedAgain(t *testing.T) {
	const judged = 200
	data := jpegFile(400)
	if len(data) < 2*windowSize {
		t.Fatalf("the picture has %d bytes: the test shows little", len(data))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range judged {
		f := &meteredFile{data: data}
		if _, err := Judge(f, int64(len(data)), ""); err != nil || f.read < len(data) || f.read > 2*len(data) {
			t.Fatalf("of %d bytes %d were read, %v", len(data), f.read, err)
		}
	}
	runtime.ReadMemStats(&after)
	// With the race detector a pool forgets a quarter of what it is given.
	if took := after.TotalAlloc - before.TotalAlloc; took > judged*windowSize/2 {
		t.Errorf("%d judgements took %d bytes", judged, took)
	}
}

// Files that are judged at the same time never share memory.
func TestFilesAreJudgedBesideEachOther(t *testing.T) {
	t.Parallel()
	files := samples()
	want := map[string]Verdict{}
	for name, data := range files {
		want[name] = check(data, "")
	}
	var judging sync.WaitGroup
	for name, data := range files {
		for range 4 {
			judging.Go(func() {
				if got := check(data, ""); got != want[name] {
					t.Errorf("%s: %+v, alone: %+v", name, got, want[name])
				}
			})
		}
	}
	judging.Wait()
}
