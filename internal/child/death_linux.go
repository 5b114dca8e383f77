package child

import "syscall"

// dieWithParent has the kernel send sig when the thread that started the process ends.
func dieWithParent(attr *syscall.SysProcAttr, sig syscall.Signal) { attr.Pdeathsig = sig }
