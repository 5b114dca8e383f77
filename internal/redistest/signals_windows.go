package redistest

import "syscall"

// Windows freezes nobody by a signal: os.Process.Signal refuses these.
const (
	freeze = syscall.Signal(-1)
	thaw   = syscall.Signal(-2)
)
