package invalidate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gofreshet/freshet/internal/faultproxy"
	"github.com/gofreshet/freshet/internal/guard"
	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/notify"
	"github.com/redis/go-redis/v9"
)

// All kinds of name fall in both processes, whatever bytes they are made of, and no key is made, changed or deleted.
func TestTouch(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t)
	var heard diary
	here, there := connect(t, s.Client(t), Options{}), connect(t, s.Client(t), Options{Hooks: heard.hooks()})
	rdb := s.Client(t)
	set(t, rdb, "user:7", "mine")
	size := rdb.DBSize(t.Context()).Val()
	for _, c := range []struct {
		touched, falls, stays Name
	}{
		{Key("user:7"), Key("user:7"), Key("user:8")},
		{Key("absent"), Key("absent"), Key("absen")},
		{Key("user:7"), Prefix("user:"), Prefix("users")},
		{Tag("catalog"), Tag("catalog"), Key("catalog")},
		{Prefix("user:"), Key("user:7"), Key("users")},
		{Prefix("user:7"), Prefix("user:"), Prefix("order:")},
		{Prefix("user:"), Prefix("user:7:"), Tag("user:")},
		{Key("\x00\r\n*2\r\n\xff ü__:"), Key("\x00\r\n*2\r\n\xff ü__:"), Key("\x00")},
		{Tag("name:prefix:x"), Tag("name:prefix:x"), Prefix("x:")},
		{Tag(" "), Tag(" "), Tag("  ")},
	} {
		mine, theirs := load(t, here, t.Context(), c.falls), load(t, there, t.Context(), c.falls)
		spared, alsoSpared := load(t, here, t.Context(), c.stays), load(t, there, t.Context(), c.stays)
		fence(t, there) // what was set up has been heard
		heard.read()
		touch(t, here, c.touched)
		if mine.Valid(long) {
			t.Errorf("%v touched: %v did not fall here", c.touched, c.falls)
		}
		fence(t, there)
		if theirs.Valid(long) {
			t.Errorf("%v touched: %v did not fall there", c.touched, c.falls)
		}
		if !spared.Valid(long) || !alsoSpared.Valid(long) {
			t.Errorf("%v touched: %v fell", c.touched, c.stays)
		}
		if got := heard.read(); len(got) != 1 || got[0][len(got[0])-len(c.touched.String()):] != c.touched.String() {
			t.Errorf("%v touched: hooks there %q", c.touched, got)
		}
		// What comes back of one's own announcement kills nothing that was loaded after it.
		again := load(t, here, t.Context(), c.falls)
		fence(t, here)
		if !again.Valid(long) {
			t.Errorf("%v touched: what was loaded afterwards fell with the echo", c.touched)
		}
	}
	if v, n := rdb.Get(t.Context(), "user:7").Val(), rdb.DBSize(t.Context()).Val(); v != "mine" || n != size {
		t.Errorf("the key is %q and there are %d keys, %d before", v, n, size)
	}
	for _, n := range []Name{Key(""), Tag("")} {
		if err := here.Touch(t.Context(), Key("fine"), n); !errors.Is(err, ErrEmptyName) {
			t.Errorf("%v: %v", n, err)
		}
	}
	if err := here.Touch(t.Context()); err != nil {
		t.Errorf("no names: %v", err)
	}
	everything := load(t, there, t.Context(), Key("a:b"), Tag("t"))
	touch(t, here, Prefix(""))
	fence(t, there)
	if everything.Valid(long) {
		t.Error("the empty prefix is every key")
	}
}

// One's own announcement comes back after what was touched has been loaded anew: it kills nothing.
// Seen to fail without the comparison with t.echo in on.
func TestEchoKillsNothing(t *testing.T) {
	s := redistest.Start(t)
	rdb, p := through(t, s)
	tr := connect(t, rdb, Options{Notify: patient})
	subscription(p).Hold(faultproxy.ToClient)
	names := []Name{Key("k"), Tag("t"), Prefix("p:")}
	touch(t, tr, names...)
	v := load(t, tr, t.Context(), names...)
	before := tr.Stats().Events
	subscription(p).Release(faultproxy.ToClient)
	fence(t, tr)
	if got := tr.Stats().Events - before; got != uint64(len(names)) {
		t.Errorf("%d announcements came back: this schedule proves nothing", got)
	}
	if !v.Valid(long) {
		t.Error("what was loaded after the touch fell with the echo")
	}
}

// What a load records outlives the load's own touch, here and when its echo comes back; nobody else's, before or after.
// Seen to fail with Touch in TouchFrom's place, and with a stamp that is renewed whether it had fallen or not.
func TestTouchFrom(t *testing.T) {
	s := redistest.Start(t)
	tr := connect(t, s.Client(t), Options{})
	other := load(t, tr, t.Context(), Tag("t"))
	begin := func() *Record {
		r, _ := tr.Record(t.Context())
		r.DependOn(Key("k"), Tag("t"))
		return r
	}
	r, late := begin(), begin()
	if err := tr.TouchFrom(t.Context(), r, Tag("t")); err != nil {
		t.Fatal(err)
	}
	fence(t, tr)
	v, ok := r.Seal()
	if !ok || !v.Valid(long) {
		t.Error("it fell with its own touch")
	}
	if other.Valid(long) {
		t.Error("another did not")
	}
	if err := tr.TouchFrom(t.Context(), late, Tag("t")); err != nil {
		t.Fatal(err)
	}
	if _, ok := late.Seal(); ok {
		t.Error("what had fallen before is good again")
	}
	if v.Valid(long) {
		t.Error("it outlives another's touch")
	}
	if err := tr.TouchFrom(t.Context(), r, Key("k")); err != nil {
		t.Fatal(err)
	}
	if v, ok := r.Seal(); ok || v.Valid(long) {
		t.Error("what was sealed is good again")
	}
}

// Touch is told of under the event "touch" here, Forget under "forget"; neither reaches the other process's Forget.
func TestForgetStaysHere(t *testing.T) {
	s := redistest.Start(t)
	var d diary
	here, there := connect(t, s.Client(t), Options{Hooks: d.hooks()}), connect(t, s.Client(t), Options{})
	v, w := load(t, here, t.Context(), Key("k")), load(t, there, t.Context(), Key("k"))
	d.read()
	here.Forget(Key("k"))
	fence(t, there)
	if v.Valid(long) || !w.Valid(long) {
		t.Errorf("after Forget valid here %v, there %v", v.Valid(long), w.Valid(long))
	}
	touch(t, here, Tag("t"))
	if got := d.read(); !slices.Equal(got, []string{"forget key:k", "touch tag:t"}) {
		t.Errorf("hooks %q", got)
	}
}

// Names under one namespace are nothing to those who use another; keys are everyone's.
func TestNamespaces(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t)
	open := func(namespace string) *Tracker {
		return connect(t, s.Client(t), Options{Notify: notify.Options{Namespace: namespace, Prefixes: []string{"k"}}})
	}
	a, b, other := open("mine:"), open("mine:"), open("[other]*:")
	validAt := func(n Name) (out []Validity) {
		for _, tr := range []*Tracker{a, b, other} {
			out = append(out, load(t, tr, t.Context(), n))
		}
		return out
	}
	for n, want := range map[Name][]bool{Tag("t"): {false, false, true}, Key("k1"): {false, false, false}, Prefix("k"): {false, false, true}} {
		vs := validAt(n)
		touch(t, a, n)
		fence(t, b)
		fence(t, other)
		for i, v := range vs {
			if v.Valid(long) != want[i] {
				t.Errorf("%v touched under mine: tracker %d valid %v", n, i, v.Valid(long))
			}
		}
	}
	if keys := s.Client(t).Keys(t.Context(), "*").Val(); !slices.Contains(keys, "mine:marker") || slices.Contains(keys, "freshet:marker") {
		t.Errorf("keys in Redis: %q", keys)
	}
}

// A tracker hears its own database and no other.
func TestTwoDatabases(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t)
	zero, three := connect(t, s.Client(t), Options{}), connect(t, s.Client(t, inDB(3)), Options{})
	for i, change := range []func(){
		func() { touch(t, zero, Key("k")) },
		func() { touch(t, three, Key("k")) },
		func() { touch(t, zero, Tag("k")) },
		func() { set(t, s.Client(t), "k", 1) },
		func() { set(t, s.Client(t, inDB(3)), "k", 1) },
	} {
		v, w := load(t, zero, t.Context(), Key("k"), Tag("k")), load(t, three, t.Context(), Key("k"), Tag("k"))
		change()
		fence(t, zero)
		fence(t, three)
		inThree := i == 1 || i == 4
		if v.Valid(long) != inThree || w.Valid(long) == inThree {
			t.Errorf("change %d: valid in 0 %v, in 3 %v", i, v.Valid(long), w.Valid(long))
		}
	}
}

// mute is a tracker whose announcements get no answer until heal: the stream is sound.
func mute(t *testing.T, s *redistest.Server, opts Options, out guard.Set) (tr *Tracker, heal func()) {
	t.Helper()
	rdb, p := through(t, s)
	opts.Notify = patient
	tr = without(t, rdb, opts, out)
	announcements := p.Having("publish")
	announcements.Drop(faultproxy.ToServer)
	return tr, announcements.Pass
}

// R12. The announcement fails, or its answer does not come, or ctx has ended: what was touched has fallen here when
// Touch returns, the error says that others may not know, and they are told once the link heals.
// With guard.Own out (the local ledger left to the echo) it has not.
func TestR12OwnWrites(t *testing.T) {
	leak.Check(t)
	for _, out := range []guard.Set{0, guard.Own} {
		s := redistest.Start(t)
		here, heal := mute(t, s, Options{}, out)
		there := connect(t, s.Client(t), Options{})
		names := []Name{Key("k"), Tag("t"), Prefix("p:")}
		mine, theirs := load(t, here, t.Context(), names...), load(t, there, t.Context(), names...)
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		for _, ctx := range []context.Context{t.Context(), cancelled} {
			err := here.Touch(ctx, names...)
			if !errors.Is(err, ErrNotAnnounced) || ctx == cancelled && !errors.Is(err, context.Canceled) {
				t.Errorf("Touch: %v", err)
			}
			if served := mine.Valid(long); served != (out == guard.Own) {
				t.Errorf("guards out %b: after Touch it is valid here: %v", out, served)
			}
		}
		fence(t, there)
		if !theirs.Valid(long) {
			t.Error("fell there though nothing was announced: this schedule proves nothing")
		}
		heal()
		eventually(t, "it falls there by itself", func() bool { return !theirs.Valid(long) })
		_ = here.Close()
	}
}

// R12. More than is remembered: then everything falls there.
func TestR12BeyondWhatIsRemembered(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t)
	here, heal := mute(t, s, Options{}, 0)
	var d diary
	there := connect(t, s.Client(t), Options{Hooks: d.hooks()})
	names := make([]Name, 2*maxUnsent+1)
	for i := range names {
		names[i] = Tag(fmt.Sprint("t", i))
	}
	bystander := load(t, there, t.Context(), Key("bystander"))
	if err := here.Touch(t.Context(), names...); !errors.Is(err, ErrNotAnnounced) {
		t.Errorf("Touch: %v", err)
	}
	here.unsent.mu.Lock()
	kept := len(here.unsent.names)
	here.unsent.mu.Unlock()
	if kept > maxUnsent {
		t.Errorf("%d names are remembered", kept)
	}
	heal()
	eventually(t, "everything falls there", func() bool { return !bystander.Valid(long) })
	if !d.has("all: announced") {
		t.Errorf("hooks %q", d.read())
	}
}

// R12. A user who may not publish is told so at each Touch; it falls here, and everywhere once permission is given.
func TestR12NoPermission(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t)
	s.AddUser(t, "app", "on", ">secret", "~*", "&*", "+@all", "-publish")
	here, there := connect(t, s.Client(t, as("app")), Options{}), connect(t, s.Client(t), Options{})
	mine, theirs := load(t, here, t.Context(), Tag("t")), load(t, there, t.Context(), Tag("t"))
	err := here.Touch(t.Context(), Tag("t"))
	if !errors.Is(err, ErrNotAnnounced) || !refused(err) {
		t.Errorf("Touch: %v", err)
	}
	if mine.Valid(long) || !theirs.Valid(long) {
		t.Errorf("valid here %v, there %v", mine.Valid(long), theirs.Valid(long))
	}
	s.AddUser(t, "app", "+publish")
	eventually(t, "it falls there by itself", func() bool { return !theirs.Valid(long) })
}

func refused(err error) bool {
	var re redis.Error
	return errors.As(err, &re) && redis.HasErrorPrefix(re, "NOPERM")
}

// R13. A storm is one step in the other process too, and nothing that it names is spared there.
func TestR13StormElsewhere(t *testing.T) {
	leak.Check(t)
	s := redistest.Start(t)
	var d diary
	here, there := connect(t, s.Client(t), Options{}), connect(t, s.Client(t), Options{Hooks: d.hooks()})
	names := make([]Name, 200_000)
	for i := range names {
		names[i] = Key(fmt.Sprint("k", i))
	}
	last, bystander := load(t, there, t.Context(), names[len(names)-1]), load(t, there, t.Context(), Key("bystander"))
	mine := load(t, here, t.Context(), names[0])
	d.read()
	before := there.Stats()
	touch(t, here, names...)
	fence(t, there)
	if mine.Valid(long) || last.Valid(long) || bystander.Valid(long) {
		t.Error("survived the storm")
	}
	if after := there.Stats(); after.Epochs != before.Epochs+1 || after.Events != before.Events+1 {
		t.Errorf("there %d epochs and %d events for one storm", after.Epochs-before.Epochs, after.Events-before.Events)
	}
	if got := d.read(); !slices.Equal(got, []string{"all: announced"}) {
		t.Errorf("hooks there %q", got)
	}
	// Fewer are told one by one, in batches.
	few := names[:3*publishBatch/2]
	last, bystander = load(t, there, t.Context(), few[len(few)-1]), load(t, there, t.Context(), Key("bystander"))
	touch(t, here, few...)
	fence(t, there)
	if last.Valid(long) || !bystander.Valid(long) {
		t.Errorf("of a few names the last is valid %v, a bystander %v", last.Valid(long), bystander.Valid(long))
	}
}

// Programs in other languages touch by PUBLISH, as Tag says.
func TestTouchByPublish(t *testing.T) {
	s := redistest.Start(t)
	tr := connect(t, s.Client(t), Options{})
	falls, stays := load(t, tr, t.Context(), Tag("catalog")), load(t, tr, t.Context(), Tag("catalog2"))
	if err := s.Client(t).Publish(t.Context(), "__keyspace@0__:freshet:name:tag:catalog", "x").Err(); err != nil {
		t.Fatal(err)
	}
	fence(t, tr)
	if falls.Valid(long) || !stays.Valid(long) {
		t.Errorf("after a PUBLISH of catalog: catalog is valid: %v, catalog2: %v", falls.Valid(long), stays.Valid(long))
	}
}

// A touch in a gap of the other process is not missed: its gap is an epoch.
func TestTouchInAnothersGap(t *testing.T) {
	s := redistest.Start(t)
	rdb, p := through(t, s)
	opts := patient
	opts.Backoff = func(int) time.Duration { return 5 * time.Millisecond }
	here, there := connect(t, s.Client(t), Options{}), connect(t, rdb, Options{Notify: opts})
	v := load(t, there, t.Context(), Tag("t"))
	p.Refuse()
	p.Cut(faultproxy.RST)
	eventually(t, "the gap is noticed", func() bool { return !there.Synced() })
	touch(t, here, Tag("t"))
	p.Accept()
	fence(t, there)
	if v.Valid(long) {
		t.Error("a tag touched in a gap did not fall")
	}
}
