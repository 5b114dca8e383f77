package pgxcache

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gofreshet/freshet/adapters/sqlcache"
	"github.com/gofreshet/freshet/internal/sqltestdb"
	"github.com/gofreshet/freshet/invalidate"
)

const items = "CREATE TABLE items (id INT PRIMARY KEY, name TEXT, price INT)"

// A hit needs no connection: memory answers with all of them in use, and with the server gone.
func TestHitsWithoutConnections(t *testing.T) {
	server := sqltestdb.Postgres(t)
	pool := newPool(t, dsnOf(server, "postgres"), func(c *pgxpool.Config) { c.MaxConns = 2 })
	must(t, pool, items, "CREATE TABLE other (id INT)", "INSERT INTO items VALUES (1, 'one', 5)")
	db := openOn(t, t.Context(), pool, func(o *Options) {
		o.CatalogEvery = time.Hour
		o.MaxStaleness = time.Minute
	})
	q := "SELECT name FROM items WHERE id = $1"
	db.keeps(t, q, 1)
	var txs []pgx.Tx
	for range 2 {
		tx, err := db.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		txs = append(txs, tx)
	}
	read := func() {
		if got := one[string](t, db, q, 1); got != "one" {
			t.Error(got)
		}
	}
	if n := db.hits(read); n != 1 {
		t.Errorf("%d hits with the pool exhausted", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := db.QueryRow(ctx, "SELECT id FROM other").Scan(new(int)); !errors.Is(err, context.DeadlineExceeded) {
		t.Error("a query ran beyond the pool:", err)
	}
	server.Kill()
	if n := db.hits(read); n != 1 {
		t.Errorf("%d hits with the server gone", n)
	}
	for _, tx := range txs {
		if err := tx.Rollback(t.Context()); err == nil {
			t.Error("a rollback without a server succeeded")
		}
	}
	if n := db.hits(read); n != 1 {
		t.Errorf("%d hits with the server gone", n)
	}
	if _, err := db.Exec(t.Context(), "UPDATE items SET price = 1"); err == nil {
		t.Error("a write without a server succeeded")
	}
}

// What one caller does to the bytes he was given, another does not see.
func TestBytesAreTheCallers(t *testing.T) {
	base := newBase(t, "CREATE TABLE b (id INT PRIMARY KEY, v BYTEA, s TEXT)", "INSERT INTO b VALUES (1, 'abc', 'def'), (2, 'ghi', NULL)")
	db := open(t, base)
	q := "SELECT v, s FROM b ORDER BY id"
	db.keeps(t, q)
	if n := db.hits(func() {
		for range 2 {
			rows, err := db.Query(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			var got string
			for rows.Next() {
				var v pgtype.DriverBytes
				if err := rows.Scan(&v, nil); err != nil {
					t.Fatal(err)
				}
				got += fmt.Sprintf("%q,", v)
				for i, raw := range rows.RawValues() {
					if got += fmt.Sprintf("%q,", raw); i == 0 {
						raw = v
					}
					for i := range raw {
						raw[i] = 'X'
					}
					_ = append(raw, 'X')
				}
				rows.FieldDescriptions()[0].Name = "X"
			}
			if want := `"abc","abc","def","ghi","ghi","",`; got != want {
				t.Errorf("%s, want %s", got, want)
			}
			if rows.FieldDescriptions()[1].Name != "s" {
				t.Error(rows.FieldDescriptions())
			}
		}
		rows, _ := db.Query(t.Context(), q)
		if name := rows.FieldDescriptions()[0].Name; name != "v" {
			t.Errorf("a caller changed what is kept: %s", name)
		}
		rows.Close()
	}); n != 3 {
		t.Errorf("%d hits", n)
	}
}

// A destination that panics leaves no connection behind. Without the deferred Close a write's is lost.
func TestScanPanics(t *testing.T) {
	base := newBase(t, items, "INSERT INTO items VALUES (1, 'one', 5)")
	db := openOn(t, t.Context(), newPool(t, base.Config().ConnString(), func(c *pgxpool.Config) { c.MaxConns = 1 }))
	read := "SELECT id FROM items"
	db.keeps(t, read)
	for _, q := range []string{read, "UPDATE items SET price = 6 RETURNING id"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: the panic was swallowed", q)
				}
			}()
			db.QueryRow(t.Context(), q).Scan(panics{})
		}()
		if n := db.pool.Stat().AcquiredConns(); n != 0 {
			t.Fatalf("%s: %d connections never come back", q, n)
		}
	}
	if got := one[int](t, db, "SELECT price FROM items"); got != 6 {
		t.Error(got)
	}
}

type panics struct{}

func (panics) Scan(any) error { panic("a destination") }

// pgx's own helpers, named arguments and rewriters work on hits, and different ways to ask are different keys.
func TestWaysToAsk(t *testing.T) {
	base := newBase(t, items, "INSERT INTO items VALUES (1, 'one', 5), (2, 'two', 6)")
	db := open(t, base)
	type item struct {
		ID    int
		Name  string
		Price *int
	}
	for i := range 3 {
		n := db.hits(func() {
			rows, _ := db.Query(t.Context(), "SELECT * FROM items WHERE price >= @least ORDER BY id", pgx.NamedArgs{"least": 5})
			list, err := pgx.CollectRows(rows, pgx.RowToStructByName[item])
			if err != nil || len(list) != 2 || list[1].Name != "two" || *list[1].Price != 6 {
				t.Error(list, err)
			}
			rows, _ = db.Query(t.Context(), "SELECT name FROM items WHERE id = @id", pgx.QueryExecModeExec, pgx.StructArgs(struct {
				ID int `db:"id"`
			}{2}))
			if name, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[string]); err != nil || name != "two" {
				t.Error(name, err)
			}
			rows, _ = db.Query(t.Context(), "SELECT id, name FROM items WHERE id = ANY($1)", []int{1})
			if m, err := pgx.CollectOneRow(rows, pgx.RowToMap); err != nil || m["name"] != "one" {
				t.Error(m, err)
			}
			id := int32(2)
			if got := one[string](t, db, "SELECT name FROM items WHERE id = $1", &id); got != "two" {
				t.Error(got)
			}
			if got := one[string](t, db, "SELECT name FROM items WHERE id = $1", pgtype.Int4{Int32: 1, Valid: true}); got != "one" {
				t.Error(got)
			}
			if got := one[string](t, db, "SELECT name FROM items WHERE price::numeric < $1", pgtype.Numeric{Int: big.NewInt(55), Exp: -1, Valid: true}); got != "one" {
				t.Error(got)
			}
		})
		if i > 0 && n != 6 {
			t.Errorf("%d hits", n)
		}
	}
	missing := pgx.StrictNamedArgs{"other": 1}
	_, want := base.Query(t.Context(), "SELECT @id", missing)
	if _, err := db.Query(t.Context(), "SELECT @id", missing); fmt.Sprint(err) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", err, want)
	}
	for range 2 { // what cannot be a key passes by
		n := db.hits(func() {
			if got := one[string](t, db, "SELECT name FROM items WHERE id = $1", strangeArg{1}); got != "one" {
				t.Error(got)
			}
			if got := one[string](t, db, "SELECT name FROM items WHERE id = $1", pgx.QueryResultFormatsByOID{25: 1}, 2); got != "two" {
				t.Error(got)
			}
			if got := one[string](t, db, "anything", otherwise("SELECT name FROM items WHERE id = $1"), 2); got != "two" {
				t.Error(got)
			}
		})
		if n != 0 {
			t.Errorf("%d hits", n)
		}
	}
	if _, err := db.Exec(t.Context(), "anything", otherwise("UPDATE items SET name = 'new' WHERE id = $1"), 1); err != nil {
		t.Fatal(err)
	}
	if got := one[string](t, db, "SELECT name FROM items WHERE id = $1", pgtype.Int4{Int32: 1, Valid: true}); got != "new" {
		t.Errorf("a rewriter's write was not seen: %s", got)
	}
}

type strangeArg struct{ id int64 }

func (s strangeArg) Int64Value() (pgtype.Int8, error) {
	return pgtype.Int8{Int64: s.id, Valid: true}, nil
}

// otherwise asks for something else, on a connection.
type otherwise string

func (o otherwise) RewriteQuery(ctx context.Context, conn *pgx.Conn, sql string, args []any) (string, []any, error) {
	if conn == nil {
		return "", nil, errors.New("no connection")
	}
	return string(o), args, nil
}

// Answers that end early, in an error or beyond the caps are whole for who asked, and not kept.
func TestNotKept(t *testing.T) {
	base := newBase(t, items, "INSERT INTO items SELECT i, repeat('x', 100), i FROM generate_series(1, 50) i")
	db := open(t, base, func(o *Options) { o.MaxRows, o.MaxResultBytes = 20, 1500 })
	count := func(q string, args ...any) (n int) {
		rows, err := db.Query(t.Context(), q, args...)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			n++
		}
		if rows.Err() != nil {
			t.Fatal(rows.Err())
		}
		return n
	}
	for q, want := range map[string]int{"SELECT id FROM items": 50, "SELECT name FROM items LIMIT 12": 12} {
		if n := db.hits(func() {
			for range 3 {
				if got := count(q); got != want {
					t.Errorf("%s: %d rows, want %d", q, got, want)
				}
			}
		}); n != 0 || db.Explain(q).Cached {
			t.Errorf("%s: %d hits, %v", q, n, db.Explain(q))
		}
	}
	// In a transaction rows come one by one; closing them leaves nothing behind, here or in memory.
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rows, err := tx.Query(t.Context(), "SELECT id FROM items WHERE id < 10 ORDER BY id")
	if err != nil || !rows.Next() {
		t.Fatal(err, rows.Err())
	}
	rows.Close()
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := db.hits(func() { count("SELECT id FROM items WHERE id < 10 ORDER BY id") }); n != 0 {
		t.Error("rows read in a transaction were kept")
	}
	// A caller of memory that closes early stops only himself.
	q := "SELECT id FROM items WHERE id < 10 ORDER BY id"
	db.keeps(t, q)
	rows, _ = db.Query(t.Context(), q)
	rows.Next()
	rows.Close()
	if rows.Next() || rows.Err() != nil {
		t.Error("rows go on after Close", rows.Err())
	}
	if got := count(q); got != 9 {
		t.Errorf("%d rows", got)
	}
	if s := db.pool.Stat(); s.AcquiredConns() != 0 {
		t.Errorf("%d connections are not given back", s.AcquiredConns())
	}
}

// An answer beyond the caps is not read to its end, which may never come, before its caller sees a row. With the query
// not cancelled this waits for a million billion rows.
func TestHugeIsNotDrained(t *testing.T) {
	base := newBase(t, "CREATE TABLE n (i INT)", "INSERT INTO n SELECT generate_series(1, 1000)")
	db := open(t, base, func(o *Options) { o.MaxRows = 10 })
	q := "SELECT a.i FROM n a, n b, n c, n d, n e"
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	rows, err := db.Query(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if !rows.Next() {
			t.Fatal("no row:", rows.Err())
		}
	}
	cancel()
	rows.Close()
	if e := db.Explain(q); e.Cached {
		t.Error(e)
	}
	for end := time.Now().Add(20 * time.Second); db.pool.Stat().AcquiredConns() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) { // the pool closes them on its own
			t.Fatalf("%d connections are not given back", db.pool.Stat().AcquiredConns())
		}
	}
}

// NoCache, MaxStaleness, the recorder, Names and Touch are as with sqlcache.
func TestContext(t *testing.T) {
	base := newBase(t, items, "INSERT INTO items VALUES (1, 'one', 5)")
	db := open(t, base)
	q := "SELECT price FROM items WHERE id = 1"
	db.keeps(t, q)
	must(t, base, "UPDATE items SET price = 6")
	var got int
	if err := db.QueryRow(sqlcache.NoCache(t.Context()), q).Scan(&got); err != nil || got != 6 {
		t.Error("NoCache:", got, err)
	}
	time.Sleep(time.Millisecond)
	if err := db.QueryRow(sqlcache.MaxStaleness(t.Context(), time.Nanosecond), q).Scan(&got); err != nil || got != 6 {
		t.Error("MaxStaleness:", got, err)
	}
	rec, ctx := db.tracker.Record(t.Context())
	if err := db.QueryRow(ctx, q).Scan(&got); err != nil {
		t.Fatal(err)
	}
	valid, storable := rec.Seal()
	if _, s := valid.Check(0); s == invalidate.Fallen || !storable {
		t.Error("a read that was kept cannot be built on:", s, storable)
	}
	if err := db.Touch(t.Context(), "public.items"); err != nil {
		t.Fatal(err)
	}
	if _, s := valid.Check(0); s != invalidate.Fallen {
		t.Error("what was built on a cached read did not fall with its table:", s)
	}
	if got := one[int](t, db, q); got != 6 {
		t.Errorf("after Touch: %d", got)
	}
	if err := db.Touch(t.Context(), "nope"); !errors.Is(err, sqlcache.ErrUnknownTable) {
		t.Error(err)
	}
	names, err := db.Names(t.Context(), "items")
	if err != nil {
		t.Fatal(err)
	}
	for _, write := range []string{"UPDATE items SET price = 6 WHERE id = 1", "UPDATE items SET price = 6"} {
		rec, _ := db.tracker.Record(t.Context())
		rec.DependOn(names...)
		valid, _ := rec.Seal()
		must(t, db, write)
		if _, s := valid.Check(0); s != invalidate.Fallen {
			t.Errorf("what depends on the table's names did not fall with %s: %v", write, s)
		}
	}
	if e := db.Explain(q); !e.Cached || e.Reads[0] != "public.items" {
		t.Error(e)
	}
}

// A connection whose session is another one answers only who has it, and nothing of it is kept.
func TestSessions(t *testing.T) {
	base := newBase(t, items, "CREATE SCHEMA two", "CREATE TABLE two.items (id INT, name TEXT, price INT)",
		"INSERT INTO items VALUES (1, 'one', 1)", "INSERT INTO two.items VALUES (1, 'two', 2)")
	type tenant struct{}
	db := openOn(t, t.Context(), newPool(t, base.Config().ConnString(), func(c *pgxpool.Config) {
		c.PrepareConn = func(ctx context.Context, conn *pgx.Conn) (bool, error) {
			path, _ := ctx.Value(tenant{}).(string)
			if path == "" {
				path = "public"
			}
			_, err := conn.Exec(ctx, "SET search_path TO "+path)
			return err == nil, err
		}
	}))
	q := "SELECT price FROM items WHERE id = 1"
	other := context.WithValue(t.Context(), tenant{}, "two")
	for range 3 {
		var got int
		if err := db.QueryRow(sqlcache.NoCache(other), q).Scan(&got); err != nil || got != 2 {
			t.Error(got, err)
		}
		if got := one[int](t, db, q); got != 1 {
			t.Errorf("%d, from another search_path", got)
		}
		must(t, db, "UPDATE public.items SET name = name")
	}
	if n := db.hits(func() { // the load is made in the other's session: it is not kept, and shared with nobody
		if err := db.QueryRow(other, "SELECT price FROM items").Scan(new(int)); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%d hits", n)
	}
	if got := one[int](t, db, "SELECT price FROM items"); got != 1 {
		t.Errorf("%d, from another search_path", got)
	}
}

// A connection whose session a statement has changed is not used again.
func TestChangedSession(t *testing.T) {
	base := newBase(t, items, "CREATE SCHEMA two", "CREATE TABLE two.items (id INT, name TEXT, price INT)",
		"INSERT INTO items VALUES (1, 'one', 1)", "INSERT INTO two.items VALUES (1, 'two', 2)")
	db := openOn(t, t.Context(), newPool(t, base.Config().ConnString(), func(c *pgxpool.Config) { c.MaxConns = 1 }))
	for _, change := range []string{"SET search_path TO two", "CREATE TEMP TABLE items (price INT)", "SELECT set_config('search_path', 'two', false)"} {
		must(t, db, change)
		if got := one[int](t, db, "SELECT price FROM items WHERE id = 1"); got != 1 {
			t.Errorf("%d after %s", got, change)
		}
	}
	must(t, db, "BEGIN") // a transaction that nobody can go on with
	must(t, db, "UPDATE items SET price = 3")
	if got := one[int](t, base, "SELECT price FROM items"); got != 3 {
		t.Errorf("%d: a statement ran in a transaction that another had begun", got)
	}
}
