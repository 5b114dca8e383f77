package httpcache

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gofreshet/freshet/invalidate"
)

// R6: what a handler reads while it answers a request inside a load, the load rests on: also where the request is no GET,
// and none of it comes too late. Seen to fail (it is counted as late) when invalidate seals the exchange's own record.
func TestLoadAroundAPostInheritsItsReads(t *testing.T) {
	tr := newTracker(t)
	c := newCache(t, tr, Options{})
	h := c.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		invalidate.DependOn(r.Context(), invalidate.Key("read:by:post"))
		io.WriteString(w, "ok")
	}))
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		rec, ctx := tr.Record(t.Context())
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, "/a", nil).WithContext(ctx))
		v, _ := rec.Seal()
		tr.Forget(invalidate.Key("read:by:post"))
		if v.Valid(c.opts.MaxStaleness) {
			t.Errorf("%s: the load did not fall with what the handler had read", method)
		}
	}
	if n := tr.Stats().LateDeps; n != 0 {
		t.Errorf("%d dependencies came too late", n)
	}
}

// A POST through the RoundTripper that offers an upgrade invalidates as any other. Seen to fail when every Upgrade passes.
func TestTransportPostWithUpgradeInvalidates(t *testing.T) {
	c := newCache(t, newTracker(t), Options{})
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, r.Method)
	}))
	t.Cleanup(backend.Close)
	base := &http.Transport{}
	t.Cleanup(base.CloseIdleConnections)
	client := &http.Client{Transport: c.Transport(base)}
	do := func(method, upgrade string) answer {
		r, err := http.NewRequest(method, backend.URL+"/a", nil)
		if err != nil {
			t.Fatal(err)
		}
		if upgrade != "" {
			r.Header.Set("Connection", "Upgrade")
			r.Header.Set("Upgrade", upgrade)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.ReadAll(resp.Body); err != nil {
			t.Fatal(err)
		}
		return answer{Response: resp}
	}
	do(http.MethodGet, "")
	if !do(http.MethodGet, "").hit() {
		t.Fatal("nothing was stored")
	}
	do(http.MethodPost, "h2c")
	if do(http.MethodGet, "").hit() {
		t.Error("a hit after the POST")
	}
}
