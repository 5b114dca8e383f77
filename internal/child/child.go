// Package child starts the servers that tests run against, so that they end with the test binary however that ends.
package child

import (
	"os/exec"
	"runtime"
	"syscall"
)

// Start starts cmd and waits for it on a goroutine of its own; done is closed when it has ended. On Linux it is sent last
// when this process ends without having ended it.
func Start(cmd *exec.Cmd, last syscall.Signal) (done <-chan struct{}, err error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	dieWithParent(cmd.SysProcAttr, last)
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		// The kernel sends the death signal when the *thread* that forked ends, and Go ends threads at will. This
		// goroutine keeps its thread for as long as the process lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait() // how it ended matters to nobody: it is killed, stopped, or its output says why it failed
		}
	}()
	return ended, <-started
}
