package notify

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/redis/go-redis/v9"
)

func TestParseChannel(t *testing.T) {
	for _, c := range []struct {
		channel string
		kind    Channels
		db      int
		rest    string
		ok      bool
	}{
		{"__keyspace@0__:k", Keyspace, 0, "k", true},
		{"__keyevent@15__:set", Keyevent, 15, "set", true},
		{"__keyspace@3__:", Keyspace, 3, "", true},
		{"__keyspace@3__:a__:b", Keyspace, 3, "a__:b", true},
		{"__keyspace@3__:\x00\xff\r\n", Keyspace, 3, "\x00\xff\r\n", true},
		{"__keyspace@__:k", 0, 0, "", false},
		{"__keyspace@-1__:k", 0, 0, "", false},
		{"__keyspace@+1__:k", 0, 0, "", false},
		{"__keyspace@01__:k", 0, 0, "", false},
		{"__keyspace@1:k", 0, 0, "", false},
		{"__keyspace@1_:k", 0, 0, "", false},
		{"__keyspace@99999999999999999999__:k", 0, 0, "", false},
		{"__keyspace@1", 0, 0, "", false},
		{"__subkeyspace@0__:h", 0, 0, "", false},
		{"k", 0, 0, "", false},
		{"", 0, 0, "", false},
	} {
		kind, db, rest, ok := ParseChannel(c.channel)
		if kind != c.kind || db != c.db || rest != c.rest || ok != c.ok {
			t.Errorf("ParseChannel(%q) = %v, %d, %q, %v", c.channel, kind, db, rest, ok)
		}
	}
}

func FuzzParseChannel(f *testing.F) {
	f.Add("__keyspace@0__:k")
	f.Add("__keyevent@12__:set__:x")
	f.Add("__keyspace@00__:k")
	f.Fuzz(func(t *testing.T, channel string) {
		kind, db, rest, ok := ParseChannel(channel)
		if ok && channelName(kind, db, rest) != channel {
			t.Errorf("%q parsed as %v %d %q is another channel", channel, kind, db, rest)
		}
		if db < 0 || !ok && (kind != 0 || db != 0 || rest != "") {
			t.Errorf("%q: %v %d %q %v", channel, kind, db, rest, ok)
		}
		for _, kind := range []Channels{Keyspace, Keyevent} {
			k, d, r, ok := ParseChannel(channelName(kind, 7, channel))
			if k != kind || d != 7 || r != channel || !ok {
				t.Errorf("%v 7 %q came back as %v %d %q %v", kind, channel, k, d, r, ok)
			}
		}
	})
}

// FuzzEscape: a subscribed prefix matches exactly its keys, whatever bytes they hold.
func FuzzEscape(f *testing.F) {
	f.Add("p:", "p:1")
	f.Add("[a-z]*?\\^", "b")
	f.Add("a\\", "a\\*")
	f.Add("]", "]x")
	f.Fuzz(func(t *testing.T, prefix, key string) {
		for _, db := range []int{0, AllDBs} {
			g, err := compileGlob(channelPattern(Keyspace, db, prefix))
			if err != nil {
				t.Fatalf("prefix %q: %v", prefix, err)
			}
			if got, want := g.match(channelName(Keyspace, 0, key)), strings.HasPrefix(key, prefix); got != want && !(db == AllDBs && got) {
				t.Errorf("prefix %q, key %q: matched %v", prefix, key, got)
			}
			if !g.match(channelName(Keyspace, 0, prefix+key)) {
				t.Errorf("prefix %q does not match its key %q", prefix, prefix+key)
			}
			if g.match(channelName(Keyspace, 1, prefix+key)) != (db == AllDBs) {
				t.Errorf("prefix %q in another database", prefix)
			}
		}
		exact, err := compileGlob(EscapeGlob(prefix))
		if err != nil || !exact.match(prefix) || exact.match(key) != (key == prefix) {
			t.Errorf("EscapeGlob(%q) and %q: %v", prefix, key, err)
		}
		if !exact.canBegin(prefix) || prefix != "" && exact.canBegin(prefix+"x") {
			t.Errorf("canBegin of the literal %q", prefix)
		}
	})
}

// FuzzGlob compares with a plain recursive matcher, and canBegin with match.
func FuzzGlob(f *testing.F) {
	for _, p := range globPatterns {
		f.Add(p, "abc")
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 12 || len(s) > 12 {
			return // the plain one is exponential
		}
		g, err := compileGlob(pattern)
		if err != nil {
			return
		}
		if got, want := g.match(s), plainMatch(g, s); got != want {
			t.Errorf("%q against %q: %v", pattern, s, got)
		}
		if g.match(s) {
			for i := range len(s) + 1 {
				if !g.canBegin(s[:i]) {
					t.Errorf("%q matches %q but not what begins with %q", pattern, s, s[:i])
				}
			}
		}
	})
}

func plainMatch(g glob, s string) bool {
	switch {
	case len(g) == 0:
		return s == ""
	case g[0].star:
		return plainMatch(g[1:], s) || s != "" && plainMatch(g, s[1:])
	}
	return s != "" && g[0].has(s[0]) && plainMatch(g[1:], s[1:])
}

var globPatterns = []string{
	"*", "**", "?", "a", "a*", "*a", "a*c", "a?c", "[abc]", "[^abc]", "[a-c]*", "[c-a]*", "[a-]x]", "[a-]", `[\]]`, `[a\-c]`,
	`[\\]`, "[^]", "[^^]", "[]a]", `\*`, `\?x`, `a\`, `\`, `\\`, "*[b-d]?", "a**c", "[[]", "]", "-", "^", "[a-a]", "[--/]", `[\a-c]`,
	"*a*b*", "h[ae]llo", "h[^e]llo", "?*", "*?", `[x-\]]`, "\xff*", "[\x80-\xff]*",
}

// TestGlobIsRedis compares with the server's own matcher.
func TestGlobIsRedis(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	keys := []string{
		"a", "b", "c", "d", "x", "ab", "ac", "abc", "abbc", "axc", "aXXc", "]", "]x", "-", "^", "\\", "a\\", "*", "?x", "[", "hello", "hallo",
		"hxllo", "aaab", "bab", "\xff", "\x80x", "é", "^]", "a-", "a]", "-x", "/", ".", "xb", "xby", "Z", " ", "a\nb",
	}
	for _, k := range keys {
		do(t, rdb, "SET", k, 1)
	}
	slices.Sort(keys)
	for _, p := range globPatterns {
		want, err := rdb.Keys(testContext(t), p).Result()
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(want)
		g, err := compileGlob(p)
		if err != nil {
			if len(want) > 0 {
				t.Logf("%q %v; Redis matches %q", p, err, want)
			}
			continue
		}
		var got []string
		for _, k := range keys {
			if g.match(k) {
				got = append(got, k)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q matches %q, in Redis %q", p, got, want)
		}
	}
}

// A pattern that is exponential for a naive matcher.
func TestGlobIsQuick(t *testing.T) {
	g, err := compileGlob(strings.Repeat("*a", 50) + "b")
	if err != nil {
		t.Fatal(err)
	}
	if g.match(strings.Repeat("a", 5000)) {
		t.Error("it matched")
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{}, ""},
		{Options{Prefixes: []string{"a", "ab"}, DBs: []int{0, 3}, Heartbeat: time.Second, AuditEvery: -1, Namespace: "x"}, ""},
		{Options{DBs: []int{AllDBs}}, ""},
		{Options{Prefixes: []string{}}, "Options.Prefixes is empty"},
		{Options{Prefixes: []string{"a", ""}}, "Options.Prefixes holds an empty prefix"},
		{Options{DBs: []int{}}, "Options.DBs is empty"},
		{Options{DBs: []int{-2}}, "Options.DBs holds -2"},
		{Options{DBs: []int{AllDBs, 1}}, "AllDBs beside others"},
		{Options{Channels: 2}, "Options.Channels is 2"},
		{Options{Flags: 3}, "Options.Flags is 3"},
		{Options{Heartbeat: -1}, "Options.Heartbeat is -1ns"},
		{Options{Heartbeat: 1}, "Options.Heartbeat is 1ns"},
		{Options{PongTimeout: -time.Second}, "Options.PongTimeout is -1s"},
		{Options{PongTimeout: time.Millisecond}, "Options.PongTimeout (1ms) is below Heartbeat (250ms)"},
		{Options{AuditEvery: 1}, "Options.AuditEvery is 1ns"},
	} {
		err := c.o.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", c.o, err, c.want)
		}
		if c.want != "" {
			rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
			if _, err := Listen(testContext(t), rdb, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Listen %+v: %v", c.o, err)
			}
			rdb.Close()
		}
	}
}

func TestMinimal(t *testing.T) {
	got := minimal([]string{"b", "ab", "a", "abc", "a", "ba", "c\xff", "c"})
	if want := []string{"a", "b", "c"}; !slices.Equal(got, want) {
		t.Errorf("minimal = %q", got)
	}
}

func TestBackoff(t *testing.T) {
	for attempt, most := 0, 50*time.Millisecond; attempt < 2000; attempt++ {
		if d := backoff(attempt); d < most/2 || d > most {
			t.Fatalf("backoff(%d) = %v, want %v at most and half of it at least", attempt, d, most)
		}
		most = min(2*most, 5*time.Second)
	}
}

func TestFlagLetters(t *testing.T) {
	for _, c := range []struct {
		was    string
		ch     Channels
		enough bool
		added  string
	}{
		{"", Keyspace, false, "KA"},
		{"KA", Keyspace, true, "KA"},
		{"AE", Keyspace, false, "EKA"},
		{"AKEm", Keyevent, true, "KEmA"},
		{"Kg$lshzxetd", Keyspace, false, "KA"}, // a newer server has classes beside these in A
		{"Kmn", Keyevent, false, "KmnEA"},
	} {
		if got := enoughFlags(c.was, c.ch); got != c.enough {
			t.Errorf("enoughFlags(%q, %v) = %v", c.was, c.ch, got)
		}
		if got := addFlags(c.was, c.ch); got != c.added || !enoughFlags(got, c.ch) {
			t.Errorf("addFlags(%q, %v) = %q, want %q", c.was, c.ch, got, c.added)
		}
	}
	for _, c := range []struct {
		is, good string
		want     bool
	}{{"AK", "AK", true}, {"AKEm", "AK", true}, {"AE", "AK", false}, {"Kg$lshzxet", "AK", false}, {"AK", "Kg$lshzxetd", true}, {"", "AK", false}} {
		if got := keepsFlags(c.is, c.good); got != c.want {
			t.Errorf("keepsFlags(%q, %q) = %v", c.is, c.good, got)
		}
	}
}

func TestQuoteArg(t *testing.T) {
	for s, want := range map[string]string{
		"&__keyspace@0__:p:*": "&__keyspace@0__:p:*", "": `""`, "a b": `"a b"`, `a\*`: `"a\\*"`, `"`: `"\""`, "\x00ü": `"\x00\xc3\xbc"`,
	} {
		if got := quoteArg(s); got != want {
			t.Errorf("quoteArg(%q) = %s, want %s", s, got, want)
		}
	}
}

func TestKindString(t *testing.T) {
	for k, want := range map[Kind]string{Change: "change", Gap: "gap", Flush: "flush", Synced: "synced", 9: "kind(9)"} {
		if k.String() != want {
			t.Errorf("%d is %q", k, k.String())
		}
	}
	if s := fmt.Sprint(Keyspace, Keyevent); s != "keyspace keyevent" {
		t.Error(s)
	}
}
