package queue

import (
	"slices"
	"testing"
)

func TestAnInspectionIDIsFoundHoweverItIsTyped(t *testing.T) {
	t.Parallel()
	for typed, wants := range map[string][]string{
		"LCD - 045289":                 {"LCD - 045289", "LCD-045289"},
		"LCD-045289":                   {"LCD - 045289", "LCD-045289"},
		" lcd 045289 ":                 {"LCD - 045289", "lcd 045289", "LCD045289"},
		"LCD045289":                    {"LCD - 045289"},
		"C - 003825":                   {"C - 003825", "C-003825"},
		"fl-inspection-00515":          {"FL - Inspection - 00515"},
		"FL - Inspection - 1":          {"FL - Inspection - 1", "FL-Inspection-1"},
		"odd":                          {"odd"},
		"12345":                        {"12345"},
		"é-1":                          {"É - 1"},
		" LCD\u2013045289":             {"LCD - 045289", "LCD-045289"}, // a dash that a letter or a mail made of it
		"LCD\u00a0-\u00a0\u2011045289": {"LCD - 045289"},
	} {
		got := spellings(typed)
		for _, want := range wants {
			if !slices.Contains(got, want) {
				t.Errorf("%q may be %q, without %q", typed, got, want)
			}
		}
	}
	if got := spellings("  "); len(got) != 0 {
		t.Errorf("nothing may be %q", got)
	}
}
