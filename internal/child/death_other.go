//go:build !linux

package child

import "syscall"

// dieWithParent has nothing to ask for outside Linux: there a test binary that is killed leaves its servers behind.
func dieWithParent(*syscall.SysProcAttr, syscall.Signal) {}
