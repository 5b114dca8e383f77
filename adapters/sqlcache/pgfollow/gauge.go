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

// mark is a position in the WAL: all that was committed before at lies before it, and pub tells of it. A mark without a
// publication says that the server cannot be asked.
type mark struct {
	at  time.Time
	lsn uint64
	pub *publication
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

// Fence waits until every change that was committed before the call has been announced. A fence of the tracker in the
// process that reads, after this one, has it seen there. It has the lag measured at once, which takes some milliseconds;
// if the server has yet to write out a commit (synchronous_commit = off) up to twice its wal_writer_delay, 400 ms. While the
// server is away it waits for it, so give ctx an end. After Close it returns ErrClosed.
func (f *Follower) Fence(ctx context.Context) error {
	began := time.Now()
	select {
	case f.wanted <- struct{}{}:
	default: // it will be taken after this
	}
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for {
		if at := f.proven.Load(); at != nil && at.After(began) {
			return nil
		}
		select {
		case <-look.C:
		case <-f.done:
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("pgfollow: the lag is %v: %w", f.Staleness(), context.Cause(ctx))
		}
	}
}

// gauge asks every Options.Every, and when a fence wants it, where the WAL ends and what is told of, on conn and then on
// others, until ctx ends. pub is what conn said before.
func (s *session) gauge(ctx context.Context, conn *pgconn.PgConn, pub *publication) {
	defer func() {
		if conn != nil {
			hangUp(conn)
		}
	}()
	failed := false
	for {
		m, err := s.ask(ctx, &conn, pub)
		switch {
		case err == nil:
			pub = m.pub
		case !failed && ctx.Err() == nil:
			s.f.opts.Logger.Warn("freshet: pgfollow: the lag is not known", "error", err)
		}
		failed = err != nil
		s.asked.Store(m)
		(*s.heed.Load())()
		select {
		case <-ctx.Done():
			return
		case <-s.f.wanted:
		case <-time.After(s.f.opts.Every):
		}
	}
}

// ask asks once; it dials where there is no connection.
func (s *session) ask(ctx context.Context, conn **pgconn.PgConn, pub *publication) (m *mark, err error) {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	if *conn == nil {
		if *conn, err = s.f.dial(ctx); err != nil {
			return &mark{}, err
		}
	}
	m = &mark{at: time.Now()}
	if m.lsn, m.pub, err = readPublication(ctx, *conn, s.f.opts.Publication, pub); err != nil {
		hangUp(*conn)
		*conn = nil
		return &mark{}, err
	}
	return m, nil
}

// dial makes a connection for questions.
func (f *Follower) dial(ctx context.Context) (*pgconn.PgConn, error) {
	config := f.config.Copy()
	config.RuntimeParams = maps.Clone(config.RuntimeParams)
	delete(config.RuntimeParams, "replication")
	return pgconn.ConnectConfig(ctx, config)
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
func (s *session) prove(ctx context.Context) (waits bool) {
	if m := s.asked.Swap(nil); m != nil {
		if s.believe(ctx, m.pub); m.pub != nil {
			s.latest = m
		}
	}
	if s.pending == nil {
		s.pending, s.latest = s.latest, nil
	}
	if s.pending != nil && s.at >= s.pending.lsn && !s.unsaid {
		s.f.proven.Store(&s.pending.at)
		s.pending = nil
	}
	return s.pending != nil
}

// believe takes up what the server says of the publication. Where what it said before may have ceased to be so, changes may
// have been told that fell on too little: then everything falls, before any of them counts as announced.
func (s *session) believe(ctx context.Context, pub *publication) {
	s.blind = pub == nil
	if s.blind || pub == s.pub {
		return
	}
	if !pub.extends(s.pub) && s.f.cache.Touch(ctx) != nil {
		s.unsaid = true
	}
	s.pub, s.from = pub, pub.from
}

// trusts reports whether the publication is known of the transaction that is being sent: it began when what is known of it
// was so already. Numbers go round.
func (s *session) trusts() bool {
	if s.blind {
		return false
	}
	since := int32(s.xid - s.from)
	if since > 1<<30 {
		s.from = s.xid - 1<<30
	}
	return since >= 0
}
