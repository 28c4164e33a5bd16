package config

import (
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Setting is a key of the configuration with the value that holds.
type Setting struct {
	Key   string `json:"key"` // [api] timeout
	Value any    `json:"value"`
	From  string `json:"from"` // default, the file and its line, or what overrides it
}

// Shown returns all settings, as a person may see them: of a secret only that it is set.
func (c *Config) Shown() []Setting {
	fields := c.settings()
	keys := make([]settingKey, 0, len(fields))
	for key := range fields {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b settingKey) int { return strings.Compare(a.section+" "+a.name, b.section+" "+b.name) })
	all := make([]Setting, len(keys))
	for i, key := range keys {
		all[i] = Setting{Key: key.String(), Value: shownValue(key, fields[key]), From: "default"}
		if line, given := c.lines[key]; given {
			all[i].From = fmt.Sprintf("%s, line %d", c.Path, line)
		}
		if by := c.overridden[key]; by != "" {
			all[i].From = by
		}
		if key == (settingKey{"api", "bearer_token"}) {
			all[i].Value, all[i].From = c.Credentials.shown(all[i].From)
		}
	}
	return all
}

// shownValue is a value as a person may see it.
func shownValue(key settingKey, field reflect.Value) any {
	switch value := field.Interface().(type) {
	case Secret:
		return setOrNot(string(value))
	case time.Duration:
		return shownDuration(value)
	case []time.Duration:
		texts := make([]string, len(value))
		for i, d := range value {
			texts[i] = shownDuration(d)
		}
		return strings.Join(texts, ", ")
	case string:
		switch {
		case key.name == "namespace" || key.section == "notify" && strings.HasSuffix(key.name, "url"):
			return setOrNot(value)
		case key.name == "after_create" || key.name == "publish": // a command may hold a password
			return setOrNot(value)
		case key.name == "bearer_token_file" && value != "" && !isPath(value): // perhaps a token
			return setOrNot(value)
		case strings.HasSuffix(key.name, "url"):
			return WithoutPassword(value)
		}
		return value
	}
	switch field.Kind() {
	case reflect.Slice, reflect.Map:
		if field.Len() == 0 {
			return ""
		}
		if element := field.Type().Elem().Kind(); field.Kind() == reflect.Slice && element != reflect.Struct {
			return strings.Trim(fmt.Sprint(field.Interface()), "[]")
		}
		return fmt.Sprintf("%d tables", field.Len())
	case reflect.Struct, reflect.Pointer:
		text, _ := json.Marshal(field.Interface()) // only shown
		return string(text)
	}
	return field.Interface()
}

func setOrNot(secret string) string {
	if secret == "" {
		return ""
	}
	return "set"
}

// shownDuration is a duration as the file would have it: 1m30s, 7d.
func shownDuration(d time.Duration) string {
	if day := 24 * time.Hour; d >= day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// WithoutPassword is a database's address, or another's, with "set" in the place of its
// password.
func WithoutPassword(address string) string {
	if m := unencodedPassword(address); m != nil {
		return m[1] + "set" + m[3]
	}
	if u, err := url.Parse(address); err == nil && u.Scheme != "" {
		if _, has := u.User.Password(); has {
			u.User = url.UserPassword(u.User.Username(), "set")
		}
		if query := u.Query(); query.Has("password") {
			query.Set("password", "set")
			u.RawQuery = query.Encode()
		}
		address = u.String()
	}
	return keywordPassword.ReplaceAllString(address, "password=set")
}

// shown says whether there is a token, and where it comes from.
func (c *Credentials) shown(key string) (value, from string) {
	token, from, err := c.find(key)
	if err != nil && from == "" {
		return "", "default"
	}
	if err != nil {
		return err.Error(), from
	}
	return setOrNot(string(token)), from
}
