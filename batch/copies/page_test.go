package copies

// The data of tests fill several pages.
func init() { walkStep, restorePage = 2, 2 }
