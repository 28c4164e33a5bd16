package bag

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Problem is something that is wrong with a bag.
type Problem struct {
	File string `json:"file"` // empty: the bag as a whole
	What string `json:"what"`
}

// Report is what a check found.
type Report struct {
	Version      string    `json:"version"` // of the format
	Algorithms   []string  `json:"algorithms"`
	Files        int64     `json:"files"` // of the payload
	Bytes        int64     `json:"bytes"`
	TagFiles     int64     `json:"tag_files"`
	Unlisted     []string  `json:"unlisted"` // tag files that no list has, at most 20
	Problems     []Problem `json:"problems"` // at most 100
	ProblemCount int       `json:"problem_count"`
	Info         []Field   `json:"-"` // of bag-info.txt
}

const (
	mostProblems = 100
	mostUnlisted = 20
	mostTagFile  = 1 << 20  // bytes of bagit.txt and of bag-info.txt
	mostLine     = 64 << 10 // bytes of a line
)

// algorithms are those that a check knows.
var algorithms = map[string]func() hash.Hash{"sha256": sha256.New, "sha512": sha512.New}

// check is a check of a bag.
type check struct {
	*Bag
	mu       sync.Mutex
	report   Report
	files    map[key]uint8 // which lists have the file
	read     int64         // bytes so far
	total    int64
	progress func(done, total int64)
}

// key stands for a file's name, so that millions of them need little memory.
type key [16]byte

func keyOf(name string) key {
	sum := sha256.Sum256([]byte(name))
	return key(sum[:16])
}

// Check reads the whole bag and compares it with its lists. What is wrong with the bag
// is in the report, not in the error. progress may be nil.
func (b *Bag) Check(ctx context.Context, progress func(done, total int64)) (Report, error) {
	c := &check{Bag: b, files: map[key]uint8{}, progress: progress, report: Report{Problems: []Problem{}, Unlisted: []string{}, Algorithms: []string{}}}
	if err := c.declared(); err != nil {
		return c.report, err
	}
	var lists, tagLists []string
	hasInfo := false
	err := b.each(func(name string, size int64) {
		c.files[keyOf(name)] = 0
		c.total += size
		switch {
		case strings.HasPrefix(name, payload):
			c.report.Files, c.report.Bytes = c.report.Files+1, c.report.Bytes+size
			return
		case strings.HasPrefix(name, "manifest-") && strings.HasSuffix(name, ".txt"):
			lists = append(lists, name)
		case strings.HasPrefix(name, "tagmanifest-") && strings.HasSuffix(name, ".txt"):
			tagLists = append(tagLists, name)
		case name == infoFile:
			hasInfo = true
		}
		c.report.TagFiles++
	}, func(problem string) { c.problem("", "%s", problem) })
	if err != nil {
		return c.report, fmt.Errorf("list the bag's files: %w", err)
	}
	if hasInfo {
		if err := c.info(); err != nil {
			return c.report, err
		}
	}
	slices.Sort(lists)
	slices.Sort(tagLists)
	if err := c.lists(ctx, lists, tagLists); err != nil {
		return c.report, err
	}
	slices.SortFunc(c.report.Problems, func(a, b Problem) int { return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.What, b.What)) })
	return c.report, ctx.Err()
}

func (c *check) problem(file, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.report.ProblemCount++; len(c.report.Problems) < mostProblems {
		c.report.Problems = append(c.report.Problems, Problem{file, fmt.Sprintf(format, args...)})
	}
}

// declared reads bagit.txt.
func (c *check) declared() error {
	fields, err := c.fields(declaration)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("check %s: %w: it has no %s, which an export writes last", c.Name, ErrNoBag, declaration)
	}
	if err != nil {
		return err
	}
	if len(fields) > 0 && fields[0].Label == "BagIt-Version" {
		c.report.Version = fields[0].Value
	}
	major, _, ok := strings.Cut(c.report.Version, ".")
	n, err := strconv.Atoi(major)
	switch {
	case !ok || err != nil || len(fields) != 2 || fields[1].Label != "Tag-File-Character-Encoding":
		c.problem(declaration, "it does not declare a version and an encoding, as RFC 8493 wants")
	case n > 1:
		c.problem(declaration, "version %s of the format is not known", c.report.Version)
	case !strings.EqualFold(fields[1].Value, "UTF-8"):
		c.problem(declaration, "the encoding %s is not known", fields[1].Value)
	}
	c.old = ok && n < 1
	return nil
}

// info reads bag-info.txt and compares its sums with the payload.
func (c *check) info() error {
	fields, err := c.fields(infoFile)
	if err != nil {
		return err
	}
	c.report.Info = fields
	for _, f := range fields {
		if !strings.EqualFold(f.Label, "Payload-Oxum") {
			continue
		}
		if is := fmt.Sprintf("%d.%d", c.report.Bytes, c.report.Files); f.Value != is {
			c.problem(infoFile, "Payload-Oxum is %s, but data/ has %s (bytes.files)", f.Value, is)
		}
	}
	return nil
}

// fields reads a tag file of labels and values. A line that begins with a blank goes on
// with the value before.
func (c *check) fields(name string) (fields []Field, err error) {
	file, err := c.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, mostTagFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(text) > mostTagFile {
		c.problem(name, "it has more than %d bytes", mostTagFile)
		text = nil
	}
	var values [][]string // the lines of each value
	for text := range strings.Lines(string(text)) {
		text = strings.TrimRight(text, "\r\n")
		if last := len(fields) - 1; last >= 0 && text != "" && (text[0] == ' ' || text[0] == '\t') {
			values[last] = append(values[last], strings.TrimSpace(text))
		} else if label, value, ok := strings.Cut(text, ":"); ok {
			fields, values = append(fields, Field{Label: strings.TrimSpace(label)}), append(values, []string{strings.TrimSpace(value)})
		} else if strings.TrimSpace(text) != "" {
			c.problem(name, "a line has no label: %.100q", text)
		}
	}
	for i, lines := range values {
		fields[i].Value = strings.Join(lines, " ")
	}
	return fields, nil
}

// lists compares all files with all lists.
func (c *check) lists(ctx context.Context, lists, tagLists []string) error {
	known := uint8(0) // the bits of the payload's lists
	for _, list := range lists {
		algorithm := strings.TrimSuffix(strings.TrimPrefix(list, "manifest-"), ".txt")
		if algorithms[algorithm] == nil {
			continue
		}
		bit := uint8(1) << len(c.report.Algorithms)
		c.report.Algorithms = append(c.report.Algorithms, algorithm)
		known |= bit
		if err := c.compare(ctx, list, algorithm, bit, true); err != nil {
			return err
		}
	}
	if known == 0 {
		c.problem("", "it has no list of its files with SHA-256 or SHA-512")
	}
	listed := uint8(1) << 4 // a bit for each list of tag files
	const isTagList = 1 << 7
	for _, list := range tagLists {
		c.files[keyOf(list)] |= isTagList
		algorithm := strings.TrimSuffix(strings.TrimPrefix(list, "tagmanifest-"), ".txt")
		if algorithms[algorithm] != nil {
			if err := c.compare(ctx, list, algorithm, listed, false); err != nil {
				return err
			}
			listed <<= 1
		}
	}
	return c.each(func(name string, _ int64) {
		bits := c.files[keyOf(name)]
		switch {
		case strings.HasPrefix(name, payload):
			if bits&known != known {
				c.problem(name, "no list has it")
			}
		case bits == 0 && len(c.report.Unlisted) < mostUnlisted:
			c.report.Unlisted = append(c.report.Unlisted, name)
		}
	}, func(string) {})
}

// compare reads a list and compares its files, on all cores.
func (c *check) compare(ctx context.Context, list, algorithm string, bit uint8, isPayload bool) error {
	workers, ctx := errgroup.WithContext(ctx)
	workers.SetLimit(runtime.GOMAXPROCS(0))
	err := c.eachLine(ctx, list, algorithm, func(n int, name, want string, err error) {
		if err == nil && isPayload != strings.HasPrefix(name, payload) {
			err = fmt.Errorf("%q does not belong into this list", name)
		}
		bits, there := c.files[keyOf(name)]
		switch {
		case err != nil:
			c.problem(list, "line %d: %v", n, err)
		case !there:
			c.problem(name, "it is missing")
		case bits&bit != 0:
			c.problem(name, "%s lists it twice", list)
		default:
			c.files[keyOf(name)] = bits | bit
			workers.Go(func() error { return c.compareFile(ctx, name, algorithm, want) })
		}
	})
	if err != nil && ctx.Err() == nil {
		c.problem(list, "it cannot be read: %v", err)
	}
	return workers.Wait()
}

// eachLine calls fn with the name and checksum of each line of a list.
func (b *Bag) eachLine(ctx context.Context, list, algorithm string, fn func(n int, name, sum string, err error)) error {
	file, err := b.Open(list)
	if err != nil {
		return err
	}
	defer file.Close()
	digits := 2 * algorithms[algorithm]().Size()
	lines := bufio.NewScanner(file)
	lines.Buffer(make([]byte, 4096), mostLine)
	for n := 1; lines.Scan() && ctx.Err() == nil; n++ {
		if strings.TrimSpace(lines.Text()) != "" {
			name, sum, err := parseLine(lines.Text(), digits, b.old)
			fn(n, name, sum, err)
		}
	}
	return lines.Err()
}

// Sums returns the SHA-256 of each file of the payload, by name, of a bag in which
// [Bag.Check] found no problem.
func (b *Bag) Sums(ctx context.Context) (map[string]string, error) {
	sums := map[string]string{}
	err := b.eachLine(ctx, manifestFile, "sha256", func(_ int, name, sum string, _ error) { sums[name] = sum })
	if err == nil {
		err = ctx.Err()
	}
	return sums, err
}

func (c *check) compareFile(ctx context.Context, name, algorithm, want string) error {
	file, err := c.Open(name)
	if err != nil {
		c.problem(name, "it cannot be read: %v", err)
		return nil
	}
	defer file.Close()
	sum := algorithms[algorithm]()
	size, err := io.Copy(sum, reader{ctx, file})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		c.problem(name, "it cannot be read: %v", err)
	} else if got := hex.EncodeToString(sum.Sum(nil)); got != want {
		c.problem(name, "its %s is %s instead of %s", strings.ToUpper(algorithm), got, want)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.read += size; c.progress != nil {
		c.progress(c.read, c.total)
	}
	return nil
}

// reader reads until its context ends.
type reader struct {
	ctx    context.Context
	source io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.source.Read(p)
}
