package apitest

import (
	"testing"
	"testing/synctest"
	"time"
)

// meet sends n requests for a record to a board and tells which ones met a fault.
func meet(b *faultBoard, c call, n int) []bool {
	met := make([]bool, n)
	for i := range met {
		met[i] = b.match(c, &ticket{number: b.last + 1}) != nil
	}
	return met
}

func hits(met []bool) (n int) {
	for _, m := range met {
		n += int(count(m))
	}
	return n
}

func board(t *testing.T, faults ...Fault) *faultBoard {
	t.Helper()
	b := newFaultBoard(1)
	for _, f := range faults {
		if _, err := b.add(f); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

var (
	aRecord = call{kind: OnRecord, tip: "r", record: "r"}
	aPhoto  = call{kind: OnMedia, tip: "p", record: "r"}
	another = call{kind: OnRecord, tip: "s", record: "s"}
)

func TestFaultsMeetOnlyTheirRequests(t *testing.T) {
	for name, tc := range map[string]struct {
		fault                  Fault
		record, photo, another bool
	}{
		"everything":      {Fault{Status: 500}, true, true, true},
		"records":         {Fault{Status: 500, On: OnRecord}, true, false, true},
		"media":           {Fault{Status: 500, On: OnMedia}, false, true, false},
		"by its kind":     {Fault{Kind: "cut-picture"}, false, true, false},
		"a record's tip":  {Fault{Status: 500, Tips: []string{"r"}}, true, true, false},
		"an attachment's": {Fault{Status: 500, Tips: []string{"p", "q"}}, false, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := board(t, tc.fault)
			for c, want := range map[string]bool{"r": tc.record, "p": tc.photo, "s": tc.another} {
				got := meet(b, map[string]call{"r": aRecord, "p": aPhoto, "s": another}[c], 1)[0]
				if got != want {
					t.Errorf("request for %s met it: %v", c, got)
				}
			}
		})
	}
}

func TestFaultsByCount(t *testing.T) {
	b := board(t, Fault{Status: 500, FirstHits: 2})
	if got := meet(b, aRecord, 4); hits(got) != 2 || !got[0] || !got[1] {
		t.Errorf("first hits: %v", got)
	}
	if got := meet(b, another, 4); hits(got) != 2 {
		t.Errorf("first hits of another tip: %v", got)
	}
	b = board(t, Fault{Status: 500, From: 3, Until: 4})
	if got := meet(b, aRecord, 6); hits(got) != 2 || !got[2] || !got[3] {
		t.Errorf("from 3 until 4: %v", got)
	}
	b.remove(func(*liveFault) bool { return true })
	if _, err := b.add(Fault{Status: 500, Until: 1}); err != nil {
		t.Fatal(err)
	}
	if got := meet(b, aRecord, 3); hits(got) != 1 || !got[0] {
		t.Errorf("counted since it was set: %v", got)
	}
}

func TestFaultsByShare(t *testing.T) {
	first := meet(board(t, Fault{Status: 500, Share: 0.3}), aRecord, 5000)
	again := meet(board(t, Fault{Status: 500, Share: 0.3}), aRecord, 5000)
	if n := hits(first); n < 1350 || n > 1650 {
		t.Errorf("0.3 of 5000 are %d", n)
	}
	for i := range first {
		if first[i] != again[i] {
			t.Fatal("not the same requests with the same seed")
		}
	}
	b := board(t, Fault{Status: 500, Share: 0.5, ByTip: true})
	both := map[int]bool{}
	for i := range 50 {
		c := call{kind: OnRecord, tip: string(rune('a' + i))}
		n := hits(meet(b, c, 10))
		if n != 0 && n != 10 {
			t.Errorf("a tip met it %d times of 10", n)
		}
		both[n] = true
	}
	if len(both) != 2 {
		t.Error("all tips fare alike")
	}
}

func TestFirstMatchingFaultCounts(t *testing.T) {
	b := board(t, Fault{Status: 401, On: OnMedia}, Fault{Status: 500}, Fault{Status: 503})
	if f := b.match(aRecord, &ticket{number: 1}); f == nil || f.Status != 500 {
		t.Errorf("got %+v", f)
	}
}

func TestFaultsByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := board(t, Fault{Status: 500, After: time.Minute, For: time.Minute})
		for _, want := range []int{0, 1, 0} {
			if got := hits(meet(b, aRecord, 1)); got != want {
				t.Errorf("met %d times, want %d", got, want)
			}
			time.Sleep(time.Minute)
		}
	})
}

func TestFaultsOverARate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := board(t, Fault{Status: 429, OverRate: 10})
		for range 3 {
			if got := hits(meet(b, aRecord, 25)); got != 15 {
				t.Errorf("%d of 25 in one second met it, want 15", got)
			}
			time.Sleep(time.Second)
		}
	})
}

func TestParseFault(t *testing.T) {
	f, err := ParseFault("status=503, share=0.1,on=media,retry_after=5,tip=a,tip=b,for=10s,first_hits=2,by_tip=true")
	if err != nil {
		t.Fatal(err)
	}
	if f.Kind != "status" || f.Status != 503 || f.Share != 0.1 || f.On != OnMedia || f.RetryAfter != "5" ||
		len(f.Tips) != 2 || f.For != 10*time.Second || f.FirstHits != 2 || !f.ByTip {
		t.Errorf("%+v", f)
	}
	for _, bad := range []string{"", "status", "status=x", "kind=fire", "status=503,share=7", "colour=red", "kind=status", "for=1", "by_tip=2", "kind=edit,value=x", "status=500,on=x"} {
		if f, err := ParseFault(bad); err == nil {
			t.Errorf("%q gives %+v", bad, f)
		}
	}
}
