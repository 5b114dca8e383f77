package httpcache

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/gofreshet/freshet/invalidate"
)

// Purge makes all stored responses of u fall, in every process: whatever their method, variant or handler. u is absolute,
// as clients write it; scheme and host are those that the server sees (behind a proxy that ends TLS: http). In this
// process they have fallen when it returns, error or not; errors are those of [invalidate.Tracker.Touch].
func (c *Cache) Purge(ctx context.Context, u *url.URL) error {
	if u == nil || u.Scheme == "" || u.Host == "" {
		return errors.New("httpcache: Purge wants an absolute URL, such as http://example.com/path")
	}
	if err := c.tracker.Touch(ctx, URLTag(u)); err != nil {
		return fmt.Errorf("httpcache: purge: %w", err)
	}
	return nil
}

// URLTag is the name that all stored responses of an absolute URL fall with, for programs that have a tracker and no
// cache, and for many at once.
func URLTag(u *url.URL) invalidate.Name { return urlTag(u.Scheme+"://"+u.Host, u.RequestURI()) }
