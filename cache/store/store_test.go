package store_test

import (
	"testing"

	"github.com/gofreshet/freshet/cache/store"
	"github.com/gofreshet/freshet/cache/store/storetest"
	"github.com/gofreshet/freshet/internal/leak"
)

// Seen to fail: "visible at once" when trim does not spare the fresh entry,
// "keeps what fits" without judge.forget's Del and without IgnoreInternalCost,
// both capacities without settle's Wait, "del removes its own" without Del's
// comparison, "close beside calls" (ristretto panics) without mu in Close,
// "evicted once" when an entry of another cost is replaced in place, the leak
// check without judge.close.
func TestRistretto(t *testing.T) {
	leak.Check(t, "dgraph-io/ristretto")
	storetest.Run(t, store.Open)
}
