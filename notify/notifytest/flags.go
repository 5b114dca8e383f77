package notifytest

import "strings"

// flags is the value of notify-keyspace-events: one bit for each letter of letters.
type flags uint32

const (
	letters = "g$lshzxetdnKEm" // in the order in which CONFIG GET names them
	all     = "g$lshzxetd"     // what A stands for: neither n nor m
)

func parseFlags(s string) (flags, bool) {
	var f flags
	for i := range len(s) {
		switch n := strings.IndexByte(letters, s[i]); {
		case s[i] == 'A':
			f |= 1<<len(all) - 1
		case n < 0:
			return 0, false
		default:
			f |= 1 << n
		}
	}
	return f, true
}

func (f flags) has(letter byte) bool {
	return f&(1<<strings.IndexByte(letters, letter)) != 0
}

func (f flags) String() string {
	var b strings.Builder
	rest := letters
	if f&(1<<len(all)-1) == 1<<len(all)-1 {
		b.WriteByte('A')
		rest = "KEm" // Redis 7.0 keeps n to itself beside A
	}
	for i := range len(rest) {
		if f.has(rest[i]) {
			b.WriteByte(rest[i])
		}
	}
	return b.String()
}
