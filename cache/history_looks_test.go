package cache

import (
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/faultproxy"
	"github.com/gofreshet/freshet/internal/history"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/redis/go-redis/v9"
)

// What nothing tells of is found by looking, whatever else goes on between two looks: in each of these schedules
// something speaks against it. The bound is AuditEvery + PongTimeout + MaxStaleness.
// Seen to fail, each, while notify had no word of mended flags, no second Flush once a marker is written anew, and let
// pongs prove the stream when the last good look was long ago.
func TestHistoryLooks(t *testing.T) {
	at := pace{
		heartbeat: 20 * time.Millisecond, pongTimeout: 300 * time.Millisecond, audit: 200 * time.Millisecond,
		staleness: 100 * time.Millisecond,
	}
	for _, c := range []struct {
		name string
		play func(*scene)
	}{
		{"flags mended by another process", (*scene).flagsMendedByAnother},
		{"swap right after a flush", (*scene).swapAfterFlush},
		{"swap under a long script", (*scene).swapUnderScript},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, at, 0, "--lua-time-limit", "5")
			c.play(s)
			report, err := history.Check(s.rec.History(), history.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := report.Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

// looked is the staleness that such faults are allowed.
func (at pace) looked() time.Duration { return at.audit + at.pongTimeout + at.staleness }

// getLooked is get with the bound that such faults are allowed.
func (s *scene) getLooked() {
	s.t.Helper()
	s.attempt(s.Read("looked", sceneKey, func() (history.Observation, error) {
		o, err := s.p.read(s.t.Context(), sceneKey)
		o.Bound = s.pace.looked()
		return o, err
	}))
}

func (s *scene) beyond() { time.Sleep(s.pace.looked() + 20*time.Millisecond) }

// flagsMendedByAnother: notifications are switched off, another process looks first and switches them on again, and this
// one finds them on at every look. What was written meanwhile it has not heard of.
func (s *scene) flagsMendedByAnother() {
	ctx := s.t.Context()
	s.process("b", 0, func(o *invalidate.Options, _ *Options[string, item]) { o.Notify.AuditEvery = 5 * time.Millisecond })
	s.get() // in memory
	mine := s.proxy.Having("process-a")
	mine.Hold(faultproxy.ToServer)
	s.attempt(s.ops.ConfigSet(ctx, "notify-keyspace-events", "").Err())
	s.put()
	eventually(s.t, "the other process switches notifications on", func() bool {
		is, err := s.ops.ConfigGet(ctx, "notify-keyspace-events").Result()
		return err == nil && is["notify-keyspace-events"] != ""
	})
	mine.Release(faultproxy.ToServer)
	s.beyond()
	s.getLooked()
}

// swapAfterFlush: the marker is gone and a flush was heard. It was of another database, and what is in memory was loaded
// between it and the SWAPDB.
func (s *scene) swapAfterFlush() {
	ctx := s.t.Context()
	desk := s.proxy.Having("notify-keyspace-events")
	desk.Hold(faultproxy.ToServer)
	s.attempt(s.server.Client(s.t, inDB(1)).FlushDB(ctx).Err())
	s.fenced()
	s.get()
	s.get()
	op := s.BeginAll()
	s.attempt(s.ops.Do(ctx, "SWAPDB", 0, 1).Err())
	op.Done(history.Applied)
	desk.Release(faultproxy.ToServer)
	s.beyond()
	s.getLooked()
}

// swapUnderScript: a script keeps the server from answering for longer than the bound. When it ends, a ping is answered
// before the next look is.
func (s *scene) swapUnderScript() {
	ctx := s.t.Context()
	desk := s.proxy.Having("notify-keyspace-events")
	op := s.BeginAll()
	script := async(func() (any, error) {
		return s.ops.Pipelined(ctx, func(p redis.Pipeliner) error {
			p.Do(ctx, "SWAPDB", 0, 1)
			p.Eval(ctx, busyScript, nil, (s.pace.looked() + 100*time.Millisecond).Microseconds())
			return nil
		})
	})
	eventually(s.t, "the server is busy", func() bool { return applied(s.ops.Ping(ctx).Err()) != nil })
	op.Done(history.Applied)
	desk.HoldAt(faultproxy.ToClient, "run_id:") // a look that is answered
	_, err := script.wait(s.t)
	s.attempt(err)
	eventually(s.t, "memory is trusted again", func() bool { return s.p.tracker.Staleness() < s.pace.staleness })
	s.getLooked()
	desk.Release(faultproxy.ToClient)
}
