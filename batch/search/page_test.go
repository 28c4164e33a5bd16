package search

// The data of tests fill several pages.
func init() { fillPage = 2 }
