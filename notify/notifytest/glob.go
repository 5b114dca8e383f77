package notifytest

// match is the glob of Redis, byte by byte: * ? [a-z] [^a-z] and \ to escape.
// A class that is not closed reaches to the pattern's end, a range takes bytes
// as signed (as C does on amd64), and what is empty matches no pattern.
func match(pattern, s string) bool {
	if s == "" {
		return pattern == ""
	}
	return glob(pattern, s)
}

func glob(pattern, s string) bool {
	for len(pattern) > 0 {
		switch pattern[0] {
		case '*':
			for len(pattern) > 0 && pattern[0] == '*' {
				pattern = pattern[1:]
			}
			if len(pattern) == 0 {
				return true
			}
			for i := range len(s) + 1 {
				if glob(pattern, s[i:]) {
					return true
				}
			}
			return false
		case '?':
			if len(s) == 0 {
				return false
			}
			pattern = pattern[1:]
		case '[':
			if len(s) == 0 {
				return false
			}
			var in bool
			if in, pattern = class(pattern[1:], s[0]); !in {
				return false
			}
		case '\\':
			if len(pattern) > 1 {
				pattern = pattern[1:]
			}
			fallthrough
		default:
			if len(s) == 0 || s[0] != pattern[0] {
				return false
			}
			pattern = pattern[1:]
		}
		s = s[1:]
	}
	return len(s) == 0
}

// class says whether b is in the class whose inside p begins with, and returns
// what follows the class.
func class(p string, b byte) (in bool, rest string) {
	not := len(p) > 0 && p[0] == '^'
	if not {
		p = p[1:]
	}
	for len(p) > 0 && p[0] != ']' {
		switch {
		case p[0] == '\\' && len(p) > 1:
			in = in || p[1] == b
			p = p[2:]
		case len(p) > 2 && p[1] == '-':
			from, to := int8(p[0]), int8(p[2])
			in = in || min(from, to) <= int8(b) && int8(b) <= max(from, to)
			p = p[3:]
		default:
			in = in || p[0] == b
			p = p[1:]
		}
	}
	if len(p) > 0 {
		p = p[1:]
	}
	return in != not, p
}
