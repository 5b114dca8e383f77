package sqlcache

import (
	"context"
	"database/sql/driver"
	"errors"
	"time"

	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/invalidate"
)

// key is a query: its text by what it was found to be, which is another pointer under each catalog, and its arguments.
// The database, its user and its search path are the connector's own.
type key struct {
	st   *statement
	args string
}

type loader func(context.Context, key) (*result, error)

type loadKey struct{}

// ask returns the answer from memory or by a load that all who ask meanwhile share. The load has a connection of its
// own: who gives up gives up alone. A nil result is one that may not be kept: the caller asks for itself.
func (c *Connector) ask(ctx context.Context, st *statement, query string, args []driver.NamedValue, bound time.Duration,
) (*result, error) {
	var room [128]byte
	enc, args, ok := appendArgs(room[:0], args, c.dialect.Name() == "postgres")
	if !ok {
		return nil, nil
	}
	k := key{st, string(enc)}
	load := func(ctx context.Context, k key) (*result, error) { return c.load(ctx, k.st, query, args) }
	var res *result
	var err error
	if bound > 0 {
		var r cache.Result[*result]
		r, err = c.rows.Read(context.WithValue(ctx, loadKey{}, loader(load)), k, cache.ReadOptions{MaxStaleness: bound})
		res = r.Value
	} else {
		res, err = c.rows.GetWith(ctx, k, load)
	}
	switch {
	case errors.Is(err, cache.ErrClosed):
		return nil, ErrClosed
	case err != nil:
		return nil, err
	case res.tooBig:
		return nil, nil
	}
	return res, nil
}

// load is one query. Its marks are read while it runs: see marks.
func (c *Connector) load(ctx context.Context, st *statement, query string, args []driver.NamedValue) (*result, error) {
	invalidate.DependOn(ctx, st.deps...)
	type answer struct {
		blocked bool
		err     error
	}
	told := make(chan answer, 1)
	c.wg.Go(func() {
		blocked, suspects, err := c.marks.blocked(ctx, st.tables)
		if len(suspects) > 0 {
			c.resolver.ask(suspects)
		}
		told <- answer{blocked, err}
	})
	res, err := c.fetch(ctx, query, args)
	a := <-told
	switch {
	case err != nil:
		return nil, err
	case res.tooBig:
		st.oversize.note()
		invalidate.NoStore(ctx)
	case a.blocked, a.err != nil:
		c.blocked.Add(1)
		invalidate.NoStore(ctx)
	}
	return res, nil
}

// fetch runs query on a connection from the pool. Connections that had died while idle are tried no more than twice.
func (c *Connector) fetch(ctx context.Context, query string, args []driver.NamedValue) (*result, error) {
	for try := 0; ; try++ {
		r, err := c.pool.get(ctx)
		if err != nil {
			return nil, err
		}
		if a := c.current.Load(); a == nil || r.session.unfit != "" || r.session.same != a.cat.same || r.tainted {
			invalidate.NoStore(ctx)
		}
		rows, err := r.rows(ctx, query, args)
		var res *result
		if err == nil {
			res, err = collect(rows, c.opts.MaxRows, c.opts.MaxResultBytes)
		}
		bad := errors.Is(err, driver.ErrBadConn)
		c.pool.put(r, bad || ctx.Err() != nil)
		if bad && try < 2 {
			continue
		}
		return res, err
	}
}
