package storage

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// ErrUnavailable is wrapped by every error that means the database could not be
// reached, or was lost for longer than [Config.RetryFor]. Exit code 4.
var ErrUnavailable = errors.New("the database is unavailable")

// ErrSchema is wrapped by errors that mean the schema is missing or too old. Exit
// code 4; its text names `noggin init-db`.
var ErrSchema = errors.New("the database schema is not ready")

// ErrLost means that the claim is no longer ours: its lease ended and another run
// took it, or an operator changed the record.
var ErrLost = errors.New("the claim was lost")

// unavailable reports whether err says that the connection or the server is gone,
// so that the same work may be tried again on another connection.
func unavailable(err error) bool {
	if err == nil {
		return false
	}
	var pqErr *pq.Error
	if errors.As(err, &pqErr) {
		switch pqErr.Code.Class() {
		case "08", "57": // connection; operator intervention (shutdown, crash, starting up)
			return pqErr.Code != "57014" // query_canceled is ours
		case "53": // too many connections, out of memory; not a full disk
			return pqErr.Code != "53100"
		}
		return pqErr.Code == "25006" || pqErr.Code == "40001" || pqErr.Code == "40P01" // read-only after a failover, serialization, deadlock
	}
	var netErr net.Error
	var sysErr *os.SyscallError
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.As(err, &netErr) || errors.As(err, &sysErr) || errors.Is(err, net.ErrClosed) ||
		strings.Contains(err.Error(), "bad connection")
}

// describe turns what the driver says into what an operator can act on. A context
// that ended shows itself as SQLSTATE 57014: look at the context first.
func describe(ctx context.Context, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	case isUndefined(err):
		return fmt.Errorf("%s: %w (%w): run `noggin init-db`", what, ErrSchema, err)
	case hasCode(err, "55P03"): // lock_not_available
		return fmt.Errorf("%s: %w for longer than lock_timeout", what, ErrBusy)
	case hasCode(err, "53100"): // nothing that passes in seconds
		return fmt.Errorf("%s: %w: %w: free space on the volume of the database's server", what, ErrUnavailable, err)
	case unavailable(err), isRefused(err):
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

// isRefused reports that the server does not let us in: no such database, or not as
// this user.
func isRefused(err error) bool {
	var pqErr *pq.Error
	return errors.As(err, &pqErr) && (pqErr.Code == "3D000" || pqErr.Code.Class() == "28")
}

func hasCode(err error, code pqerror.Code) bool {
	var pqErr *pq.Error
	return errors.As(err, &pqErr) && pqErr.Code == code
}
