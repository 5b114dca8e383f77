// Package pgfollow announces changes that anybody makes to a PostgreSQL database, as package sqlcache announces its own:
// it follows the server's logical replication and touches the tables of each commit.
//
// The server needs wal_level = logical (from PostgreSQL 19 on replica is enough), the user the REPLICATION attribute, and the
// database a publication:
//
//	CREATE PUBLICATION freshet FOR ALL TABLES
//
// # What happens to one change
//
// Somebody commits. The server sends what the transaction changed; the follower notes the tables, of few changes the
// rows by their primary keys, and at the commit's end touches them in every process. One follower for all processes is
// enough, two survive the loss of one. A change is heard after it is committed: rows of foreign writers are as old as
// the replication's lag, of which [Follower.Staleness] is a bound, plus sqlcache.Options.MaxStaleness. A writer that
// goes through sqlcache is announced twice.
//
// What foreign keys and triggers changed the server sends as well. So where all tables are published a change falls on no
// more than was changed. What it may have changed and nobody tells of falls with it, the whole table: one that is not in the
// publication, or with a row filter, is not logged, or is a foreign table, a materialized view, a partition with
// publish_via_partition_root; and any table where the publication leaves out some of insert, update, delete and truncate.
// Of an UPDATE the server says whether columns of the replica identity were changed; of others that foreign keys refer to
// it does not, unless the identity is FULL. After a trigger that is not understood everything falls, unless each table and
// materialized view of the database is told of.
//
// The publication may be altered, and tables made, altered or dropped. It is asked for again every Options.Every, and where
// what was told is told no more, or may not have been told meanwhile, everything falls once; until then a change may fall on
// too little, and does not count as announced for [Follower.Staleness]. What else DDL makes of rows sqlcache finds by
// itself, within its Options.CatalogEvery. Of REFRESH MATERIALIZED VIEW CONCURRENTLY nobody tells: announce it by Touch. A
// transaction that was begun before is thought to be told of in nothing beside its own rows. A table that was left out by
// PostgreSQL 19's EXCEPT, and is in again before the publication is asked for, shows in the server's statistics alone
// (track_counts), some seconds later: then everything falls. Releases of PostgreSQL before 13.21, 14.18, 15.13, 16.9 and
// 17.5 may forget to tell of an added table: there nothing is thought to be told of any more, once the publication has been
// altered, until the follower connects again.
//
// The slot is temporary, so a follower that is gone keeps no WAL on the server. What was committed while nobody
// followed is not known, so whenever following begins everything falls. In between foreign changes are not heard, and
// nothing bounds their age but sqlcache.Options.TTL: watch [Follower.Following].
package pgfollow

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine"
)

// ErrClosed is returned after [Follower.Close].
var ErrClosed = errors.New("pgfollow: the follower is closed")

// Options for [Follow].
type Options struct {
	DSN         string        // of the primary, as pgconn.ParseConfig reads it
	Publication string        // default "freshet"
	Retry       time.Duration // pause before another try after a failure; default 1s
	Every       time.Duration // how often the lag is measured and the publication read, see Follower.Staleness; default 1s
	Logger      *slog.Logger  // nil: silent
}

// Validate names the first field that cannot be used and how to mend it. Follow calls it.
func (o *Options) Validate() error {
	switch {
	case o.DSN == "":
		return errors.New("pgfollow: Options.DSN is empty: give the primary's")
	case strings.ContainsAny(o.Publication, `'"\`+"\x00"):
		return fmt.Errorf("pgfollow: Options.Publication %q has a quote: choose another name", o.Publication)
	case o.Every < 0:
		return fmt.Errorf("pgfollow: Options.Every is %v: give a positive duration, or 0 for 1s", o.Every)
	case o.Retry < 0:
		return fmt.Errorf("pgfollow: Options.Retry is %v: give a positive duration, or 0 for 1s", o.Retry)
	}
	return nil
}

// Toucher is what announces changes: a *sqlcache.Connector or a *pgxcache.DB of the database.
type Toucher interface {
	Touch(ctx context.Context, tables ...string) error
	TouchChanges(ctx context.Context, changes []sqlengine.Change, told sqlengine.Told) error
}

// Follower follows one database. Its methods may be called from any goroutine.
type Follower struct {
	cache  Toucher
	opts   Options
	config *pgconn.Config

	following atomic.Bool
	proven    atomic.Pointer[time.Time] // what was committed before it has been announced
	wanted    chan struct{}             // a fence waits for a measurement that begins after it took this
	commits   atomic.Uint64
	end       context.CancelFunc
	done      chan struct{}
	once      sync.Once
}

// Follow begins to follow and returns when the server has agreed, within ctx. It goes on until Close, over lost
// connections. An error says what the server lacks.
func Follow(ctx context.Context, cache Toucher, opts Options) (*Follower, error) {
	if cache == nil {
		return nil, errors.New("pgfollow: cache is nil: give the sqlcache.Connector or pgxcache.DB of the database")
	}
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	if opts.Publication == "" {
		opts.Publication = "freshet"
	}
	if opts.Retry == 0 {
		opts.Retry = time.Second
	}
	if opts.Every == 0 {
		opts.Every = time.Second
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	config, err := pgconn.ParseConfig(opts.DSN)
	if err != nil {
		return nil, fmt.Errorf("pgfollow: Options.DSN: %w", err)
	}
	config.RuntimeParams["replication"] = "database"
	f := &Follower{cache: cache, opts: opts, config: config, wanted: make(chan struct{}, 1), done: make(chan struct{})}
	s, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.Background())
	f.end = end
	go f.run(life, s)
	return f, nil
}

// Following reports whether changes are being heard.
func (f *Follower) Following() bool { return f.following.Load() }

// Commits is how many have been heard that changed something.
func (f *Follower) Commits() uint64 { return f.commits.Load() }

// Close ends the follower and waits for it. Safe twice.
func (f *Follower) Close() error {
	f.once.Do(f.end)
	<-f.done
	return nil
}

func (f *Follower) run(ctx context.Context, s *session) {
	defer close(f.done)
	for {
		if s != nil {
			err := s.follow(ctx)
			f.following.Store(false)
			hangUp(s.conn)
			if ctx.Err() == nil {
				f.opts.Logger.Warn("freshet: pgfollow: lost the server", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(f.opts.Retry):
		}
		var err error
		if s, err = f.open(ctx); err != nil && ctx.Err() == nil {
			f.opts.Logger.Warn("freshet: pgfollow: cannot follow", "error", err)
		}
	}
}

// session is one replication connection. Its goroutine is the follower's.
type session struct {
	f       *Follower
	conn    *pgconn.PgConn
	asker   *pgconn.PgConn                     // a plain one, for gauge
	pub     *publication                       // as it was last known
	blind   bool                               // it is not known any more
	from    uint32                             // transactions that began later have all been told by pub
	tables  map[uint32]*table                  // by the relation's id, as the server told
	xid     uint32                             // of the transaction that is being sent
	changed map[[2]string]*changes             // in it, by schema and name of the table
	at      uint64                             // position in the WAL up to which all is announced
	unsaid  bool                               // but for what could not be
	asked   atomic.Pointer[mark]               // where the WAL ended, by gauge
	heed    atomic.Pointer[context.CancelFunc] // ends the wait for the server's next message, so that asked is looked at
	pending *mark                              // not reached yet
	latest  *mark                              // the next to be
}

// open agrees with the server on a stream, and then makes everything fall: what was committed before is not in it. What is
// published is asked first, so that the stream's transactions began later.
func (f *Follower) open(ctx context.Context) (*session, error) {
	s := &session{f: f, tables: map[uint32]*table{}, changed: map[[2]string]*changes{}}
	slot := "freshet_" + strings.ToLower(rand.Text()[:16])
	var err error
	if s.asker, err = f.dial(ctx); err == nil {
		_, s.pub, err = readPublication(ctx, s.asker, f.opts.Publication, nil)
	}
	if err == nil {
		s.from = s.pub.from
		s.conn, err = pgconn.ConnectConfig(ctx, f.config)
	}
	if err == nil {
		err = s.exec(ctx, "CREATE_REPLICATION_SLOT "+slot+" TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT")
	}
	if err == nil {
		err = s.start(ctx, "START_REPLICATION SLOT "+slot+" LOGICAL 0/0 (proto_version '1', publication_names '\""+f.opts.Publication+"\"')")
	}
	if err == nil {
		err = f.cache.Touch(ctx)
	}
	if err != nil {
		if s.asker != nil {
			hangUp(s.asker)
		}
		if s.conn != nil {
			hangUp(s.conn)
		}
		return nil, fmt.Errorf("pgfollow: %w", err)
	}
	f.following.Store(true)
	f.opts.Logger.Info("freshet: pgfollow: following", "publication", f.opts.Publication)
	return s, nil
}

func (s *session) exec(ctx context.Context, command string) error {
	_, err := s.conn.Exec(ctx, command).ReadAll()
	return err
}

// start sends command and waits for the stream to begin.
func (s *session) start(ctx context.Context, command string) error {
	s.conn.Frontend().Send(&pgproto3.Query{String: command})
	if err := s.conn.Frontend().Flush(); err != nil {
		return err
	}
	for {
		m, err := s.conn.ReceiveMessage(ctx)
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *pgproto3.CopyBothResponse:
			return nil
		case *pgproto3.ErrorResponse:
			return pgconn.ErrorResponseToPgError(m)
		case *pgproto3.NoticeResponse, *pgproto3.ParameterStatus:
		default:
			return fmt.Errorf("unexpected %T", m)
		}
	}
}

func hangUp(conn *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn.Close(ctx)
}

// statusEvery is well below wal_sender_timeout's default of a minute.
const statusEvery = 10 * time.Second

// silence is how long a server may say nothing at all: it was asked for an answer three times meanwhile.
const silence = 3 * statusEvery

// soon is how long the server has to write out what it did not tell of when it was asked how far it is.
const soon = 50 * time.Millisecond

// follow applies the stream until it breaks or ctx ends.
func (s *session) follow(ctx context.Context) error {
	ctx, end := context.WithCancel(ctx)
	awake := s.sleep(ctx)
	var gauging sync.WaitGroup
	defer gauging.Wait()
	defer end()
	gauging.Go(func() { s.gauge(ctx, s.asker, s.pub) })
	tick := min(statusEvery, s.f.opts.Every)
	next, heard, told := time.Now().Add(tick), time.Now(), time.Now()
	for {
		woken := awake.Err() != nil
		if woken {
			awake = s.sleep(ctx) // before prove: it sees what was asked, or is woken again
		}
		waits := s.prove(ctx)
		if now := time.Now(); woken || now.After(next) {
			if now.Sub(heard) > silence {
				return errors.New("the server has fallen silent")
			}
			if waits || now.Sub(told) >= statusEvery {
				if err := s.status(true); err != nil {
					return err
				}
				told = now
			}
			if s.unsaid && s.f.cache.Touch(ctx) == nil {
				s.unsaid = false
			}
			if next = now.Add(tick); waits {
				next = now.Add(min(tick, soon))
			}
		}
		wait, cancel := context.WithDeadline(awake, next)
		m, err := s.conn.ReceiveMessage(wait)
		cancel()
		if err != nil {
			if ctx.Err() == nil && (pgconn.Timeout(err) || awake.Err() != nil) {
				continue
			}
			return err
		}
		heard = time.Now()
		switch m := m.(type) {
		case *pgproto3.CopyData:
			if err := s.data(ctx, m.Data); err != nil {
				return err
			}
		case *pgproto3.ErrorResponse:
			return pgconn.ErrorResponseToPgError(m)
		case *pgproto3.CopyDone:
			return errors.New("the server ended the stream")
		}
	}
}

// sleep gives what a wait for the server's next message ends with, when heed is called.
func (s *session) sleep(ctx context.Context) context.Context {
	awake, wake := context.WithCancel(ctx)
	s.heed.Store(&wake)
	return awake
}

// status tells the server how far we are, so that it lets go of its WAL.
func (s *session) status(answer bool) error {
	b := make([]byte, 34)
	b[0] = 'r'
	for i := range 3 {
		binary.BigEndian.PutUint64(b[1+8*i:], s.at)
	}
	epoch := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	binary.BigEndian.PutUint64(b[25:], uint64(time.Since(epoch).Microseconds()))
	if answer {
		b[33] = 1
	}
	s.conn.Frontend().Send(&pgproto3.CopyData{Data: b})
	return s.conn.Frontend().Flush()
}
