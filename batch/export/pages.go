package export

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"slices"
	"strings"
	"sync"
)

var (
	//go:embed pages/pages.gohtml
	pagesText string
	//go:embed pages/style.css
	styleText string
	//go:embed pages/script.js
	scriptText string
)

// policy lets a page show its own pictures, style and script, and nothing else, whatever
// is in the texts.
var policy = "default-src 'none'; base-uri 'none'; form-action 'none'; img-src 'self' file: data:; style-src " +
	sourceHash(styleText) + "; script-src " + sourceHash(scriptText)

func sourceHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// list is a kind of list of an export's records.
type list struct {
	Name  string
	Label string
	File  string // the first page, from the top of the bag
	// Keys are the groups of the list under which a record stands; nil: no groups.
	keys func(Entry) []string
	sort bool // else the records come in the list's order anyway
}

// allLists are the lists of an export, in the order of the navigation.
var allLists = []list{
	{"all", "All", "index.html", nil, false},
	{"days", "By day", "data/lists/days.html", func(e Entry) []string { return []string{orNone(dayText(e.Day), "Without a day")} }, false},
	{"vehicles", "By vehicle", "data/lists/vehicles.html", func(e Entry) []string { return []string{orNone(e.Vehicle, "Without a vehicle")} }, true},
	{"trailers", "By trailer", "data/lists/trailers.html", func(e Entry) []string {
		if len(e.Trailers) == 0 {
			return []string{"Without a trailer"}
		}
		return e.Trailers
	}, true},
	{"teams", "By team", "data/lists/teams.html", func(e Entry) []string { return []string{orNone(e.Team, "Without a team")} }, true},
}

func orNone(s, none string) string {
	if s == "" {
		return none
	}
	return s
}

// pages is parsed once, when the first page is written. The style and the script are part of its text, so that they are
// byte for byte those of the policy.
var pages = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("pages").Funcs(template.FuncMap{
		"policy": func() string { return policy },
		"lists":  func() []list { return allLists },
		"long":   isLong,
		"parts":  func(name string) []string { return strings.Split(name, "_") },
	}).Parse(strings.NewReplacer("STYLE", styleText, "SCRIPT", scriptText).Replace(pagesText)))
})

// isLong tells whether a text needs the width of the page: it is long, has lines, or a
// word that is no word.
func isLong(text string) bool {
	const most, mostWord = 120, 40
	return len(text) > most || strings.Contains(text, "\n") ||
		slices.ContainsFunc(strings.Fields(text), func(word string) bool { return len(word) > mostWord })
}
