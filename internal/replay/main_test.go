package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestRunRefuses(t *testing.T) {
	t.Setenv("FRESHET_TRACES", "")
	dir := t.TempDir()
	for want, args := range map[string][]string{
		"-traces":      {},
		"-points":      {"-traces", dir, "-points", "1,x"},
		`"0"`:          {"-traces", dir, "-points", "0"},
		`"NaN"`:        {"-traces", dir, "-points", "NaN"},
		"no engine":    {"-traces", dir, "-engines", "LRU,none"},
		"no trace":     {"-traces", dir, "-trace", "none"},
		"no such file": {"-traces", dir, "-trace", "lirs-loop"},
	} {
		var out bytes.Buffer
		if err := run(args, &out); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("run %q: %v, want %s", args, err, want)
		}
	}
}
