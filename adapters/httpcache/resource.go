package httpcache

import (
	"cmp"
	"net/http"
	"slices"
	"time"
)

// resource is what the store holds of one URL: its variants, by Date the newest first. It is never changed after it is stored.
type resource struct {
	key     key
	entries []*entry
	// alone is until when nobody waits here for another's response: the last one could not be shared. Requests that say
	// who they come from have the second one.
	alone [2]time.Time
}

// aloneFor is how long a URL is remembered whose responses cannot be shared.
const aloneFor = time.Minute

func (c *Cache) find(h uint64, k *key) *resource {
	v, ok := c.store.Get(h)
	if !ok {
		return nil
	}
	r, ok := v.(*resource)
	if !ok || r.key != *k {
		return nil
	}
	return r
}

// choose returns the stored response that request selects, or nil: the newest (RFC 9111 section 4), a whole one before a
// part. others says that there are variants.
func (r *resource) choose(request *http.Request) (e *entry, others bool) {
	if r == nil {
		return nil, false
	}
	for _, v := range r.entries {
		if !v.selects(request) {
			others = true
			continue
		}
		if v.part == nil {
			return v, others
		}
		if e == nil {
			e = v
		}
	}
	return e, others
}

// keep stores e in place of what it replaces. A response whose handler began earlier does not replace a later one.
func (c *Cache) keep(h uint64, k key, e *entry) {
	c.change(h, k, func(r *resource) {
		kept := make([]*entry, 0, min(len(r.entries)+1, c.opts.MaxVariants))
		kept = append(kept, e)
		room := c.opts.MaxBytes/4 - e.size // one URL is not to push out all others, nor itself
		for _, old := range r.entries {
			if sameSelectors(old.selecting, e.selecting) && (old.part == nil) == (e.part == nil) {
				if old.asked.After(e.asked) && old.valid.Valid(c.opts.MaxStaleness) {
					kept[0] = old
				}
				continue
			}
			if room -= old.size; room >= 0 && len(kept) < c.opts.MaxVariants {
				kept = append(kept, old)
			}
		}
		slices.SortStableFunc(kept, func(a, b *entry) int {
			return cmp.Or(b.date.Compare(a.date), b.asked.Compare(a.asked))
		})
		r.entries = kept
		r.alone[0] = time.Time{}
		if !e.anonymous {
			r.alone[1] = time.Time{}
		}
	})
}

// drop removes e.
func (c *Cache) drop(h uint64, k key, e *entry) {
	c.change(h, k, func(r *resource) {
		r.entries = slices.DeleteFunc(slices.Clone(r.entries), func(x *entry) bool { return x == e })
	})
}

// goAlone remembers that responses of k cannot be shared.
func (c *Cache) goAlone(h uint64, k key, known int) {
	if r := c.find(h, &k); r != nil && time.Until(r.alone[known]) > aloneFor/2 {
		return
	}
	c.change(h, k, func(r *resource) { r.alone[known] = time.Now().Add(aloneFor) })
}

// change replaces k's resource by a changed copy.
func (c *Cache) change(h uint64, k key, do func(*resource)) {
	mu := &c.changing[h%uint64(len(c.changing))]
	mu.Lock()
	defer mu.Unlock()
	next := &resource{key: k}
	old := c.find(h, &k)
	if old != nil {
		*next = *old
	}
	do(next)
	if len(next.entries) == 0 && next.alone == [2]time.Time{} {
		if old != nil {
			c.store.Del(h, old)
		}
		return
	}
	cost := int64(overhead + len(k.target) + len(k.host) + len(k.seen) + len(k.extra))
	for _, e := range next.entries {
		cost += e.size
	}
	c.store.Set(h, next, cost)
}
