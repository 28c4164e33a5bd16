package search

import (
	"strings"

	"noggin/batch/forms"
	"noggin/batch/textreport"
	"noggin/storage"
)

// Document returns the words by which a stored record is found, as the database takes
// them.
func Document(form forms.ObjectType, record forms.Record, stored storage.Stored) string {
	c := textreport.Read(form, record, stored)
	l := list{seen: map[string]bool{}, most: maxWords}
	l.addText(c.ID)
	rows := func(found []textreport.Row) {
		for _, row := range found {
			l.addText(row.Text)
		}
	}
	rows(c.References)
	rows(c.Details)
	l.addText(c.Compliance)
	for _, q := range c.Questions {
		l.addText(q.Answer)
		rows(q.Details)
	}
	for _, row := range c.OtherFields {
		for part := range strings.FieldsSeq(row.Text) {
			if isText(part) {
				l.addText(part)
			}
		}
	}
	return l.out.String()
}
