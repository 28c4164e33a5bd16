package export

// The data of tests fill several pages.
func init() { batch = 2 }
