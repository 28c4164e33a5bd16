package export

import (
	"bufio"
	"cmp"
	"container/heap"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
)

// sorter sorts any number of rows by their keys, with the help of files: memory stays
// flat.
type sorter struct {
	folder *os.Root // for the files
	name   string   // of the files, with a number
	most   int      // bytes that are sorted in memory

	rows  []sortRow
	bytes int
	runs  int
}

// sortRow is a row of a list, under one of its groups.
type sortRow struct {
	Group string
	Seq   int // rows of a group stay in their order
	Row   row
}

const sortMemory = 2 << 20

func (s *sorter) add(group string, r row) error {
	s.rows = append(s.rows, sortRow{group, len(s.rows) + s.runs<<32, r})
	if s.bytes += 200 + len(group) + len(r.ID) + len(r.Vehicle) + len(r.Trailers) + len(r.Team) + len(r.Href); s.bytes < s.most {
		return nil
	}
	return s.spill()
}

func compareRows(a, b sortRow) int {
	return cmp.Or(cmp.Compare(strings.ToLower(a.Group), strings.ToLower(b.Group)), cmp.Compare(a.Group, b.Group), cmp.Compare(a.Seq, b.Seq))
}

// spill writes the rows in memory to a file, sorted.
func (s *sorter) spill() error {
	slices.SortFunc(s.rows, compareRows)
	file, err := s.folder.Create(s.file(s.runs))
	if err != nil {
		return err
	}
	w := bufio.NewWriter(file)
	lines := json.NewEncoder(w)
	for i := range s.rows {
		if err := lines.Encode(&s.rows[i]); err != nil {
			return errors.Join(err, file.Close())
		}
	}
	s.runs++
	s.rows, s.bytes = s.rows[:0], 0
	return errors.Join(w.Flush(), file.Close())
}

func (s *sorter) file(run int) string {
	return s.name + "-" + string(rune('a'+run/26)) + string(rune('a'+run%26))
}

// each hands over all rows, sorted.
func (s *sorter) each(fn func(group string, r row) error) error {
	slices.SortFunc(s.rows, compareRows)
	merge := &merger{}
	defer merge.close()
	for run := range s.runs {
		file, err := s.folder.Open(s.file(run))
		if err != nil {
			return err
		}
		lines := json.NewDecoder(bufio.NewReader(file))
		source := &sortedRun{file: file, next: func(r *sortRow) error { *r = sortRow{}; return lines.Decode(r) }}
		merge.runs = append(merge.runs, source)
	}
	inMemory := s.rows
	merge.runs = append(merge.runs, &sortedRun{next: func(r *sortRow) error {
		if len(inMemory) == 0 {
			return io.EOF
		}
		*r, inMemory = inMemory[0], inMemory[1:]
		return nil
	}})
	return merge.each(fn)
}

// sortedRun is one source of sorted rows.
type sortedRun struct {
	file *os.File // nil: memory
	head sortRow
	next func(*sortRow) error
}

// merger is a heap of runs, by their heads.
type merger struct {
	runs []*sortedRun
	open []*os.File
}

func (m *merger) Len() int           { return len(m.runs) }
func (m *merger) Less(i, j int) bool { return compareRows(m.runs[i].head, m.runs[j].head) < 0 }
func (m *merger) Swap(i, j int)      { m.runs[i], m.runs[j] = m.runs[j], m.runs[i] }
func (m *merger) Push(any)           {} // runs are never added
func (m *merger) Pop() any           { m.runs = m.runs[:len(m.runs)-1]; return nil }

func (m *merger) each(fn func(group string, r row) error) error {
	all := m.runs
	m.runs = nil
	for _, run := range all {
		if run.file != nil {
			m.open = append(m.open, run.file)
		}
		switch err := run.next(&run.head); {
		case err == nil:
			m.runs = append(m.runs, run)
		case !errors.Is(err, io.EOF):
			return err
		}
	}
	heap.Init(m)
	for len(m.runs) > 0 {
		first := m.runs[0]
		if err := fn(first.head.Group, first.head.Row); err != nil {
			return err
		}
		switch err := first.next(&first.head); {
		case err == nil:
			heap.Fix(m, 0)
		case errors.Is(err, io.EOF):
			heap.Pop(m)
		default:
			return err
		}
	}
	return nil
}

func (m *merger) close() {
	for _, file := range m.open {
		_ = file.Close() // it was only read
	}
}
