package validate

// The data of tests fill several pages.
func init() { filesPage = 2 }
