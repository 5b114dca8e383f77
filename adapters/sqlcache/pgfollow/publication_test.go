package pgfollow

import (
	"context"
	"errors"
	"testing"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine"
)

// ear is a cache that is told things.
type ear struct {
	all  int // how often that everything has changed
	deaf bool
	told sqlengine.Told
}

func (e *ear) Touch(context.Context, ...string) error {
	e.all++
	if e.deaf {
		return errors.New("deaf")
	}
	return nil
}

func (e *ear) TouchChanges(_ context.Context, _ []sqlengine.Change, told sqlengine.Told) error {
	e.told = told
	return nil
}

// What is told is believed of transactions that began when it was known, while the server can be asked; where it was not so all
// the while, everything falls. (Seen to fail with each case taken out.)
func TestBelieve(t *testing.T) {
	a, b := [2]string{"public", "a"}, [2]string{"public", "b"}
	first := &publication{definition: "1", relations: "1", from: 1<<32 - 1<<29, full: true, all: true, tables: map[[2]string]state{a: {OID: 1}}}
	for name, c := range map[string]struct {
		then  *publication
		falls int
	}{
		"as before":          {first, 0},
		"more tables":        {&publication{definition: "1", relations: "2", full: true, all: true, tables: map[[2]string]state{a: {OID: 1}, b: {OID: 2}}}, 0},
		"altered":            {&publication{definition: "2", relations: "1", full: true, all: true, tables: map[[2]string]state{a: {OID: 1}}}, 1},
		"less":               {&publication{definition: "1", relations: "2", full: true, all: true}, 1},
		"not all":            {&publication{definition: "1", relations: "2", full: true, tables: map[[2]string]state{a: {OID: 1}}}, 1},
		"a table altered":    {&publication{definition: "1", relations: "2", full: true, all: true, tables: map[[2]string]state{a: {OID: 1, Altered: "7"}}}, 1},
		"a table's new file": {&publication{definition: "1", relations: "2", full: true, all: true, tables: map[[2]string]state{a: {OID: 1, File: 7, Altered: "7"}}}, 0},
		"another":            {&publication{definition: "1", relations: "2", full: true, all: true, tables: map[[2]string]state{a: {OID: 3}}}, 1},
	} {
		e := &ear{deaf: true}
		s := &session{f: &Follower{cache: e}, pub: first, from: first.from}
		s.believe(t.Context(), c.then)
		if e.all != c.falls || s.unsaid != (c.falls > 0) || s.pub != c.then {
			t.Errorf("%s: everything fell %d times, unsaid is %t", name, e.all, s.unsaid)
		}
	}

	e := &ear{}
	s := &session{f: &Follower{cache: e}, pub: first, from: first.from, changed: map[[2]string]*changes{}}
	trusted := func(xid uint32) bool {
		s.xid = xid
		s.of(&table{schema: "public", name: "a"}).Updated = true
		if err := s.announce(t.Context()); err != nil {
			t.Fatal(err)
		}
		clear(s.changed)
		if e.told.All != (e.told.Of != nil) || e.told.All && (!e.told.Of("public", "a") || e.told.Of("public", "b")) {
			t.Errorf("told of all: %t", e.told.All)
		}
		return e.told.All
	}
	if trusted(first.from-1) || !trusted(first.from) || !trusted(3) {
		t.Error("not the transactions are trusted that began later")
	}
	for xid := uint32(0); xid < 1<<32-1<<29; xid += 1 << 28 {
		if !trusted(xid) {
			t.Fatalf("transaction %d is not trusted any more", xid)
		}
	}
	s.believe(t.Context(), nil)
	if trusted(s.from + 1) {
		t.Error("it is trusted while the server cannot be asked")
	}
	if s.believe(t.Context(), first); !trusted(s.from+1) || e.all != 0 {
		t.Error("it is not trusted again")
	}
}

func TestVersion(t *testing.T) {
	for text, c := range map[string]struct {
		v       version
		forgets bool
	}{
		"15.18 (Debian 15.18-0+deb12u1)": {version{15, 18}, false}, "15.12": {version{15, 12}, true}, "13.20": {version{13, 20}, true},
		"17.5": {version{17, 5}, false}, "18beta1": {version{18, 0}, false}, "18.6": {version{18, 6}, false}, "": {version{}, true},
	} {
		if v := versionOf(text); v != c.v || v.forgets() != c.forgets {
			t.Errorf("%q is read as %+v, and forgets: %t", text, v, v.forgets())
		}
	}
}

// What an update says of columns. (Seen to fail with each case taken out of compare, same and kept.)
func TestKept(t *testing.T) {
	columns := func(kind uint32) []column {
		return []column{{"id", int4Type, true}, {"Name", kind, true}, {"note", textType, false}, {"name", textType, true}, {"Note", textType, true}}
	}
	row := func(values ...string) (r []value) {
		for _, v := range values {
			r = append(r, value{v[0], []byte(v[1:])})
		}
		return r
	}
	for name, c := range map[string]struct {
		identity      byte
		kind          uint32
		before, after []value
		id, named     bool
	}{
		"no old row":       {'d', textType, nil, row("t1", "tx", "ty", "tz", "tn"), true, true},
		"none of all":      {'f', textType, nil, row("t1", "tx", "ty", "tz", "tn"), false, false},
		"the same":         {'f', textType, row("t1", "tx", "ty", "n", "tn"), row("t1", "u", "tw", "n", "tn"), true, true},
		"another":          {'d', textType, row("t1", "tx", "n", "n", "tn"), row("t2", "tx", "ty", "n", "tn"), false, true},
		"one of two names": {'d', textType, row("t1", "tx", "n", "ta", "tn"), row("t1", "tx", "ty", "tb", "tn"), true, false},
		"NULL":             {'f', textType, row("t1", "n", "ty", "n", "tn"), row("t1", "t", "tw", "n", "tn"), true, false},
		"a rounded text":   {'f', 701, row("t1", "t1.5", "ty", "n", "tn"), row("t1", "t1.5", "ty", "n", "tn"), true, false},
		"too few":          {'f', textType, row("t1"), row("t1"), false, false},
	} {
		s := &session{changed: map[[2]string]*changes{}}
		a := &table{schema: "public", name: "a", identity: c.identity, columns: columns(c.kind)}
		s.of(a).compare(c.before, c.after)
		if kept := s.of(a).kept(); kept["id"] != c.id || kept["name"] != c.named || kept["note"] {
			t.Errorf("%s: kept are %v", name, kept)
		}
		if kept := s.of(&table{schema: "public", name: "a", columns: columns(c.kind)}).kept(); len(kept) > 0 {
			t.Errorf("%s: of a table that was altered %v are kept", name, kept)
		}
	}
}
