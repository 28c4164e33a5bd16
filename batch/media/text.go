package media

import (
	"bytes"
	"encoding/binary"
	"regexp"
	"sync"
	"unicode/utf16"
)

// textOf returns the first headSize bytes of a file from its first letter on, in lower case
// and UTF-8, without byte order mark and outer white space, and whether the head is text.
// The white space before the first letter may be of any length.
func textOf(r *reader, head []byte) (text []byte, ok bool) {
	order, skip := byteOrder(head)
	decoded := func(b []byte, cut bool) []byte {
		b = decode(b, order, cut)
		if skip == utf32Mark { // every letter has a half that is 0
			b = bytes.ReplaceAll(b, []byte{0}, nil)
		}
		return b
	}
	ok = isPlain(decoded(head[skip:], len(head) == headSize))
	at := r.pos
	defer func() { r.pos = at }()
	if !r.seek(uint64(skip)) {
		return nil, ok
	}
	// Blank and NUL bytes are white space in UTF-16 as well.
	blank := " \t\r\n\f\v"
	if order != nil {
		blank += "\x00"
	}
	for {
		b := r.some()
		rest := bytes.TrimLeft(b, blank)
		if len(rest) > 0 || len(b) == 0 {
			r.pos -= int64(len(rest))
			break
		}
	}
	if order != nil && (r.pos-int64(skip))%2 == 1 { // the NUL of a letter was passed
		r.pos--
	}
	b := r.peek(int(min(headSize, r.left())))
	return bytes.ToLower(bytes.Trim(decoded(b, true), "\ufeff\u00a0 \t\r\n\f\v")), ok
}

// utf32Mark is how many bytes the mark of UTF-32 takes, and no other mark.
const utf32Mark = 4

// byteOrder returns the order of the bytes of UTF-16 or UTF-32, nil for other texts, and
// how many bytes its mark takes. Without a mark every second byte of a Western text in
// UTF-16 is 0.
func byteOrder(head []byte) (order binary.ByteOrder, mark int) {
	switch {
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		return nil, 3
	case bytes.HasPrefix(head, []byte("\xff\xfe\x00\x00")):
		return binary.LittleEndian, utf32Mark
	case bytes.HasPrefix(head, []byte("\x00\x00\xfe\xff")):
		return binary.BigEndian, utf32Mark
	case bytes.HasPrefix(head, []byte("\xff\xfe")):
		return binary.LittleEndian, 2
	case bytes.HasPrefix(head, []byte("\xfe\xff")):
		return binary.BigEndian, 2
	}
	pairs := min(len(head), 64) / 2
	var even, odd int
	for i := range pairs {
		if head[2*i] == 0 {
			even++
		}
		if head[2*i+1] == 0 {
			odd++
		}
	}
	switch {
	case pairs >= 4 && even == 0 && odd >= pairs-pairs/8:
		return binary.LittleEndian, 0
	case pairs >= 4 && odd == 0 && even >= pairs-pairs/8:
		return binary.BigEndian, 0
	}
	return nil, 0
}

// decode returns UTF-16 as UTF-8, and other texts as they are. A cut text may end within
// a letter.
func decode(b []byte, order binary.ByteOrder, cut bool) []byte {
	if order == nil {
		return b
	}
	if len(b)%2 == 1 && !cut {
		return []byte{0} // no UTF-16
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = order.Uint16(b[2*i:])
	}
	return []byte(string(utf16.Decode(units)))
}

// isPlain tells whether a text has none of the control characters that binary files have.
// It may be in UTF-8 or in any code that extends ASCII.
func isPlain(text []byte) bool {
	for _, c := range text {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' && c != '\f' && c != '\v' && c != 0x1b || c == 0x7f {
			return false
		}
	}
	return true
}

var (
	// htmlStart are the tags with which pages begin. XML files have names of their own.
	htmlStart = needed(`^<(!doctype\s+html|!--|!\[endif|/?(html|head|body|base|link|meta|script|style|title|noscript|center|div|span|p|br|hr|b|i|u|em|strong|font|big|small|tt|a|img|pre|code|h[1-6]|table|tbody|tr|td|th|ul|ol|li|dl|form|input|iframe|frameset|frame|main|section|article|header|footer|nav|blockquote|address|marquee|nobr|label|button|object|embed|esi:[a-z]+)\b)`)
	xmlStart  = needed(`^<(\?xml\b|[a-z_!])`)
	htmlRoot  = needed(`(?s)^(\s|<\?[^>]*>|<!--.*?-->|<!doctype[^>]*>)*(<!doctype\s+html\b|<([a-z]+:)?html\b)`)
	comments  = needed(`(?s)^(\s*<!--.*?-->)*\s*`)
	// jsonStart does not match RTF documents, which begin with a brace too.
	jsonStart = needed(`^(\{\s*["}]|\[\s*[\[\]{"0-9-])`)

	// errorStart are the beginnings of errors that servers write where a file is asked
	// for: text, JSON and XML.
	errorStart = needed(`^(` +
		`(http/\d|(http )?(error )?[45]\d\d\b|(internal )?server error|(the |this )?(service|server|site|page|resource|request)\b.{0,40}\b(unavailable|not available|not found|down|denied|failed|rejected|blocked|timed out)` +
		`|(bad|forbidden|unauthori[sz]ed|access denied|permission denied|not found|no healthy upstream|upstream|gateway|too many requests|rate limit|request (blocked|rejected)|maintenance|error\b|exception\b|temporarily))` +
		`|\{\s*"(error|errors|fault|exception|error_?code|error_?message|statuscode)"` +
		`|\{[^{}\[\]]{0,400}"(status|code|statuscode|http_?code)"\s*:\s*"?[45]\d\d\b` +
		`|\{\s*"message"\s*:\s*"[^"]*"\s*\}\s*$` +
		`|(<\?xml[^>]*>\s*)?<([a-z]+:)?(error|errors|fault|exception|errorresponse|serviceexception(report)?)\b)`)
)

// needed compiles an expression when it is first used: no other command waits for it.
func needed(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

// isHTML recognises pages, also those with control characters. XHTML begins as XML does.
func isHTML(h *head) bool {
	all := h.lowerText()
	text := all[len(comments().Find(all)):]
	return htmlStart().Match(text) || len(text) == 0 && len(all) > 0 || xmlStart().Match(text) && htmlRoot().Match(text)
}

func isXML(h *head) bool { return isText(h) && xmlStart().Match(h.lowerText()) }

func isJSON(h *head) bool { return isText(h) && jsonStart().Match(h.lowerText()) }

// isError tells whether a text, in lower case, is an error of a server.
func isError(text []byte) bool { return errorStart().Match(text) }
