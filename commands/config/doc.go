// Package config reads the configuration: the file, the environment over it, the
// defaults below it. It finds the API's token and keeps what is confidential out of
// the logs ([Secrets]).
//
// Defaults and validation of a key belong to the package that owns it: api, storage
// and the rooms of batch. Here is only where a key stands in the file and how a value
// is decoded. Flags are not read here, but for the path that the caller hands over.
//
// Invariants:
//   - Everything wrong with the configuration is in one error, with the line of each
//     problem.
//   - No message repeats a token, a namespace, or a URL, which may hold a password.
//   - A token source that is named but cannot be used is an error; no other is tried.
package config
