package health

import (
	"time"

	"noggin/storage"
)

// Forecast tells how fast a volume fills.
type Forecast struct {
	BytesPerDay float64    // growth; at most 0: it does not fill
	FullAt      *time.Time // nil: not at this rate, or not within ten years
}

const (
	forecastWindow = 30 * 24 * time.Hour
	forecastSpan   = 12 * time.Hour // readings of a shorter span tell nothing
	forecastFar    = 10 * 365 * 24 * time.Hour
)

// ForecastDisk tells when a disk will be full. It uses the samples that the same
// host took of the same folder. Nil: they are too few.
func ForecastDisk(disk storage.Disk, samples []storage.Sample, now time.Time) *Forecast {
	var readings []storage.Sample
	for _, s := range samples {
		if s.Disk != nil && s.Disk.Path == disk.Path && s.Disk.Host == disk.Host {
			readings = append(readings, s)
		}
	}
	return forecast(append(readings, storage.Sample{At: now, Measures: storage.Measures{Disk: &disk}}), now)
}

// forecast takes the rate of the last 30 days. Readings are in order of time. Only
// those since the last clean-up count: an archive that freed space says nothing
// about how fast the volume fills again. Nil: they are too few.
func forecast(readings []storage.Sample, now time.Time) *Forecast {
	start := 0
	for i, r := range readings {
		if now.Sub(r.At) > forecastWindow {
			start = i + 1
		} else if i > 0 {
			before := readings[i-1].Disk
			if r.Disk.TotalBytes != before.TotalBytes || r.Disk.FreeBytes-before.FreeBytes > r.Disk.TotalBytes/100 {
				start = i
			}
		}
	}
	readings = readings[start:]
	if len(readings) < 3 || readings[len(readings)-1].At.Sub(readings[0].At) < forecastSpan {
		return nil
	}
	last, rate := readings[len(readings)-1], slopePerDay(readings)
	f := &Forecast{BytesPerDay: rate}
	if left := float64(last.Disk.FreeBytes) / rate * float64(24*time.Hour); rate > 0 && left < float64(forecastFar) {
		f.FullAt = new(last.At.Add(time.Duration(left)))
	}
	return f
}

// slopePerDay is the slope of the used bytes, by least squares.
func slopePerDay(readings []storage.Sample) float64 {
	var n, sumX, sumY, sumXX, sumXY float64
	for _, r := range readings {
		x := r.At.Sub(readings[0].At).Hours() / 24
		y := float64(readings[0].Disk.FreeBytes - r.Disk.FreeBytes)
		n, sumX, sumY, sumXX, sumXY = n+1, sumX+x, sumY+y, sumXX+x*x, sumXY+x*y
	}
	if d := n*sumXX - sumX*sumX; d > 0 {
		return (n*sumXY - sumX*sumY) / d
	}
	return 0
}
