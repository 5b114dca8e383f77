package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/gofreshet/freshet/notify"
)

// formats write events as they come: nothing waits in a buffer for the next one.
var formats = map[string]func(io.Writer) func(notify.Event) error{"text": text, "csv": commas, "json": objects}

// text is for people: local time, and keys quoted where they would upset a terminal.
func text(w io.Writer) func(notify.Event) error {
	return func(ev notify.Event) (err error) {
		at := ev.At.Local().Format("15:04:05.000")
		switch ev.Kind {
		case notify.Change:
			_, err = fmt.Fprintf(w, "%s  db%-2d  %-10s  %s\n", at, ev.DB, plain(ev.Name), plain(ev.Key))
		case notify.Gap:
			what := fmt.Sprintf("gap (%s): changes may be missing until it is synced again", ev.Reason)
			if ev.Reason == notify.GapOverflow {
				what = fmt.Sprintf("gap: %d events dropped, they were read too slowly; complete again from here", ev.Dropped)
			}
			_, err = fmt.Fprintf(w, "%s  ----  %s\n", at, what)
		case notify.Flush:
			_, err = fmt.Fprintf(w, "%s  ----  flush: every key may have changed\n", at)
		case notify.Synced:
			_, err = fmt.Fprintf(w, "%s  ----  synced: what follows is complete\n", at)
		}
		return err
	}
}

// plain is s, or s as a Go string literal where it holds anything but printable characters.
func plain(s string) string {
	if quoted := strconv.Quote(s); s == "" || quoted != `"`+s+`"` {
		return quoted
	}
	return s
}

// commas is CSV after RFC 4180, with a header. Keys are their very bytes, quoted where they must be.
func commas(w io.Writer) func(notify.Event) error {
	out := csv.NewWriter(w)
	write := func(fields ...string) error {
		_ = out.Write(fields) // Error has it
		out.Flush()
		return out.Error()
	}
	headed := write("time", "kind", "db", "event", "key", "reason", "dropped")
	return func(ev notify.Event) error {
		if headed != nil {
			return headed
		}
		at, kind := stamp(ev.At), ev.Kind.String()
		if ev.Kind == notify.Change {
			return write(at, kind, strconv.Itoa(ev.DB), ev.Name, ev.Key, "", "")
		}
		dropped := ""
		if ev.Dropped > 0 {
			dropped = strconv.Itoa(ev.Dropped)
		}
		return write(at, kind, "", "", "", ev.Reason, dropped)
	}
}

// object is a line of JSON. A change has db, and event and key or, where they are no UTF-8, which JSON cannot hold,
// event_base64 and key_base64 (standard encoding, padded).
type object struct {
	Time        string  `json:"time"` // UTC
	Kind        string  `json:"kind"` // change, gap, flush or synced
	DB          *int    `json:"db,omitempty"`
	Event       *string `json:"event,omitempty"`
	EventBase64 []byte  `json:"event_base64,omitempty"`
	Key         *string `json:"key,omitempty"`
	KeyBase64   []byte  `json:"key_base64,omitempty"`
	Reason      string  `json:"reason,omitempty"`  // of a gap
	Dropped     int     `json:"dropped,omitempty"` // events, by a gap of this program's own queue
}

func objects(w io.Writer) func(notify.Event) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	return func(ev notify.Event) error {
		o := object{Time: stamp(ev.At), Kind: ev.Kind.String(), Reason: ev.Reason, Dropped: ev.Dropped}
		if ev.Kind == notify.Change {
			o.DB = &ev.DB
			o.Event, o.EventBase64 = utf8OrBytes(ev.Name)
			o.Key, o.KeyBase64 = utf8OrBytes(ev.Key)
		}
		return out.Encode(o)
	}
}

func utf8OrBytes(s string) (*string, []byte) {
	if utf8.ValidString(s) {
		return &s, nil
	}
	return nil, []byte(s)
}

func stamp(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000000Z") }
