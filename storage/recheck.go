package storage

import (
	"context"
	"database/sql"
	"errors"

	"github.com/jmoiron/sqlx"
)

// knownOtherwise says of the record with that tip that it refers to a hash whose name is
// known, but only under another type than the reference's.
func knownOtherwise(tip string) string {
	return `EXISTS (SELECT FROM noggin_schema.record_hashes r WHERE r.record_tip = ` + tip + ` AND ` + withoutOwnName + `
		AND EXISTS (SELECT FROM noggin_schema.entity_hashes e WHERE e.hash_value = r.hash_value))`
}

// RecheckNames looks at the next limit records with unknown hashes after an upgrade from
// version 1, which looked a hash up under its own type only. It marks those of which a
// name is known under another type, to be healed, and resolves these hashes. It returns
// whether records are left to look at.
func (db *DB) RecheckNames(ctx context.Context, limit int) (more bool, err error) {
	err = db.tx(ctx, "look for names known under another type", func(tx *sqlx.Tx) error {
		more = false
		if err := db.exec(ctx, tx, nil, shareNames); err != nil {
			return err
		}
		var after string
		err := tx.GetContext(ctx, &after, db.sql(`SELECT after FROM noggin_schema.names_recheck WHERE after IS NOT NULL FOR UPDATE`))
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if after == "" {
			if _, err := tx.ExecContext(ctx, db.sql(resolveFrom("noggin_schema.entity_hashes", "n.updated_at DESC, n.entity_type"))); err != nil {
				return err
			}
		}
		var page struct {
			Records int     `db:"records"`
			Last    *string `db:"last"`
		}
		if err := tx.GetContext(ctx, &page, db.sql(`
			WITH page AS MATERIALIZED (SELECT d.tip FROM noggin_schema.noggin_data d
					WHERE d.has_unknown_hashes AND d.tip > $1 ORDER BY d.tip LIMIT $2),
				stale AS (SELECT d.tip FROM noggin_schema.noggin_data d
					WHERE d.tip IN (SELECT p.tip FROM page p WHERE `+knownOtherwise("p.tip")+`) AND NOT d.names_stale
					ORDER BY d.tip FOR NO KEY UPDATE OF d),
				marked AS (UPDATE noggin_schema.noggin_data d SET names_stale = true FROM stale WHERE d.tip = stale.tip)
			SELECT count(*) AS records, max(tip) AS last FROM page`), after, limit); err != nil {
			return err
		}
		if more = page.Records == limit; !more {
			page.Last = nil
		}
		_, err = tx.ExecContext(ctx, db.sql(`UPDATE noggin_schema.names_recheck SET after = $1`), page.Last)
		return err
	})
	return more, err
}
