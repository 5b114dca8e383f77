package notify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	markerName  = "marker"
	auditPause  = 50 * time.Millisecond // before an audit that could not be made is tried again
	mostMarked  = 256                   // databases, when all are listened to
	databasesIs = 16                    // Redis's default, where CONFIG GET databases is refused
)

// markers are random values under one key in every database that is listened to, shared by all processes. Data that went
// away in silence (SWAPDB, a flush nobody heard) took its marker along.
type markers struct {
	dbs    []int
	values map[int]string // what was found; absent where there is none to compare with
	heard  uint64         // flushes heard before values were read: a flush after that excuses a loss
	mute   bool           // none may be written: asking again would only fill the server's ACL log
}

// setUp proves the source before the session goes live: the same server, flags, markers (R11).
func (s *session) setUp(ctx context.Context) error {
	s.lookedAt(time.Now())
	id, err := s.askWho(ctx)
	if err != nil {
		return handshakeFault(err, s.user())
	}
	if c := s.compare(id); c.reason != "" {
		return c.err
	}
	if err := s.hearMended(ctx, s.p.subscribed()); err != nil {
		return err
	}
	if err := s.proveFlags(ctx); err != nil {
		return err
	}
	if s.tracking != nil {
		until := " until the next audit"
		if s.l.clustered {
			until = ""
		}
		s.doubt("flush unheard" + until + ": no RESP3 tracking: " + s.tracking.Error())
	}
	if s.identity.runID == "" {
		s.doubt("identity unproven: the server does not tell its run id")
	}
	if s.identity.mode == "cluster" && !s.l.clustered {
		s.doubt("the server is a node of a Cluster: other nodes' keys are not heard, nor who replaces it: give a redis.ClusterClient")
	}
	if s.identity.role == "" {
		s.doubt("role unproven: the server does not tell it")
	}
	if s.l.opts.AuditEvery < 0 {
		s.doubt("swapdb and switched-off notifications unproven: audits are off")
		return nil
	}
	if s.markers.dbs, err = s.databases(ctx); err != nil {
		return err
	}
	s.markers.values = make(map[int]string)
	s.markers.mute = s.l.opts.Flags == FlagsTrust
	s.markers.heard = s.flushes.Load()
	return s.mark(ctx, s.markers.dbs)
}

// doubt notes for Status what is not proven.
func (s *session) doubt(reason string) {
	s.doubts.Lock()
	defer s.doubts.Unlock()
	if !slices.Contains(s.doubts.reasons, reason) {
		s.doubts.reasons = append(s.doubts.reasons, reason)
	}
}

func (s *session) askWho(ctx context.Context) (identity, error) {
	var q question
	err := s.desk.ask(ctx, func(p redis.Pipeliner) { q = askIdentity(ctx, p, s.identity.runID != "") })
	if err != nil {
		return identity{}, err
	}
	return q.answer(), nil
}

// compare holds what the desk's connection says against what the PubSub's said.
func (s *session) compare(id identity) (c cause) {
	switch {
	case s.identity.runID != "" && id.runID != s.identity.runID:
		c = cause{GapRunID, fmt.Errorf("the subscription is on server process %s, the same address now leads to %q", s.identity.runID, id.runID)}
	case id.role != "" && id.role != "master":
		c = cause{GapRole, fmt.Errorf("the server is now a %s", id.role)}
	}
	return c
}

// home is the database of the canary.
func (l *Listener) home() int {
	if l.opts.DBs[0] == AllDBs {
		return l.db
	}
	return l.opts.DBs[0]
}

// selects reports whether the desk's connection must choose a database before each key; if so it is always somewhere else.
func (l *Listener) selects() bool { return len(l.opts.DBs) > 1 || l.opts.DBs[0] != l.db }

// databases are those to mark.
func (s *session) databases(ctx context.Context) ([]int, error) {
	if s.l.clustered {
		return nil, nil // databases are not swapped there; a marker would be in one slot, on one primary
	}
	if s.l.opts.DBs[0] != AllDBs {
		return s.l.opts.DBs, nil
	}
	n := databasesIs
	if s.canary == nil && s.l.opts.Flags != FlagsTrust {
		var err error
		if n, err = s.countDatabases(ctx); err != nil {
			return nil, err
		}
	}
	dbs := make([]int, n)
	for i := range dbs {
		dbs[i] = i
	}
	return dbs, nil
}

// countDatabases asks how many there are, as far as we care.
func (s *session) countDatabases(ctx context.Context) (int, error) {
	if s.l.clustered {
		return 1, nil
	}
	var cmd *redis.Cmd
	if err := s.desk.ask(ctx, func(p redis.Pipeliner) { cmd = askConfig(ctx, p, "databases") }); err != nil {
		return 0, err
	}
	n := databasesIs
	if value, err := configValue(cmd, "databases"); err == nil {
		if told, err := strconv.Atoi(value); err == nil && told > 0 {
			n = told
		}
	}
	if n > mostMarked {
		s.doubt(fmt.Sprintf("swapdb and mended flags unproven: only the first %d of %d databases are marked and told", mostMarked, n))
		n = mostMarked
	}
	return n, nil
}

// reading is one marker asked for in a pipeline.
type reading struct{ chosen, set, get *redis.Cmd }

func (r reading) value() (string, error) {
	if r.chosen != nil && r.chosen.Err() != nil {
		return "", r.chosen.Err() // what GET read is of another database
	}
	return r.get.Text()
}

// askMarkers puts a GET of every marker into p, each in its database, and where write is true a SET NX before it.
func (s *session) askMarkers(ctx context.Context, p redis.Pipeliner, dbs []int, write bool) []reading {
	key := s.l.opts.Namespace + markerName
	asked := make([]reading, len(dbs))
	for i, db := range dbs {
		if s.l.selects() {
			asked[i].chosen = p.Do(ctx, "SELECT", db)
		}
		if write {
			asked[i].set = p.Do(ctx, "SET", key, randomName(), "NX")
		}
		asked[i].get = p.Do(ctx, "GET", key)
	}
	return asked
}

// mark writes markers where there are none and remembers what is there.
func (s *session) mark(ctx context.Context, dbs []int) error {
	var asked []reading
	err := s.desk.ask(ctx, func(p redis.Pipeliner) { asked = s.askMarkers(ctx, p, dbs, !s.markers.mute) })
	if err != nil {
		return err
	}
	for i, db := range dbs {
		if set := asked[i].set; set != nil && redis.HasErrorPrefix(set.Err(), "NOPERM") {
			s.markers.mute = true
		}
		value, err := asked[i].value()
		delete(s.markers.values, db)
		switch {
		case err == nil:
			s.markers.values[db] = value
		case noDatabase(err) && s.l.opts.DBs[0] == AllDBs: // CONFIG did not tell how many there are
			s.markers.dbs = slices.DeleteFunc(slices.Clone(s.markers.dbs), func(other int) bool { return other == db })
		case noDatabase(err):
			return handshakeFault(err, s.user())
		case s.markers.mute || err != redis.Nil:
			s.doubt(fmt.Sprintf("swapdb unproven: the marker %s%s of database %d may not be written or read", s.l.opts.Namespace, markerName, db))
		}
	}
	return nil
}

func (s *session) lookedAt(t time.Time) { s.looked.Store(&t) }

// audits looks at the source every AuditEvery, and at once after a flush (R11). SWAPDB and switched-off notifications
// are found within AuditEvery + PongTimeout of the last look that found all well, or the session ends.
func (s *session) audits() {
	every := s.l.opts.AuditEvery
	limit := every + s.l.opts.PongTimeout
	good := s.clock()                         // when the last good look began; setUp's was a moment ago
	timer := time.NewTimer(rand.N(every) + 1) // so that a thousand instances do not look at once
	defer timer.Stop()
	for {
		select {
		case <-s.dead:
			return
		case <-timer.C:
		case <-s.relook:
		}
		began, at := s.clock(), time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), good+limit-began)
		err := s.audit(ctx)
		cancel()
		var found cause
		switch {
		case s.isDead():
			return
		case err == nil:
			good = began
			s.lookedAt(at)
			timer.Reset(every)
		case errors.As(err, &found):
			s.fail(found.reason, found.err)
			return
		case busy(err): // no proof and no gap: while a script runs, nothing else does
			good = began // but looked stays: until the next good look pongs prove nothing either
			timer.Reset(busyPause)
		case s.clock() >= good+limit-auditPause:
			s.fail(GapAudit, fmt.Errorf("no audit could be made for %v: %w", limit, err))
			return
		default:
			timer.Reset(auditPause)
		}
	}
}

// audit is one look: one pipeline on one connection. What it finds wrong is a cause; any other error says that it
// could not look.
func (s *session) audit(ctx context.Context) error {
	heard := s.flushes.Load()
	var (
		who    question
		config *redis.Cmd
		asked  []reading
	)
	err := s.desk.ask(ctx, func(p redis.Pipeliner) {
		who = askIdentity(ctx, p, s.identity.runID != "")
		if s.flags != "" {
			config = askConfig(ctx, p, flagsName)
		}
		asked = s.askMarkers(ctx, p, s.markers.dbs, false)
	})
	if err != nil {
		return err
	}
	if c := s.compare(who.answer()); c.reason != "" {
		return c
	}
	if config != nil {
		is, err := configValue(config, flagsName)
		if err != nil || !keepsFlags(is, s.flags) {
			return cause{GapFlags, fmt.Errorf("%s was %q and is %q (%v)", flagsName, s.flags, is, err)}
		}
	}
	if s.canary != nil {
		if err := s.auditCanary(ctx); err != nil {
			return err
		}
	}
	return s.auditMarkers(ctx, asked, heard)
}

// auditMarkers compares the markers with what they were. heard was read before they were.
func (s *session) auditMarkers(ctx context.Context, asked []reading, heard uint64) error {
	var lost []int
	for i, db := range s.markers.dbs {
		was, known := s.markers.values[db]
		is, err := asked[i].value()
		switch {
		case !known && err != nil && s.markers.mute: // still none, and we write none
		case !known, err != nil, is != was:
			lost = append(lost, db)
		}
	}
	if len(lost) == 0 {
		s.markers.heard = heard // whatever was flushed till then, it was not these
		return nil
	}
	// The null push of a flush before the look may still be on its way; it comes before the PONG.
	if err := s.fenceHere(ctx); err != nil {
		return err
	}
	now := s.flushes.Load()
	gone := false
	for _, db := range lost {
		was, known := s.markers.values[db]
		if known && now == s.markers.heard {
			return cause{GapMarker, fmt.Errorf("the marker %s of database %d is gone and no flush was heard: SWAPDB, or a silent flush", was, db)}
		}
		gone = gone || known
	}
	if err := s.mark(ctx, lost); err != nil || !gone {
		return err
	}
	// The flush explains the loss, but a SWAPDB between it and the new marker would look the same: the hook is told
	// of one more, readers are spared the repetition.
	if err := s.await(ctx, s.p.askFence(true)); err != nil {
		return err
	}
	s.markers.heard = now
	return nil
}

// fenceHere is a Fence that this very session must answer.
func (s *session) fenceHere(ctx context.Context) error {
	return s.await(ctx, s.p.askFence(false))
}

func (s *session) await(ctx context.Context, f *fence) error {
	select {
	case <-f.done:
		return nil
	case <-s.dead:
		return s.cause.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Error makes a cause the error of the audit that found it.
func (c cause) Error() string { return c.reason + ": " + c.err.Error() }
