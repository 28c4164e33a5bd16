package apitest

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// HostileNames are texts that must not leave the output folder, break a line or
// overflow a name when they arrive as ids, names or field names.
func HostileNames() []string {
	return []string{
		"../../etc/passwd",
		"..",
		".",
		"/etc/cron.d/noggin",
		`..\..\windows\system32`,
		"a/b/c",
		"LCD - 00\x000001",
		"LCD - 1\r\nSet-Cookie: x",
		strings.Repeat("n", 300),
		strings.Repeat("é", 300),
		"LCD - \u202egpj.exe\u200f",
		"  ",
		"",
		"-rf",
		".noggin-tmp",
		"CON",
		"$(reboot)`id`",
		"'; DROP TABLE noggin_data; --",
		"\x1b[31mred",
		"=1+1",
	}
}

// HostileMedia are references that must not be fetched, or not with credentials.
func HostileMedia() []string {
	const tip = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	return []string{
		"http://foreign.invalid/media/file?ns=x&tip=" + tip,
		"https://foreign.invalid:8443/media/file?tip=" + tip,
		"//foreign.invalid/media/file?tip=" + tip,
		"http://user:secret@foreign.invalid/media/file?tip=" + tip,
		"file:///etc/passwd",
		"ftp://foreign.invalid/file",
		"javascript:alert(1)",
		"/etc/passwd",
		"/rest/object/loadComplianceCheckDriverLoader/" + tip,
		"/media/../rest/object/x/" + tip,
		"/media/%2e%2e/%2e%2e/etc/passwd",
		"/media/file?ns=x&tip=../../../etc/passwd",
		"/media/file?ns=x&tip=",
		"/media/file?ns=x&tip=" + tip + "&tip=" + tip,
		"/media/file",
		"/mediafile?tip=" + tip,
		"@foreign.invalid/media/file?tip=" + tip,
		"\\\\foreign.invalid\\share",
		"/media/file?ns=x&tip=\x00",
		"",
	}
}

// changeDocument makes a change of the answer out of an edit of its document.
// What is no JSON object (a test's own payload) stays as it is.
func changeDocument(edit func(x *exchange, f *Fault, d *Document)) func(*exchange, *Fault, *answer) {
	return func(x *exchange, f *Fault, a *answer) {
		doc, err := ParseDocument(bytes.Join(a.parts, nil))
		if err != nil {
			return
		}
		edit(x, f, doc)
		a.parts = [][]byte{doc.Encode()}
	}
}

// chosen is the fault's own value, else one of a list by the record's tip.
func chosen(x *exchange, f *Fault, list []string) string {
	if f.Value != "" {
		return f.Value
	}
	return list[tipKey(x.call.tip)%uint64(len(list))]
}

func idField(x *exchange) string {
	for _, form := range forms {
		if form.APIName == x.call.apiName {
			return form.IDField
		}
	}
	return "id"
}

// eachText runs edit on every field that holds a plain text which is no tip.
func eachText(d *Document, edit func(name, text string)) {
	for _, name := range d.Fields() {
		var text string
		if json.Unmarshal(d.Get(name), &text) == nil && name != "date" && !looksLikeTip.MatchString(text) {
			edit(name, text)
		}
	}
}

// eachMedia runs edit on every list of media references.
func eachMedia(d *Document, edit func(name string, refs []string)) {
	for _, name := range d.Fields() {
		var refs []string
		if json.Unmarshal(d.Get(name), &refs) == nil && len(refs) > 0 && strings.HasPrefix(refs[0], "/media/") {
			edit(name, refs)
		}
	}
}

func editWrongTip(x *exchange, _ *Fault, d *Document) {
	d.SetMeta("tip", x.server.codec.encode(mark{kind: kindOther, index: int(tipKey(x.call.tip) >> 1)}))
}

func editNoTip(_ *exchange, _ *Fault, d *Document)  { d.DeleteMeta("tip") }
func editNoMeta(_ *exchange, _ *Fault, d *Document) { d.Delete("$meta") }
func editNoID(x *exchange, _ *Fault, d *Document)   { d.Delete(idField(x)) }
func editNoDate(_ *exchange, _ *Fault, d *Document) { d.Delete("date") }
func editDelete(_ *exchange, f *Fault, d *Document) { d.Delete(f.Field) }
func editHostileID(x *exchange, f *Fault, d *Document) {
	d.Set(idField(x), chosen(x, f, HostileNames()))
}

func editSet(_ *exchange, f *Fault, d *Document) {
	if json.Valid([]byte(f.Value)) {
		d.Set(f.Field, json.RawMessage(f.Value))
		return
	}
	d.Set(f.Field, f.Value)
}

// editRepeatedID gives every record of a form the same id and day.
func editRepeatedID(x *exchange, f *Fault, d *Document) {
	d.Set(idField(x), chosen(x, f, []string{"LCD - 000001"}))
	d.Set("date", "2025-09-17T00:00:00.000+08:00")
}

func editNUL(x *exchange, _ *Fault, d *Document) {
	eachText(d, func(name, text string) {
		if name != idField(x) {
			d.Set(name, text+"\x00tail")
		}
	})
}

func editHostileNames(x *exchange, _ *Fault, d *Document) {
	names := HostileNames()
	next := int(tipKey(x.call.tip) % uint64(len(names)))
	eachText(d, func(name, _ string) {
		if name != idField(x) {
			d.Set(name, names[next%len(names)])
			next++
		}
	})
}

// editNumbersAsText turns every number into text and every numeric text into a
// number: both occur.
func editNumbersAsText(_ *exchange, _ *Fault, d *Document) {
	for _, name := range d.Fields() {
		raw := d.Get(name)
		var number json.Number
		var text string
		switch {
		case json.Unmarshal(raw, &text) == nil:
			if json.Unmarshal([]byte(text), &number) == nil && number != "" {
				d.Set(name, number)
			}
		case json.Unmarshal(raw, &number) == nil:
			d.Set(name, number.String())
		}
	}
}

func editDoubleMedia(_ *exchange, _ *Fault, d *Document) {
	eachMedia(d, func(name string, refs []string) { d.Set(name, slices.Concat(refs, refs)) })
}

// editHostileField moves the first list of media to a field of a hostile name.
func editHostileField(x *exchange, f *Fault, d *Document) {
	moved := false
	eachMedia(d, func(name string, refs []string) {
		if !moved {
			d.Delete(name)
			d.Set(chosen(x, f, HostileNames()), refs)
			moved = true
		}
	})
}

// editHostileMedia puts hostile references before the good ones of the first
// list of media, or into "attachments" where there is none.
func editHostileMedia(_ *exchange, f *Fault, d *Document) {
	bad := HostileMedia()
	if f.Value != "" {
		bad = []string{f.Value}
	}
	done := false
	eachMedia(d, func(name string, refs []string) {
		if !done {
			d.Set(name, slices.Concat(bad, refs))
			done = true
		}
	})
	if !done {
		d.Set("attachments", bad)
	}
}

// editUnusual wraps values in shapes that the API never sends but JSON allows.
func editUnusual(_ *exchange, _ *Fault, d *Document) {
	d.Set("vehicle", []any{})
	d.Set("team", map[string]any{"tip": nil})
	d.Set("attachments", "none")
	d.Set("inspectedBy", nil)
	d.Set("jobNumber", 1e300)
	d.Set("", "a key without a name")
	d.Set("date", "yesterday")
}
