package batch

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"noggin/api/apitest"
	"noggin/storage"
)

func TestKindsOfTheExportsDecideTheType(t *testing.T) {
	types, err := NewObjectTypes(DefaultObjectTypes(), nil)
	if err != nil {
		t.Fatal(err)
	}
	hashes := DefaultConfig().Hashes
	hashes.Assets["Forklift"] = "" // a company's own wish
	hashes.Assets["B-*-*er"] = "trailer"
	tests := []struct {
		layout, kind, want string
		known              bool
	}{
		{LayoutAssets, "PRIME MOVER", "vehicle", true},
		{LayoutAssets, "TRAILER", "trailer", true},
		{LayoutAssets, "tri-axle Trailer/skel", "trailer", true},
		{LayoutAssets, " Converter dolly", "trailer", true},
		{LayoutAssets, "", "vehicle", true},
		{LayoutAssets, "FORKLIFT", "", true},
		{LayoutAssets, "b-double leader", "vehicle", true},
		{LayoutAssets, "b-double-leader", "trailer", true},
		{LayoutSites, "Team", "team", true},
		{LayoutSites, "department", "department", true},
		{LayoutSites, "region", "", true},
		{LayoutNames, "person", "person", true},
		{LayoutNames, "planet", "", false},
		{LayoutValues, "person", "", false},
	}
	for _, tt := range tests {
		got, known := hashes.kindTypes(tt.layout, types.EntityTypes()).typeOf(tt.kind)
		if got != tt.want || known != tt.known {
			t.Errorf("%s %q is %q, %v; want %q, %v", tt.layout, tt.kind, got, known, tt.want, tt.known)
		}
	}
}

func TestAKindOfAnUnknownTypeIsAnError(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Hashes.Sites["depot"] = "depot"
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), `[hashes] sites: "depot" = "depot": want one of vehicle, trailer`) {
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

func (m *mirror) importNames(kind, text string, dry bool) NameImportSummary {
	m.t.Helper()
	s, err := ImportNames(m.t.Context(), m.DB, m.Types, m.Config.Hashes, strings.NewReader(text),
		NameImportOptions{EntityType: kind, Source: "names.csv", DryRun: dry})
	if err != nil {
		m.t.Fatal(err)
	}
	return s
}

func TestEveryRowOfAnImportIsAccountedFor(t *testing.T) {
	t.Parallel()
	m := newMirror(t, apitest.Options{Records: 1})
	m.importNames("vehicle", "hash,name\nold,Was\nsame,Same\n", false)
	s := m.importNames("vehicle", "\ufeffhash;name;note\r\nold;Is;\r\nsame;Same;\r\nnew;\"N;ew\";x\r\nnew;\"N;ew\";y\r\n"+
		"blank;;\r\nx y;Bad;\r\ntwice;One;\r\ntwice;Two;\r\n", false)
	if s.Rows != 8 || s.New != 2 || s.Changed != 1 || s.Unchanged != 1 || s.NoName != 1 || s.Repeated != 1 || s.Bad != 2 {
		t.Errorf("summary %+v", s)
	}
	if s.New+s.Changed+s.Unchanged+s.Skipped()+s.Bad != int64(s.Rows) {
		t.Errorf("the counts do not add up: %+v", s)
	}
	want := []BadRow{{7, "its hash is not 1 to 64 letters, digits, - or _"}, {8, "line 9 has another name for the same hash, which counts"}}
	if !slices.Equal(s.BadRows, want) {
		t.Errorf("bad rows %+v", s.BadRows)
	}
}

func TestAnExportOfAssetsSortsItselfByKind(t *testing.T) {
	t.Parallel()
	m := newMirror(t, apitest.Options{Records: 1})
	assets := "nogginId,assetName,assetType\na,T1,PRIME MOVER\nb,TRL,TRAILER\n"
	s := m.importNames(AutoType, assets, false)
	if want := []storage.TypeCounts{{Type: "trailer", New: 1}, {Type: "vehicle", New: 1}}; !slices.Equal(s.Types, want) {
		t.Errorf("types %+v", s.Types)
	}
	if s = m.importNames("vehicle", assets, false); s.New != 1 || s.Unchanged != 1 || s.Elsewhere != 1 {
		t.Errorf("as one type %+v", s)
	}
	s = m.importNames(AutoType, "nogginId,siteName,siteType\nc,Perth,team\nd,West,region\n", false)
	if s.New != 1 || s.LeftOut != 1 || !maps.Equal(s.LeftKinds, map[string]int{"region": 1}) {
		t.Errorf("sites %+v", s)
	}
	if _, err := ImportNames(t.Context(), m.DB, m.Types, m.Config.Hashes, strings.NewReader("hash,name\n"), NameImportOptions{EntityType: AutoType}); err == nil {
		t.Error("auto took a file without kinds")
	}
}

func TestUnknownHashesComeBackUnharmed(t *testing.T) {
	t.Parallel()
	m := newMirror(t, apitest.Options{Records: 1})
	for i, hash := range []string{"-abc", "plain", "plain2"} {
		m.execute(`INSERT INTO noggin_schema.unknown_hashes (hash_value, entity_type, occurrence_count) VALUES ('` + hash + `', 'team', ` + string(rune('9'-i)) + `)`)
	}
	export := func(kind string, filled map[storage.EntityKey]string) (string, int) {
		var b strings.Builder
		count, kept, err := WriteUnknown(t.Context(), m.DB, &b, UnknownExport{EntityType: kind, Filled: filled})
		if err != nil || count != 3 {
			t.Fatalf("exported %d, %v", count, err)
		}
		return b.String(), kept
	}
	text, _ := export("team", nil)
	lines := strings.Split(text, "\n")
	if lines[0] != "hash,name,first_seen_tip,inspection_id,occurrences,last_seen" || !strings.HasPrefix(lines[1], "'-abc,,,,9,") {
		t.Errorf("export\n%s", text)
	}
	filled := strings.Replace(text, "'-abc,", "'-abc,=1+1", 1)
	filled = strings.Replace(filled, "plain,", "plain,\"'@O'Brien, \"\"X\"\"\"", 1)
	names, err := ReadFilled(strings.NewReader(filled), "team")
	if err != nil {
		t.Fatal(err)
	}
	again, kept := export("team", names)
	if kept != 2 {
		t.Errorf("%d filled-in names were kept", kept)
	}
	all, _ := export("", names)
	for kind, text := range map[string]string{"team": filled, "all": all} {
		t.Run(kind, func(t *testing.T) {
			if kind == "all" {
				kind = AutoType
			}
			s := m.importNames(kind, text, true)
			if s.New != 2 || s.NoName != 1 || s.Resolved != 2 {
				t.Errorf("summary %+v", s)
			}
		})
	}
	m.importNames("team", again, false)
	got := map[string]string{}
	err = m.DB.EachHash(t.Context(), storage.HashFilter{Known: true}, func(r storage.HashRow) error { got[r.Hash] = *r.Name; return nil })
	if err != nil || !maps.Equal(got, map[string]string{"-abc": "=1+1", "plain": `@O'Brien, "X"`}) {
		t.Errorf("names %q, %v", got, err)
	}
}

func TestAnEmptyFileOfUnknownHashesIsStillAFile(t *testing.T) {
	t.Parallel()
	m := newMirror(t, apitest.Options{Records: 1})
	var b strings.Builder
	if _, _, err := WriteUnknown(t.Context(), m.DB, &b, UnknownExport{EntityType: "team"}); err != nil {
		t.Fatal(err)
	}
	if s := m.importNames("team", b.String(), false); s.Rows != 0 {
		t.Errorf("summary %+v", s)
	}
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
