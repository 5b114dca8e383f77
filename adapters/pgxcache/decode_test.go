package pgxcache

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Enums remember what they have decoded: hits of the same rows in many goroutines must not share that. With the types of
// the connection itself the race detector finds it.
func TestDecodingIsNotShared(t *testing.T) {
	base := newBase(t, types...)
	must(t, base, "CREATE TABLE m (id INT PRIMARY KEY, v mood, vs mood[], p price[])",
		"INSERT INTO m SELECT i, 'sad', '{sad,glad}', ARRAY[ROW(1, 'glad')::price] FROM generate_series(1, 20) i")
	db := openOn(t, t.Context(), newPool(t, base.Config().ConnString(), func(c *pgxpool.Config) { c.AfterConnect = register }))
	q := "SELECT v, vs, p FROM m ORDER BY id"
	db.keeps(t, q)
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for range 8 {
		wg.Go(func() {
			<-begin
			for range 20 {
				rows, err := db.Query(t.Context(), q)
				if err != nil {
					t.Error(err)
					return
				}
				var v string
				var vs []string
				var p []priceOf
				if _, err := pgx.ForEachRow(rows, []any{&v, &vs, &p}, func() error {
					if v != "sad" || fmt.Sprint(vs) != "[sad glad]" || *p[0].How != "glad" {
						return fmt.Errorf("%s %v %v", v, vs, p)
					}
					return nil
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	close(begin)
	wg.Wait()
}

// A record names its types row by row, so no hit could decode it with types of its own: with those of the connection the
// process dies of two at once. Without the refusal both are kept.
func TestRecordsAreNotKept(t *testing.T) {
	base := newBase(t, types...)
	must(t, base, "CREATE TABLE m (id INT PRIMARY KEY, v mood)", "INSERT INTO m VALUES (1, 'sad')")
	db := openOn(t, t.Context(), newPool(t, base.Config().ConnString(), func(c *pgxpool.Config) { c.AfterConnect = register }))
	for _, q := range []string{"SELECT id, ROW(v, id) FROM m", "SELECT array_agg(ROW(v, id)) FROM m"} {
		if n := db.hits(func() {
			for range 3 {
				rows, _ := db.Query(t.Context(), q)
				got, err := pgx.CollectRows(rows, pgx.RowToMap)
				if !strings.Contains(fmt.Sprint(got), "[sad 1]") || err != nil {
					t.Error(got, err)
				}
			}
		}); n != 0 || !strings.Contains(db.Explain(q).Why, "decode") {
			t.Errorf("%s: %d hits, %v", q, n, db.Explain(q))
		}
	}
}

// The map of a hit is its caller's: of use after the end of the rows, and nobody else's by then. With it given back at the
// end two callers have one.
func TestTypeMapStays(t *testing.T) {
	base := newBase(t, items, "INSERT INTO items VALUES (1, 'one', 5)")
	db := open(t, base)
	q := "SELECT id FROM items"
	db.keeps(t, q)
	seen := map[*pgtype.Map]bool{}
	if n := db.hits(func() {
		for early := range 4 {
			rows, _ := db.Query(t.Context(), q)
			var m *pgtype.Map
			if early%2 == 0 {
				rows.Next()
				m = rows.TypeMap()
			}
			rows.Close()
			if m == nil {
				m = rows.TypeMap()
			}
			if seen[m] = true; m == nil {
				t.Fatal("no map after the end")
			}
			v := 0
			if err := m.Scan(pgtype.Int4OID, pgtype.TextFormatCode, []byte("7"), &v); err != nil || v != 7 {
				t.Error(v, err)
			}
		}
	}); n != 4 || len(seen) != 4 {
		t.Errorf("%d maps for 4 callers, %d hits", len(seen), n)
	}
}
