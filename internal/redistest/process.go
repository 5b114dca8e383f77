package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gofreshet/freshet/internal/child"
)

var errPortTaken = errors.New("port taken")

// process is one run of a server.
type process struct {
	cmd  *exec.Cmd
	done <-chan struct{} // closed when the process has been waited for
}

func launch(binary string, args []string, dir, log string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &process{cmd: exec.Command(binary, args...)}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, out, out
	p.done, err = child.Start(p.cmd, syscall.SIGKILL)
	return p, err
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *process) signal(sig syscall.Signal) error { return p.cmd.Process.Signal(sig) }

// kill works on stopped processes too, and on those that have ended.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// awaitAnswer returns when the process answers a PING with anything but "I am loading".
func (s *Server) awaitAnswer(p *process) error {
	deadline := time.Now().Add(startTimeout)
	for {
		answer, err := ping(s.socket())
		if err == nil && !strings.HasPrefix(answer, "-LOADING") {
			return nil
		}
		if p.ended() {
			return fmt.Errorf("ended at once: %v", p.cmd.ProcessState)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no answer within %v: %q, %v", startTimeout, answer, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func ping(socket string) (string, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return "", err
	}
	return bufio.NewReader(conn).ReadString('\n')
}

// freePort returns a port that is free now and lies below the usual ephemeral ranges: while a server is down, no
// outgoing connection of another program is given its port.
func freePort(host string) (int, error) {
	var err error
	for range 100 {
		port := 15_000 + rand.IntN(17_000)
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("redistest: no free port: %w", err)
}
