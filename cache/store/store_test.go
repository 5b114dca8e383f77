package store_test

import (
	"testing"

	"github.com/gofreshet/freshet/cache/store"
	"github.com/gofreshet/freshet/cache/store/storetest"
	"github.com/gofreshet/freshet/internal/leak"
)

func TestRistretto(t *testing.T) {
	leak.Check(t, "dgraph-io/ristretto")
	storetest.Run(t, store.Open)
}
