package redistest

import "syscall"

// dieWithParent has the kernel kill the server when the test binary ends without its cleanups: by a signal, a panic
// or a timeout.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
