package rediscache

import (
	"strings"
	"testing"

	"github.com/gofreshet/freshet/cache"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/invalidate"
	"github.com/redis/go-redis/v9"
)

// readmeRules is the ACL line of the README, beside the application's own keys and "+hpttl" where servers know it.
const readmeRules = "+psubscribe +ping +hello +client +info +role +config|get +config|set +publish +get +set " +
	"+pttl +hgetall ~freshet:* &__keyspace@0__:* &__keyspace@*__:freshet:mended"

// With the README's rules values are kept; without the right to ask for their lives New says so, since nothing would be.
// Seen to fail without the call of mayRead in build.
func TestREADMEsACLIsEnough(t *testing.T) {
	for _, missing := range []string{"", "+pttl", "+hgetall", "+hpttl"} {
		s := redistest.Start(t)
		all := readmeRules
		if s.Knows(t, "HPTTL") {
			all = "+hpttl " + all
		} else if missing == "+hpttl" {
			continue
		}
		rules := strings.Fields(strings.ReplaceAll(all, missing+" ", " "))
		s.AddUser(t, "app", append(rules, "~product:*", "on", ">secret")...)
		root := s.Client(t)
		root.Set(t.Context(), "product:1", "v", 0)
		root.HSet(t.Context(), "product:h", "f", "v")
		rdb := s.Client(t, func(o *redis.Options) { o.Username, o.Password = "app", "secret" })
		tr, err := invalidate.Connect(t.Context(), rdb, invalidate.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		type hash struct {
			F string `redis:"f"`
		}
		hashes, err := NewHash(tr, rdb, cache.Options[string, hash]{Prefix: "product:", MaxEntries: 10})
		if missing != "" {
			if err == nil || !strings.Contains(err.Error(), "ACL SETUSER app "+missing) {
				t.Errorf("without %s: %v", missing, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer hashes.Close()
		texts, err := New(tr, rdb, Text(), cache.Options[string, string]{Prefix: "product:", MaxEntries: 10})
		if err != nil {
			t.Fatal(err)
		}
		defer texts.Close()
		for i := range 2 {
			r, err := texts.Read(t.Context(), "1", cache.ReadOptions{})
			h, herr := hashes.Read(t.Context(), "h", cache.ReadOptions{})
			if err != nil || herr != nil || r.Hit != (i > 0) || h.Hit != (i > 0) || h.Value.F != "v" {
				t.Errorf("read %d: %+v, %v; %+v, %v", i, r, err, h, herr)
			}
		}
	}
}
