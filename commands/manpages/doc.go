// Command manpages writes noggin's manual pages. It runs from the top of the source, on
// the machine that builds. Nothing here is linked into noggin.
//
//	commands.Tree (what --help shows) → noggin(1), noggin-COMMAND(1) ─┐
//	config.example.toml (comments)    → noggin.toml(5) ───────────────┼→ Markdown → roff
//	commands/manual/NAME.SECTION.md   → NAME(SECTION) ────────────────┘
//
// Invariants:
//   - A text stands in one place only: the help of a command, the comment of a key, or a
//     Markdown file. No page has a text of its own here.
//   - The same source makes the same pages, byte for byte: the date is
//     $SOURCE_DATE_EPOCH.
//   - Commands in a page can be copied: hyphens, quotes and tildes stay plain.
package main
