package process

import "time"

// SampleEvery sets how often a long run takes a sample. External tests use it.
func (p *Processor) SampleEvery(interval time.Duration) { p.sampleEvery = interval }
