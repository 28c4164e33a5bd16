package storage

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

func TestWhatTheDatabaseSaysIsToldApart(t *testing.T) {
	t.Parallel()
	code := func(c pqerror.Code) error {
		return fmt.Errorf("in a transaction: %w", &pq.Error{Code: c, Message: "x"})
	}
	for name, c := range map[string]struct {
		err     error
		again   bool  // worth trying again at once
		is      error // what the caller is told; nil: none of ours
		message string
	}{
		"cut connection":        {driver.ErrBadConn, true, ErrUnavailable, ""},
		"reply lost":            {io.ErrUnexpectedEOF, true, ErrUnavailable, ""},
		"shutting down":         {code("57P01"), true, ErrUnavailable, ""},
		"starting up":           {code("57P03"), true, ErrUnavailable, ""},
		"too many connections":  {code("53300"), true, ErrUnavailable, ""},
		"standby":               {code("25006"), true, ErrUnavailable, ""},
		"frozen":                {code("25P03"), true, ErrUnavailable, ""},
		"parallel worker lost":  {&pq.Error{Code: "55000", File: "parallel.c", Message: "lost connection to parallel worker"}, true, ErrUnavailable, ""},
		"not prepared":          {&pq.Error{Code: "55000", File: "pg_stat_statements.c", Message: "x"}, false, nil, ""},
		"deadlock":              {code("40P01"), true, ErrUnavailable, ""},
		"disk full":             {code("53100"), false, ErrUnavailable, "free space on the volume of the database's server"},
		"no such database":      {code("3D000"), false, ErrUnavailable, "refuses the connection: in a transaction: pq: x (3D000): correct the database's name"},
		"wrong password":        {code("28P01"), false, ErrUnavailable, "correct user and password"},
		"no entry in pg_hba":    {code("28000"), false, ErrUnavailable, ""},
		"no such table":         {code("42P01"), false, ErrSchema, "noggin init-db"},
		"waited for a lock":     {code("55P03"), false, ErrBusy, ""},
		"statement timed out":   {code("57014"), false, nil, ""},
		"a rule of ours broken": {code("23514"), false, nil, ""},
	} {
		if got := unavailable(c.err); got != c.again {
			t.Errorf("%s: tried again %t, want %t", name, got, c.again)
		}
		err := describe(t.Context(), "do it", c.err)
		for _, ours := range []error{ErrUnavailable, ErrSchema, ErrBusy} {
			if got, want := errors.Is(err, ours), c.is != nil && errors.Is(c.is, ours); got != want {
				t.Errorf("%s: %q is %q: %t, want %t", name, err, ours, got, want)
			}
		}
		if !strings.HasPrefix(err.Error(), "do it: ") || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: %q", name, err)
		}
	}
}
