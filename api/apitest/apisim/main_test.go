package main

import (
	"testing"
	"time"

	"noggin/api/apitest"
)

func TestFlagsMakeTheWorld(t *testing.T) {
	set, err := parse([]string{
		"--records", "9", "--photos", "0-4", "--media-bytes", "5000", "--latency", "40ms", "--forms", "LCD,SO",
		"--fault", "status=503,share=0.1", "--fault", "kind=hang,on=media",
	})
	if err != nil {
		t.Fatal(err)
	}
	o := set.world
	if o.Records != 9 || o.Photos != (apitest.Range{Min: 0, Max: 4}) || o.MediaBytes != apitest.Fixed(5000) ||
		o.Latency != 40*time.Millisecond || len(o.Forms) != 2 || len(set.faults) != 2 {
		t.Errorf("%+v", set)
	}
}

func TestNoPhotosIsNotTheDefault(t *testing.T) {
	set, err := parse([]string{"--photos", "0"})
	if err != nil || set.world.Photos != apitest.None {
		t.Errorf("%+v, %v", set.world.Photos, err)
	}
}

func TestWrongFlagsAreRefused(t *testing.T) {
	for _, args := range [][]string{
		{"--photos", "6-0"}, {"--photos", "x"}, {"--media-bytes", "-5"}, {"--fault", "kind=fire"}, {"--forms", "XYZ"}, {"more"},
	} {
		if set, err := parse(args); err == nil {
			t.Errorf("%q gives %+v", args, set)
		}
	}
}
