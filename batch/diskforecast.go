package batch

import (
	"time"

	"noggin/storage"
)

// DiskReading is how full a volume was at a time.
type DiskReading struct {
	At                    time.Time
	FreeBytes, TotalBytes int64
}

// Forecast of a volume.
type Forecast struct {
	BytesPerDay float64    // it grows by; at most 0: it does not fill
	FullAt      *time.Time // nil: not at this rate, or not within ten years
}

const (
	forecastWindow = 30 * 24 * time.Hour
	forecastSpan   = 12 * time.Hour // readings closer together tell nothing
	forecastFar    = 10 * 365 * 24 * time.Hour
)

// ForecastDisk tells when a disk will be full, by the samples that its host took of
// it; nil: they are too few.
func ForecastDisk(disk storage.Disk, samples []storage.Sample, now time.Time) *Forecast {
	var readings []DiskReading
	for _, s := range samples {
		if s.Disk != nil && s.Disk.Path == disk.Path && s.Disk.Host == disk.Host {
			readings = append(readings, DiskReading{At: s.At, FreeBytes: s.Disk.FreeBytes, TotalBytes: s.Disk.TotalBytes})
		}
	}
	readings = append(readings, DiskReading{At: now, FreeBytes: disk.FreeBytes, TotalBytes: disk.TotalBytes})
	f, ok := forecast(readings, now)
	if !ok {
		return nil
	}
	return &f
}

// forecast tells when a volume will be full at the rate of the last 30 days.
// Readings are in the order of time. Only those since the last clean-up count: an
// archive that freed space says nothing about how fast it fills again. ok is false
// where they are too few.
func forecast(readings []DiskReading, now time.Time) (f Forecast, ok bool) {
	start := 0
	for i, r := range readings {
		switch {
		case now.Sub(r.At) > forecastWindow:
			start = i + 1
		case i > 0 && (r.TotalBytes != readings[i-1].TotalBytes || r.FreeBytes-readings[i-1].FreeBytes > r.TotalBytes/100):
			start = i
		}
	}
	readings = readings[start:]
	if len(readings) < 3 || readings[len(readings)-1].At.Sub(readings[0].At) < forecastSpan {
		return f, false
	}
	f.BytesPerDay = slopePerDay(readings)
	last := readings[len(readings)-1]
	if f.BytesPerDay <= 0 {
		return f, true
	}
	left := float64(last.FreeBytes) / f.BytesPerDay * float64(24*time.Hour)
	if left < float64(forecastFar) {
		at := last.At.Add(time.Duration(left))
		f.FullAt = &at
	}
	return f, true
}

// slopePerDay is the least-squares slope of the bytes used.
func slopePerDay(readings []DiskReading) float64 {
	var n, sumX, sumY, sumXX, sumXY float64
	for _, r := range readings {
		x := r.At.Sub(readings[0].At).Hours() / 24
		y := float64(readings[0].FreeBytes - r.FreeBytes)
		n, sumX, sumY, sumXX, sumXY = n+1, sumX+x, sumY+y, sumXX+x*x, sumXY+x*y
	}
	if d := n*sumXX - sumX*sumX; d > 0 {
		return (n*sumXY - sumX*sumY) / d
	}
	return 0
}
