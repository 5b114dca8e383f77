package notify

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// desk asks the server questions beside the stream, on one connection that it keeps: what is learnt in one pipeline is
// learnt of one server. It is its session's, and one goroutine at a time uses it.
type desk struct {
	client *redis.Client
	conn   *redis.Conn // nil until asked, and after an error
	met    bool        // the handshake of conn is done: an error is the answer to a question
}

func newDesk(p *primary) *desk {
	d := new(desk)
	o := p.clientOptions()
	users := o.OnConnect
	o.OnConnect = func(ctx context.Context, conn *redis.Conn) error {
		if users != nil {
			if err := users(ctx, conn); err != nil {
				return err
			}
		}
		d.met = true
		return nil
	}
	d.client = redis.NewClient(o)
	return d
}

// ask runs what fill puts into a pipeline. It fails when the questions could not be put, or not now (BUSY, LOADING); that
// the server refused one of them is for the caller to see in that command.
func (d *desk) ask(ctx context.Context, fill func(redis.Pipeliner)) (err error) {
	defer unreadable(&err)
	if d.conn == nil {
		d.conn, d.met = d.client.EphemeralConn(), false
	}
	cmds, err := d.conn.Pipelined(ctx, func(p redis.Pipeliner) error {
		fill(p)
		return nil
	})
	if err == nil {
		return nil
	}
	if !d.met {
		d.hangUp()
		return err
	}
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && err != redis.Nil && !refused(err) {
			if !answered(err) {
				d.hangUp()
			}
			return err
		}
	}
	return nil
}

// unreadable makes an error of go-redis's panic over a reply of a shape or length that it does not expect.
func unreadable(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("the server sent what go-redis cannot read (%v)", p)
	}
}

func (d *desk) hangUp() {
	_ = d.conn.Close()
	d.conn = nil
}

// close ends the connection under whoever asks.
func (d *desk) close() { _ = d.client.Close() }

func randomName() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
