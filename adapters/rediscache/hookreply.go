package rediscache

import (
	"context"
	"maps"
	"slices"

	"github.com/redis/go-redis/v9"
)

// shape is the type that go-redis reads a reply into: an index of forms.
type shape uint8

const (
	none    shape = iota // not one of ours: raw replies, buffers of the caller's
	generic              // of Do: whatever the protocol has
	text1
	status
	integer
	boolean
	number
	list
	textList
	integers
	booleans
	numbers
	dictionary
	members
	scored
	ranked
	positions
)

// shapeOf is on the path of every hit: a type switch, no table.
func shapeOf(cmd redis.Cmder) shape {
	switch cmd.(type) {
	case *redis.StringCmd:
		return text1
	case *redis.Cmd:
		return generic
	case *redis.StatusCmd:
		return status
	case *redis.IntCmd:
		return integer
	case *redis.BoolCmd:
		return boolean
	case *redis.FloatCmd:
		return number
	case *redis.SliceCmd:
		return list
	case *redis.StringSliceCmd:
		return textList
	case *redis.IntSliceCmd:
		return integers
	case *redis.BoolSliceCmd:
		return booleans
	case *redis.FloatSliceCmd:
		return numbers
	case *redis.MapStringStringCmd:
		return dictionary
	case *redis.StringStructMapCmd:
		return members
	case *redis.ZSliceCmd:
		return scored
	case *redis.RankWithScoreCmd:
		return ranked
	case *redis.GeoPosCmd:
		return positions
	}
	return none
}

// form makes commands of one shape and moves replies out of them and into them.
type form struct {
	command func(ctx context.Context, args ...any) redis.Cmder
	result  func(redis.Cmder) (any, error)
	set     func(redis.Cmder, any)
	copy    func(redis.Cmder, any) // set of what its reader may change
}

var forms = [...]form{
	generic:    formOf(redis.NewCmd, cloned),
	text1:      formOf(redis.NewStringCmd, nil),
	status:     formOf(redis.NewStatusCmd, nil),
	integer:    formOf(redis.NewIntCmd, nil),
	boolean:    formOf(redis.NewBoolCmd, nil),
	number:     formOf(redis.NewFloatCmd, nil),
	list:       formOf(redis.NewSliceCmd, clonedList),
	textList:   formOf(redis.NewStringSliceCmd, slices.Clone[[]string]),
	integers:   formOf(redis.NewIntSliceCmd, slices.Clone[[]int64]),
	booleans:   formOf(redis.NewBoolSliceCmd, slices.Clone[[]bool]),
	numbers:    formOf(redis.NewFloatSliceCmd, slices.Clone[[]float64]),
	dictionary: formOf(redis.NewMapStringStringCmd, maps.Clone[map[string]string]),
	members:    formOf(redis.NewStringStructMapCmd, maps.Clone[map[string]struct{}]),
	scored:     formOf(redis.NewZSliceCmd, slices.Clone[[]redis.Z]),
	ranked:     formOf(redis.NewRankWithScoreCmd, nil),
	positions:  formOf(redis.NewGeoPosCmd, clonedPositions),
}

type holder[T any] interface {
	redis.Cmder
	Result() (T, error)
	SetVal(T)
}

// formOf is the form of commands that make makes. clone is nil for replies that nobody can change.
func formOf[T any, C holder[T]](make func(context.Context, ...any) C, clone func(T) T) form {
	f := form{
		command: func(ctx context.Context, args ...any) redis.Cmder { return make(ctx, args...) },
		result:  func(cmd redis.Cmder) (any, error) { return cmd.(C).Result() },
		set: func(cmd redis.Cmder, v any) {
			val, _ := v.(T) // not ok: a nil of Do's
			cmd.(C).SetVal(val)
		},
	}
	if f.copy = f.set; clone != nil {
		f.copy = func(cmd redis.Cmder, v any) {
			val, _ := v.(T)
			cmd.(C).SetVal(clone(val))
		}
	}
	return f
}

// cloned is a reply to Do.
func cloned(v any) any {
	switch v := v.(type) {
	case []any:
		return clonedList(v)
	case map[any]any: // RESP3's maps, which Do gives as they are
		c := make(map[any]any, len(v))
		for k, e := range v {
			c[k] = cloned(e)
		}
		return c
	}
	return v // strings and numbers
}

func clonedList(v []any) []any {
	c := slices.Clone(v)
	for i, e := range c {
		c[i] = cloned(e)
	}
	return c
}

func clonedPositions(v []*redis.GeoPos) []*redis.GeoPos {
	c := slices.Clone(v)
	for i, p := range c {
		if p != nil {
			own := *p
			c[i] = &own
		}
	}
	return c
}

// word is what a value takes beside its bytes, about.
const word = 16

// size is about how many bytes a reply takes.
func size(v any) int64 {
	n := int64(word)
	switch v := v.(type) {
	case string:
		n += int64(len(v))
	case []string:
		for _, s := range v {
			n += word + int64(len(s))
		}
	case map[string]string:
		for k, s := range v {
			n += 3*word + int64(len(k)+len(s))
		}
	case map[string]struct{}:
		for k := range v {
			n += 2*word + int64(len(k))
		}
	case []any:
		for _, e := range v {
			n += word + size(e)
		}
	case map[any]any:
		for k, e := range v {
			n += 2*word + size(k) + size(e)
		}
	case []redis.Z:
		for _, z := range v {
			n += 2*word + size(z.Member)
		}
	case []int64:
		n += int64(8 * len(v))
	case []float64:
		n += int64(8 * len(v))
	case []bool:
		n += int64(len(v))
	case []*redis.GeoPos:
		n += int64(2 * word * len(v))
	}
	return n
}
