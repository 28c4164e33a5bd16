package report

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

// unknownsShown is how many unknown hashes a report on an entity lists.
const unknownsShown = 20

// entityCommands are the reports on a vehicle, a trailer, a team and a person.
func entityCommands(open *session.Opener) (commands []*cli.Command) {
	for _, kind := range []string{"vehicle", "trailer", "team", "person"} {
		commands = append(commands, withFormats(open, &cli.Command{
			Name:      kind,
			Usage:     "the inspections of one " + kind + ": over time, compliance, the last ones, open unknowns",
			ArgsUsage: strings.ToUpper(kind),
			Description: "Takes the name, in any case, a part of it that fits no other, or the hash. Every\n" +
				"inspection that refers to the " + kind + " counts, in whatever field.\n\nExamples:\n" +
				"  noggin report " + kind + " '" + map[string]string{"vehicle": "1ABC234", "trailer": "7TRL286", "team": "Kewdale", "person": "Pat Example"}[kind] + "' --from 2025-01-01",
			Flags: session.SelectorFlags("from", "until", "object-type"),
		}, func(ctx context.Context, c *cli.Context, r *reporter) error {
			chosen, err := r.Selector(c)
			if err != nil {
				return err
			}
			found, err := r.Entity(ctx, kind, kind, c.Args().First())
			if err != nil {
				return err
			}
			return runEntity(ctx, r, kind, found, chosen)
		}))
	}
	return commands
}

// entityMonth counts the inspections of a month.
type entityMonth struct {
	Month       string           `json:"month"` // 2025-03; "": without a day
	Inspections int64            `json:"inspections"`
	Compliance  map[string]int64 `json:"compliance"`
	Forms       map[string]int64 `json:"forms"`
}

// entityReport is what is known of the inspections of an entity.
type entityReport struct {
	At          time.Time                `json:"at"`
	Type        string                   `json:"entity_type"`
	Name        *string                  `json:"name"` // null: not known
	FormerNames []string                 `json:"former_names"`
	Hashes      []string                 `json:"hashes"`
	Inspections int64                    `json:"inspections"`
	Compliance  map[string]int64         `json:"compliance"`
	Forms       map[string]int64         `json:"forms"`
	Months      []entityMonth            `json:"months"` // the latest first
	Last        []storage.LastInspection `json:"last"`
	Unknown     []storage.OpenUnknown    `json:"unknown_hashes"`
}

func runEntity(ctx context.Context, r *reporter, kind string, found []storage.Entity, chosen storage.Selector) (err error) {
	doc := entityReport{At: r.now, Type: kind, Name: storage.Optional(found[0].Name), Compliance: map[string]int64{}, Forms: map[string]int64{}, Months: []entityMonth{}}
	for _, e := range found {
		doc.Hashes = append(doc.Hashes, e.Hash)
	}
	chosen.Entities = [][]string{doc.Hashes}
	if doc.FormerNames, err = r.DB.FormerNames(ctx, doc.Hashes); err != nil {
		return err
	}
	counts, err := r.DB.EntityMonths(ctx, chosen)
	if err != nil {
		return err
	}
	if doc.Last, err = r.DB.LatestInspections(ctx, chosen, 5); err != nil {
		return err
	}
	if doc.Unknown, err = r.DB.UnknownsBeside(ctx, chosen, unknownsShown); err != nil {
		return err
	}
	doc.add(counts)
	months := show.Table{Columns: []show.Column{{"month", "Month"}, {"inspections", "Inspections"}}}
	answers := slices.Sorted(maps.Keys(doc.Compliance))
	for _, answer := range answers {
		months.Columns = append(months.Columns, show.Column{strings.ReplaceAll(strings.ToLower(answer), " ", "_"), answer})
	}
	months.Columns = append(months.Columns, show.Column{"forms", "Forms"})
	months.Spare = []string{"Forms"}
	for _, m := range doc.Months {
		row := []any{cmp.Or(m.Month, "without a day"), m.Inspections}
		for _, answer := range answers {
			row = append(row, m.Compliance[answer])
		}
		months.Rows = append(months.Rows, append(row, countsText(m.Forms)))
	}
	return r.out.Report(doc, months, func() show.Sheet { return doc.sheet(r, months) })
}

// add adds the counts, which come by month.
func (e *entityReport) add(counts []storage.EntityMonth) {
	for _, n := range counts {
		if len(e.Months) == 0 || e.Months[len(e.Months)-1].Month != n.Month {
			e.Months = append(e.Months, entityMonth{Month: n.Month, Compliance: map[string]int64{}, Forms: map[string]int64{}})
		}
		m := &e.Months[len(e.Months)-1]
		m.Inspections, e.Inspections = m.Inspections+n.Records, e.Inspections+n.Records
		m.Forms[n.ObjectType] += n.Records
		e.Forms[n.ObjectType] += n.Records
		if n.Compliance != "" {
			m.Compliance[n.Compliance] += n.Records
			e.Compliance[n.Compliance] += n.Records
		}
	}
}

func (e *entityReport) sheet(r *reporter, months show.Table) show.Sheet {
	name := "hash " + e.Hashes[0] + ", whose name is not known"
	if e.Name != nil {
		name = *e.Name
	}
	facts := []show.Fact{{"inspections", show.Textf("%d", e.Inspections)}, {"forms", countsText(e.Forms)}, {"compliance", countsText(e.Compliance)}}
	if len(e.FormerNames) > 0 {
		facts = append(facts, show.Fact{"once called", strings.Join(e.FormerNames, ", ")})
	}
	if len(e.Hashes) > 1 {
		facts = append(facts, show.Fact{"hashes", show.Textf("%d have this name", len(e.Hashes))})
	}
	last := show.Table{Columns: []show.Column{{"inspection_id", "Inspection"}, {"inspection_date", "Day"}, {"object_type", "Form"}, {"load_compliance", "Compliance"}}}
	for _, l := range e.Last {
		last.Rows = append(last.Rows, []any{cmp.Or(storage.ValueOf(l.InspectionID), l.Tip), show.Value(l.Day), l.ObjectType, show.Value(l.Compliance)})
	}
	unknown := show.Table{Columns: []show.Column{{"hash", "Hash"}, {"entity_type", "Type"}, {"records", "Inspections"}}}
	for _, u := range e.Unknown {
		unknown.Rows = append(unknown.Rows, []any{u.Hash, u.Type, u.Records})
	}
	s := show.Sheet{Title: r.heading(strings.ToUpper(e.Type[:1]) + e.Type[1:] + " " + name), Sections: []show.Section{{Facts: facts}}}
	if len(months.Rows) > 0 {
		s.Sections = append(s.Sections, show.Section{Title: "By month", Table: &months})
	}
	if len(last.Rows) > 0 {
		s.Sections = append(s.Sections, show.Section{Title: "The last ones", Table: &last})
	}
	if len(unknown.Rows) > 0 {
		s.Sections = append(s.Sections, show.Section{
			Title: "Hashes without a name in them", Table: &unknown,
			Notes: []string{"`noggin hashes set TYPE HASH NAME` names one; an import of names names many."},
		})
	}
	return s
}

// countsText is "compliant 12, not compliant 1".
func countsText(counts map[string]int64) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, show.Textf("%d %s", counts[key], key))
	}
	return strings.Join(parts, ", ")
}
