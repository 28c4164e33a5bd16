package forms

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"noggin/api/apitest"
)

func form(t testing.TB, code string) ObjectType {
	t.Helper()
	types, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	ot, ok := types.ByCode(code)
	if !ok {
		t.Fatalf("no form %s", code)
	}
	return ot
}

var formCodes = []string{"LCD", "LCS", "CCC", "TA", "SO", "FPI"}

func TestEachFormAccountsForExactlyTheFieldsOfItsSample(t *testing.T) {
	for _, code := range formCodes {
		t.Run(code, func(t *testing.T) {
			var payload map[string]any
			if err := json.Unmarshal(apitest.Sample(code), &payload); err != nil {
				t.Fatal(err)
			}
			ot := form(t, code)
			owned := ot.OwnedFields()
			for field := range payload {
				if !owned[field] {
					t.Errorf("the definition does not know %s", field)
				}
			}
			for field := range owned {
				if _, ok := payload[field]; !ok {
					t.Errorf("the definition has %s, which the API does not", field)
				}
			}
			for field, value := range payload {
				holdsMedia := slices.ContainsFunc(Leaves(value), func(v any) bool {
					s, ok := v.(string)
					return ok && IsMediaReference(s)
				})
				if listed := slices.ContainsFunc(ot.Media, func(m MediaField) bool { return m.Field == field }); listed != holdsMedia {
					t.Errorf("%s: listed as media %v, holds media %v", field, listed, holdsMedia)
				}
			}
		})
	}
}

func TestFormsAreFoundByCodeAndHeader(t *testing.T) {
	types, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := types.Codes(); !slices.Equal(got, formCodes) {
		t.Errorf("codes %v", got)
	}
	if got := types.EntityTypes(); !slices.Equal(got, []string{"vehicle", "trailer", "department", "team", "customer", "person"}) {
		t.Errorf("entity types %v", got)
	}
	for _, code := range formCodes {
		want := form(t, code)
		for how, found := range map[string]func() (ObjectType, bool){
			"code":     func() (ObjectType, bool) { return types.ByCode(" " + strings.ToLower(code)) },
			"id field": func() (ObjectType, bool) { return types.ByIDField(strings.ToUpper(want.IDField) + " ") },
		} {
			if got, ok := found(); !ok || got.Code != code {
				t.Errorf("%s by %s: got %q, %v", code, how, got.Code, ok)
			}
		}
	}
	if _, ok := types.ByCode("XYZ"); ok {
		t.Error("found a form that is not there")
	}
}

func TestTheAnswersOfAColumnAndTheFieldsOfDocumentsAreThoseOfAllForms(t *testing.T) {
	types, err := New([]ObjectType{{
		Code: "WSI", Name: "Workshop Inspection", APIName: "workshopInspection", IDField: "workshopInspectionId", Columns: map[string]string{"run_number": "job"},
		Media:     []MediaField{{"photo", "photo", kindPicture}, {"manual", "manual", kindDocument}},
		Checklist: []Question{{Label: "Safe", Column: "load_compliance", Options: []Option{{"safe", "Compliant"}}}, {Label: "Clean", Options: []Option{{"clean", "Clean"}}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := types.DocumentFields(); !slices.Equal(got, []string{"WSI manual"}) {
		t.Errorf("documents: %q", got)
	}
	for column, want := range map[string]string{"load_compliance": "Compliant, Not compliant, No, Contradictory: false", "run_number": "Contradictory: true"} {
		answers, free := types.Answers(column)
		if got := fmt.Sprint(strings.Join(answers, ", "), ": ", free); got != want {
			t.Errorf("%s: %s, want %s", column, got, want)
		}
	}
}

func TestDefinitionsHaveSnakeCaseKeysInTheConfiguration(t *testing.T) {
	for _, definition := range []any{ObjectType{}, ReferenceField{}, MediaField{}, Question{}, Option{}, PlainField{}} {
		kind := reflect.TypeOf(definition)
		for i := range kind.NumField() {
			field := kind.Field(i)
			if want := snakeCase(strings.ReplaceAll(field.Name, "API", "Api")); field.Tag.Get("toml") != want && field.Name != "IDField" {
				t.Errorf("%s.%s: tag %q, want toml:%q", kind.Name(), field.Name, field.Tag, want)
			}
		}
	}
}

func TestASeventhFormIsAdded(t *testing.T) {
	types, err := New([]ObjectType{{
		Code: "wsi", Name: "Workshop Inspection", APIName: "workshopInspection", IDField: "workshopInspectionId",
		Columns:    map[string]string{"inspected_by": "mechanic"},
		References: []ReferenceField{{Field: "bay", EntityType: "bay"}},
		Media:      []MediaField{{"attachments", "photo", ""}},
		Checklist:  []Question{{Label: "Floor clean", Options: []Option{{"floorCleanYes", "Yes"}, {"floorCleanNo", "No"}}}},
		Fields:     []PlainField{{Field: "mechanicNotes", Kind: kindHTML}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	ot, ok := types.ByCode("WSI")
	if !ok || ot.DateField != "date" || ot.Fields[0].Label != "Mechanic notes" {
		t.Errorf("got %+v, %v", ot, ok)
	}
	if kinds := types.EntityTypes(); kinds[len(kinds)-1] != "bay" {
		t.Errorf("entity types %v", kinds)
	}
}

func TestAnOverrideChangesOnlyWhatItGives(t *testing.T) {
	types, err := New([]ObjectType{{
		Code: "LCD", Name: "Load Check",
		Columns: map[string]string{"job_number": "job"},
		Media:   []MediaField{{"attachments", "picture", ""}, {"extra", "extra", "document"}},
		Checklist: []Question{
			{Label: "straps USED", Options: []Option{{"straps", "Yes"}}},
			{Label: "Load secured", Column: "load_compliance", Options: []Option{{"driver", "Yes"}}},
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	got, _ := types.ByCode("LCD")
	want := form(t, "LCD")
	if got.Name != "Load Check" || got.APIName != want.APIName || got.IDField != want.IDField || len(got.References) != len(want.References) {
		t.Errorf("got %+v", got)
	}
	columns := maps.Clone(want.Columns)
	columns["job_number"] = "job"
	if !maps.Equal(got.Columns, columns) {
		t.Errorf("columns %v", got.Columns)
	}
	if want := []MediaField{{"loaderPhotoAttachment", "loader_photo", "picture"}, {"attachments", "picture", "picture"}, {"extra", "extra", "document"}}; !slices.Equal(got.Media, want) {
		t.Errorf("media %v", got.Media)
	}
	if len(got.Checklist) != 4 || got.Checklist[0].Column != "" || got.Checklist[1].Label != "straps USED" || got.Checklist[3].Label != "Load secured" {
		t.Errorf("checklist %+v", got.Checklist)
	}
	if slices.ContainsFunc(got.Fields, func(f PlainField) bool { return f.Field == "driver" }) {
		t.Error("the field that became a question is still a plain field")
	}
	if fresh := form(t, "LCD"); fresh.Checklist[0].Column == "" || fresh.Media[1].Stub != "photo" {
		t.Error("the override changed the built-in form")
	}
}

func TestEveryMistakeInAFormIsReportedWithKeyAndValue(t *testing.T) {
	_, err := New([]ObjectType{
		{
			Code: "W S", APIName: "../admin", IDField: "lcdInspectionID",
			Columns: map[string]string{"retry_count": "x", "job_number": ""},
			References: []ReferenceField{
				{Field: "a", EntityType: "Vehicle", Column: "car"},
				{Field: "b", EntityType: "team", Column: "team"},
				{Field: "c", EntityType: "team", Column: "team"},
			},
			Media:  []MediaField{{"a", "../x", "video"}},
			Fields: []PlainField{{Field: "$meta", Kind: "markdown"}, {}},
			Checklist: []Question{
				{Options: []Option{{Field: "d"}}},
				{Label: "Q", Column: "job_number"},
				{Label: "q", Options: []Option{{"e", "Yes"}}, Details: []PlainField{{Field: "f", Kind: "x"}}},
			},
		},
		{Code: "TA", APIName: "siteObservations"},
		{Code: "ta"},
	})
	if err == nil {
		t.Fatal("no error")
	}
	text := err.Error()
	for _, want := range []string{
		`object_type[2].code = "TA": another [[object_type]] table has this code`,
		`object_type W S: code = "W S": must be`,
		`name = "": must not be empty`,
		`api_name = "../admin": must be`,
		`references[0].entity_type = "Vehicle": must be`,
		`references[0].column = "car": must be one of vehicle,`,
		`media[0].stub = "../x": must be`,
		`checklist[0].label = "": must not be empty`,
		`checklist[0].options[0].answer = "": must not be empty`,
		`checklist[1].options = "": must have at least one`,
		`checklist[2].label = "q": another question has this label`,
		`checklist[2].details[0].kind = "x": must be one of text, html, number, bool`,
		`fields[0].kind = "markdown": must be one of`,
		`fields[0].field = "$meta": this field belongs to the platform's own facts`,
		`fields[1].field = "": must not be empty`,
		`media[0].field = "a": this field belongs to references[0].field`,
		`columns = "retry_count": must be one of inspected_by,`,
		`columns.job_number = "": must not be empty`,
		`references[2].column = "team": references[1].column fills this column`,
		`checklist[1].column = "job_number": columns.job_number fills this column`,
		`id_field = "lcdInspectionID": form LCD has this field`,
		`form TA has this name`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("missing: %s", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}
