// Package setup is noggin setup: it asks for the least that is needed, tries each answer
// against the real thing, and writes the configuration and the file of the token.
//
//	ask ─▶ try ─▶ next question … ─▶ write the token ─▶ write the configuration
//	 ▲      │ not right: say why
//	 └──────┘ (without a terminal: end)
//
// The text of the configuration is changed by package config; here is the talk.
//
// Invariants:
//   - Nothing is written before every answer was tried.
//   - Each file appears whole, with its owner and mode, or not at all. When the second
//     cannot be written, the first is put back.
//   - Neither the token nor a password is shown, echoed, or an argument of a process.
package setup
