package names

// The data of tests fill several pages.
func init() { fetchBatch, healBatch, recheckBatch = 2, 2, 2 }
