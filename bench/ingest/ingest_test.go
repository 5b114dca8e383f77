package ingest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofreshet/freshet/bench/internal/report"
	"github.com/gofreshet/freshet/internal/leak"
	"github.com/google/pprof/profile"
)

func measured(ctx context.Context, args ...string) (report.Result, error) {
	var stdout, stderr bytes.Buffer
	out := report.New("ingest", args, &stdout, &stderr)
	err := Command().Run(ctx, args, out)
	return out.Result(), err
}

// Every side hears every event, of the recording and of a server that is not overloaded.
func TestIngest(t *testing.T) {
	leak.Check(t, "github.com/redis/rueidis")
	file := filepath.Join(t.TempDir(), "cpu.pprof")
	r, err := measured(t.Context(), "-events", "25000", "-duration", "200ms", "-rounds", "1", "-rates", "2000,0", "-cpuprofile", file)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Tables) != 4 || len(r.Charts) != 3 {
		t.Fatalf("%d tables, %d charts", len(r.Tables), len(r.Charts))
	}
	recorded, paced := r.Tables[0], r.Tables[2]
	if len(recorded.Rows) != len(kinds()) || len(paced.Rows) != len(kinds()) || len(r.Tables[3].Rows) != len(kinds()) { // nobody for the socket
		t.Errorf("not a row for each side: %v, %v", recorded.Rows, paced.Rows)
	}
	for _, row := range recorded.Rows {
		for _, figure := range row[1:4] {
			if !(figure.(report.Spread).Min > 0) {
				t.Errorf("%v", row)
			}
		}
	}
	lost, gaps := slices.Index(paced.Columns, "never heard"), slices.Index(paced.Columns, "gaps told")
	for _, row := range paced.Rows[1:] {
		if row[lost].(report.Spread).Max != 0 {
			t.Errorf("%v never heard of %v events", row[0], row[lost])
		}
		if g, told := row[gaps].(report.Spread); told && g.Max != 0 || told != strings.HasPrefix(row[0].(string), "freshet") {
			t.Errorf("%v: gaps: %v", row[0], row[gaps])
		}
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := profile.ParseData(raw); err != nil {
		t.Errorf("-cpuprofile: %v", err)
	}
}

func TestInterrupted(t *testing.T) {
	leak.Check(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	r, err := measured(ctx, "-events", "20000", "-sides", socket+","+inPlace, "-rates", "0", "-duration", "1h", "-rounds", "2")
	if !errors.Is(err, context.DeadlineExceeded) || len(r.Tables) != 1 {
		t.Errorf("%v, %d tables", err, len(r.Tables))
	}
}

func TestFlags(t *testing.T) {
	for want, args := range map[string][]string{
		"-events: 5":              {"-events", "5"},
		"-duration: 1ms":          {"-duration", "1ms"},
		"-rounds: -1":             {"-rounds", "-1"},
		"-writers: 65":            {"-writers", "65"},
		`-rates: "fast"`:          {"-rates", "1000,fast"},
		`-sides: no side "nats"`:  {"-sides", "nats"},
		"-cpuprofile: open /none": {"-cpuprofile", "/none/cpu.pprof"},
		"belongs to no flag":      {"recorded"},
	} {
		if _, err := measured(t.Context(), args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
}

func TestNoServer(t *testing.T) {
	t.Setenv("FRESHET_REDIS_SERVER", "/nowhere/redis-server")
	if _, err := measured(t.Context(), "-quick"); err == nil || !strings.Contains(err.Error(), "apt-get install") {
		t.Errorf("%v does not say how to get a server", err)
	}
}

func TestStages(t *testing.T) {
	for want, stack := range map[string][]string{
		inPlayer:    {"syscall.write", "internal/poll.(*FD).Write", "github.com/gofreshet/freshet/bench/ingest.(*player).play"},
		inKernel:    {"syscall.read", "github.com/redis/go-redis/v9/internal/proto.(*Reader).ReadLine"},
		inReader:    {"bufio.(*Reader).ReadSlice", "github.com/redis/go-redis/v9/internal/proto.(*Reader).ReadLine", "github.com/gofreshet/freshet/notify.(*session).run"},
		inAlloc:     {"runtime.nextFreeFast", "runtime.mallocgc", "github.com/redis/go-redis/v9/internal/proto.(*Reader).readSlice"},
		inClient:    {"sync.(*Mutex).Lock", "github.com/redis/go-redis/v9.(*PubSub).conn"},
		inGC:        {"runtime.scanobject", "runtime.gcBgMarkWorker"},
		inNotify:    {"time.Now", "github.com/gofreshet/freshet/notify.(*session).event"},
		inApply:     {"github.com/gofreshet/freshet/invalidate.(*ledger).fallKey", "github.com/gofreshet/freshet/notify.(*session).event"},
		inBench:     {"github.com/gofreshet/freshet/bench/ingest.(*heard).add"},
		inScheduler: {"runtime.futex", "runtime.schedule"},
	} {
		if got := stageOf(stack); got != want {
			t.Errorf("%v: %s, want %s", stack, got, want)
		}
	}
	line := func(name string) *profile.Location {
		return &profile.Location{Line: []profile.Line{{Function: &profile.Function{Name: name}}}}
	}
	shares := divide(&profile.Profile{Sample: []*profile.Sample{
		{Value: []int64{1, 30}, Location: []*profile.Location{line("runtime.scanobject"), line("runtime.gcBgMarkWorker")}},
		{Value: []int64{1, 10}, Location: []*profile.Location{line("runtime.schedule")}},
	}})
	if shares[inGC] != 0.75 || shares[inScheduler] != 0.25 {
		t.Errorf("%v", shares)
	}
}

func TestProbes(t *testing.T) {
	p := &probes{start: time.Now().Add(-time.Second), n: 4}
	for i, wrote := range []int64{100, 200, 300, 400} {
		p.wrote[i].Store(wrote)
	}
	p.came[0].Store(150)
	p.came[1].Store(190) // before the write returned
	p.came[3].Store(900)
	if got := p.lags(); !slices.Equal(got, []time.Duration{0, 50, 500}) {
		t.Errorf("%v", got)
	}
	p.arrived("2")
	if p.came[2].Load() < int64(time.Second) {
		t.Errorf("came %v", p.came[2].Load())
	}
	p.arrived("no number")
	p.arrived("-1")
	p.arrived("9999999")
}
