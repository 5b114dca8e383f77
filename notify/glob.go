package notify

import (
	"errors"
	"strings"
)

// glob is a compiled Redis pattern: one element for each byte it must match, and stars between them.
// It gives the answers of the server's own matcher, quirks of character classes included, in time O(pattern × string):
// it runs on the receive loop (I5), where a pattern such as *a*a*a*b must not cost more.
type glob []element

type element struct {
	star bool       // any run of bytes; the rest is unused
	set  *[4]uint64 // the bytes that match, or nil: only lit does
	lit  byte
}

var (
	errEmptyClass = errors.New("holds an empty class [], which no byte matches: escape the bracket (\\[) or fill the class")
	errOpenClass  = errors.New("holds a class without its ]: escape the bracket (\\[) or close the class")
)

// compileGlob fails on what can match nothing and on what is almost surely a mistake.
func compileGlob(pattern string) (glob, error) {
	var g glob
	for len(pattern) > 0 {
		c := pattern[0]
		pattern = pattern[1:]
		switch {
		case c == '*':
			if len(g) == 0 || !g[len(g)-1].star {
				g = append(g, element{star: true})
			}
		case c == '?':
			g = append(g, element{set: &[4]uint64{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}})
		case c == '[':
			set, rest, err := compileClass(pattern)
			if err != nil {
				return nil, err
			}
			g, pattern = append(g, element{set: set}), rest
		case c == '\\' && len(pattern) > 0: // a backslash that ends the pattern is itself
			g = append(g, element{lit: pattern[0]})
			pattern = pattern[1:]
		default:
			g = append(g, element{lit: c})
		}
	}
	return g, nil
}

// compileClass reads a class from behind its bracket. As in Redis, a range takes the byte behind its dash whatever that
// is, ] and \ included, and its ends may stand in either order.
func compileClass(p string) (set *[4]uint64, rest string, err error) {
	set = new([4]uint64)
	not := strings.HasPrefix(p, "^")
	if not {
		p = p[1:]
	}
	for {
		lo, n := byte(0), 1
		switch {
		case len(p) == 0:
			return nil, "", errOpenClass
		case p[0] == '\\' && len(p) >= 2:
			lo, n = p[1], 2
		case p[0] == ']':
			if not {
				for i := range set {
					set[i] = ^set[i]
				}
			}
			if *set == [4]uint64{} {
				return nil, "", errEmptyClass
			}
			return set, p[1:], nil
		case len(p) >= 3 && p[1] == '-':
			for c := int(min(p[0], p[2])); c <= int(max(p[0], p[2])); c++ {
				set[c>>6] |= 1 << (c & 63)
			}
			p = p[3:]
			continue
		default:
			lo = p[0]
		}
		set[lo>>6] |= 1 << (lo & 63)
		p = p[n:]
	}
}

func (e *element) has(c byte) bool {
	if e.set == nil {
		return e.lit == c
	}
	return e.set[c>>6]>>(c&63)&1 == 1
}

// match goes back to the last star alone: what an earlier star could match, the last one can make up for.
func (g glob) match(s string) bool {
	i, j := 0, 0        // next element, next byte
	star, from := -1, 0 // the last star seen, and the byte from which what follows it is being tried
	for j < len(s) {
		switch {
		case i < len(g) && g[i].star:
			star, from = i, j
			i++
		case i < len(g) && g[i].has(s[j]):
			i++
			j++
		case star >= 0:
			from++
			i, j = star+1, from
		default:
			return false
		}
	}
	for i < len(g) && g[i].star {
		i++
	}
	return i == len(g)
}

// canBegin reports whether g matches any string that begins with prefix.
func (g glob) canBegin(prefix string) bool {
	at := map[int]bool{0: true} // the elements that may come next
	for j := 0; j <= len(prefix); j++ {
		next := make(map[int]bool)
		for i := range at {
			for i < len(g) && g[i].star {
				if j < len(prefix) {
					next[i] = true // the star takes this byte and stays
				}
				at[i] = true
				i++
			}
			if j == len(prefix) {
				return true // no element is without a byte to match, so the rest can always be met
			}
			if i < len(g) && g[i].has(prefix[j]) {
				next[i+1] = true
			}
		}
		at = next
	}
	return false
}
