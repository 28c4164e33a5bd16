// Package canonical writes the canonical JSON of RFC 8785, in which equal objects are equal
// texts: one line, no space, no needless escape. The caller gives the keys in their order.
package canonical

import (
	"fmt"
	"strconv"
	"strings"
)

// Line is the members of a JSON object, one behind the other.
type Line struct{ strings.Builder }

// Key writes the key of a member, behind a comma if it is not the first.
func (w *Line) Key(name string) {
	if s := w.String(); s != "" && s[len(s)-1] != '{' {
		w.WriteByte(',')
	}
	w.quote(name)
	w.WriteByte(':')
}

// Open writes the key of a member and the bracket that opens its value.
func (w *Line) Open(name string, bracket byte) {
	w.Key(name)
	w.WriteByte(bracket)
}

// Text writes a member that is a string.
func (w *Line) Text(name, value string) {
	w.Key(name)
	w.quote(value)
}

// Number writes a member that is a number.
func (w *Line) Number(name string, value int64) {
	w.Key(name)
	w.WriteString(strconv.FormatInt(value, 10))
}

// quote writes a string as RFC 8785 does: only what JSON demands is escaped, in the short
// form where there is one.
func (w *Line) quote(s string) {
	w.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			w.WriteByte('\\')
			w.WriteRune(r)
		case r < ' ':
			if at := strings.IndexRune("\b\t\n\f\r", r); at >= 0 {
				w.WriteByte('\\')
				w.WriteByte("btnfr"[at])
			} else {
				_, _ = fmt.Fprintf(w, `\u%04x`, r) // to a Builder, which cannot fail
			}
		default:
			w.WriteRune(r) // U+FFFD for what is not UTF-8
		}
	}
	w.WriteByte('"')
}
