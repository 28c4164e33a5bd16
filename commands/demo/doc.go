// Command demo shows noggin's main job with nothing configured. It starts a private
// PostgreSQL and the simulated API, and runs the real binary on real files:
//
//	init-db → hashes import → import-csv → process → rows and files
//
// It shows and does not test: a scene fails only when its command fails. The program is
// the one given with --noggin, unchanged.
//
//   - Everything it makes is in one temporary folder and is gone when it ends, unless
//     --keep is given.
//   - It talks to loopback only.
package main
