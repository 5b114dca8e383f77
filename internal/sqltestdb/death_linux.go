package sqltestdb

import "syscall"

// dieWithParent has the kernel end the server when the test binary ends without its cleanups.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT} }
