package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/protocol"
)

// errNotBegun is returned while a mirror has never been connected.
var errNotBegun = errors.New("the database was not reached yet")

// A Mirror answers as the corpus of its own node: what only another one holds is not in it, and cursors
// are the node's. That another erased a record is seen at once.
var _ corpus.Reader = (*Mirror)(nil)

// entryColumns are those that scanEntry reads, of holdings h and records r.
const entryColumns = `h.cursor, h.record, h.originator, h.publisher, h.version, h.withdrawn, h.entry, r.handling, r.object, r.revoked`

const fromHoldings = ` FROM entente.holdings h JOIN entente.records r ON r.record = h.record `

// Get implements corpus.Reader.
func (m *Mirror) Get(ctx context.Context, record protocol.RecordID) (*corpus.Entry, error) {
	list, err := m.entries(ctx, `SELECT `+entryColumns+fromHoldings+`WHERE h.mirror = $1 AND h.record = $2`, record[:])
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return &list[0], nil
}

// ByStixID implements corpus.Reader.
func (m *Mirror) ByStixID(ctx context.Context, id string) ([]corpus.Entry, error) {
	return m.entries(ctx, `SELECT `+entryColumns+fromHoldings+`WHERE h.mirror = $1 AND h.stix_id = $2 ORDER BY h.version DESC, h.cursor`, text(id))
}

// Since implements corpus.Reader.
func (m *Mirror) Since(ctx context.Context, cursor uint64, limit int) ([]corpus.Entry, uint64, error) {
	if limit <= 0 {
		return nil, cursor, nil
	}
	list, err := m.entries(ctx, `SELECT `+entryColumns+fromHoldings+`WHERE h.mirror = $1 AND h.cursor > $2 ORDER BY h.cursor LIMIT $3`, bigint(cursor), limit)
	if err != nil {
		return nil, 0, err
	}
	if len(list) > 0 {
		cursor = list[len(list)-1].Cursor
	}
	return list, cursor, nil
}

func bigint(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// Count implements corpus.Reader. It goes through an index of all that the mirror holds.
func (m *Mirror) Count(ctx context.Context) (corpus.Counts, error) {
	number, err := m.begun()
	if err != nil {
		return corpus.Counts{}, err
	}
	out := corpus.Counts{ByType: map[string]uint64{}}
	rows, err := m.pool.Query(ctx, `SELECT type, count(*), max(cursor) FROM entente.holdings WHERE mirror = $1 GROUP BY type`, number)
	if err != nil {
		return out, err
	}
	defer rows.Close()
	err = eachRow(rows, func() error {
		var typ string
		var count, cursor int64
		err := rows.Scan(&typ, &count, &cursor)
		out.ByType[typ] = uint64(count)
		out.Records += uint64(count)
		out.Cursor = max(out.Cursor, uint64(cursor))
		return err
	})
	return out, err
}

// Search implements corpus.Reader.
func (m *Mirror) Search(ctx context.Context, q corpus.Query) ([]corpus.Entry, uint64, error) {
	if q.Limit <= 0 {
		q.Limit = corpus.DefaultLimit
	}
	sql, args, err := searchSQL(&q)
	if err != nil {
		return nil, 0, fmt.Errorf("searching: %w", err)
	}
	list, err := m.entries(ctx, sql, args...)
	if err != nil {
		return nil, 0, fmt.Errorf("searching: %w", err)
	}
	if len(list) <= q.Limit {
		return list, 0, nil
	}
	list = list[:q.Limit]
	return list, list[len(list)-1].Cursor, nil
}

// searchSQL writes a query, of which the first argument is the mirror.
func searchSQL(q *corpus.Query) (string, []any, error) {
	var args []any
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args)+1)
	}
	var b strings.Builder
	from := fromHoldings
	if q.Value != "" {
		// What a value is found in is mostly little: it is gathered first, so that nobody goes
		// through all records in their order until enough of them fit.
		found, err := q.Lookups()
		if err != nil {
			return "", nil, err
		}
		kinds, values, digests := make([]string, len(found)), make([]string, len(found)), make([][]byte, len(found))
		for i := range found {
			kinds[i] = string(found[i].Kind)
			values[i], digests[i] = indexed(found[i].Value)
		}
		k, v, d := arg(kinds), arg(values), arg(digests)
		fmt.Fprintf(&b, `WITH found AS MATERIALIZED (
	SELECT o.record FROM entente.observables o WHERE o.value = ANY(%[2]s::text[]) AND EXISTS (
		SELECT 1 FROM unnest(%[1]s::text[], %[2]s::text[], %[3]s::bytea[]) AS q(kind, value, digest)
		WHERE q.kind = o.kind AND q.value = o.value AND (q.digest = o.digest OR q.digest IS NULL AND o.digest IS NULL))
	UNION SELECT s.record FROM entente.holdings s WHERE s.stix_id = %[4]s AND s.mirror = $1)
`, k, v, d, arg(text(q.Value)))
		from = ` FROM found f JOIN entente.holdings h ON h.record = f.record JOIN entente.records r ON r.record = h.record `
	}
	b.WriteString(`SELECT ` + entryColumns + from + `WHERE h.mirror = $1`)
	and := func(format string, v any) { fmt.Fprintf(&b, " AND "+format, arg(v)) }
	if q.Type != "" {
		and(`h.type = %s`, text(q.Type))
	}
	if q.Topic != "" {
		and(`h.topic = %s`, text(q.Topic))
	}
	if q.Since > 0 {
		and(`h.received >= %s`, millis(q.Since))
	}
	if q.After > 0 {
		and(`h.cursor > %s`, bigint(q.After))
	}
	if q.Kind != "" && q.Value == "" {
		and(`EXISTS (SELECT 1 FROM entente.observables o WHERE o.record = h.record AND o.kind = %s)`, string(q.Kind))
	}
	if !q.IncludeWithdrawn {
		b.WriteString(` AND NOT h.withdrawn`)
	}
	if !q.All {
		// Asked for each line, and so not for all before the first is there.
		b.WriteString(` AND h.version >= COALESCE((SELECT max(n.version) FROM entente.holdings n WHERE n.stix_id = h.stix_id
	AND n.mirror = h.mirror AND n.originator = h.originator AND NOT n.withdrawn), 0)`)
	}
	fmt.Fprintf(&b, ` ORDER BY h.cursor LIMIT %s`, arg(q.Limit+1))
	return b.String(), args, nil
}

// entries reads the records that a query of entryColumns returns, its first argument being the mirror.
func (m *Mirror) entries(ctx context.Context, sql string, args ...any) ([]corpus.Entry, error) {
	number, err := m.begun()
	if err != nil {
		return nil, err
	}
	rows, err := m.pool.Query(ctx, sql, append([]any{number}, args...)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []corpus.Entry
	err = eachRow(rows, func() error {
		e, err := scanEntry(rows)
		out = append(out, e)
		return err
	})
	return out, err
}

func scanEntry(rows pgx.Rows) (e corpus.Entry, err error) {
	var cursor, version int64
	var record, originator, publisher, doc, handling []byte
	var object string
	if err := rows.Scan(&cursor, &record, &originator, &publisher, &version, &e.Withdrawn, &doc, &handling, &object, &e.Revoked); err != nil {
		return e, err
	}
	var d entryDoc
	if len(record) != 32 || len(originator) != 32 || len(publisher) != 32 {
		return e, errors.New("a holding in the database is damaged: an identifier is not of 32 bytes")
	}
	e.Record, e.Originator, e.Publisher = protocol.RecordID(record), protocol.OrgID(originator), protocol.OrgID(publisher)
	if err := protocol.Decode(doc, 1<<20, &d); err != nil {
		return e, fmt.Errorf("record %s in the database is damaged: %w", e.Record.Short(), err)
	}
	if err := protocol.Decode(handling, 1<<20, &e.Handling); err != nil {
		return e, fmt.Errorf("the handling of record %s in the database is damaged: %w", e.Record.Short(), err)
	}
	e.Cursor, e.Modified, e.Object = uint64(cursor), uint64(version)/1e6, []byte(object)
	e.Feed, e.Seq, e.Index, e.Topic, e.StixID, e.Type = d.Feed, d.Seq, int(d.Index), d.Topic, d.StixID, d.Type
	e.Received, e.Stamp, e.SealedAt, e.Agreement, e.Term, e.Text, e.Form = d.Received, d.Stamp, d.SealedAt, d.Agreement, int(d.Term), d.Text, d.Form
	e.WithdrawnAt, e.WithdrawReason = d.WithdrawnAt, d.Reason
	return e, nil
}
