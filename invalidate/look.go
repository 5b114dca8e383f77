package invalidate

import "time"

// Look is a value to be checked beside others, and what [Tracker.CheckAll] found it to be.
type Look struct {
	Of        *Validity // nil has fallen
	Staleness time.Duration
	State     State
}

// CheckAll is [Validity.Check] for each of looks, whose Staleness and State it fills in: one look at the watermark and
// one reading of the clock for all. Those of another tracker are checked one by one. No lock, no allocation.
func (t *Tracker) CheckAll(looks []Look, bound time.Duration) {
	// R2, as in Check: the watermark before any ledger, the clock after all of them.
	mark := t.watermark.Load()
	t.paused(afterWatermark)
	for i := range looks {
		l := &looks[i]
		l.State = Current
		if v := l.Of; v != nil && v.tracker == t && v.fallen() {
			l.State = Fallen
		}
	}
	t.paused(afterLedger)
	at := now()
	for i := range looks {
		l := &looks[i]
		switch v := l.Of; {
		case v == nil:
			l.Staleness, l.State = 0, Fallen
		case v.tracker != t:
			l.Staleness, l.State = v.Check(bound)
		case l.State == Fallen:
			l.Staleness = max(0, at.since(v.proof))
		default:
			l.Staleness, l.State = v.standing(mark, at, bound)
		}
	}
}
