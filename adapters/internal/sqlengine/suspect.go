package sqlengine

import (
	"context"
	"time"
)

// resolver asks the database what became of the writers whose marks are past their lease. A mark never becomes clean by
// itself: who set it may be slow and commit yet. When its session has ended the write is decided, so its items are
// touched, for it may have been committed, and the mark is removed. So is one of our own that has come back.
type resolver struct {
	marks   *marks
	pool    Pool
	dialect Dialect
	asks    chan []standing
}

// ask hands suspects over; when the resolver is busy the next load asks again.
func (r *resolver) ask(suspects []standing) {
	select {
	case r.asks <- suspects:
	default:
	}
}

func (r *resolver) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case suspects := <-r.asks:
			r.resolve(ctx, suspects)
		}
		select { // a writer that is alive is not asked about all the time
		case <-ctx.Done():
			return
		case <-time.After(min(time.Second, r.marks.lease/4)):
		}
	}
}

func (r *resolver) resolve(ctx context.Context, suspects []standing) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := r.pool.Get(ctx)
	if err != nil {
		return
	}
	broken := false
	defer func() { r.pool.Put(c, broken) }()
	if s, err := c.Session(ctx); err != nil || s.unfit != "" {
		broken = err != nil
		return // a replica knows nothing of the primary's sessions
	}
	ended := map[string]bool{}
	for _, s := range suspects {
		over, known := ended[s.session]
		if r.marks.returned(s) {
			over = true
		} else if !known {
			if over, err = r.dialect.ended(ctx, c, s.session); err != nil {
				broken = true
				return
			}
			ended[s.session] = over
		}
		if !over {
			continue
		}
		if err := r.marks.tracker.Touch(ctx, r.marks.names([]string{s.item})...); err != nil {
			return
		}
		r.marks.rdb().ZRem(ctx, r.marks.key(), s.member)
	}
}
