// Package leak finds goroutines that outlive the test that started them.
package leak

import (
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// grace is how long a goroutine that has been told to stop may take on a busy machine.
const grace = 5 * time.Second

// watched are the packages whose goroutines a test must not leave behind.
var watched = []string{"github.com/gofreshet/freshet", "github.com/redis/go-redis"}

// Check fails t when, after all cleanups that are registered later than this call have run, a goroutine is left that
// was not there at the call and whose stack (or creator) is in this module, in go-redis, or in one of the packages
// that more names by a part of their import path. So call it first in a test; not in tests that run in parallel,
// whose goroutines cannot be told apart. A test waits up to five seconds for its last goroutines.
func Check(t testing.TB, more ...string) {
	t.Helper()
	check(t, grace, slices.Concat(watched, more))
}

func check(t testing.TB, grace time.Duration, paths []string) {
	t.Helper()
	before := goroutines()
	t.Cleanup(func() {
		deadline := time.Now().Add(grace)
		for {
			left := leaked(before, paths)
			if len(left) == 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Errorf("%d goroutines outlive the test:\n\n%s", len(left), strings.Join(left, "\n\n"))
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
}

func leaked(before map[string]string, paths []string) []string {
	var left []string
	for id, stack := range goroutines() {
		if _, old := before[id]; old {
			continue
		}
		for _, p := range paths {
			if strings.Contains(stack, p) {
				left = append(left, stack)
				break
			}
		}
	}
	return left
}

var header = regexp.MustCompile(`^goroutine (\d+) `)

// goroutines returns every goroutine's stack by its id. Ids are never used again.
func goroutines() map[string]string {
	buf := make([]byte, 1<<20)
	n := runtime.Stack(buf, true)
	for n == len(buf) {
		buf = make([]byte, 2*len(buf))
		n = runtime.Stack(buf, true)
	}
	all := make(map[string]string)
	for stack := range strings.SplitSeq(string(buf[:n]), "\n\n") {
		if m := header.FindStringSubmatch(stack); m != nil {
			all[m[1]] = stack
		}
	}
	return all
}
