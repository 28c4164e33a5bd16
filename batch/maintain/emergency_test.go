package maintain

import "testing"

func TestAPauseThatSomebodyElseBeganOutlivesAnEmergency(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]bool{"it began before": true, "it began meanwhile": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMaintenance(t, 0)
			pause := func() {
				t.Helper()
				if _, err := m.DB.Pause(t.Context(), 0, "an operator's"); err != nil {
					t.Fatal(err)
				}
			}
			if before {
				pause()
			}
			e := &Emergency{Maintenance: m, Target: 50, Yes: true}
			end, err := e.pause(t.Context(), &EmergencyResult{UsedBefore: 90})
			if err != nil {
				t.Fatal(err)
			}
			if !before {
				pause()
			}
			end()
			standing, err := m.DB.Standing(t.Context())
			if err != nil || !standing.Paused || standing.PauseReason != "an operator's" || standing.PausedUntil != nil {
				t.Errorf("%+v, %v", standing, err)
			}
		})
	}
}
