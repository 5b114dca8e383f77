package pgfollow

import (
	"context"
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// mark is a position in the WAL: all that was committed before at lies before it.
type mark struct {
	at  time.Time
	lsn uint64
}

// Staleness is the bound of what is not yet announced: every change that was committed that long ago, or earlier, has
// been. It is measured every Options.Every, and grows while the server is away; the largest duration before the first
// time.
func (f *Follower) Staleness() time.Duration {
	if at := f.proven.Load(); at != nil {
		return time.Since(*at)
	}
	return math.MaxInt64
}

// gauge asks every Options.Every where the WAL ends, on a connection of its own, until ctx ends.
func (s *session) gauge(ctx context.Context) {
	var conn *pgconn.PgConn
	defer func() {
		if conn != nil {
			hangUp(conn)
		}
	}()
	failed := false
	for {
		m, err := s.ask(ctx, &conn)
		switch {
		case err == nil:
			s.asked.Store(m)
		case !failed && ctx.Err() == nil:
			s.f.opts.Logger.Warn("freshet: pgfollow: the lag is not known", "error", err)
		}
		failed = err != nil
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.f.opts.Every):
		}
	}
}

// ask asks once; it dials where there is no connection.
func (s *session) ask(ctx context.Context, conn **pgconn.PgConn) (m *mark, err error) {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	if *conn == nil {
		config := s.f.config.Copy()
		config.RuntimeParams = maps.Clone(config.RuntimeParams)
		delete(config.RuntimeParams, "replication")
		if *conn, err = pgconn.ConnectConfig(ctx, config); err != nil {
			return nil, err
		}
	}
	m = &mark{at: time.Now()}
	// The end of what is written, flushed or not: what commits asynchronously can be read before it is flushed.
	results, err := (*conn).Exec(ctx, "SELECT pg_current_wal_insert_lsn()").ReadAll()
	if err != nil {
		hangUp(*conn)
		*conn = nil
		return nil, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return nil, fmt.Errorf("pg_current_wal_insert_lsn() gave %d results", len(results))
	}
	m.lsn, err = position(string(results[0].Rows[0][0]))
	return m, err
}

// position reads a pg_lsn, "16/B374D848".
func position(s string) (uint64, error) {
	high, low, _ := strings.Cut(s, "/")
	h, err := strconv.ParseUint(high, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("a position in the WAL %q: %w", s, err)
	}
	l, err := strconv.ParseUint(low, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("a position in the WAL %q: %w", s, err)
	}
	return h<<32 | l, nil
}

// prove compares where we are with where the WAL ended when it was asked. waits is true while we are not there: the
// server tells how far it is when it is asked to.
func (s *session) prove() (waits bool) {
	if s.pending == nil {
		s.pending = s.asked.Swap(nil)
	}
	if s.pending != nil && s.at >= s.pending.lsn && !s.unsaid {
		s.f.proven.Store(&s.pending.at)
		s.pending = nil
	}
	return s.pending != nil
}
