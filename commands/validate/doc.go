// Package validate has the command noggin validate: it chooses the areas, has
// batch/validate look at database, data and files, looks itself at the configuration and
// the API's answer (which need the token), and prints the findings.
//
// What is a finding in the database or on the disk is decided in batch/validate.
//
// Invariants:
//   - Every finding names what mends it. Only --fix changes anything.
//   - The result shows nothing confidential, although it goes to stdout.
//   - An invalid configuration or an unreachable database is a finding. Areas that need
//     it say that they were not looked at.
package validate
