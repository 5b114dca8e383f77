package invalidate

import "time"

// instant is a moment on both clocks. The monotonic one does not run while the machine is suspended, the wall clock
// may be set: an age is the larger of the two differences (R2), so neither can make a value look younger than it is.
type instant struct{ mono, wall int64 }

// origin only turns monotonic readings into integers; differences alone are ever used.
var origin = time.Now()

func instantOf(t time.Time) instant {
	return instant{mono: int64(t.Sub(origin)), wall: t.UnixNano()}
}

func now() instant { return instantOf(time.Now()) }

// since is how long before i the instant past was.
func (i instant) since(past instant) time.Duration {
	return time.Duration(max(i.mono-past.mono, i.wall-past.wall))
}

func (i instant) add(d time.Duration) instant {
	return instant{i.mono + int64(d), i.wall + int64(d)}
}

// reached reports whether deadline has passed on either clock.
func (i instant) reached(deadline instant) bool {
	return i.mono >= deadline.mono || i.wall >= deadline.wall
}

// earlier returns on each clock the lesser of both: the oldest proof, the least deadline.
func (i instant) earlier(o instant) instant {
	return instant{min(i.mono, o.mono), min(i.wall, o.wall)}
}

// never is later than every deadline.
var never = instant{1<<63 - 1, 1<<63 - 1}
