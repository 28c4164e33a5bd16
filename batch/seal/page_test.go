package seal

// The data of tests fill several pages.
func init() { leavesPage = 2 }
