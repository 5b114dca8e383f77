package cache

import (
	"context"
	"errors"
	"time"

	"github.com/gofreshet/freshet/invalidate"
)

// announceWithin bounds the announcement of a write whose own context has ended.
const announceWithin = 5 * time.Second

// NameOf is the name that k's entry falls with: the Redis key Prefix + the text of k. Not for a cache with NoKey.
func (c *Cache[K, V]) NameOf(k K) invalidate.Name {
	return invalidate.Key(string(c.opts.AppendKey([]byte(c.opts.Prefix), k)))
}

// refused is why nothing can be kept under k; nil as a rule.
func (c *Cache[K, V]) refused(k K) error {
	switch again := k; {
	case k != again:
		return ErrUnequalKey
	case !c.opts.NoKey && c.opts.Prefix == "" && c.NameOf(k).Text() == "":
		return ErrEmptyKey
	}
	return nil
}

// Invalidate makes the entries of ks fall in every process: here before it returns, error or not. Call it after what
// changed them has been committed. See [invalidate.Tracker.Touch]; no key of yours is written or deleted.
func (c *Cache[K, V]) Invalidate(ctx context.Context, ks ...K) error {
	if c.closed.Load() {
		return ErrClosed
	}
	if c.opts.NoKey {
		return ErrNoKey
	}
	names := make([]invalidate.Name, len(ks))
	for i, k := range ks {
		if err := c.refused(k); err != nil {
			return err
		}
		names[i] = c.NameOf(k)
	}
	return c.tracker.Touch(ctx, names...)
}

// Write runs write, which changes the truth behind k and has committed when it returns, and then invalidates k in every
// process, whether write failed, panicked or not: a failed write's outcome is unknown. Reads in this process that begin
// after Write returned see the write; in others those that begin after a Fence.
//
// The error is write's, joined with that of the announcement; when write succeeded and that did not, it matches
// [invalidate.ErrNotAnnounced].
func (c *Cache[K, V]) Write(ctx context.Context, k K, write func(context.Context) error) (err error) {
	if c.closed.Load() {
		return ErrClosed
	}
	if c.opts.NoKey {
		return ErrNoKey
	}
	if err := c.refused(k); err != nil {
		return err
	}
	if write == nil {
		return errors.New("cache: Write's write is nil: give the function that changes the truth")
	}
	defer func() {
		// The write may have happened though ctx has ended.
		actx, cancel := context.WithTimeout(context.WithoutCancel(ctx), announceWithin)
		defer cancel()
		if told := c.tracker.Touch(actx, c.NameOf(k)); told != nil {
			err = errors.Join(err, told)
		}
	}()
	return write(ctx)
}
