package latency

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"
)

// entrant is a side that takes part, or would have.
type entrant struct {
	side
	*opened // nil: it could not
}

// enter opens sides; whoever calls it calls leave. What cannot run
// on the embedded Redis is kept as absent, anything else is an error.
func (b *bench) enter(ctx context.Context, sides []side, e env) (all []entrant, err error) {
	e.addr = b.server.addr
	e.keys = make([]string, len(e.ids))
	for i, id := range e.ids {
		e.keys[i] = prefix + id
	}
	for _, s := range sides {
		o, err := s.open(ctx, e)
		switch {
		case err == nil:
			all = append(all, entrant{s, o})
		case b.server.embedded && !s.memory && ctx.Err() == nil:
			all = append(all, entrant{s, nil})
			b.cannot(s, err)
		default:
			return nil, errors.Join(fmt.Errorf("%s: %w", s.label(), err), leave(all))
		}
	}
	return all, nil
}

func (b *bench) cannot(s side, err error) {
	if !slices.Contains(b.absent, s.name) {
		b.absent = append(b.absent, s.name)
		why, _, _ := strings.Cut(err.Error(), "\n")
		b.out.Note("%s cannot run on the embedded Redis (%s). Without -quick, on a real redis-server, it takes part.", s.name, why)
	}
}

func leave(all []entrant) error {
	var errs []error
	for _, e := range all {
		if e.opened != nil {
			errs = append(errs, e.close())
		}
	}
	return errors.Join(errs...)
}

// fillPasses bounds how often all is read until memory has it: ristretto drops what is set too fast.
const fillPasses = 100

// fill reads the first n until a whole pass misses nothing.
func (o *opened) fill(ctx context.Context, n int) error {
	for pass := range fillPasses {
		before := uint64(0)
		if o.missed != nil {
			before = o.missed()
		}
		for i := range n {
			if _, err := o.read(i); err != nil {
				return err
			}
			if i&0xff == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
		}
		if o.missed == nil || o.missed() == before {
			return nil
		}
		if pass > 0 {
			time.Sleep(time.Millisecond) // what is set asynchronously may settle
		}
	}
	return fmt.Errorf("%d passes over %d keys, and not all are in memory", fillPasses, n)
}

// contest measures all entrants, round by round, each first in its turn, and
// shows what the rounds that were finished gave.
func (b *bench) contest(ctx context.Context, title string, u unit, what columns, all []entrant, step func(int),
	measure func(ctx context.Context, e entrant, round int) (figure, error),
) error {
	figures := make([][]figure, len(all))
	var failed error
rounds:
	for round := range b.rounds {
		got := make([]figure, len(all))
		for at := range all {
			i := (at + round) % len(all)
			if all[i].opened != nil {
				runtime.GC() // each cleans up after itself
				var err error
				if got[i], err = measure(ctx, all[i], round); err != nil {
					failed = fmt.Errorf("%s: %s: %w", title, all[i].label(), err)
					break rounds
				}
			}
			step(1)
		}
		for i := range all {
			figures[i] = append(figures[i], got[i])
		}
	}
	if len(all) > 0 && len(figures[0]) > 0 {
		b.show(title, u, what, all, figures)
	}
	return failed
}
