// Package outbox announces changes that writers put down in a table of the database itself: for programs that go around
// sqlcache, where no stream tells of them as PostgreSQL's replication does (package pgfollow).
//
//	f, err := outbox.Follow(ctx, connector, plain, outbox.Options{}) // plain is a *sql.DB of the driver's own
//	defer f.Close()
//
// The table, in MySQL and MariaDB:
//
//	CREATE TABLE freshet_outbox (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(255) NOT NULL)
//
// Its id is BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY in PostgreSQL, INTEGER PRIMARY KEY AUTOINCREMENT in SQLite.
// Whoever changes a table inserts its name, in the same transaction: the program, or triggers, which forget nothing.
// Each table that is written needs its three; in MySQL and MariaDB:
//
//	CREATE TRIGGER product_i AFTER INSERT ON product FOR EACH ROW INSERT INTO freshet_outbox (name) VALUES ('product')
//	CREATE TRIGGER product_u AFTER UPDATE ON product FOR EACH ROW INSERT INTO freshet_outbox (name) VALUES ('product')
//	CREATE TRIGGER product_d AFTER DELETE ON product FOR EACH ROW INSERT INTO freshet_outbox (name) VALUES ('product')
//
// In SQLite the INSERT stands between BEGIN and ; END. In PostgreSQL it stands in a function:
//
//	CREATE FUNCTION product_noted() RETURNS trigger LANGUAGE plpgsql AS
//	  $$BEGIN INSERT INTO freshet_outbox (name) VALUES ('product'); RETURN NULL; END$$
//	CREATE TRIGGER product_i AFTER INSERT ON product FOR EACH ROW EXECUTE FUNCTION product_noted()
//
// The writers need the right to INSERT into it, the follower to SELECT and DELETE. Names are those of
// sqlcache.Connector.Touch; what falls with a table, by foreign keys too, falls with its name. A name that the catalog does
// not know, and the empty one, make everything fall. In MySQL TRUNCATE fires no trigger. Where there are triggers, a write
// through sqlcache is announced twice.
//
// # What happens to one change
//
// Its transaction commits, and with it the name. The follower, which looks every Options.Every, touches what it finds, in
// every process, and then removes those rows and no others: not what is above some number, for numbers are given before
// commits, in another order. So nothing is lost: not by a follower, a database or a Redis that is away, only late.
// [Follower.Staleness] is how late, at most. One follower for all processes is enough, two survive the loss of one.
//
// Rows of such writers are as old as that plus sqlcache.Options.MaxStaleness.
package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofreshet/freshet/adapters/sqlcache"
)

// Options for [Follow]. The zero value is for the table above.
type Options struct {
	// Outbox is the table's name, with outbox in it, lest it be another one: its rows are deleted. Letters, digits, _, $,
	// and a dot behind a schema. Default "freshet_outbox".
	Outbox string

	Every  time.Duration // between two looks; default 100ms
	Logger *slog.Logger  // nil: silent
}

var plainName = regexp.MustCompile(`^[\pL\pN_$]+(\.[\pL\pN_$]+)?$`)

// Validate names the first field that cannot be used and how to mend it. Follow calls it.
func (o *Options) Validate() error {
	switch {
	case o.Outbox != "" && !plainName.MatchString(o.Outbox):
		return fmt.Errorf("outbox: Options.Outbox is %q: give a name that needs no quotes", o.Outbox)
	case o.Outbox != "" && !strings.Contains(strings.ToLower(o.Outbox), "outbox"):
		return fmt.Errorf("outbox: Options.Outbox is %q: its rows would be deleted, so give a table with outbox in its name", o.Outbox)
	case o.Every < 0:
		return fmt.Errorf("outbox: Options.Every is %v: give a positive duration, or 0 for 100ms", o.Every)
	}
	return nil
}

const (
	atOnce = 1000             // rows a look
	within = 10 * time.Second // a look, or the database counts as away
	unlock = time.Second      // the removal of rows, which somebody may have locked: they are announced again
	retry  = time.Second      // after a look that failed, at least
)

// Toucher is a cache of the database: a [sqlcache.Connector], or a pgxcache.DB.
type Toucher interface {
	Touch(ctx context.Context, tables ...string) error
}

// Follower follows one outbox. Its methods may be called from any goroutine.
type Follower struct {
	cache Toucher
	db    *sql.DB
	opts  Options

	clean atomic.Pointer[time.Time] // when the last look began that left nothing to announce
	end   context.CancelFunc
	done  chan struct{}
	once  sync.Once
}

// Follow begins to follow the outbox in db, a pool on the primary, best one of the driver's own. It returns when the first
// look has shown that rows may be read and removed, and goes on until Close.
func Follow(ctx context.Context, cache Toucher, db *sql.DB, opts Options) (*Follower, error) {
	switch {
	case cache == nil:
		return nil, errors.New("outbox: cache is nil: give the sqlcache.Connector of the database")
	case db == nil:
		return nil, errors.New("outbox: db is nil: give a *sql.DB of the driver's own")
	}
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	if opts.Outbox == "" {
		opts.Outbox = "freshet_outbox"
	}
	if opts.Every == 0 {
		opts.Every = 100 * time.Millisecond
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Follower{cache: cache, db: db, opts: opts, done: make(chan struct{})}
	if _, _, err := f.read(ctx); err != nil {
		return nil, fmt.Errorf("outbox: reading %s, which the package's comment says how to create: %w", opts.Outbox, err)
	}
	if err := f.remove(ctx, []int64{0}); err != nil { // no row has it
		return nil, fmt.Errorf("outbox: the follower must be allowed to DELETE from %s: %w", opts.Outbox, err)
	}
	if _, err := f.look(ctx); err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.Background())
	f.end = end
	go f.run(life)
	return f, nil
}

// Staleness is the bound of what is not yet announced: every change that was committed that long ago, or earlier, has
// been. It grows while the database or Redis is away.
func (f *Follower) Staleness() time.Duration {
	if at := f.clean.Load(); at != nil {
		return time.Since(*at)
	}
	return 1<<63 - 1
}

// Close ends the follower and waits for it; db and the cache stay the caller's. Safe twice.
func (f *Follower) Close() error {
	f.once.Do(f.end)
	<-f.done
	return nil
}

func (f *Follower) run(ctx context.Context) {
	defer close(f.done)
	var failed bool
	for pause := f.opts.Every; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		limited, cancel := context.WithTimeout(ctx, within)
		more, err := f.look(limited)
		cancel()
		switch pause = f.opts.Every; {
		case err != nil && ctx.Err() == nil:
			pause = max(pause, retry)
			if !failed {
				f.opts.Logger.Warn("freshet: outbox: what is written around the cache is announced later", "error", err)
			}
		case more:
			pause = 0
		}
		failed = err != nil
	}
}

// look announces what it finds, and then removes it: in this order, for a row is all that remembers its change. more
// tells that there is more than one look takes.
func (f *Follower) look(ctx context.Context) (more bool, err error) {
	began := time.Now()
	ids, names, err := f.read(ctx)
	if err != nil {
		return false, fmt.Errorf("outbox: reading %s: %w", f.opts.Outbox, err)
	}
	if len(ids) > 0 {
		if err := f.touch(ctx, names); err != nil {
			return false, fmt.Errorf("outbox: %w", err)
		}
		if err := f.remove(ctx, ids); err != nil {
			return false, fmt.Errorf("outbox: clearing %s: %w", f.opts.Outbox, err)
		}
	}
	if more = len(ids) == atOnce; !more {
		f.clean.Store(&began)
	}
	return more, nil
}

// read returns the oldest rows by their numbers, and the names in them, each once.
func (f *Follower) read(ctx context.Context) (ids []int64, names []string, err error) {
	err = f.committed(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, "SELECT id, name FROM "+f.opts.Outbox+" ORDER BY id LIMIT "+strconv.Itoa(atOnce))
		if err != nil {
			return err
		}
		defer rows.Close()
		seen := make(map[string]bool)
		for rows.Next() {
			var id int64
			var name sql.NullString
			if err := rows.Scan(&id, &name); err != nil {
				return err
			}
			ids = append(ids, id)
			if !seen[name.String] {
				seen[name.String] = true
				names = append(names, name.String)
			}
		}
		return rows.Err()
	})
	return ids, names, err
}

// committed runs do in a transaction that sees what is committed and nothing else, whatever db's sessions are set to: a
// name that is read before its commit would be announced too early. In it nothing comes from memory, should db cache.
func (f *Follower) committed(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := f.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		tx.Rollback()
		return err
	}
	return tx.Commit()
}

func (f *Follower) touch(ctx context.Context, names []string) error {
	for _, n := range names {
		if n == "" {
			return f.cache.Touch(ctx)
		}
	}
	err := f.cache.Touch(ctx, names...)
	if errors.Is(err, sqlcache.ErrUnknownTable) {
		f.opts.Logger.Warn("freshet: outbox: an unknown table, so everything falls", "error", err)
		return f.cache.Touch(ctx)
	}
	return err
}

func (f *Follower) remove(ctx context.Context, ids []int64) error {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = strconv.FormatInt(id, 10)
	}
	ctx, cancel := context.WithTimeout(ctx, unlock)
	defer cancel()
	return f.committed(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM "+f.opts.Outbox+" WHERE id IN ("+strings.Join(list, ",")+")")
		return err
	})
}
