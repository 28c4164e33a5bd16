package storage

import (
	"errors"
	"testing"

	"noggin/storage/storagetest"
)

func TestAPoolerThatDropsSettingsIsRefused(t *testing.T) {
	t.Parallel()
	direct := testDB(t)
	proxy := storagetest.NewProxy(t, direct.cfg.URL)
	cfg := direct.cfg
	cfg.URL = proxy.URL(cfg.URL)
	for _, drops := range []string{"", "noggin.client", "noggin.schema"} {
		proxy.DropParameter(drops)
		db := openDB(t, cfg)
		for what, do := range map[string]func() error{
			"Standing":    func() error { _, err := db.Standing(t.Context()); return err },
			"CheckSchema": func() error { return db.CheckSchema(t.Context()) },
			"StartRun":    func() error { _, err := db.StartRun(t.Context(), "test", "1"); return err },
		} {
			if err := do(); errors.Is(err, ErrPooler) != (drops != "") || drops == "" && err != nil {
				t.Errorf("%s, with %q dropped: %v", what, drops, err)
			}
		}
	}
}
