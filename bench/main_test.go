package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	for _, c := range []struct {
		ctx            context.Context
		args           []string
		code           int
		stdout, stderr string
	}{
		{context.Background(), nil, 2, "", "Usage"},
		{context.Background(), []string{"help"}, 0, "hitratio", ""},
		{context.Background(), []string{"none"}, 2, "", `no command "none"`},
		{context.Background(), []string{"hitratio", "-h"}, 0, "", "Belady"},
		{context.Background(), []string{"hitratio", "-points", "x"}, 1, "", "bench hitratio: -points"},
		{context.Background(), []string{"hitratio", "-reads", "1000", "-engines", "LRU", "-only", "loop", "-json"}, 0, `"hitratio"`, ""},
		{cancelled, []string{"hitratio", "-reads", "9000", "-engines", "LRU", "-only", "loop"}, 130, "", ""},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(c.ctx, c.args, &stdout, &stderr); code != c.code || !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) {
			t.Errorf("bench %q: %d, want %d\n%s%s", c.args, code, c.code, &stdout, &stderr)
		}
	}
}

// Every command can say what its flags are, and has a name of its own.
func TestCommands(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range commands() {
		var stdout, stderr bytes.Buffer
		if code := run(context.Background(), []string{c.Name, "-h"}, &stdout, &stderr); code != 0 || !strings.Contains(stderr.String(), "-") {
			t.Errorf("%s -h: %d, %s", c.Name, code, &stderr)
		}
		if seen[c.Name] || c.Short == "" {
			t.Errorf("%s: twice, or without a word about it", c.Name)
		}
		seen[c.Name] = true
	}
}
