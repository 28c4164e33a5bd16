package export

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"regexp"
	"strings"

	"noggin/batch/forms"
)

const (
	indexRows = 20_000 // rows of a page of the index
	listRows  = 5_000  // of another list
)

// row is a row of a list.
type row struct {
	Day, ID, Form, Vehicle, Trailers, Team string
	Result, Tone                           string
	Photos, Problems                       int
	Href                                   string // from the top of the bag
}

// unknownName is how an entity without a name is called. In lists its hash is shortened.
var unknownName = regexp.MustCompile(`\((\w{10})\w{54}\)`)

// short is a text for a list.
func short(s string) string {
	const most = 80
	s = unknownName.ReplaceAllString(s, "($1…)")
	if cut := forms.FirstOf(s, most); cut != s {
		return cut + "…"
	}
	return s
}

func rowOf(e Entry) row {
	r := row{
		Day: e.Day, ID: cmp.Or(short(e.InspectionID), "without an id"), Form: e.ObjectType, Vehicle: short(e.Vehicle), Trailers: short(strings.Join(e.Trailers, ", ")),
		Team: short(e.Team), Photos: e.Photos, Problems: len(e.Problems), Href: e.Folder + "/index.html",
	}
	r.Result, r.Tone = resultOf(short(e.Compliance), e.Defects)
	return r
}

// pageView is what the head and the end of a list's page show.
type pageView struct {
	Title, Note, Heading, Footer string
	At, Up                       string // of the navigation
	Print                        bool   // there is a page of all inspections
	Page, Pages                  int    // Pages is 0 where the number of rows is not known before
	Before, Next                 string
}

// fileOf is the path of a list's page from the top of the bag.
func (l list) fileOf(page int) string {
	if page == 1 {
		return l.File
	}
	return fmt.Sprintf("data/lists/%s-%d.html", l.Name, page)
}

// upFrom leads from a page to the top of the bag.
func upFrom(name string) string { return strings.Repeat("../", strings.Count(path.Clean(name), "/")) }

// listed is a row of a list and the group under which it stands.
type listed struct {
	group string
	row   row
}

var errStop = errors.New("stop")

// writeList writes all pages of a list. rows hands over the rows in the list's order.
func (r *run) writeList(l list, view pageView, rows func(fn func(group string, r row) error) error) error {
	var rowsErr error
	next, stop := iter.Pull(func(yield func(listed) bool) {
		rowsErr = rows(func(group string, r row) error {
			if !yield(listed{group, r}) {
				return errStop
			}
			return nil
		})
	})
	defer stop()
	most := listRows
	if l.keys == nil {
		most = indexRows
	}
	if r.pageRows > 0 {
		most = r.pageRows
	}
	current, more := next()
	view.At, view.Heading = l.Name, l.Label
	if l.keys == nil { // a row for each record
		view.Pages = (r.summary.Records + most - 1) / most
	}
	for view.Page = 1; view.Page == 1 || more; view.Page++ {
		at := l.fileOf(view.Page)
		view.Up, view.Before, view.Next = upFrom(at), "", ""
		if view.Page > 1 {
			view.Before = view.Up + l.fileOf(view.Page-1)
		}
		_, _, err := r.bag.File(at, func(w io.Writer) error {
			if err := pages().ExecuteTemplate(w, "begin", view); err != nil {
				return err
			}
			group := ""
			for n := 0; more && n < most; n++ {
				if l.keys != nil && (n == 0 || current.group != group) {
					group = current.group
					if err := pages().ExecuteTemplate(w, "group", short(group)); err != nil {
						return err
					}
				}
				current.row.Href = view.Up + current.row.Href
				if err := pages().ExecuteTemplate(w, "row", current.row); err != nil {
					return err
				}
				current, more = next()
			}
			if more {
				view.Next = view.Up + l.fileOf(view.Page+1)
			}
			return pages().ExecuteTemplate(w, "end", view)
		})
		if err != nil {
			return err
		}
	}
	return rowsErr
}

// writeLists writes the index and all lists.
func (r *run) writeLists(view pageView) error {
	if !r.zipped { // an export that was killed here or later may have written other files
		if err := errors.Join(r.top.RemoveAll("data/lists"), r.top.RemoveAll("data/proofs")); err != nil {
			return err
		}
	}
	for _, l := range allLists {
		rows := r.inOrder(l)
		if l.sort {
			sorted := &sorter{folder: r.scratch, name: "sort-" + l.Name, most: sortMemory}
			if err := rows(sorted.add); err != nil {
				return err
			}
			rows = sorted.each
		}
		if err := r.writeList(l, view, rows); err != nil {
			return err
		}
	}
	return nil
}

// inOrder hands over the rows of all records as they were exported.
func (r *run) inOrder(l list) func(fn func(group string, r row) error) error {
	return func(fn func(group string, r row) error) error {
		return r.eachEntry(func(e Entry) error {
			groups := []string{""}
			if l.keys != nil {
				groups = l.keys(e)
			}
			for _, group := range groups {
				if err := fn(group, rowOf(e)); err != nil {
					return err
				}
			}
			return nil
		})
	}
}
