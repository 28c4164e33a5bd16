package main

import (
	"context"
	"fmt"
	"strings"
)

// hashed reads every file below a folder once, with openssl on both cores: the least that a
// comparison of all bytes costs. It takes the folder and how many files one openssl reads.
const hashed = `find "$1" -type f -size +1k -print0 | xargs -0 -P 2 -n "$2" openssl dgst -sha256 > /dev/null`

// rates measures commands by the bytes they read. After the first failure it does nothing
// more.
type rates struct {
	*mirror
	figures map[string][]float64
	err     error
}

func (m *mirror) newRates() *rates { return &rates{mirror: m, figures: map[string][]float64{}} }

// do runs a step that is not measured.
func (r *rates) do(step func() error) {
	if r.err == nil {
		r.err = step()
	}
}

// noggin measures a command of noggin whose output has the wanted text.
func (r *rates) noggin(ctx context.Context, name string, megabytes float64, want string, args ...string) {
	r.measure(ctx, name, megabytes, func() (cost, error) {
		c, err := r.run(ctx, append(args, "--no-progress")...)
		if err == nil && !strings.Contains(strings.ReplaceAll(c.stdout, ",", ""), want) {
			err = fmt.Errorf("%s: no %q in\n%s", strings.Join(args, " "), want, c.stdout)
		}
		return c, err
	})
}

// shell measures a line of the shell.
func (r *rates) shell(ctx context.Context, name string, megabytes float64, line string, args ...string) {
	r.measure(ctx, name, megabytes, func() (cost, error) {
		return measure(ctx, nil, "sh", append([]string{"-c", line, "sh"}, args...)...)
	})
}

func (r *rates) measure(ctx context.Context, name string, megabytes float64, run func() (cost, error)) {
	r.do(func() error { return settle(ctx) })
	r.do(func() error {
		c, err := run()
		r.figures[name] = append(r.figures[name], megabytes/c.wall.Seconds())
		r.figures[name+" CPU"] = append(r.figures[name+" CPU"], c.cpu.Seconds()/megabytes*1000)
		r.figures[name+" memory"] = append(r.figures[name+" memory"], float64(c.maxRSS)/(1<<20))
		return err
	})
}

// beside prints what was measured of noggin beside the others, each with what it is.
func (r *rates) beside(what, name string, others ...[2]string) {
	for _, other := range others {
		r.compare(what, "MB/s", r.figures[name], other[1], r.figures[other[0]])
		r.compare(what+", CPU a gigabyte", "s", r.figures[name+" CPU"], other[1], r.figures[other[0]+" CPU"])
	}
	r.state(what+", peak memory", "MiB", r.figures[name+" memory"])
}
