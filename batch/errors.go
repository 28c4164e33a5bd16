package batch

import "errors"

// ErrAPIUnavailable is wrapped by every error that means that a run ended because
// the API does not answer or the circuit is open: nothing is lost, later runs
// carry on.
var ErrAPIUnavailable = errors.New("the API is unavailable")

// ErrCredentials is wrapped by the error of a run that ended because the API
// rejected the token or the namespace.
var ErrCredentials = errors.New("the API rejected the credentials")
