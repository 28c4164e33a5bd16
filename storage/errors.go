package storage

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// ErrUnavailable means that the database cannot be reached, or was lost for longer
// than [Config.RetryFor]. Exit code 4.
var ErrUnavailable = errors.New("the database is unavailable")

// ErrRefused means that the server answers and refuses the connection: password, role or
// database are wrong. It comes with [ErrUnavailable]; its text says what to correct.
var ErrRefused = errors.New("the database refuses the connection")

// ErrStranger means that the server lets no such role log in, as when a command runs as
// another user than the service. It comes with [ErrRefused].
var ErrStranger = errors.New("the role may not log in")

// ErrSchema means that the schema is missing, too old or too new. Errors that wrap it
// say what to do. Exit code 4.
var ErrSchema = errors.New("the database schema does not fit this noggin")

// ErrOldProgram means that the schema needs a newer program. It comes with [ErrSchema],
// and its text is the remedy.
var ErrOldProgram = errors.New("install the newer noggin on this host")

// ErrNoRight is wrapped by errors that mean that the role lacks a right. Exit code 4;
// its text names the table and the GRANT.
var ErrNoRight = errors.New("the role of [database] url lacks a right")

// ErrPooler means that a connection pooler stands before the database and drops
// settings of the session. Exit code 4.
var ErrPooler = errors.New("a connection pooler stands before the database and drops the settings noggin.client and noggin.schema, so that every " +
	"write of noggin counts as an operator's: let [database] url lead to PostgreSQL itself (pgbouncer with ignore_startup_parameters does this, in every mode)")

// ErrLost means that the run no longer has the claim: its lease ended and another run
// took the record, or an operator changed the record.
var ErrLost = errors.New("the claim was lost")

// unavailable reports whether the connection or the server is gone. The same work may
// succeed on another connection.
func unavailable(err error) bool {
	if err == nil {
		return false
	}
	var pqErr *pq.Error
	if errors.As(err, &pqErr) {
		switch pqErr.Code.Class() {
		case "08", "57": // connection; operator intervention (shutdown, crash, starting up)
			return pqErr.Code != "57014" // query_canceled: noggin's own doing
		case "53": // too many connections, out of memory; not a full disk
			return pqErr.Code != "53100"
		case "55": // a state that forbids it; or the server ends, and has lost a parallel worker
			return pqErr.File == "parallel.c"
		}
		// Read-only after a failover, frozen in a transaction, serialization, deadlock.
		return slices.Contains([]pqerror.Code{"25006", "25P03", "40001", "40P01"}, pqErr.Code)
	}
	var netErr net.Error
	var sysErr *os.SyscallError
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.As(err, &netErr) || errors.As(err, &sysErr) || errors.Is(err, net.ErrClosed) ||
		strings.Contains(err.Error(), "bad connection")
}

// describe turns a driver's error into one that an operator can act on. The context
// comes first: when it ends, the driver returns SQLSTATE 57014.
func describe(ctx context.Context, what string, err error) error {
	var held *heldError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	case isUndefined(err):
		return fmt.Errorf("%s: %w (%w): run `noggin init-db`", what, ErrSchema, err)
	case hasCode(err, "42501"): // insufficient_privilege
		return fmt.Errorf("%s: %w: %w: `noggin validate database` names the tables and the GRANT", what, ErrNoRight, err)
	case errors.As(err, &held) && held.holders != "":
		return fmt.Errorf("%s: %w: %w: %s", what, ErrUnavailable, ErrBusy, held.holders)
	case held != nil:
		return fmt.Errorf("%s: %w: %w", what, ErrUnavailable, ErrBusy)
	case isBusy(err):
		return fmt.Errorf("%s: %w for longer than lock_timeout", what, ErrBusy)
	case hasCode(err, "53100"): // disk_full
		return fmt.Errorf("%s: %w: %w: free space on the volume of the database's server", what, ErrUnavailable, err)
	case errors.Is(err, pq.ErrSSLNotSupported):
		return fmt.Errorf("%s: %w: %w", what, ErrUnavailable, errNoTLS)
	case isRefused(err):
		return &refusal{what, err}
	case unavailable(err), errors.Is(err, errCleartext):
		return fmt.Errorf("%s: %w: %w", what, ErrUnavailable, err)
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
}

// isUndefined reports a missing schema, table, column or function.
func isUndefined(err error) bool {
	var pqErr *pq.Error
	if !errors.As(err, &pqErr) {
		return false
	}
	switch pqErr.Code {
	case "3F000", "42P01", "42703", "42883":
		return true
	}
	return false
}

// refusal is an error of [isRefused].
type refusal struct {
	what string
	err  error
}

func (r *refusal) Error() string {
	remedy := "pg_hba.conf of the server decides who may log in, and how"
	switch {
	case hasCode(r.err, "3D000"):
		remedy = "correct the database's name in [database] url, or create the database"
	case hasCode(r.err, "28P01"):
		remedy = "correct user and password in [database] url"
	case hasCode(r.err, "28000") && strings.Contains(r.err.Error(), "does not exist"):
		remedy = "correct the user in [database] url, or create the role"
	}
	return fmt.Sprintf("%s: %v: %v: %s", r.what, ErrRefused, r.err, remedy)
}

func (r *refusal) Unwrap() []error {
	kinds := []error{ErrRefused, ErrUnavailable, r.err}
	if hasCode(r.err, "28000") {
		kinds = append(kinds, ErrStranger)
	}
	return kinds
}

// isRefused reports that the server refuses the connection: the database does not
// exist, or the user may not log in.
func isRefused(err error) bool {
	var pqErr *pq.Error
	return errors.As(err, &pqErr) && (pqErr.Code == "3D000" || pqErr.Code.Class() == "28")
}

func hasCode(err error, code pqerror.Code) bool {
	var pqErr *pq.Error
	return errors.As(err, &pqErr) && pqErr.Code == code
}
