package sqlengine_test

import (
	"errors"
	"testing"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/gofreshet/freshet/notify"
)

// Marks that a failover may lose keep no promise.
func TestRefusesFailovers(t *testing.T) {
	g := redistest.StartSentinels(t, 1, 1)
	tracker, err := invalidate.Connect(t.Context(), g.Client(t), invalidate.Options{Notify: notify.Options{Sentinel: g.FailoverOptions()}})
	if err != nil {
		t.Fatal(err)
	}
	defer tracker.Close()
	if _, err := sqlengine.New(t.Context(), "sqlcache", nil, nil, tracker, sqlengine.Options{}); !errors.Is(err, notify.ErrUnsupported) {
		t.Errorf("New: %v", err)
	}
}
