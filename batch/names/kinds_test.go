package names

import (
	"strings"
	"testing"

	"noggin/batch/forms"
)

func TestKindsOfTheExportsDecideTheType(t *testing.T) {
	types, err := forms.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	hashes := DefaultConfig()
	hashes.Assets["Forklift"] = "" // a company's own wish
	hashes.Assets["B-*-*er"] = "trailer"
	hashes.Sites["Closed"] = ""
	tests := []struct{ layout, kind, want string }{
		{layoutAssets, "PRIME MOVER", "vehicle"},
		{layoutAssets, "TRAILER", "trailer"},
		{layoutAssets, "tri-axle Trailer/skel", "trailer"},
		{layoutAssets, " Converter dolly", "trailer"},
		{layoutAssets, "", "vehicle"},
		{layoutAssets, "FORKLIFT", ""},
		{layoutAssets, "b-double leader", "vehicle"},
		{layoutAssets, "b-double-leader", "trailer"},
		{layoutSites, "Team", "team"},
		{layoutSites, "department", "department"},
		{layoutAssets, "DROPDECK", "trailer"},
		{layoutAssets, "Skel", "trailer"},
		{layoutAssets, "B-DOUBLE SKEL", "trailer"},
		{layoutSites, "region", "team"},
		{layoutSites, "businessUnit", "team"},
		{layoutSites, "virtualForReporting", "team"},
		{layoutSites, "", "team"},
		{layoutSites, "closed", ""},
		{layoutNames, "person", "person"},
		{layoutNames, "planet", ""},
		{layoutValues, "person", ""},
	}
	for _, tt := range tests {
		if got := hashes.kindTypes(tt.layout, types.EntityTypes()).typeOf(tt.kind); got != tt.want {
			t.Errorf("%s %q is %q; want %q", tt.layout, tt.kind, got, tt.want)
		}
	}
}

func TestAKindOfAnUnknownTypeIsAnError(t *testing.T) {
	types, err := forms.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	kinds := DefaultConfig()
	kinds.Sites["depot"] = "depot"
	if err := kinds.Validate(types.EntityTypes()); err == nil || !strings.Contains(err.Error(), `[hashes] sites: "depot" = "depot": want one of vehicle, trailer`) {
		t.Errorf("got %v", err)
	}
}

func TestFileNamesOfUnknownHashesAreTheManuals(t *testing.T) {
	for kind, want := range map[string]string{
		"vehicle": "unknown_vehicles.csv", "team": "unknown_teams.csv", "company": "unknown_companies.csv",
		"depot_bay": "unknown_depot_bays.csv", "bus": "unknown_buses.csv", "y": "unknown_ys.csv",
	} {
		if got := UnknownFileName(kind); got != want {
			t.Errorf("%s is %s, want %s", kind, got, want)
		}
	}
}

// fitsSlowly is the plain definition, for short texts.
func fitsSlowly(text, pattern string) bool {
	fits := make([]bool, len(text)+1)
	fits[0] = true
	for i := range len(pattern) {
		next := make([]bool, len(text)+1)
		for n := range fits {
			switch {
			case pattern[i] == '*':
				next[n] = fits[n] || n > 0 && next[n-1]
			case n > 0:
				next[n] = fits[n-1] && text[n-1] == pattern[i]
			}
		}
		fits = next
	}
	return fits[len(text)]
}

func FuzzKindPatterns(f *testing.F) {
	f.Add("a trailer b", "*trailer*")
	f.Add("ab", "a**b")
	f.Fuzz(func(t *testing.T, text, pattern string) {
		got := fitsPattern(text, pattern)
		if fits := fitsSlowly(text, pattern); got != fits {
			t.Errorf("%q fits %q: %v, want %v", text, pattern, got, fits)
		}
	})
}

func TestTheNameOfAnObjectIsInOneOfTheConfiguredFields(t *testing.T) {
	types, err := forms.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	f := Fetcher{Types: types, Kinds: DefaultConfig()}
	for answer, want := range map[string][2]string{
		`{"assetName": "MB26", "assetType": "PRIME MOVER", "name": "no"}`: {"vehicle", "MB26"},
		`{"assetName": "D1", "assetType": "DOLLY"}`:                       {"trailer", "D1"},
		`{"siteName": " Port\nHedland ", "siteType": "businessUnit"}`:     {"team", "Port Hedland"},
		`{"firstName": "Zoë", "lastName": "O'Brien"}`:                     {"department", "Zoë O'Brien"},
		`{"firstName": "", "lastName": "Smith", "title": null}`:           {"department", "Smith"},
		`{"assetName": "", "title": "The title", "name": 7}`:              {"department", "The title"},
		`{"assetName": "\u200b"}`:                                         {"department", ""},
		`{"status": "open"}`:                                              {"department", ""},
	} {
		if kind, name := f.nameOf("department", []byte(answer)); [2]string{kind, name} != want {
			t.Errorf("%s is %s %q, want %q", answer, kind, name, want)
		}
	}
}

func TestAnEmptyNameFieldIsAnError(t *testing.T) {
	c := DefaultConfig()
	c.NameFields = append(c.NameFields, "firstName + ")
	if err := c.Validate([]string{"vehicle", "trailer", "department", "team"}); err == nil || !strings.Contains(err.Error(), `[hashes] name_fields: "firstName + ": want the name of a field`) {
		t.Errorf("got %v", err)
	}
}
