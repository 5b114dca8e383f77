// Package guard lets tests take single steps of the write protocol out, so that they can show that something breaks
// without them, and stop a writer between two steps. A service cannot: the switch travels in a context under a key of
// this package.
package guard

import "context"

// Set is the steps that are taken out.
type Set uint32

const (
	Mark    Set = 1 << iota // no mark is set
	Before                  // no touch before the commit
	After                   // no touch after the commit
	Suspect                 // a mark past its lease counts for nothing
)

// Has reports whether any of g is taken out.
func (s Set) Has(g Set) bool { return s&g != 0 }

// Plan is what a test changes. Step, if not nil, is called at "begin" (before the mark), "marked", "committed" and
// "touched", with nothing locked.
type Plan struct {
	Out  Set
	Step func(step string)
}

type key struct{}

// With returns a ctx for an adapter's New that carries p.
func With(ctx context.Context, p Plan) context.Context { return context.WithValue(ctx, key{}, p) }

// In returns the plan in ctx.
func In(ctx context.Context) Plan {
	p, _ := ctx.Value(key{}).(Plan)
	return p
}

// At calls Step.
func (p Plan) At(step string) {
	if p.Step != nil {
		p.Step(step)
	}
}
