package names_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/names"
	"noggin/storage"
)

func importNames(m *batchtest.Mirror, kind, text string, dry bool) names.ImportSummary {
	m.T.Helper()
	s, err := names.Import(m.T.Context(), m.DB, m.Types, names.DefaultConfig(), strings.NewReader(text),
		names.ImportOptions{AnyHash: true, EntityType: kind, Source: "names.csv", DryRun: dry})
	if err != nil {
		m.T.Fatal(err)
	}
	return s
}

func TestEveryRowOfAnImportIsAccountedFor(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{Records: 1})
	importNames(m, "vehicle", "hash,name\nold,Was\nsame,Same\n", false)
	s := importNames(m, "vehicle", "\ufeffhash;name;note\r\nold;Is;\r\nsame;Same;\r\nnew;\"N;ew\";x\r\nnew;\"N;ew\";y\r\n"+
		"blank;;\r\nx y;Bad;\r\ntwice;One;\r\ntwice;Two;\r\n", false)
	if s.Rows != 8 || s.New != 2 || s.Changed != 1 || s.Unchanged != 1 || s.NoName != 1 || s.Repeated != 1 || s.Bad != 2 {
		t.Errorf("summary %+v", s)
	}
	if s.New+s.Changed+s.Unchanged+s.Skipped()+s.Bad != int64(s.Rows) {
		t.Errorf("the counts do not add up: %+v", s)
	}
	want := []names.BadRow{{7, "its hash is not 1 to 64 letters, digits, - or _"}, {8, "line 9 has another name for the same hash, which counts"}}
	if !slices.Equal(s.BadRows, want) {
		t.Errorf("bad rows %+v", s.BadRows)
	}
}

func TestWordsInAFileOfNamesAreNoHashes(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{Records: 1})
	hash := strings.Repeat("ab", 32)
	if _, err := names.SetName(t.Context(), m.DB, "team", "short-1", "Team Perth"); err != nil {
		t.Fatal(err)
	}
	text := "hash,name\n" + hash + ",TRUCK 1\nHASH,NAME\nTotal,2\nshort-1,Team Sydney\n" + hash[:40] + ",TRUCK 2\n"
	s, err := names.Import(t.Context(), m.DB, m.Types, names.DefaultConfig(), strings.NewReader(text), names.ImportOptions{EntityType: "team"})
	if err != nil {
		t.Fatal(err)
	}
	want := []names.BadRow{
		{4, `its hash "Total" is not known, and a new one has 64 hexadecimal digits`},
		{6, `its hash "` + hash[:40] + `" is not known, and a new one has 64 hexadecimal digits`},
	}
	if s.Rows != 5 || s.New != 1 || s.Changed != 1 || s.Headers != 1 || s.Skipped() != 1 || !slices.Equal(s.BadRows, want) {
		t.Errorf("%+v", s)
	}
}

func TestAnExportOfAssetsSortsItselfByKind(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{Records: 1})
	assets := "nogginId,assetName,assetType\na,T1,PRIME MOVER\nb,TRL,TRAILER\n"
	s := importNames(m, names.AutoType, assets, false)
	if want := []storage.TypeCounts{{Type: "trailer", New: 1}, {Type: "vehicle", New: 1}}; !slices.Equal(s.Types, want) {
		t.Errorf("types %+v", s.Types)
	}
	if s = importNames(m, "vehicle", assets, false); s.New != 1 || s.Unchanged != 1 || s.Elsewhere != 1 {
		t.Errorf("as one type %+v", s)
	}
	s = importNames(m, names.AutoType, "nogginId,siteName,siteType\nc,Perth,team\nd,West,region\n", false)
	if s.New != 2 || s.LeftOut != 0 {
		t.Errorf("sites %+v", s)
	}
	kinds := names.DefaultConfig()
	kinds.Sites["region"] = ""
	s, err := names.Import(t.Context(), m.DB, m.Types, kinds, strings.NewReader("nogginId,siteName,siteType\ne,Perth,team\nf,West,region\n"), names.ImportOptions{EntityType: names.AutoType, AnyHash: true})
	if err != nil || s.New != 1 || s.LeftOut != 1 || !maps.Equal(s.LeftKinds, map[string]int{"region": 1}) {
		t.Errorf("with a kind that is left out %+v, %v", s, err)
	}
	s = importNames(m, names.AutoType, "hash,name,entity_type\ng,Perth,TEAM\nh,Mars,planet\n", false)
	if want := []names.BadRow{{3, `its entity_type is "planet": want one of vehicle, trailer, department, team, customer, person`}}; s.New != 1 || s.Bad != 1 || !slices.Equal(s.BadRows, want) {
		t.Errorf("noggin's own export %+v", s)
	}
	if _, err := names.Import(t.Context(), m.DB, m.Types, names.DefaultConfig(), strings.NewReader("hash,name\n"), names.ImportOptions{EntityType: names.AutoType}); err == nil {
		t.Error("auto took a file without kinds")
	}
}

func TestUnknownHashesComeBackUnharmed(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{Records: 1})
	for i, hash := range []string{"-abc", "plain", "plain2"} {
		m.Execute(`INSERT INTO noggin_schema.unknown_hashes (hash_value, entity_type, occurrence_count) VALUES ('` + hash + `', 'team', ` + string(rune('9'-i)) + `)`)
	}
	export := func(kind string, filled map[storage.EntityKey]string) (string, int) {
		var b strings.Builder
		count, kept, err := names.WriteUnknown(t.Context(), m.DB, &b, names.UnknownExport{EntityType: kind, Filled: filled})
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
	parsed, err := names.ReadFilled(strings.NewReader(filled), "team", m.Types.EntityTypes())
	if err != nil {
		t.Fatal(err)
	}
	again, kept := export("team", parsed)
	if kept != 2 {
		t.Errorf("%d filled-in names were kept", kept)
	}
	all, _ := export("", parsed)
	for kind, text := range map[string]string{"team": filled, "all": all} {
		t.Run(kind, func(t *testing.T) {
			if kind == "all" {
				kind = names.AutoType
			}
			s := importNames(m, kind, text, true)
			if s.New != 2 || s.NoName != 1 || s.Resolved != 2 {
				t.Errorf("summary %+v", s)
			}
		})
	}
	importNames(m, "team", again, false)
	got := map[string]string{}
	err = m.DB.EachHash(t.Context(), storage.HashFilter{Known: true}, func(r storage.HashRow) error { got[r.Hash] = *r.Name; return nil })
	if err != nil || !maps.Equal(got, map[string]string{"-abc": "=1+1", "plain": `@O'Brien, "X"`}) {
		t.Errorf("names %q, %v", got, err)
	}
}

func TestAnEmptyFileOfUnknownHashesIsStillAFile(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{Records: 1})
	var b strings.Builder
	if _, _, err := names.WriteUnknown(t.Context(), m.DB, &b, names.UnknownExport{EntityType: "team"}); err != nil {
		t.Fatal(err)
	}
	if s := importNames(m, "team", b.String(), false); s.Rows != 0 {
		t.Errorf("summary %+v", s)
	}
}
