package notify

import (
	"strconv"
	"strings"
)

// Channels says by which of Redis's two kinds of channel a listener hears of changes.
type Channels uint8

const (
	Keyspace Channels = iota // __keyspace@<db>__:<key>, payload is the event. Prefixes are matched by Redis
	Keyevent                 // __keyevent@<db>__:<event>, payload is the key. Prefixes are matched in this process
)

// String gives "keyspace" or "keyevent".
func (c Channels) String() string {
	if c == Keyevent {
		return "keyevent"
	}
	return "keyspace"
}

// flag is the letter without which notify-keyspace-events sends nothing on these channels.
func (c Channels) flag() byte {
	if c == Keyevent {
		return 'E'
	}
	return 'K'
}

const (
	keyspaceHead = "__keyspace@"
	keyeventHead = "__keyevent@"
	channelMid   = "__:"
)

// ParseChannel takes a keyspace or keyevent channel apart: its kind, its database, and what follows the first "__:",
// which is a key (any bytes, "__:" included) or the name of an event. ok is false for every other channel.
func ParseChannel(channel string) (kind Channels, db int, rest string, ok bool) {
	var tail string
	switch {
	case strings.HasPrefix(channel, keyspaceHead):
		kind, tail = Keyspace, channel[len(keyspaceHead):]
	case strings.HasPrefix(channel, keyeventHead):
		kind, tail = Keyevent, channel[len(keyeventHead):]
	default:
		return 0, 0, "", false
	}
	n := 0
	for n < len(tail) && '0' <= tail[n] && tail[n] <= '9' {
		db = db*10 + int(tail[n]-'0')
		if db > 1<<30 { // no server has so many: a made-up channel
			return 0, 0, "", false
		}
		n++
	}
	if n == 0 || n > 1 && tail[0] == '0' || !strings.HasPrefix(tail[n:], channelMid) {
		return 0, 0, "", false
	}
	return kind, db, tail[n+len(channelMid):], true
}

// channelName is the channel of a key or an event; [ParseChannel] undoes it.
func channelName(kind Channels, db int, rest string) string {
	return channelHead(kind, strconv.Itoa(db)) + rest
}

// channelPattern matches the channels of kind in db (any, when it is AllDBs). A prefix narrows keyspace channels;
// keyevent channels do not tell the key, so there it cannot.
func channelPattern(kind Channels, db int, prefix string) string {
	d := "*"
	if db != AllDBs {
		d = strconv.Itoa(db)
	}
	if kind == Keyevent {
		prefix = ""
	}
	return channelHead(kind, d) + EscapeGlob(prefix) + "*"
}

func channelHead(kind Channels, db string) string {
	if kind == Keyevent {
		return keyeventHead + db + channelMid
	}
	return keyspaceHead + db + channelMid
}

// EscapeGlob makes s match itself, and nothing else, in a Redis pattern.
func EscapeGlob(s string) string {
	if !strings.ContainsAny(s, `*?[\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if strings.IndexByte(`*?[\`, s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
