package apitest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// settings are the keys of a fault in a flag.
var settings = map[string]func(f *Fault, value string) error{
	"kind":        func(f *Fault, v string) error { f.Kind = v; return nil },
	"on":          func(f *Fault, v string) error { f.On = v; return nil },
	"field":       func(f *Fault, v string) error { f.Field = v; return nil },
	"value":       func(f *Fault, v string) error { f.Value = v; return nil },
	"location":    func(f *Fault, v string) error { f.Location = v; return nil },
	"retry_after": func(f *Fault, v string) error { f.RetryAfter = v; return nil },
	"tip":         func(f *Fault, v string) error { f.Tips = append(f.Tips, v); return nil },
	"status":      number(func(f *Fault, n int64) { f.Status = int(n) }),
	"size":        number(func(f *Fault, n int64) { f.Size = n }),
	"first_hits":  number(func(f *Fault, n int64) { f.FirstHits = int(n) }),
	"over_rate":   number(func(f *Fault, n int64) { f.OverRate = int(n) }),
	"from":        number(func(f *Fault, n int64) { f.From = n }),
	"until":       number(func(f *Fault, n int64) { f.Until = n }),
	"share":       share(func(f *Fault, n float64) { f.Share = n }),
	"keep":        share(func(f *Fault, n float64) { f.Keep = n }),
	"delay":       span(func(f *Fault, d time.Duration) { f.Delay = d }),
	"pause":       span(func(f *Fault, d time.Duration) { f.Pause = d }),
	"after":       span(func(f *Fault, d time.Duration) { f.After = d }),
	"for":         span(func(f *Fault, d time.Duration) { f.For = d }),
	"by_tip": func(f *Fault, v string) (err error) {
		f.ByTip, err = strconv.ParseBool(v)
		return err
	},
}

func number(set func(*Fault, int64)) func(*Fault, string) error {
	return func(f *Fault, v string) error {
		n, err := strconv.ParseInt(v, 10, 64)
		set(f, n)
		return err
	}
}

func share(set func(*Fault, float64)) func(*Fault, string) error {
	return func(f *Fault, v string) error {
		n, err := strconv.ParseFloat(v, 64)
		if err == nil && (n < 0 || n > 1) {
			err = fmt.Errorf("%v is not between 0 and 1", n)
		}
		set(f, n)
		return err
	}
}

func span(set func(*Fault, time.Duration)) func(*Fault, string) error {
	return func(f *Fault, v string) error {
		d, err := time.ParseDuration(v)
		set(f, d)
		return err
	}
}

func (f *Fault) set(key, value string) error {
	set, ok := settings[key]
	if !ok {
		return fmt.Errorf("fault: no setting %q: there are %v", key, slices.Sorted(maps.Keys(settings)))
	}
	if err := set(f, value); err != nil {
		return fmt.Errorf("fault: %s: %w", key, err)
	}
	return nil
}

// ParseFault reads a fault from a flag, such as "status=503,share=0.1,for=10s". The keys
// are Fault's fields in snake case; tip may be repeated.
func ParseFault(spec string) (Fault, error) {
	var f Fault
	for pair := range strings.SplitSeq(spec, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if !ok {
			return f, fmt.Errorf("fault: %q is not key=value", pair)
		}
		if err := f.set(key, value); err != nil {
			return f, err
		}
	}
	return f.normal()
}
