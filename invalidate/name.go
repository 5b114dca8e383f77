package invalidate

import (
	"hash/maphash"
	"strings"
)

// Kind tells names of the same text apart.
type Kind uint8

const (
	KindKey    Kind = iota // one Redis key of the tracker's database
	KindPrefix             // every key that begins with the text
	KindTag                // a name of the application's own: a table, a feature, a tenant
)

// Name is what can change. It is a small value, comparable, and safe to keep.
type Name struct {
	kind Kind
	text string
}

// Key is one Redis key in the tracker's database.
func Key(k string) Name { return Name{KindKey, k} }

// Prefix is every key that begins with p. As a dependency it costs each event a look-up for every distinct length of
// prefix in use, and beyond 1,024 distinct prefixes a further one depends on everything.
func Prefix(p string) Name { return Name{KindPrefix, p} }

// Tag is a name of the application's own. It falls in every process by [Tracker.Touch], or, from programs in other
// languages, by PUBLISH __keyspace@<db>__:freshet:name:tag:<t> with any message ("freshet:" is notify's Namespace).
func Tag(t string) Name { return Name{KindTag, t} }

// Kind is the name's kind.
func (n Name) Kind() Kind { return n.kind }

// Text is the key, the prefix or the tag.
func (n Name) Text() string { return n.text }

// String is for people: key:…, prefix:…, tag:….
func (n Name) String() string {
	switch n.kind {
	case KindPrefix:
		return "prefix:" + n.text
	case KindTag:
		return "tag:" + n.text
	default:
		return "key:" + n.text
	}
}

// Names that are no keys travel as keys under the namespace: nothing is ever stored there, they are only announced.
const (
	namesUnder  = "name:"
	tagUnder    = "tag:"
	prefixUnder = "prefix:"
	allUnder    = "all"
)

// announced is the text after __keyspace@<db>__: with which n is announced; names is the namespace plus namesUnder.
func (n Name) announced(names string) string {
	switch n.kind {
	case KindPrefix:
		return names + prefixUnder + n.text
	case KindTag:
		return names + tagUnder + n.text
	default:
		return n.text
	}
}

// nameOf is the reverse of announced. all is true for the announcement that everything fell, which a text under
// names that no version of ours writes is taken for as well: too much, never too little.
func nameOf(key, names string) (n Name, all bool) {
	rest, ok := strings.CutPrefix(key, names)
	if !ok {
		return Key(key), false
	}
	if t, ok := strings.CutPrefix(rest, tagUnder); ok {
		return Tag(t), false
	}
	if p, ok := strings.CutPrefix(rest, prefixUnder); ok {
		return Prefix(p), false
	}
	return Name{}, true
}

// group is the key's first segment, its colon included. Every key dependency also depends on its group's slot, which
// only a touched prefix stamps: so a prefix falls in O(1), whatever depends on keys below it.
func group(key string) (string, bool) {
	i := strings.IndexByte(key, ':')
	return key[:i+1], i >= 0
}

// seeds give each use of the ledger a hash of its own.
type seeds struct{ key, prefix, tag, group maphash.Seed }

func newSeeds() seeds {
	return seeds{maphash.MakeSeed(), maphash.MakeSeed(), maphash.MakeSeed(), maphash.MakeSeed()}
}
