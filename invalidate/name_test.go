package invalidate

import (
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	for n, want := range map[Name]string{Key("a"): "key:a", Prefix("a"): "prefix:a", Tag("a"): "tag:a"} {
		if n.String() != want || n.Text() != "a" || n != (Name{n.Kind(), "a"}) {
			t.Errorf("%v: kind %d, text %q", n, n.Kind(), n.Text())
		}
	}
	if a := Key("a"); a == Tag("a") || a != Key("a") {
		t.Error("names do not compare by kind and text")
	}
}

// What is announced comes back as the name it was, and what nobody of ours announced makes everything fall.
func FuzzNameOf(f *testing.F) {
	const names = "freshet:" + namesUnder
	for _, text := range []string{
		"", "user:7", ":", "\x00\r\n*1\r\n\xff", names, names + "all", names + "tag:", names + "prefix:user:", names + "tag:x",
		names[:len(names)-1], "freshet:marker", "__keyspace@0__:a", strings.Repeat("x", 1000),
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, n := range []Name{Tag(text), Prefix(text), Key(text)} {
			got, all := nameOf(n.announced(names), names)
			if n.Kind() == KindKey && strings.HasPrefix(text, names) {
				continue // a key in the tracker's own namespace is a name there: see TestKeysInTheNamespace
			}
			if all || got != n {
				t.Errorf("%v comes back as %v (everything: %v)", n, got, all)
			}
		}
		// Whatever is published under the namespace: something falls.
		got, all := nameOf(names+text, names)
		if known := strings.HasPrefix(text, tagUnder) || strings.HasPrefix(text, prefixUnder); all == known {
			t.Errorf("%q is %v, everything: %v", text, got, all)
		}
		// The ledger takes any name, and what it names falls.
		tr := bare(1 << 12)
		tr.names = "another:" + namesUnder // keys under a tracker's own are not kept
		if strings.HasPrefix(text, "another:") {
			return
		}
		for _, n := range []Name{Tag(text), Prefix(text), Key(text)} {
			v := load(t, tr, t.Context(), n)
			tr.Forget(n)
			if v.Valid(long) {
				t.Errorf("%v fell and is valid", n)
			}
		}
		v := load(t, tr, t.Context(), Key(text))
		tr.Forget(Prefix(text[:len(text)/2]))
		if v.Valid(long) {
			t.Errorf("prefix %q fell, its key %q is valid", text[:len(text)/2], text)
		}
	})
}
