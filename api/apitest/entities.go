package apitest

import (
	"fmt"
	"iter"
	"strings"
)

// EntityType is the type of an entity, in the manual's word.
type EntityType string

// The types of entities. other is everything that has no names to import.
const (
	Vehicle    EntityType = "vehicle"
	Trailer    EntityType = "trailer"
	Department EntityType = "department"
	Team       EntityType = "team"
	Person     EntityType = "person"
	Customer   EntityType = "customer"
	other      EntityType = "other"
)

// population says how many entities there are of each type: about a thousand in all, as
// in a real deployment. A type's position here is part of its entities' tips.
var population = []struct {
	kind  EntityType
	count int
}{{Vehicle, 220}, {Trailer, 300}, {Department, 14}, {Team, 36}, {Person, 260}, {Customer, 170}, {other, 50}}

// entityOf returns the type to which a form's reference field points.
func entityOf(field string) EntityType {
	switch field {
	case "vehicle", "goldstarAsset", "vehicleS":
		return Vehicle
	case "trailer", "trailer2", "trailer3":
		return Trailer
	case "whichDepartmentDoesTheLoadBelongTo", "department":
		return Department
	case "team":
		return Team
	case "siteManager", "personInvolved", "regularDriver", "inspectedBy":
		return Person
	case "customerClient":
		return Customer
	}
	return other
}

// Entity is a thing that records refer to by its tip.
type Entity struct {
	Tip   string
	Type  EntityType
	Name  string
	Named bool // it is in the CSV files of names
	index int
}

// entities yields all entities of a type.
func (w *World) entities(kind EntityType) iter.Seq[Entity] {
	return func(yield func(Entity) bool) {
		for class, p := range population {
			if p.kind != kind {
				continue
			}
			for i := range p.count {
				if !yield(w.entity(class, i)) {
					return
				}
			}
		}
	}
}

// Entity returns the entity of a tip.
func (w *World) Entity(tip string) (Entity, bool) {
	m, ok := w.codec.decode(tip)
	if !ok || m.kind != kindEntity {
		return Entity{}, false
	}
	return w.entity(m.class, m.index), true
}

func (w *World) entity(class, index int) Entity {
	kind := population[class].kind
	dice := w.draw(index, drawName+uint64(class))
	return Entity{
		Tip:   w.codec.encode(mark{kind: kindEntity, class: class, index: index}),
		Type:  kind,
		Name:  entityName(kind, index, dice),
		Named: fraction(mix(dice)) >= w.opts.Unnamed,
		index: index,
	}
}

// entityTip picks an entity. Low numbers are picked more often, as some vehicles are
// busier than others.
func (w *World) entityTip(kind EntityType, dice uint64) string {
	for class, p := range population {
		if p.kind == kind {
			busy := fraction(dice) * fraction(dice)
			return w.codec.encode(mark{kind: kindEntity, class: class, index: int(busy * float64(p.count))})
		}
	}
	panic("apitest: no entity type " + string(kind))
}

var (
	places = []string{"Perth", "Kewdale", "O'Connor", "Port Hedland", "Coober Pedy", "Wagga Wagga", "Dandenong", "Acacia Ridge", "Saint-Évremond"}
	duties = []string{"Linehaul", "Steel & Coil", "General Freight", "Night Shift", "Dangerous Goods", "Workshop"}
	given  = []string{"Zoë", "Liam", "Aroha", "Nguyễn", "Siobhán", "Jack", "Priya", "Mateo", "D'Arcy", "Oľga"}
	family = []string{"Müller", "O'Brien", "Smith", "Văn An", "Pereira de Souza", "Nakamura", "van der Merwe", "Singh"}
	trades = []string{"Steelworks Pty Ltd", "Mining, Supply & Sons", "Hardware (\"Bluey's\")", "Agri-Co", "Café Importers"}
)

// entityName makes readable names with everything that is hard in CSV: commas, quotes,
// accents, apostrophes, and sometimes a leading '='.
func entityName(kind EntityType, index int, dice uint64) string {
	pick := func(list []string, shift int) string { return list[dice>>shift%uint64(len(list))] }
	var name string
	switch kind {
	case Vehicle:
		name = fmt.Sprintf("%dV%c%c %03d", dice%10, 'A'+dice>>8%26, 'A'+dice>>16%26, index+1)
	case Trailer:
		name = fmt.Sprintf("%dTRL%03d", dice%10, index+1)
	case Department:
		name = fmt.Sprintf("%s, %s %d", pick(places, 8), pick(duties, 16), index+1)
	case Team:
		name = fmt.Sprintf("%s - %s %d", pick(places, 8), pick(duties, 16), index+1)
	case Person:
		name = fmt.Sprintf("%s %s %d", pick(given, 8), pick(family, 16), index+1)
	case Customer:
		name = fmt.Sprintf("%s %s %d", pick(places, 8), pick(trades, 16), index+1)
	default:
		name = fmt.Sprintf("Object %d", index+1)
	}
	if index%37 == 36 {
		name = "=" + strings.ToUpper(name)
	}
	return name
}
