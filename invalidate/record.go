package invalidate

import (
	"context"
	"sync"
	"time"
)

// farAway is as good as never, and a clock's integer still holds it.
const farAway = 100 * 365 * 24 * time.Hour

// maxDependencies of one load; one with more depends on everything.
const maxDependencies = 4096

// Record collects what one load depends on. Its methods may be called from any goroutine.
type Record struct {
	tracker *Tracker
	bound   time.Duration // the tightest MaxStaleness of the loads around this one; 0: none. Fixed before the load runs

	mu     sync.Mutex
	v      Validity            // stamp, epoch and proof are read before the load begins (R3)
	seen   map[uint32]struct{} // v.deps again, once they are too many to search
	sealed bool
}

type recordKey struct{}

// RecordIn returns the record of the load that ctx belongs to, or nil. Cost: one ctx.Value.
func RecordIn(ctx context.Context) *Record {
	r, _ := ctx.Value(recordKey{}).(*Record)
	return r
}

// Record begins a load: it reads stamp, epoch and time, and returns a ctx on which [DependOn], [ExpireIn], [NoStore]
// and [Validity.Inherit] act on this record. Load with that ctx, then [Record.Seal].
func (t *Tracker) Record(ctx context.Context) (*Record, context.Context) {
	r := &Record{tracker: t, bound: Bound(ctx)}
	r.v = t.begin()
	return r, context.WithValue(ctx, recordKey{}, r)
}

// Tracker is whose ledger r is checked against.
func (r *Record) Tracker() *Tracker { return r.tracker }

// begin is a Validity that depends on nothing yet.
func (t *Tracker) begin() Validity {
	v := Validity{tracker: t, deadline: never, noStore: t.closed.Load()}
	// R2: epoch before ledger; the clock before the load.
	v.epoch = t.epoch.Load()
	v.stamp = t.ledger.counter.Load()
	v.proof = now()
	return v
}

// provenAt says that what is read while loading may be as old as at.
func (r *Record) provenAt(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.lateCall() {
		r.v.proof = r.v.proof.earlier(instantOf(at))
	}
}

// Within tightens the bound that reads from memory have to keep while loading: what is built can be no better proven
// than what it is built from. d <= 0 changes nothing. Call it before the load runs.
func (r *Record) Within(d time.Duration) {
	if d > 0 && (r.bound == 0 || d < r.bound) {
		r.bound = d
	}
}

// Bound is the tightest MaxStaleness of the loads that ctx belongs to; 0 when there is none.
func Bound(ctx context.Context) time.Duration {
	return RecordIn(ctx).Bound()
}

// Bound is the tightest MaxStaleness of the loads around r and its own; 0 when there is none, as for a nil r.
func (r *Record) Bound() time.Duration {
	if r == nil {
		return 0
	}
	return r.bound
}

// DependOn makes what r records fall with any of names.
func (r *Record) DependOn(names ...Name) {
	t := r.tracker
	for _, n := range names {
		r.mu.Lock()
		if r.sealed {
			r.mu.Unlock()
			t.stats.lateDeps.Add(1)
			continue
		}
		if !t.covered(n, r.v.stamp) {
			r.v.noStore = true
			t.stats.uncovered.Add(1)
		}
		switch n.kind {
		case KindKey:
			r.add(t.ledger.keySlot(n.text))
			r.add(t.ledger.groupSlot(n.text))
		case KindTag:
			r.add(t.ledger.tagSlot(n.text))
		case KindPrefix:
			if slot, ok := t.ledger.dependOnPrefix(n.text); ok {
				r.add(slot)
			} else {
				r.v.all = true
			}
		}
		r.mu.Unlock()
	}
}

// Depends reports whether anything has been recorded so far that r's load will fall with.
func (r *Record) Depends() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.v.Depends()
}

// add is called with mu held.
func (r *Record) add(slot uint32) {
	switch {
	case r.v.deps.len() >= maxDependencies:
		r.v.all = true
	case !r.has(slot):
		r.v.deps.add(slot)
		if r.seen != nil {
			r.seen[slot] = struct{}{}
		}
	}
}

func (r *Record) has(slot uint32) bool {
	const few = 32
	if r.seen == nil && r.v.deps.len() > few {
		r.seen = make(map[uint32]struct{}, 4*few)
		r.v.deps.each(func(s uint32) { r.seen[s] = struct{}{} })
	}
	if r.seen == nil {
		return r.v.deps.contains(slot)
	}
	_, ok := r.seen[slot]
	return ok
}

// ExpireAt bounds the life of what r records; the least of all calls counts. For a value with a TTL of its own, at is
// the time *before* it was asked for plus the TTL.
func (r *Record) ExpireAt(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lateCall() {
		return
	}
	switch left := time.Until(at); {
	case left <= 0:
		r.v.noStore = true
		return
	case left > farAway:
		return
	}
	r.v.deadline = r.v.deadline.earlier(instantOf(at))
}

// NoStore keeps what r records out of memory, and all that is built from it.
func (r *Record) NoStore() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.lateCall() {
		r.v.noStore = true
	}
}

func (r *Record) lateCall() bool {
	if r.sealed {
		r.tracker.stats.lateDeps.Add(1)
	}
	return r.sealed
}

// Inherit is [Validity.Inherit] for those who have the record at hand.
func (r *Record) Inherit(v *Validity) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lateCall() {
		return
	}
	if v.noStore || v.tracker != r.tracker {
		r.v.noStore = true
	}
	if v.tracker != r.tracker {
		return
	}
	v.deps.each(r.add)
	r.v.all = r.v.all || v.all
	r.v.deadline = r.v.deadline.earlier(v.deadline)
	proof := v.proof
	if mark := r.tracker.watermark.Load(); mark != nil && v.fresherThanProof(*mark) {
		proof = *mark
	}
	r.v.proof = r.v.proof.earlier(proof)
}

// fresherThanProof reports whether mark proves more than the load did.
func (v *Validity) fresherThanProof(mark instant) bool {
	return mark.mono >= v.proof.mono && mark.wall >= v.proof.wall
}

// outliving has fall make names fall, which r's own Validity outlives; nil without an r, or when it is sealed.
func (r *Record) outliving(fall func(by *Validity)) {
	if r == nil {
		fall(nil)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lateCall() {
		fall(nil)
		return
	}
	fall(&r.v)
}

// Seal ends the load. ok is false when its result must not be stored: something it rests on has fallen since it began,
// or NoStore was called, or a name lies outside what is listened to, or the tracker is closed. The Validity is good for
// [Validity.Inherit] all the same. Later calls on r or its ctx are counted in [Stats].LateDeps and change nothing.
func (r *Record) Seal() (v Validity, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.sealed {
		r.sealed = true
		r.v.noStore = r.v.noStore || r.tracker.closed.Load()
	}
	return r.v, !r.v.noStore && !r.v.fallen()
}

// DependOn makes what is being loaded in ctx fall with any of names. Without a load in ctx it does nothing.
func DependOn(ctx context.Context, names ...Name) {
	if r := RecordIn(ctx); r != nil {
		r.DependOn(names...)
	}
}

// ExpireIn bounds the life of what is being loaded in ctx, from now. The least of all calls counts; d <= 0 is [NoStore].
func ExpireIn(ctx context.Context, d time.Duration) {
	ExpireAt(ctx, time.Now().Add(d))
}

// ExpireAt is ExpireIn for an instant: for a TTL that was asked for, the time before the question plus the TTL.
func ExpireAt(ctx context.Context, at time.Time) {
	if r := RecordIn(ctx); r != nil {
		r.ExpireAt(at)
	}
}

// NoStore keeps what is being loaded in ctx out of memory, and all that is built from it.
func NoStore(ctx context.Context) {
	if r := RecordIn(ctx); r != nil {
		r.NoStore()
	}
}

// Detach returns a ctx without the record, for reads whose result does not enter the value.
func Detach(ctx context.Context) context.Context {
	if RecordIn(ctx) == nil {
		return ctx
	}
	return context.WithValue(ctx, recordKey{}, (*Record)(nil))
}
