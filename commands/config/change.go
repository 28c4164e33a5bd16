package config

import (
	"errors"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Change is a new value for a key that is a text.
type Change struct{ Section, Key, Value string }

// errByHand says that a file is written in a way that only a person can change.
var errByHand = errors.New("the file is written in a way that only a person can change safely: edit it by hand, `noggin validate config` tells what is wrong with it")

// Changed returns the text of a configuration file with the changes. All else stays:
// keys, comments, and the order of the lines. A default that stands as a comment is
// replaced. The result is read again before it is returned.
func Changed(text string, changes []Change) (string, error) {
	before := Default()
	if problems := before.settings().decode(text); len(problems) > 0 {
		return "", errors.New(problems[0].String())
	}
	changed := text
	for _, c := range changes {
		changed = setKey(changed, c)
	}
	after := Default()
	if problems := after.settings().decode(changed); len(problems) > 0 {
		return "", errByHand
	}
	wanted, got := before.settings(), after.settings()
	for _, c := range changes {
		wanted[settingKey{c.Section, c.Key}].SetString(c.Value)
	}
	for key, value := range wanted {
		if !reflect.DeepEqual(value.Interface(), got[key].Interface()) {
			return "", errByHand
		}
	}
	return changed, nil
}

var tableLine = regexp.MustCompile(`^\s*\[\[?\s*([^]]*?)\s*\]`)

// setKey sets a key in the lines of its section, in the place of the key or of the
// comment that shows its default.
func setKey(text string, c Change) string {
	line := c.Key + " = " + strconv.Quote(c.Value)
	lines := strings.SplitAfter(text, "\n")
	keyLine := regexp.MustCompile(`^\s*` + regexp.QuoteMeta(c.Key) + `\s*=`)
	defaultLine := regexp.MustCompile(`^\s*#\s?` + regexp.QuoteMeta(c.Key) + `\s*=`)
	section, header, first, place := "", -1, len(lines), -1
	for i, l := range lines {
		if found := tableLine.FindStringSubmatch(l); found != nil {
			section, first = found[1], min(first, i)
			if section == c.Section && header < 0 {
				header = i
			}
			continue
		}
		if section == c.Section && (keyLine.MatchString(l) || place < 0 && defaultLine.MatchString(l)) {
			place = i
			if keyLine.MatchString(l) {
				break
			}
		}
	}
	end := "\n"
	if strings.Contains(text, "\r\n") {
		end = "\r\n"
	}
	switch {
	case place >= 0:
		lines[place] = line + end
	case header >= 0:
		if !strings.HasSuffix(lines[header], "\n") {
			lines[header] += end
		}
		lines = slices.Insert(lines, header+1, line+end)
	case c.Section == "":
		lines = slices.Insert(lines, first, line+end)
	default:
		if last := len(lines) - 1; lines[last] != "" {
			lines[last] += end
		}
		lines = append(lines, end+"["+c.Section+"]"+end, line+end)
	}
	return strings.Join(lines, "")
}
