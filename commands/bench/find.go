package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"noggin/api/apitest"
	"noggin/storage/storagetest"
)

// findings are the questions that the benchmark asks, with the arguments of their commands.
// The generated database has 500 vehicles, 20,000 trailers and 40 teams.
var findings = []struct {
	name string
	args []string
}{
	{"by nothing", nil},
	{"by day", []string{"--from", "2000-01-01"}},
	{"by form and compliance", []string{"--object-type", "TA", "--compliance", "not-compliant"}},
	{"by trailer, 50 of a million", []string{"--trailer", "TRAILER 77"}},
	{"by vehicle, 2,000", []string{"--vehicle", "TRUCK 77"}},
	{"by team, 25,000", []string{"--team", "TEAM 7"}},
	{"by team and compliance", []string{"--team", "TEAM 7", "--compliance", "compliant"}},
	{"by a number, one", []string{"--search", "0077777"}},
	{"by words that a few have", []string{"--search", "w15001"}},
	{"by the beginning of words, 12,000", []string{"--search", "w1500*"}},
	{"by a word that all have", []string{"--search", "inspector"}},
	{"by team and word", []string{"--team", "TEAM 7", "--search", "w15001"}},
}

// benchFind asks for inspections among a million, with three million references: with an
// empty cache of the server and with a warm one. Then it compares a drain with one beside
// searches that never cease.
func benchFind(ctx context.Context, b *bench) error {
	simulated := apitest.New(apitest.Options{Records: b.size(600), Photos: apitest.None})
	if err := simulated.Listen("127.0.0.1:0"); err != nil {
		return err
	}
	defer simulated.Close()
	m, err := b.newMirror(ctx, simulated, "concurrency = 16")
	if err != nil {
		return err
	}
	defer m.close()
	records := b.size(1_000_000)
	if err := m.makeFindable(ctx, records); err != nil {
		return err
	}
	for _, f := range findings {
		var cold, warm []float64
		for range b.rounds {
			if err := b.server.Restart(); err != nil {
				return err
			}
			for _, times := range []*[]float64{&cold, &warm} {
				c, err := m.run(ctx, append([]string{"report", "inspections"}, f.args...)...)
				if err != nil {
					return err
				}
				*times = append(*times, c.wall.Seconds()*1e3)
			}
		}
		b.compare(f.name, "ms cold", cold, "ms warm", warm)
	}
	return b.drainBesideSearches(ctx, m, simulated)
}

func (b *bench) drainBesideSearches(ctx context.Context, m *mirror, simulated *apitest.Server) error {
	var alone, beside []float64
	for range b.rounds {
		for _, searching := range []bool{false, true} {
			if err := m.exec(ctx, `DELETE FROM noggin_schema.record_versions WHERE record_tip IN (SELECT tip FROM noggin_schema.noggin_data WHERE source_filename IS NULL)`); err != nil {
				return err
			}
			if err := m.exec(ctx, `DELETE FROM noggin_schema.refreshes WHERE record_tip IN (SELECT tip FROM noggin_schema.noggin_data WHERE source_filename IS NULL)`); err != nil {
				return err
			}
			if err := m.exec(ctx, `DELETE FROM noggin_schema.noggin_data WHERE source_filename IS NULL`); err != nil {
				return err
			}
			if err := m.enqueue(ctx, simulated); err != nil {
				return err
			}
			searches, stop := context.WithCancel(ctx)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for i := 0; searching && searches.Err() == nil; i++ {
					f := findings[i%len(findings)]
					_, _ = m.run(searches, append([]string{"report", "inspections"}, f.args...)...) // the last is cut off
					time.Sleep(time.Second)                                                         // a person reads
				}
			}()
			c, err := m.run(ctx, "process", "--until-empty", "--quiet")
			stop()
			<-ended
			if err != nil {
				return err
			}
			if searching {
				beside = append(beside, c.wall.Seconds())
			} else {
				alone = append(alone, c.wall.Seconds())
			}
		}
	}
	b.compare("a drain beside a person who searches", "s", beside, "the drain alone", alone)
	return nil
}

// bulk begins a statement that fires no trigger and checks no key, as its rows are right
// and no trigger would do anything.
const bulk = `SET LOCAL session_replication_role = replica; `

// makeFindable generates complete records with references, names and words.
func (m *mirror) makeFindable(ctx context.Context, records int) error {
	if err := storagetest.Fill(ctx, m.database, storagetest.FillOptions{Records: records, Attachments: records}); err != nil {
		return err
	}
	return m.addWords(ctx, records)
}

// addWords gives the generated records references, names and words. Inspections are found
// by them.
func (m *mirror) addWords(ctx context.Context, records int) error {
	run := func(statements ...string) error {
		for _, statement := range statements {
			if err := m.exec(ctx, strings.ReplaceAll(statement, ":records", strconv.Itoa(records))); err != nil {
				return err
			}
		}
		return nil
	}
	err := storagetest.WithoutIndexes(ctx, m.db, []string{"noggin_schema.record_hashes", "noggin_schema.record_search"}, func() error {
		return run(bulk+`INSERT INTO noggin_schema.record_hashes (record_tip, field_name, entity_type, hash_value)
		 SELECT encode(sha256(i::text::bytea), 'hex'), k.t, k.t, encode(sha256((k.t || CASE k.t WHEN 'vehicle' THEN i * 7 % 500 WHEN 'trailer' THEN i * 11 % 20000 ELSE i * 13 % 40 END)::bytea), 'hex')
		 FROM generate_series(1, :records) AS i, LATERAL (VALUES ('vehicle'), ('trailer'), ('team')) AS k (t)`,
			`INSERT INTO noggin_schema.entity_hashes (hash_value, entity_type, entity_name)
		 SELECT encode(sha256((k.t || i)::bytea), 'hex'), k.t, k.name || ' ' || i
		 FROM (VALUES ('vehicle', 'TRUCK', 499), ('trailer', 'TRAILER', 19999), ('team', 'TEAM', 39)) AS k (t, name, last), generate_series(0, k.last) AS i`,
			bulk+`INSERT INTO noggin_schema.record_search (record_tip, inspection_date, document)
		 SELECT d.tip, d.inspection_date, array_to_tsvector(ARRAY(SELECT 'w' || floor(power(random(), 3) * 20000)::int FROM generate_series(1, 40) WHERE d.tip <> '')
			|| ARRAY[lower(d.object_type), right(d.expected_inspection_id, 7), 'truck', 'trailer', 'team', 'inspector', 'yes', 'no'])
		 FROM noggin_schema.noggin_data d WHERE d.folder IS NOT NULL AND d.expected_inspection_id IS NOT NULL`)
	})
	if err != nil {
		return err
	}
	return run(`VACUUM (ANALYZE) noggin_schema.record_hashes`, `VACUUM (ANALYZE) noggin_schema.entity_hashes`, `VACUUM (ANALYZE) noggin_schema.record_search`)
}
