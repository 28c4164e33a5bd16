package adopt

// The data of tests fill several pages.
func init() { legacyPage, treePage = 2, 2 }
