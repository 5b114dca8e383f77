package history

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// Times in these tests are small numbers; a unit is a nanosecond.

func wrote(version uint64, start, end time.Duration) Write {
	return Write{Key: "k", Version: version, Outcome: Applied, Start: start, End: end}
}

func unknown(version uint64, start, end time.Duration) Write {
	return Write{Key: "k", Version: version, Start: start, End: end}
}

func saw(version uint64, start, end time.Duration) Read {
	return Read{Key: "k", Version: version, Start: start, End: end}
}

// hit is saw, from memory, with a bound and a load.
func hit(version uint64, start, bound time.Duration, load uint64) Read {
	return Read{Key: "k", Version: version, Start: start, End: start, Hit: true, Bound: bound, Load: load}
}

func TestPromises(t *testing.T) {
	// Version 1 is replaced by 2, which is done at 20.
	two := []Write{wrote(1, 0, 5), wrote(2, 10, 20)}
	load := func(at time.Duration) []Load { return []Load{{Key: "k", Start: at}} }
	for _, c := range []struct {
		name  string
		h     History
		slack time.Duration
		want  []Kind
	}{
		{name: "I1: older than the write before the fence",
			h:    History{Writes: two, Fences: []Fence{{Start: 21, End: 25}}, Reads: []Read{saw(1, 26, 26)}},
			want: []Kind{I1}},
		{name: "I1 near: the write was done when the fence was called, at the same time",
			h: History{Writes: two, Fences: []Fence{{Start: 20, End: 25}}, Reads: []Read{saw(1, 26, 26)}}},
		{name: "I1 near: the read began when the fence returned, at the same time",
			h: History{Writes: two, Fences: []Fence{{Start: 21, End: 26}}, Reads: []Read{saw(1, 26, 26)}}},
		{name: "I1 near: another instance's fence",
			h: History{Writes: two, Fences: []Fence{{Instance: "b", Start: 21, End: 25}}, Reads: []Read{saw(1, 26, 26)}}},
		{name: "I1 near: within the slack", slack: 1,
			h: History{Writes: two, Fences: []Fence{{Start: 21, End: 25}}, Reads: []Read{saw(1, 27, 27)}}},
		{name: "I1: the latest begun of the fences before the read counts, not the last returned",
			h: History{Writes: two, Fences: []Fence{{Start: 21, End: 25}, {Start: 2, End: 26}, {Start: 22, End: 40}},
				Reads: []Read{saw(1, 30, 30)}},
			want: []Kind{I1}},
		{name: "I1: a value seen by another before the fence had been written",
			h: History{Writes: []Write{wrote(1, 0, 5), unknown(2, 10, 20)}, Fences: []Fence{{Start: 31, End: 35}},
				Reads: []Read{saw(2, 29, 30), saw(1, 36, 36)}},
			want: []Kind{I1}},
		{name: "I1 near: seen only when the fence was called",
			h: History{Writes: []Write{wrote(1, 0, 5), unknown(2, 10, 20)}, Fences: []Fence{{Start: 31, End: 35}},
				Reads: []Read{saw(2, 29, 31), saw(1, 36, 36)}}},
		{name: "I1: absence, after a write",
			h:    History{Writes: two, Fences: []Fence{{Start: 21, End: 25}}, Reads: []Read{saw(Absent, 26, 26)}},
			want: []Kind{I1}},
		{name: "I1: a value, after a flush of all",
			h: History{Writes: []Write{wrote(1, 0, 5), {All: true, Outcome: Applied, Start: 10, End: 20}},
				Fences: []Fence{{Start: 21, End: 25}}, Reads: []Read{saw(1, 26, 26)}},
			want: []Kind{I1}},

		{name: "I2: beyond the bound", h: History{Writes: two, Reads: []Read{hit(1, 31, 10, 0)}}, want: []Kind{I2}},
		{name: "I2 near: just as old as the bound", h: History{Writes: two, Reads: []Read{hit(1, 30, 10, 0)}}},
		{name: "I2 near: not from memory",
			h: History{Writes: two, Reads: []Read{{Key: "k", Version: 1, Bound: 10, Start: 99, End: 99}}}},
		{name: "I2 near: no bound", h: History{Writes: two, Reads: []Read{hit(1, 99, 0, 0)}}},
		{name: "I2 near: within the slack", slack: 1, h: History{Writes: two, Reads: []Read{hit(1, 31, 10, 0)}}},
		{name: "I2 near: the write was known not to be applied",
			h: History{Writes: []Write{wrote(1, 0, 5), {Key: "k", Version: 2, Outcome: NotApplied, Start: 10, End: 20}},
				Reads: []Read{hit(1, 99, 10, 0)}}},
		{name: "I2 near: nobody knows whether the write was applied",
			h: History{Writes: []Write{wrote(1, 0, 5), unknown(2, 10, 20)}, Reads: []Read{hit(1, 99, 10, 0)}}},
		{name: "I2: a later read proves that it was, too late for the first",
			h: History{Writes: []Write{wrote(1, 0, 5), unknown(2, 10, 20)},
				Reads: []Read{hit(1, 99, 10, 0), saw(2, 99, 100), hit(1, 111, 10, 0)}},
			want: []Kind{I2}},
		{name: "I2 near: a write of unknown outcome may have come after its successor",
			h: History{Writes: []Write{unknown(1, 0, 5), wrote(2, 10, 20)}, Reads: []Read{hit(1, 99, 10, 0)}}},
		{name: "I2: unless its time was over",
			h: History{Writes: []Write{unknown(1, 0, 5), wrote(2, 10, 20)}, Settled: []time.Duration{5, 90},
				Reads: []Read{hit(1, 99, 10, 0)}},
			want: []Kind{I2}},
		{name: "I2 near: its time was over only when its successor began",
			h: History{Writes: []Write{unknown(1, 0, 5), wrote(2, 10, 20)}, Settled: []time.Duration{4, 10},
				Reads: []Read{hit(1, 99, 10, 0)}}},
		{name: "I2: or it had been seen before",
			h: History{Writes: []Write{unknown(1, 0, 5), wrote(2, 10, 20)},
				Reads: []Read{saw(1, 6, 7), hit(1, 99, 10, 0)}},
			want: []Kind{I2}},
		{name: "I2 near: absence may be that of the latest delete",
			h: History{Writes: []Write{wrote(Absent, 0, 5), wrote(2, 10, 20), wrote(Absent, 40, 50)},
				Reads: []Read{hit(Absent, 45, 10, 0)}}},
		{name: "I2: not of one that comes after the read",
			h: History{Writes: []Write{wrote(Absent, 0, 5), wrote(2, 10, 20), wrote(Absent, 46, 50)},
				Reads: []Read{hit(Absent, 45, 10, 0)}},
			want: []Kind{I2}},
		{name: "I2 near: absence may be that of a delete of unknown outcome",
			h: History{Writes: []Write{unknown(Absent, 0, 5), wrote(2, 10, 20)}, Reads: []Read{hit(Absent, 99, 10, 0)}}},

		{name: "I2 near: a version that was there twice may have been seen the first time",
			h: History{Writes: []Write{wrote(1, 0, 5), wrote(2, 10, 20), unknown(1, 30, 35)},
				Reads: []Read{saw(1, 40, 41), hit(2, 99, 10, 0)}}},
		{name: "I2: the state between is older than the second",
			h: History{Writes: []Write{wrote(1, 0, 5), wrote(2, 10, 20), wrote(1, 30, 35)},
				Reads: []Read{hit(1, 99, 10, 0), hit(2, 99, 10, 0)}},
			want: []Kind{I2}},

		{name: "I3: from before the gap",
			h: History{Writes: two, Loads: load(21), Gaps: []Gap{{Lost: 20, Unsynced: 22, Synced: 30}},
				Reads: []Read{hit(2, 31, 0, 1)}},
			want: []Kind{I3}},
		{name: "I3 near: read when the gap ended",
			h: History{Writes: two, Loads: load(21), Gaps: []Gap{{Lost: 20, Unsynced: 22, Synced: 30}},
				Reads: []Read{hit(2, 30, 0, 1)}}},
		{name: "I3 near: loaded when the gap was last seen open",
			h: History{Writes: two, Loads: load(22), Gaps: []Gap{{Lost: 20, Unsynced: 22, Synced: 30}},
				Reads: []Read{hit(2, 31, 0, 1)}}},
		{name: "I3 near: not from memory",
			h: History{Writes: two, Loads: load(21), Gaps: []Gap{{Lost: 20, Unsynced: 22, Synced: 30}},
				Reads: []Read{{Key: "k", Version: 2, Load: 1, Start: 31, End: 31}}}},
		{name: "I3 near: another instance's gap",
			h: History{Writes: two, Loads: load(21), Gaps: []Gap{{Instance: "b", Unsynced: 22, Synced: 30}},
				Reads: []Read{hit(2, 31, 0, 1)}}},
		{name: "I3 near: within the slack", slack: 1,
			h: History{Writes: two, Loads: load(21), Gaps: []Gap{{Unsynced: 22, Synced: 29}}, Reads: []Read{hit(2, 31, 0, 1)}}},

		{name: "corrupt: nobody wrote it", h: History{Writes: two, Reads: []Read{saw(3, 30, 31)}}, want: []Kind{Corrupt}},
		{name: "corrupt: not yet written", h: History{Writes: two, Reads: []Read{saw(2, 8, 9)}}, want: []Kind{Corrupt}},
		{name: "corrupt near: being written", h: History{Writes: two, Reads: []Read{saw(2, 8, 10)}}},
		{name: "corrupt: known not to be applied",
			h:    History{Writes: []Write{{Key: "k", Version: 1, Outcome: NotApplied}}, Reads: []Read{saw(1, 8, 9)}},
			want: []Kind{Corrupt}},
		{name: "corrupt: of a key never written", h: History{Writes: two, Reads: []Read{{Key: "x", Version: 1, Start: 9, End: 9}}},
			want: []Kind{Corrupt}},
		{name: "a key never written is absent", h: History{Writes: two, Reads: []Read{{Key: "x", Start: 9, End: 9}}}},
		{name: "corrupt: another key's load",
			h:    History{Writes: two, Loads: []Load{{Key: "x", Start: 21}}, Reads: []Read{hit(2, 31, 0, 1)}},
			want: []Kind{Corrupt}},
		{name: "corrupt: a load that begins later",
			h: History{Writes: two, Loads: load(32), Reads: []Read{hit(2, 31, 0, 1)}}, want: []Kind{Corrupt}},

		{name: "source: loaded after it had been replaced",
			h: History{Writes: two, Loads: load(21), Reads: []Read{hit(1, 31, 0, 1)}}, want: []Kind{Source}},
		{name: "source near: replaced as it was loaded",
			h: History{Writes: two, Loads: load(20), Reads: []Read{hit(1, 31, 0, 1)}}},

		{name: "several at once",
			h: History{Writes: two, Loads: load(6), Gaps: []Gap{{Unsynced: 22, Synced: 30}}, Fences: []Fence{{Start: 21, End: 22}},
				Reads: []Read{hit(1, 31, 10, 1)}},
			want: []Kind{I1, I2, I3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Check(&c.h, Options{Slack: c.slack})
			if err != nil {
				t.Fatal(err)
			}
			var want [kinds]int
			for _, k := range c.want {
				want[k]++
			}
			if r.Broken != want {
				t.Errorf("broken %v, want %v\n%v", r.Broken, want, r)
			}
			if (r.Err() != nil) != (len(c.want) > 0) || r.Err() != nil && !errors.Is(r.Err(), ErrViolated) {
				t.Errorf("Err() = %v", r.Err())
			}
		})
	}
}

// A key that expires is absent, at a time known to 2 ms.
func TestExpiry(t *testing.T) {
	const ms = time.Millisecond
	expiring := Write{Key: "k", Version: 1, TTL: 100 * ms, Outcome: Applied, Start: 0, End: 1 * ms}
	for _, c := range []struct {
		name   string
		writes []Write
		read   Read
		want   time.Duration // proven staleness
	}{
		{"still there", []Write{expiring}, saw(1, 103*ms, 103*ms), 0},
		{"gone at 103", []Write{expiring}, saw(1, 113*ms, 113*ms), 10 * ms},
		{"absent", []Write{expiring}, saw(Absent, 200*ms, 200*ms), 0},
		{"absent too early", []Write{expiring}, saw(Absent, 50*ms, 97*ms), 49 * ms},
		{"perhaps absent", []Write{expiring}, saw(Absent, 98*ms, 98*ms), 0},
		{"replaced long before", []Write{expiring, wrote(2, 50*ms, 60*ms)}, saw(2, 500*ms, 500*ms), 0},
		{"replaced long before, so it never was absent", []Write{expiring, wrote(2, 50*ms, 60*ms)},
			saw(Absent, 500*ms, 500*ms), 499 * ms},
		{"replaced at about the same time", []Write{expiring, wrote(2, 97*ms, 99*ms)}, saw(Absent, 120*ms, 120*ms), 0},
		{"perhaps replaced", []Write{expiring, unknown(2, 50*ms, 60*ms)}, saw(1, 500*ms, 500*ms), 0},
		{"replaced after", []Write{expiring, wrote(2, 110*ms, 120*ms)}, saw(Absent, 140*ms, 140*ms), 20 * ms},
		{"perhaps never written", []Write{{Key: "k", Version: 1, TTL: 100 * ms, End: 1 * ms}, wrote(2, 200*ms, 201*ms)},
			saw(Absent, 300*ms, 300*ms), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.read.Hit = true
			r, err := Check(&History{Writes: c.writes, Reads: []Read{c.read}}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := r.Staleness(1); got != c.want || r.Err() != nil {
				t.Errorf("staleness %v, want %v; %v", got, c.want, r)
			}
		})
	}
}

func TestReportCounts(t *testing.T) {
	h := &History{
		Seed:   42,
		Writes: []Write{wrote(1, 0, 5), wrote(2, 10, 20), unknown(3, 30, 35)},
		Reads: []Read{
			hit(2, 40, 100, 0), hit(1, 41, 100, 0), // backwards
			saw(Absent, 42, 42), hit(2, 43, 100, 0), // what is absent is not counted as a step back
			{Reader: 1, Key: "k", Version: 1, Start: 44, End: 44}, // another reader
		},
		ReadErrors: 3,
	}
	var each []time.Duration
	r, err := Check(h, Options{Require: []Kind{I2}, Each: func(_ Read, least, most time.Duration) {
		each = append(each, least, most)
	}})
	if err != nil {
		t.Fatal(err)
	}
	if want := []time.Duration{0, 10, 21, 31, 37, 42, 0, 13, 24, 34}; !slices.Equal(each, want) {
		t.Errorf("Each was told %d, want %d", each, want)
	}
	if r.Reads != 5 || r.Hits != 3 || r.Writes != 3 || r.UnknownWrites != 1 || r.ReadErrors != 3 {
		t.Errorf("counts: %v", r)
	}
	if r.Stale != 3 || r.Backwards != 1 || r.Tested[I2] != 3 {
		t.Errorf("stale %d, backwards %d, tested %v", r.Stale, r.Backwards, r.Tested)
	}
	if least, most := r.Staleness(1); least != 21 || most != 31 {
		t.Errorf("Staleness(1) = %d..%d", least, most)
	}
	if least, most := r.Staleness(0.5); least != 0 || most != 13 {
		t.Errorf("Staleness(0.5) = %d..%d", least, most)
	}
	if !strings.Contains(r.String(), "seed 42: 5 reads (3 hits, 3 failed), 3 writes (1 of unknown outcome)") {
		t.Error(r)
	}
}

func TestStory(t *testing.T) {
	h := &History{
		Writes: []Write{wrote(1, 0, 5*time.Second), wrote(2, 10*time.Second, 20*time.Second)},
		Loads:  []Load{{Key: "k", Start: 6 * time.Second}},
		Faults: []Fault{{"partition", 19 * time.Second, 25 * time.Second}, {"flush", 60 * time.Second, 61 * time.Second}},
		Reads: []Read{hit(1, 31*time.Second, time.Second, 1), hit(1, 32*time.Second, time.Second, 1),
			saw(3, 33*time.Second, 33*time.Second)},
	}
	r, err := Check(h, Options{Stories: 1})
	if err != nil {
		t.Fatal(err)
	}
	want := `I2: 11s stale from memory, its bound is 1s
  written      [0s, 5s]                     "k" version 1, applied, [0s, 5s]
  replaced     [10s, 20s]                   "k" version 2, applied, [10s, 20s], proven by 20s
  load began   [6s, 6s]                     load 1 of "k"
  read         [31s, 31s]                   "k" version 1 from memory at "" by reader 0, [31s, 31s]
  fault        [19s, 25s]                   partition
`
	if len(r.Violations) != 3 || r.Violations[0].Story != want || r.Violations[1].Story != "" {
		t.Errorf("%d violations, the first:\n%s\nwant\n%s", len(r.Violations), r.Violations[0].Story, want)
	}
	if r.Violations[0].Staleness != 11*time.Second || r.Broken[Corrupt] != 1 {
		t.Errorf("staleness %v, broken %v", r.Violations[0].Staleness, r.Broken)
	}
}

func TestHistoriesThatProveNothing(t *testing.T) {
	good := History{Writes: []Write{wrote(1, 0, 5)}, Reads: []Read{saw(1, 6, 7)}}
	for _, h := range []History{{}, {Writes: good.Writes}, {Reads: good.Reads}} {
		if _, err := Check(&h, Options{}); !errors.Is(err, ErrEmpty) {
			t.Errorf("%d writes, %d reads: %v", len(h.Writes), len(h.Reads), err)
		}
	}
	for _, k := range []Kind{I1, I2, I3} {
		r, err := Check(&good, Options{Require: []Kind{k}})
		if !errors.Is(err, ErrUntested) || !strings.Contains(err.Error(), k.String()) || r == nil {
			t.Errorf("Require %v: %v", k, err)
		}
	}
}

func TestBrokenHistories(t *testing.T) {
	read := []Read{saw(1, 6, 7)}
	for want, h := range map[string]History{
		"overlap":                      {Writes: []Write{wrote(1, 0, 5), wrote(2, 4, 6)}, Reads: read},
		"one writer at a time":         {Writes: []Write{wrote(1, 0, 5), {All: true, Start: 4, End: 6}}, Reads: read},
		"before its start":             {Writes: []Write{wrote(1, 5, 4)}, Reads: read},
		"a time is negative":           {Writes: []Write{wrote(1, 0, 5)}, Reads: []Read{saw(1, -1, 7)}},
		"not among the 0 that began":   {Writes: []Write{wrote(1, 0, 5)}, Reads: []Read{hit(1, 6, 1, 1)}},
		"ends before it starts":        {Writes: []Write{wrote(1, 0, 5)}, Reads: read, Fences: []Fence{{Start: 2, End: 1}}},
		"after it was synced":          {Writes: []Write{wrote(1, 0, 5)}, Reads: read, Gaps: []Gap{{Unsynced: 2, Synced: 1}}},
		"its end is before its start,": {Writes: []Write{{Key: "k", TTL: -1}}, Reads: read},
	} {
		if _, err := Check(&h, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("err = %v, want %q in it", err, want)
		}
	}
	if _, err := Check(&History{Writes: []Write{wrote(1, 0, 5)}, Reads: read}, Options{Slack: -1}); err == nil {
		t.Error("a negative slack was accepted")
	}
}

func BenchmarkCheck(b *testing.B) {
	h := &History{}
	for i := range time.Duration(100_000) {
		h.Writes = append(h.Writes, wrote(uint64(i)+1, i*10, i*10+5))
		for n := range time.Duration(10) {
			h.Reads = append(h.Reads, hit(uint64(i)+1, i*10+5+n, 1000, 0))
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Check(h, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
