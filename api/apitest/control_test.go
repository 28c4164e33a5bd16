package apitest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func (s *Server) steer(t *testing.T, method, path, body string) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL()+"/_control/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	got, err := do(r)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestFaultsAreSwitchedFromOutside(t *testing.T) {
	s := Start(t, Options{Records: 6})
	r := s.Record(0)
	for _, body := range []string{`{"status": 503, "until": 1}`, `"status=503,until=1"`, `[{"status": 503, "until": 1}]`} {
		s.steer(t, http.MethodDelete, "faults", "")
		if got := s.steer(t, http.MethodPost, "faults", body); got.status != http.StatusOK {
			t.Fatalf("%s: %s", body, got.body)
		}
		for _, want := range []int{503, 200} {
			if got, err := s.get(t, pathOf(r)); err != nil || got.status != want {
				t.Errorf("after %s: %d, %v, want %d", body, got.status, err, want)
			}
		}
	}
	var set []struct {
		Hits  int
		Fault struct{ Status int }
	}
	if err := json.Unmarshal(s.steer(t, http.MethodGet, "faults", "").body, &set); err != nil || len(set) != 1 || set[0].Hits != 1 || set[0].Fault.Status != 503 {
		t.Errorf("faults %+v, %v", set, err)
	}
	if got := s.steer(t, http.MethodPost, "faults", `{"kind":"fire"}`); got.status != http.StatusBadRequest {
		t.Error("took a fault that is none", got.status)
	}
}

func TestOutsideSeesCountsRecordsAndFiles(t *testing.T) {
	s := Start(t, Options{Records: 7, Log: true})
	if _, err := s.get(t, pathOf(s.Record(0))); err != nil {
		t.Fatal(err)
	}
	var stats Stats
	if err := json.Unmarshal(s.steer(t, http.MethodGet, "stats", "").body, &stats); err != nil || stats.Requests != 1 {
		t.Errorf("stats %+v, %v", stats, err)
	}
	var entry Entry
	if err := json.Unmarshal(s.steer(t, http.MethodGet, "log", "").body, &entry); err != nil || entry.Tip != s.Record(0).Tip {
		t.Errorf("log %+v, %v", entry, err)
	}
	s.steer(t, http.MethodPost, "stats", "")
	if s.Stats().Requests != 0 {
		t.Error("the counts were not reset")
	}
	if lines := bytes.Count(s.steer(t, http.MethodGet, "records?from=2&count=50", "").body, []byte("\n")); lines != 5 {
		t.Errorf("%d records, want 5", lines)
	}
	for path, status := range map[string]int{
		"export/LCD.csv": 200, "export/LCD.csv?variant=tips": 200, "names/vehicle.csv": 200, "names/assets.csv": 200,
		"names/sites.csv": 200, "export/XYZ.csv": 400, "names/x.csv": 400, "nothing": 404,
	} {
		if got := s.steer(t, http.MethodGet, path, ""); got.status != status {
			t.Errorf("%s: %d, want %d", path, got.status, status)
		}
	}
}
