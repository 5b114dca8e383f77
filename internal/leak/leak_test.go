package leak

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// fake is a test that collects its failures and whose cleanups run when told.
type fake struct {
	testing.TB
	cleanups []func()
	errors   []string
}

func (f *fake) Helper()           {}
func (f *fake) Cleanup(fn func()) { f.cleanups = append(f.cleanups, fn) }
func (f *fake) Errorf(format string, args ...any) {
	f.errors = append(f.errors, fmt.Sprintf(format, args...))
}

func (f *fake) end() {
	for i := len(f.cleanups) - 1; i >= 0; i-- {
		f.cleanups[i]()
	}
}

func waitsFor(stop chan struct{}) { <-stop }

func TestLeakIsReported(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	go waitsFor(stop) // older than the check
	f := &fake{}
	check(f, 20*time.Millisecond, watched)
	go waitsFor(stop)
	f.end()
	if len(f.errors) != 1 || !strings.Contains(f.errors[0], "1 goroutines outlive") ||
		!strings.Contains(f.errors[0], "leak.waitsFor") {
		t.Errorf("reported %q", f.errors)
	}
}

func TestGrace(t *testing.T) {
	stop := make(chan struct{})
	f := &fake{}
	Check(f)
	go waitsFor(stop)
	time.AfterFunc(50*time.Millisecond, func() { close(stop) })
	f.end()
	if len(f.errors) != 0 {
		t.Errorf("reported %q", f.errors)
	}
}

func TestManyGoroutines(t *testing.T) {
	stop := make(chan struct{})
	var ended sync.WaitGroup
	const n = 5_000 // their stacks exceed the first buffer
	for range n {
		ended.Add(1)
		go func() { // not ended.Go: before it runs, its stack would name nobody but sync
			defer ended.Done()
			waitsFor(stop)
		}()
	}
	waiting := 0
	for _, stack := range goroutines() {
		if strings.Contains(stack, "TestManyGoroutines") {
			waiting++
		}
	}
	if waiting < n {
		t.Errorf("saw %d of %d", waiting, n)
	}
	close(stop)
	ended.Wait()
}

func TestMorePackages(t *testing.T) {
	none := map[string]string{}
	if got := leaked(none, []string{"no/such/package"}); len(got) != 0 {
		t.Errorf("leaked = %q", got)
	}
	if got := leaked(none, []string{"no/such/package", "testing"}); len(got) == 0 {
		t.Error("a goroutine of package testing was not seen")
	}
}
