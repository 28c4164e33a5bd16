// Command noggin mirrors inspection records from the Noggin platform into
// PostgreSQL and their photographs onto disk.
package main

func main() {}
