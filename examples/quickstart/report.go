package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// report is what -json prints. A time.Duration is a number of nanoseconds there.
type report struct {
	Server struct {
		Addr       string   `json:"addr"`
		Version    string   `json:"version"`
		Embedded   bool     `json:"embedded"`
		KeyPrefix  string   `json:"key_prefix"`
		SwitchedOn []string `json:"switched_on,omitempty"` // notify-keyspace-events before and after
	} `json:"server"`
	Read struct {
		ColdMiss time.Duration `json:"cold_miss_ns"`
		WarmHit  float64       `json:"warm_hit_ns"` // of one, on average
		WarmHits uint64        `json:"warm_hits"`
	} `json:"read"`
	Evictions struct {
		Set    delays `json:"set"`    // from the writer's +OK to the first read that is new
		Del    delays `json:"del"`    // likewise
		Expiry delays `json:"expiry"` // from the deadline to the first read that finds nothing
	} `json:"evictions"`
	Fence struct {
		RTT      spread `json:"rtt"`
		OldReads int    `json:"old_reads"` // reads after a fence that did not see the write before it
	} `json:"fence"`
	Herd struct {
		Gets   int           `json:"gets"`
		Loads  int64         `json:"loads"` // as the repository counted them
		Joined uint64        `json:"joined"`
		Took   time.Duration `json:"took_ns"` // all of them
		Load   time.Duration `json:"load_ns"` // what the repository takes for one
	} `json:"herd"`
	Sum struct {
		Hits             uint64        `json:"hits"`
		Misses           uint64        `json:"misses"`
		HitRatio         float64       `json:"hit_ratio"`
		Loads            uint64        `json:"loads"`
		Staleness        time.Duration `json:"staleness_ns"`          // of the tracker, at the end
		MaxStalenessSeen time.Duration `json:"max_staleness_seen_ns"` // the largest proven staleness of a hit
		MaxStaleness     time.Duration `json:"max_staleness_ns"`      // what was promised
	} `json:"sum"`
	Held   bool     `json:"held"`
	Broken []string `json:"broken"` // what did not hold
}

// judge says whether what was shown held.
func (r *report) judge() {
	r.Broken = []string{}
	claim := func(held bool, format string, args ...any) {
		if !held {
			r.Broken = append(r.Broken, fmt.Sprintf(format, args...))
		}
	}
	claim(r.Fence.OldReads == 0, "%d of %d reads after a fence were older than the write before it",
		r.Fence.OldReads, r.Fence.RTT.Rounds)
	claim(r.Herd.Loads == 1, "%d Gets of one cold key made %d loads", r.Herd.Gets, r.Herd.Loads)
	claim(r.Sum.MaxStalenessSeen <= r.Sum.MaxStaleness, "a hit was %v old, and %v was promised",
		r.Sum.MaxStalenessSeen, r.Sum.MaxStaleness)
	r.Held = len(r.Broken) == 0
}

// spread sums up what was measured again and again.
type spread struct {
	Rounds int           `json:"rounds"`
	Median time.Duration `json:"median_ns"`
	Max    time.Duration `json:"max_ns"`
}

func spreadOf(took []time.Duration) spread {
	slices.Sort(took)
	return spread{Rounds: len(took), Median: took[len(took)/2], Max: took[len(took)-1]}
}

func (s spread) String() string {
	return fmt.Sprintf("median of %d; the longest %v", s.Rounds, short(s.Max))
}

// delays are those of an eviction.
type delays struct {
	spread
	AtOnce int `json:"at_once"` // rounds whose very first read was new: the event was there before the +OK
}

// median is for people: a read that is new 100 ns after the +OK has waited for nothing.
func (d *delays) median() any {
	if d.Median < time.Microsecond {
		return "at once"
	}
	return short(d.Median)
}

func (d *delays) String() string {
	if d.AtOnce == 0 {
		return d.spread.String()
	}
	return fmt.Sprintf("%v; in %d of %d the very first read was new", d.spread, d.AtOnce, d.Rounds)
}

// page is what a person reads, written as it comes about.
type page struct{ w io.Writer }

func (p page) title(format string, args ...any) { fmt.Fprintf(p.w, "\n"+format+"\n", args...) }

func (p page) line(what string, value, note any) {
	fmt.Fprintf(p.w, "  %-22s %10v  %v\n", what, value, note)
}

// short is d in three or four digits.
func short(d time.Duration) time.Duration {
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		if d >= unit {
			return d.Round(unit / 100)
		}
	}
	return d
}
