package staleness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/gofreshet/freshet/internal/faultproxy"
	"github.com/gofreshet/freshet/internal/history"
)

// fault is something that happens to all sides at once, again and again.
type fault struct {
	name  string
	about string
	// patience is how long after the last fault and the last write what is
	// still wrong is stale for ever: longer than any side's own timeouts.
	patience time.Duration
	step     func(*stage) history.Step // nil: nothing happens
}

const (
	outage = 200 * time.Millisecond
	hole   = 2 * time.Second // longer than Freshet's default bound
	soon   = 3 * time.Second
	// rueidis takes a connection for dead after ten seconds of silence.
	late = 13 * time.Second
)

func faults() []fault {
	return []fault{
		{"calm", "nothing happens", soon, nil},
		{"kill", fmt.Sprintf("the sides' connections are reset, new ones for %v too", outage), soon, func(s *stage) history.Step {
			return history.Step{Do: func(ctx context.Context, _ *rand.Rand) error {
				s.proxy.Refuse()
				s.proxy.Cut(faultproxy.RST)
				rest(ctx, outage)
				s.proxy.Accept()
				return nil
			}}
		}},
		{"blackhole", fmt.Sprintf("for %v all packets between sides and server vanish; what was connected then stays dead, and nobody is told", hole), late, func(s *stage) history.Step {
			return history.Step{Do: func(ctx context.Context, _ *rand.Rand) error {
				s.proxy.Drop(faultproxy.ToServer)
				s.proxy.Drop(faultproxy.ToClient)
				rest(ctx, hole)
				s.proxy.Pass()
				return nil
			}}
		}},
		{"flushall", "FLUSHALL", soon, func(s *stage) history.Step {
			return history.Step{Absent: true, Do: func(ctx context.Context, _ *rand.Rand) error {
				// An interrupt must not leave it in doubt whether all was flushed.
				return s.direct.FlushAll(context.WithoutCancel(ctx)).Err()
			}}
		}},
		{"restart", "the server is killed and started again; it has kept nothing", soon, func(s *stage) history.Step {
			return history.Step{Absent: true, Settles: true, Do: func(context.Context, *rand.Rand) error {
				if err := s.server.Kill(); err != nil {
					return err
				}
				s.proxy.Cut(faultproxy.RST) // nothing that waits there reaches the new process
				return s.server.Restart()
			}}
		}},
	}
}

func faultName(f fault) string { return f.name }

func faultHelp() string {
	var lines []string
	for _, f := range faults() {
		lines = append(lines, fmt.Sprintf("%-9s  %s", f.name, f.about))
	}
	return strings.Join(lines, "\n")
}

// rest sleeps for d, or until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
