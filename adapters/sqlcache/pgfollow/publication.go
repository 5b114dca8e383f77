package pgfollow

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// publication is what the server says at one time of which changes it tells. It never changes.
type publication struct {
	definition string              // a sum of its own rows in the catalog
	relations  string              // a sum of the tables that there are
	from       uint32              // it holds for transactions of this number and later ones, as far as it is still so
	full       bool                // inserts, updates, deletes and truncations are told of
	all        bool                // every table and materialized view is told of
	doubted    bool                // what is told of is not sure: see version.forgets
	tables     map[[2]string]state // all rows of these are told of, by schema and name
}

// state is what a table is by the catalog.
type state struct {
	OID, File uint32 // which table, and in which file
	Altered   string // by which transaction it was last
}

// lists reports whether what is told of a table is told of all its rows.
func (p *publication) lists(schema, name string) bool {
	_, listed := p.tables[[2]string{schema, name}]
	return listed
}

// tells reports whether all changes to a table are told of.
func (p *publication) tells(schema, name string) bool { return p.full && p.lists(schema, name) }

// extends reports whether all that old said was so until p was.
func (p *publication) extends(old *publication) bool {
	if p.definition != old.definition || old.all && !p.all {
		return false
	}
	for name, was := range old.tables {
		if !p.tables[name].follows(was) {
			return false
		}
	}
	return true
}

// follows reports whether all changes to the table were told of, under its name, since it was as old. What was altered twice
// may have been in no publication meanwhile, or had another's name. Of a new file that cannot be said: TRUNCATE makes one, and
// all who look for new files find it.
func (t state) follows(old state) bool {
	return t.OID == old.OID && (t.Altered == old.Altered || t.File != old.File)
}

// sums are cheap to ask for again and again. The definition's has the versions of its rows: what was altered twice does
// not look as before.
func sums(name string, server version) string {
	namespaces := ""
	if server.major >= 15 {
		namespaces = "UNION ALL SELECT ROW(s.xmin, s.*)::text FROM pg_publication_namespace s JOIN pg_publication p ON p.oid = s.pnpubid AND p.pubname = '" + name + "'"
	}
	counted := ""
	if server.major >= 19 { // a table that was left out by EXCEPT and is in again leaves no other trace, and this one a little later
		counted = "UNION ALL SELECT pg_stat_get_tuples_inserted('pg_publication_rel'::regclass)::text"
	}
	return `pg_current_wal_insert_lsn()::text,
		(SELECT sum(hashtextextended(what, 0))::text FROM (
			SELECT ROW(p.xmin, p.*)::text AS what FROM pg_publication p WHERE p.pubname = '` + name + `'
			UNION ALL SELECT ROW(r.xmin, r.*)::text FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid AND p.pubname = '` + name + `'
			` + namespaces + ` ` + counted + `) AS definition),
		(SELECT sum(hashtextextended(what, 0))::text FROM (
			SELECT ROW(c.oid, c.xmin, c.relname, n.nspname, c.relkind, c.relpersistence)::text AS what FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
				WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'm', 'f') AND c.relpersistence <> 't'
			UNION ALL SELECT ROW(inhrelid, inhparent)::text FROM pg_inherits) AS relations)`
}

// wholly asks for all. A table above partitions has no rows but theirs.
func wholly(name string, server version) string {
	return `WITH listed AS (
		SELECT c.oid FROM pg_publication_tables t JOIN pg_namespace n ON n.nspname = t.schemaname
			JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename
			WHERE t.pubname = '` + name + `' AND to_jsonb(t)->>'rowfilter' IS NULL),
		told AS (SELECT * FROM listed
			UNION SELECT oid FROM pg_class c
			WHERE c.relkind = 'p' AND NOT EXISTS (SELECT FROM pg_partition_tree(c.oid) l WHERE l.isleaf AND l.relid NOT IN (SELECT oid FROM listed)))
		SELECT ` + sums(name, server) + `, pg_snapshot_xmax(pg_current_snapshot())::text,
		(p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate)::text,
		(NOT EXISTS (SELECT FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'p', 'm', 'f') AND relpersistence <> 't' AND oid NOT IN (SELECT oid FROM told)))::text,
		(SELECT coalesce(json_agg(json_build_object('schema', n.nspname, 'name', c.relname, 'oid', c.oid::bigint, 'file', c.relfilenode::bigint,
			'altered', c.xmin::text)), '[]')::text FROM told JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace)
		FROM pg_publication p WHERE p.pubname = '` + name + `'`
}

// readPublication asks where the WAL ends and what is told of. known, if not nil, is what was said before, and is returned
// where it is still so.
func readPublication(ctx context.Context, conn *pgconn.PgConn, name string, known *publication) (lsn uint64, p *publication, err error) {
	server := versionOf(conn.ParameterStatus("server_version"))
	row, err := oneRow(ctx, conn, "SELECT "+sums(name, server))
	if err != nil {
		return 0, nil, err
	}
	if lsn, err = position(row[0]); err != nil {
		return 0, nil, err
	}
	if known != nil && row[1] == known.definition && row[2] == known.relations {
		return lsn, known, nil
	}
	if row[1] == "" {
		return 0, nil, fmt.Errorf("there is no publication %q: CREATE PUBLICATION %s FOR ALL TABLES", name, name)
	}
	if row, err = oneRow(ctx, conn, wholly(name, server)); err != nil {
		return 0, nil, err
	}
	p = &publication{definition: row[1], relations: row[2], full: row[4] == "true", all: row[5] == "true",
		tables: map[[2]string]state{}}
	from, err := strconv.ParseUint(row[3], 10, 64)
	if err != nil {
		return 0, nil, fmt.Errorf("a transaction's number %q: %w", row[3], err)
	}
	p.from = uint32(from) // transactions are told without their epoch
	p.all = p.all && p.full
	var listed []struct {
		Schema, Name string
		state
	}
	if err := json.Unmarshal([]byte(row[6]), &listed); err != nil {
		return 0, nil, fmt.Errorf("the tables of the publication: %w", err)
	}
	for _, t := range listed {
		p.tables[[2]string{t.Schema, t.Name}] = t.state
	}
	if p.doubted = known != nil && server.forgets() && (known.doubted || known.definition != p.definition); p.doubted {
		p.all, p.tables = false, nil
	}
	return lsn, p, nil
}

func oneRow(ctx context.Context, conn *pgconn.PgConn, query string) ([]string, error) {
	results, err := conn.Exec(ctx, query).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return nil, fmt.Errorf("%d results where one row was asked for", len(results))
	}
	var row []string
	for _, v := range results[0].Rows[0] {
		row = append(row, string(v))
	}
	return row, nil
}

// version of a PostgreSQL server.
type version struct{ major, minor int }

// versionOf reads a server_version, "15.18 (Debian 15.18-0+deb12u1)" or "18beta1".
func versionOf(s string) (v version) {
	number := func() (n int) {
		for len(s) > 0 && s[0] >= '0' && s[0] <= '9' && n < 1e6 {
			n, s = 10*n+int(s[0]-'0'), s[1:]
		}
		return n
	}
	v.major = number()
	if rest, dotted := strings.CutPrefix(s, "."); dotted {
		s = rest
		v.minor = number()
	}
	return v
}

// forgets reports whether a stream may go on not telling of a table that was added to the publication while a transaction
// had written to it: that was mended in these versions.
func (v version) forgets() bool {
	mended := map[int]int{13: 21, 14: 18, 15: 13, 16: 9, 17: 5}
	least, old := mended[v.major]
	return v.major < 13 || old && v.minor < least
}
