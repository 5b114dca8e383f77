package sqlengine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
)

// Link is a connection to the database as an adapter has it. One goroutine has it at a time.
type Link interface {
	Querier
	// State is what the engine keeps of the connection.
	State() *State
	// Session says what its session is like now.
	Session(ctx context.Context) (Session, error)
	// Broken reports whether the connection is of no use any more, by the error it gave.
	Broken(err error) bool
	// Decided reports whether whatever the connection was asked to do is done or undone, for good.
	Decided() bool
}

// State is what the engine keeps of a [Link] while somebody uses it.
type State struct {
	ID      string // what the session holds while it lives: names it in marks
	Held    bool
	Tainted bool // the session is not like a fresh one any more
	Loose   bool // it is not known whether a transaction is open
	Stays   bool // it has settings that show in no answer, but that whoever made them counts on
	Lent    bool // it takes no place of its pool's, so that a load beside it always finds one
}

// NewID names a session among all that ever were.
func NewID() string {
	var id [8]byte
	rand.Read(id[:])
	return hex.EncodeToString(id[:])
}

// Hold makes l's session hold its ID, so that others can see when it has ended.
func Hold(ctx context.Context, d Dialect, l Link) error {
	s := l.State()
	if s.Held {
		return nil
	}
	if err := d.hold(ctx, l, s.ID); err != nil {
		return err
	}
	s.Held = true
	return nil
}

// Pool is where links come from.
type Pool interface {
	// Get waits for a connection.
	Get(ctx context.Context) (Link, error)
	// Put gives l back. One that is broken, or whose state is tainted, is closed.
	Put(l Link, broken bool)
}

// Owner is a [Pool] whose connections are the engine's alone.
type Owner interface {
	Tidy()  // called now and then: closes what nobody has used for long
	Only()  // the database lives in its one connection: never close it, never have a second
	Close() // all of them
}
