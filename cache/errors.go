package cache

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

var (
	// ErrNotFound is for loaders that have no error of their own for an absence, and what GetMany's absences are kept as.
	ErrNotFound = errors.New("cache: not found")
	// ErrClosed is returned by every call on a closed cache, and to those who wait for a load when it is closed.
	ErrClosed = errors.New("cache: closed")
	// ErrNoLoader is returned by Get, GetMany and Read without a loader.
	ErrNoLoader = errors.New("cache: Options.Load is nil: set it, or use GetWith or Wrap")
	// ErrEmptyKey is returned for a key whose Redis key would be empty.
	ErrEmptyKey = errors.New("cache: the key's text is empty")
	// ErrUnequalKey is returned for a key that does not equal itself, as a NaN or a struct with one in it: nothing could
	// ever be found under it.
	ErrUnequalKey = errors.New("cache: the key does not equal itself (NaN?)")
	// ErrNoKey is returned by Invalidate and Write on a cache with Options.NoKey: touch what its entries depend on.
	ErrNoKey = errors.New("cache: Options.NoKey is set: entries have no name to invalidate, touch what they depend on")
	// ErrLoadCycle is returned to a load that asks, directly or through others, for what waits for it.
	ErrLoadCycle = errors.New("cache: a load waits for itself")
	// ErrLoadTimeout is returned to those who wait for a load that took longer than Options.LoadTimeout; it wraps
	// context.DeadlineExceeded.
	ErrLoadTimeout = errors.New("cache: load took longer than Options.LoadTimeout")
	// ErrPanic matches every [PanicError].
	ErrPanic = errors.New("cache: load panicked")
)

// PanicError reaches every caller who waited for a load that panicked. errors.Is(err, ErrPanic) is true; if the panic's
// value is an error it is wrapped as well.
type PanicError struct {
	Value any    // what was given to panic, or a text when the load ended its goroutine (runtime.Goexit)
	Stack []byte // of the goroutine that panicked
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("%v: %v\n\n%s", ErrPanic, e.Value, e.Stack)
}

func (e *PanicError) Unwrap() []error {
	if err, ok := e.Value.(error); ok {
		return []error{ErrPanic, err}
	}
	return []error{ErrPanic}
}

// KeyErrors says which keys of a batch failed, and why. [Cache.GetMany] returns one, and Options.LoadMany may: the keys
// in it fail, each with its own error, the others have what the map beside it has.
type KeyErrors[K comparable] map[K]error

// Error is each distinct text once, in order.
func (e KeyErrors[K]) Error() string {
	texts := make([]string, 0, len(e))
	for _, err := range e {
		texts = append(texts, fmt.Sprint(err))
	}
	slices.Sort(texts)
	return strings.Join(slices.Compact(texts), "\n")
}

func (e KeyErrors[K]) Unwrap() []error { return slices.Collect(maps.Values(e)) }

// split tells what failed a batch of keys as a whole from what failed some of them. Errors for keys that are not in the
// batch are of another one, and fail it as a whole.
func split[K comparable](err error, keys []K) (each KeyErrors[K], all error) {
	each, ok := err.(KeyErrors[K])
	if !ok {
		return nil, err
	}
	ours := 0
	for _, k := range keys {
		if e, ok := each[k]; ok && e != nil {
			ours++
		}
	}
	if ours < len(each) {
		return nil, err
	}
	return each, nil
}
