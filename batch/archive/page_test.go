package archive

// The data of tests fill several pages.
func init() { losePage = 2 }
