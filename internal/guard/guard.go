// Package guard lets tests take single guards of the protocol out, so that they can show that something breaks without
// them. Nothing else may use it, and a service cannot: the switch travels in a context under a key of this package.
package guard

import "context"

// Set is the guards that are taken out.
type Set uint32

const (
	Slots     Set = 1 << iota // events do not reach the ledger
	Order                     // R1: the counter is published before the slots
	Watermark                 // R9: the watermark says "now" without a proof
	Epoch                     // R10: a gap leaves the epoch as it was
	Flush                     // a flush heard is passed over
	Fence                     // R8: Fence returns at once
	Own                       // R12: Touch leaves the local ledger to the echo
	Seal                      // R3: what fell while it was loaded is stored as if it had been loaded just now
	Join                      // R4: a waiter takes whatever flight is running
)

// Has reports whether any of g is taken out.
func (s Set) Has(g Set) bool { return s&g != 0 }

type key struct{}

// Without returns a ctx for invalidate.Connect with the guards of s taken out.
func Without(ctx context.Context, s Set) context.Context { return context.WithValue(ctx, key{}, s) }

// In returns the guards that are taken out in ctx.
func In(ctx context.Context) Set {
	s, _ := ctx.Value(key{}).(Set)
	return s
}
