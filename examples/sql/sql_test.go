package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gofreshet/freshet/internal/leak"
	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/gofreshet/freshet/internal/sqltestdb"
)

func TestEmbedded(t *testing.T) {
	leak.Check(t)
	var out, errs bytes.Buffer
	if code := run(t.Context(), nil, &out, &errs); code != 0 {
		t.Fatalf("status %d\n%s%s", code, &out, &errs)
	}
	if !strings.Contains(out.String(), "hit ratio") {
		t.Error(out.String())
	}
}

func TestServers(t *testing.T) {
	pg, rd := sqltestdb.Postgres(t), redistest.Start(t)
	var out, errs bytes.Buffer
	dsn := "postgres://postgres@" + pg.Addr() + "/postgres?sslmode=disable"
	if code := run(t.Context(), []string{"-postgres", dsn, "-redis", rd.Addr()}, &out, &errs); code != 0 {
		t.Fatalf("status %d\n%s%s", code, &out, &errs)
	}
}

func TestBadFlags(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"-nope"}, &out, &errs); code != 2 {
		t.Errorf("status %d", code)
	}
	if code := run(t.Context(), []string{"-postgres", "not a dsn"}, &out, &errs); code != 1 {
		t.Errorf("status %d: %s", code, &errs)
	}
}
