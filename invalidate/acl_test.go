package invalidate

import (
	"strings"
	"testing"

	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// The rules that README gives are enough: nothing is left unproven, and a touch arrives.
func TestREADMEsACLIsEnough(t *testing.T) {
	s := redistest.Start(t)
	const rules = "+psubscribe +ping +hello +client +info +role +config|get +config|set +publish +get +set " +
		"~freshet:* &__keyspace@0__:* &__keyspace@*__:freshet:mended"
	s.AddUser(t, "app", append(strings.Fields(rules), "on", ">secret")...)
	rdb := s.Client(t, func(o *redis.Options) { o.Username, o.Password = "app", "secret" })
	tr, err := Connect(t.Context(), rdb, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if h := tr.Health(); !h.Synced || len(h.Reasons) != 0 {
		t.Errorf("%+v", h)
	}
	if err := tr.Touch(t.Context(), Tag("t")); err != nil {
		t.Error(err)
	}
	if err := tr.Fence(t.Context()); err != nil {
		t.Error(err)
	}
	log, err := s.Client(t).ACLLog(t.Context(), 10).Result()
	if err != nil || len(log) != 0 {
		t.Errorf("refused: %v, %v", log, err)
	}
}
