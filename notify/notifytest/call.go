package notifytest

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// command says what one of miniredis's writing commands tells the world.
type command struct {
	keys   func(args []string) []string // the keys that it may write; nil: its first argument
	look   func(c *call) any            // what must be known from before it runs; nil: nothing
	events func(c *call)                // sends the events; runs when it has not failed
}

// call is one run of a command.
type call struct {
	*session
	name    string // in capitals
	args    []string
	reply   reply
	keys    []string
	existed map[string]bool // which keys were there before
	seen    any             // what look found
	renewed map[string]bool // keys whose TTL it set
	past    bool            // to a time that has passed
}

func (c *call) before(w command) {
	c.existed, c.renewed = make(map[string]bool), make(map[string]bool)
	if w.keys != nil {
		c.keys = w.keys(c.args)
	} else {
		c.keys = span(c.args, 1, 2)
	}
	for _, key := range c.keys {
		c.existed[key] = c.exists(key)
	}
	if w.look != nil && len(c.args) > 1 { // else miniredis refuses it
		c.seen = w.look(c)
	}
}

func (c *call) after(w command) {
	w.events(c)
	c.settle(c.keys)
}

// key is the first argument.
func (c *call) key() string { return c.args[1] }

func (c *call) exists(key string) bool { return c.ask("EXISTS", key).n == 1 }

func (c *call) send(class byte, event, key string) {
	if before, ok := c.existed[key]; ok && !before && c.s.flags.has('n') && c.exists(key) {
		c.existed[key] = true
		c.s.notify('n', "new", dbKey{c.db, key})
	}
	c.s.notify(class, event, dbKey{c.db, key})
}

func (c *call) del(key string) { c.send('g', "del", key) }

// removed is send for what takes something out of key: the last element takes
// the key with it.
func (c *call) removed(class byte, event, key string) {
	c.send(class, event, key)
	if !c.exists(key) {
		c.del(key)
	}
}

// created gives to, which is new, from's TTLs. A copy leaves from as it was.
func (c *call) created(from, to dbKey, copy bool) {
	c.s.expiry.move(from, to, copy)
	c.s.fields.move(from, to, copy)
	c.s.notify('n', "new", to)
	if to.db == c.db {
		c.existed[to.key] = true // send does not say it again
	}
}

// expires tells of a new TTL. One that lies in the past ends the key instead.
func (c *call) expires(key string) {
	c.renewed[key] = true
	c.send('g', "expire", key)
}

// option says whether the argument stands at or after from.
func (c *call) option(from int, name string) bool { return c.optionAt(from, name) > 0 }

func (c *call) optionAt(from int, name string) int {
	for i := from; i < len(c.args); i++ {
		if strings.EqualFold(c.args[i], name) {
			return i
		}
	}
	return 0
}

// ttlOption finds EX, PX, EXAT or PXAT at or after from.
func (c *call) ttlOption(from int) (at int, past bool) {
	for i := from; i+1 < len(c.args); i++ {
		n, err := strconv.ParseInt(c.args[i+1], 10, 64)
		if err != nil {
			continue
		}
		switch upper(c.args[i]) {
		case "EX", "PX":
			return i, false
		case "EXAT":
			return i, n > 0 && n <= time.Now().Unix()
		case "PXAT":
			return i, n > 0 && n <= time.Now().UnixMilli()
		}
	}
	return 0, false
}

// span is args[from:to], cut to what is there; it is for commands that may yet
// turn out to have too few.
func span(args []string, from, to int) []string {
	return args[min(from, len(args)):min(to, len(args))]
}

func none([]string) []string          { return nil }
func firstTwo(args []string) []string { return span(args, 1, 3) }
func second(args []string) []string   { return span(args, 2, 3) }
func rest(args []string) []string     { return span(args, 1, len(args)) }

// everyOther is key, value, key, value, ...
func everyOther(args []string) []string {
	var keys []string
	for i := 1; i < len(args); i += 2 {
		keys = append(keys, args[i])
	}
	return keys
}

// counted are the keys after a number at args[at].
func counted(at int) func([]string) []string {
	return func(args []string) []string {
		if at >= len(args) {
			return nil
		}
		n, _ := strconv.Atoi(args[at])
		return span(args, at+1, at+1+max(0, min(n, len(args))))
	}
}

// unique drops repetitions, keeping the order.
func unique(keys []string) []string {
	var u []string
	for _, k := range keys {
		if !slices.Contains(u, k) {
			u = append(u, k)
		}
	}
	return u
}

// afterFields are the fields in FIELDS n field ..., step apart.
func afterFields(args []string, step int) []string {
	i := slices.IndexFunc(args, func(a string) bool { return strings.EqualFold(a, "FIELDS") })
	var fields []string
	for i += 2; i > 1 && i < len(args); i += step {
		fields = append(fields, args[i])
	}
	return fields
}

// atoi is for numbers that miniredis has accepted.
func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
