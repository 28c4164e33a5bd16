package forms

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of what jsonb takes. Its parser recurses, and its numbers end at 131,072 digits.
// The bound of numbers is far lower, so that a short payload cannot unfold into a huge one.
const (
	maxDepth          = 500
	maxNumberLength   = 1000
	maxNumberExponent = 1000
)

// storedJSON rewrites one JSON object so that PostgreSQL's jsonb takes it and keeps all
// of it. NUL characters, lone surrogates and invalid UTF-8 in strings become U+FFFD.
// Numbers beyond the bounds become strings. Everything else stays byte for byte, and a
// second call changes nothing.
func storedJSON(raw []byte) ([]byte, error) {
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")) // which some proxies add
	if !json.Valid(raw) {
		return nil, errors.New("not valid JSON")
	}
	if first := bytes.TrimLeft(raw, " \t\r\n"); first[0] != '{' {
		return nil, errors.New("not a JSON object")
	}
	out := make([]byte, 0, len(raw))
	depth := 0
	for i := 0; i < len(raw); {
		end := i + 1
		switch c := raw[i]; {
		case c == '"':
			for ; raw[end] != '"'; end++ {
				if raw[end] == '\\' {
					end++
				}
			}
			end++
			var err error
			if out, err = appendString(out, raw[i:end]); err != nil {
				return nil, err
			}
		case c == '-' || c >= '0' && c <= '9':
			for end < len(raw) && bytes.IndexByte([]byte("+-.eE0123456789"), raw[end]) >= 0 {
				end++
			}
			out = appendNumber(out, raw[i:end])
		default:
			switch c {
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			if depth > maxDepth {
				return nil, fmt.Errorf("nested more than %d levels deep", maxDepth)
			}
			out = append(out, c)
		}
		i = end
	}
	return out, nil
}

func appendString(out, literal []byte) ([]byte, error) {
	if !bytes.Contains(literal, []byte(`\u`)) && utf8.Valid(literal) {
		return append(out, literal...), nil
	}
	var s string
	if err := json.Unmarshal(literal, &s); err != nil {
		return nil, fmt.Errorf("decode a string: %w", err)
	}
	clean, err := json.Marshal(strings.ReplaceAll(s, "\x00", "\uFFFD"))
	if err != nil {
		return nil, fmt.Errorf("encode a string: %w", err)
	}
	return append(out, clean...), nil
}

func appendNumber(out, literal []byte) []byte {
	if _, ok := plainNumber(string(literal)); ok {
		return append(out, literal...)
	}
	out = append(out, '"')
	out = append(out, literal...)
	return append(out, '"')
}

// plainNumber writes a JSON number as PostgreSQL's numeric prints it, without an
// exponent, so that a payload reads the same before and after it is stored. It reports
// false for a number beyond the bounds.
func plainNumber(literal string) (string, bool) {
	mantissa, exponent := literal, 0
	if at := strings.IndexAny(literal, "eE"); at >= 0 {
		n, err := strconv.Atoi(literal[at+1:])
		if err != nil {
			return literal, false
		}
		mantissa, exponent = literal[:at], n
	}
	if len(mantissa) > maxNumberLength || exponent > maxNumberExponent || exponent < -maxNumberExponent {
		return literal, false
	}
	digits, negative := strings.CutPrefix(mantissa, "-")
	whole, fraction, _ := strings.Cut(digits, ".")
	if exponent >= 0 {
		fraction += strings.Repeat("0", max(0, exponent-len(fraction)))
		whole, fraction = whole+fraction[:exponent], fraction[exponent:]
	} else {
		whole = strings.Repeat("0", max(0, -exponent-len(whole))) + whole
		cut := len(whole) + exponent
		whole, fraction = whole[:cut], whole[cut:]+fraction
	}
	if whole = strings.TrimLeft(whole, "0"); whole == "" {
		whole = "0"
	}
	if fraction != "" {
		whole += "." + fraction
	}
	if negative && strings.Trim(whole, "0.") != "" {
		whole = "-" + whole
	}
	return whole, true
}
