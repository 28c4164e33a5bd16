package apitest

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// HostileNames are ids, names and field names that try to leave the output folder, to
// break a line or to overflow a file name.
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

// HostileMedia are media references that must not be fetched, or not with credentials.
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

// changeDocument makes a change of the answer from an edit of its document. An answer
// that is not a JSON object stays as it is.
func changeDocument(edit func(x *exchange, f *Fault, d *document)) func(*exchange, *Fault, *answer) {
	return func(x *exchange, f *Fault, a *answer) {
		doc, err := parseDocument(bytes.Join(a.parts, nil))
		if err != nil {
			return
		}
		edit(x, f, doc)
		a.parts = [][]byte{doc.encode()}
	}
}

// chosen is the fault's Value, or one of list by the record's tip.
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

// eachText runs edit on every text field that holds neither a tip nor the date.
func eachText(d *document, edit func(name, text string)) {
	for _, name := range d.fields() {
		var text string
		if json.Unmarshal(d.get(name), &text) == nil && name != "date" && !looksLikeTip.MatchString(text) {
			edit(name, text)
		}
	}
}

// eachMedia runs edit on every list of media references.
func eachMedia(d *document, edit func(name string, refs []string)) {
	for _, name := range d.fields() {
		var refs []string
		if json.Unmarshal(d.get(name), &refs) == nil && len(refs) > 0 && strings.HasPrefix(refs[0], "/media/") {
			edit(name, refs)
		}
	}
}

func editWrongTip(x *exchange, _ *Fault, d *document) {
	d.setMeta("tip", x.server.codec.encode(mark{kind: kindRecord, index: int(tipKey(x.call.tip) >> 1)}))
}

func editNoTip(_ *exchange, _ *Fault, d *document)  { d.removeMeta("tip") }
func editNoMeta(_ *exchange, _ *Fault, d *document) { d.remove("$meta") }
func editNoID(x *exchange, _ *Fault, d *document)   { d.remove(idField(x)) }
func editNoDate(_ *exchange, _ *Fault, d *document) { d.remove("date") }
func editDelete(_ *exchange, f *Fault, d *document) { d.remove(f.Field) }
func editHostileID(x *exchange, f *Fault, d *document) {
	d.set(idField(x), chosen(x, f, HostileNames()))
}

func editSet(_ *exchange, f *Fault, d *document) {
	if json.Valid([]byte(f.Value)) {
		d.set(f.Field, json.RawMessage(f.Value))
		return
	}
	d.set(f.Field, f.Value)
}

// editRepeatedID gives every record of a form the same id and day.
func editRepeatedID(x *exchange, f *Fault, d *document) {
	d.set(idField(x), chosen(x, f, []string{"LCD - 000001"}))
	d.set("date", "2025-09-17T00:00:00.000+08:00")
}

func editNUL(x *exchange, _ *Fault, d *document) {
	eachText(d, func(name, text string) {
		if name != idField(x) {
			d.set(name, text+"\x00tail")
		}
	})
}

func editHostileNames(x *exchange, _ *Fault, d *document) {
	names := HostileNames()
	next := int(tipKey(x.call.tip) % uint64(len(names)))
	eachText(d, func(name, _ string) {
		if name != idField(x) {
			d.set(name, names[next%len(names)])
			next++
		}
	})
}

// editNumbersAsText turns every number into text and every numeric text into a number,
// as both occur.
func editNumbersAsText(_ *exchange, _ *Fault, d *document) {
	for _, name := range d.fields() {
		raw := d.get(name)
		var number json.Number
		var text string
		switch {
		case json.Unmarshal(raw, &text) == nil:
			if json.Unmarshal([]byte(text), &number) == nil && number != "" {
				d.set(name, number)
			}
		case json.Unmarshal(raw, &number) == nil:
			d.set(name, number.String())
		}
	}
}

func editDoubleMedia(_ *exchange, _ *Fault, d *document) {
	eachMedia(d, func(name string, refs []string) { d.set(name, slices.Concat(refs, refs)) })
}

// editHostileField moves the first list of media to a field with a hostile name.
func editHostileField(x *exchange, f *Fault, d *document) {
	moved := false
	eachMedia(d, func(name string, refs []string) {
		if !moved {
			d.remove(name)
			d.set(chosen(x, f, HostileNames()), refs)
			moved = true
		}
	})
}

// editHostileMedia puts hostile references in front of the first list of media, or
// into "attachments" when there is no list.
func editHostileMedia(_ *exchange, f *Fault, d *document) {
	bad := HostileMedia()
	if f.Value != "" {
		bad = []string{f.Value}
	}
	done := false
	eachMedia(d, func(name string, refs []string) {
		if !done {
			d.set(name, slices.Concat(bad, refs))
			done = true
		}
	})
	if !done {
		d.set("attachments", bad)
	}
}

// editUnusual sets values of types that the API never sends but JSON allows.
func editUnusual(_ *exchange, _ *Fault, d *document) {
	d.set("vehicle", []any{})
	d.set("team", map[string]any{"tip": nil})
	d.set("attachments", "none")
	d.set("inspectedBy", nil)
	d.set("jobNumber", 1e300)
	d.set("", "a key without a name")
	d.set("date", "yesterday")
}
