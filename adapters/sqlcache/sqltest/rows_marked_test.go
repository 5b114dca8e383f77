package sqltest

import (
	"testing"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine/guard"
)

// While a write is being committed nothing is stored that falls with it: its rows, what was read of many rows, and answers
// without any. Everything else is.
//
// Seen to fail with marks for tables alone (row 2 is not stored), with a row's own mark left out (row 1 is), without that
// of new rows (the count is), and with an answer without rows taken for one about its row (row 9 is).
func TestRowsMarked(t *testing.T) {
	bases(t, func(t *testing.T, b base) {
		must(t, b.plain(t), "CREATE TABLE it (id INTEGER PRIMARY KEY, v INTEGER)", "CREATE TABLE aside (id INTEGER PRIMARY KEY, v INTEGER)",
			"INSERT INTO it VALUES (1, 10), (2, 20)", "INSERT INTO aside VALUES (1, 10)")
		reader, c := open(t, b)
		const row1, row2 = "SELECT v FROM it WHERE id = 1", "SELECT v FROM it WHERE id = 2"
		const first, second, lacking = "SELECT v FROM it WHERE id IN (1, 1) ORDER BY id", "SELECT v FROM it WHERE id IN (2) ORDER BY id", "SELECT v FROM it WHERE id IN (9, 1, 2) ORDER BY id"
		const none, count, aside = "SELECT v FROM it WHERE id = 9", "SELECT count(*) FROM it", "SELECT v FROM aside"
		for _, w := range []struct {
			write      string
			stays, not []string
		}{
			{"UPDATE it SET v = v + 1 WHERE id = 1", []string{row2, second, aside}, []string{row1, first, lacking, none, count}},
			{"DELETE FROM it WHERE id IN (2, 8)", []string{row1, first, aside}, []string{row2, second, lacking, none, count}},
			{"INSERT INTO it VALUES (9, 90)", []string{row1, first, aside}, []string{none, lacking, count}},
			{"UPDATE it SET v = v + 1 WHERE v > 0", []string{aside}, []string{row1, first, none, count}},
		} {
			for _, tx := range []bool{false, true} {
				marked, on := make(chan struct{}), make(chan struct{})
				writer, _ := openWith(t, redisServer.Client(t), b.connector(t), guard.Plan{Step: func(s string) {
					if s == "marked" {
						close(marked)
						<-on
					}
				}})
				done := make(chan error, 1)
				go func() {
					if !tx {
						_, err := writer.Exec(w.write)
						done <- err
						return
					}
					tx, err := writer.Begin()
					if err == nil {
						_, err = tx.Exec(w.write)
					}
					if err == nil {
						err = tx.Commit()
					}
					done <- err
				}()
				select {
				case <-marked:
				case err := <-done:
					t.Fatal(err)
				}
				if err := fence(t, c); err != nil {
					t.Fatal(err)
				}
				for _, q := range w.not {
					if n := hits(c, func() {
						for range 5 {
							answer(t, reader, q)
						}
					}); n > 0 {
						t.Errorf("%s (in a transaction: %t) is under way, and %s was stored", w.write, tx, q)
					}
				}
				for _, q := range w.stays {
					t.Logf("%s (in a transaction: %t) is under way: %s", w.write, tx, q)
					remembered(t, c, 1, func() { answer(t, reader, q) })
				}
				close(on)
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				must(t, b.plain(t), "DELETE FROM it", "INSERT INTO it VALUES (1, 10), (2, 20)")
				if err := c.Touch(t.Context(), "it"); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
