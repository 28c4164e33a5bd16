package batch

import "context"

// Weekly is the operations manual's Sunday maintenance, in its order.
func (m *Maintenance) Weekly() []Step {
	return []Step{
		{Name: "unknown-hashes", Review: true, Do: m.reviewHashes},
		{Name: "analyze", Do: m.Analyze},
		{Name: "vacuum", Do: m.Vacuum},
		{Name: "sizes", Review: true, Do: m.Sizes},
		{Name: "errors", Review: true, Do: m.reviewErrors},
		{Name: "verify-backup", Do: func(ctx context.Context) (Effect, error) { return m.VerifyBackup(ctx, "") }},
		{Name: "performance", Review: true, Do: m.reviewThroughput},
		{Name: "temp", Do: m.SweepTemp},
	}
}

// Monthly is the manual's maintenance on the first Sunday of a month and its
// SOP-003, in their order.
func (m *Maintenance) Monthly() []Step {
	return []Step{
		{Name: "storage", Review: true, Do: m.reviewStorage},
		{Name: "backup", Do: func(ctx context.Context) (Effect, error) { return m.Backup(ctx, "") }},
		{Name: "analyze", Do: m.Analyze},
		{Name: "reindex", Do: m.Reindex},
		{Name: "vacuum", Do: m.Vacuum},
		{Name: "sizes", Review: true, Do: m.Sizes},
		{Name: "prune", Do: m.Prune},
		{Name: "counts", Review: true, Do: m.reviewCounts},
		{Name: "permanently-failed", Review: true, Do: m.reviewPermanent},
	}
}
