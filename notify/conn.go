package notify

import (
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// watchedConn notes when bytes last came: that tells a slow link from a dead one. Over TLS, bytes count once their
// record is whole.
type watchedConn struct {
	net.Conn
	clock    func() time.Duration
	lastRead atomic.Int64 // a reading of clock
}

func (c *watchedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.lastRead.Store(int64(c.clock()))
	}
	return n, err
}

// watch wraps conn. What it returns beside the watchedConn lets go-redis look at the socket where conn does.
func watch(conn net.Conn, clock func() time.Duration) (*watchedConn, net.Conn) {
	w := &watchedConn{Conn: conn, clock: clock}
	w.lastRead.Store(int64(clock()))
	if sc, ok := conn.(syscall.Conn); ok {
		return w, struct {
			*watchedConn
			syscall.Conn
		}{w, sc}
	}
	return w, w
}
