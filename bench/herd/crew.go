package herd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// workerEnv marks the environment of a worker. A program that is started as a
// worker and does not know it would else start workers of its own.
const workerEnv = "FRESHET_BENCH_WORKER"

// setup, order and answer go between the command and its workers, as lines of
// JSON: one setup, answered when all is open, then orders, each answered.
type setup struct {
	Origin string // URL
	Redis  string // address
	Sides  []string
}

type order struct {
	Side     string
	Keys     []string
	Callers  int
	Scenario scenario
	Leave    time.Duration // after the load's beginning
}

type answer struct {
	Error  string    `json:",omitempty"`
	Waits  []float64 // milliseconds, of those who stayed and got it
	Leaves []float64 // milliseconds from giving up to the call's return, of those still waiting then
	Failed int       // of those who stayed: got an error
	Gaps   uint64    // in Freshet's stream, so far
}

// crew are the worker processes, copies of this program.
type crew struct {
	workers []*worker
	cancel  context.CancelFunc // ends them at once
}

type worker struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	orders *json.Encoder
	says   *json.Decoder
	stderr bytes.Buffer // read after cmd.Wait
}

// hire starts n workers and waits until they are ready. When ctx ends they are killed.
func hire(ctx context.Context, n int, s setup) (_ *crew, err error) {
	if os.Getenv(workerEnv) != "" {
		return nil, errors.New("herd: started as a worker of another herd by a program that does not pass its arguments on")
	}
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("herd: find this program: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	c := &crew{cancel: cancel}
	defer func() {
		if err != nil {
			cancel()
			err = errors.Join(err, c.dismiss())
		}
	}()
	for range n {
		w, err := launch(ctx, program)
		if err != nil {
			return nil, err
		}
		c.workers = append(c.workers, w)
	}
	_, err = c.ask(n, s)
	return c, err
}

func launch(ctx context.Context, program string) (*worker, error) {
	w := &worker{cmd: exec.CommandContext(ctx, program, "herd", workerArg)}
	w.cmd.Env = append(os.Environ(), workerEnv+"=1")
	w.cmd.Stderr = &w.stderr
	w.cmd.WaitDelay = 5 * time.Second
	in, err := w.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("herd: worker: %w", err)
	}
	says, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("herd: worker: %w", err)
	}
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("herd: worker: %w", err)
	}
	w.in, w.orders, w.says = in, json.NewEncoder(in), json.NewDecoder(says)
	return w, nil
}

// step has the first n workers do o at the same time. When ctx ends meanwhile,
// all workers are, and its error is returned.
func (c *crew) step(ctx context.Context, n int, o order) ([]answer, error) {
	stop := context.AfterFunc(ctx, c.cancel)
	defer stop()
	answers, err := c.ask(n, o)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return answers, err
}

func (c *crew) ask(n int, question any) ([]answer, error) {
	answers, errs := make([]answer, n), make([]error, n)
	var asked sync.WaitGroup
	for i, w := range c.workers[:n] {
		asked.Go(func() {
			if errs[i] = w.orders.Encode(question); errs[i] == nil {
				errs[i] = w.says.Decode(&answers[i])
			}
			if errs[i] == nil && answers[i].Error != "" {
				errs[i] = errors.New(answers[i].Error)
			}
			if errs[i] != nil {
				errs[i] = fmt.Errorf("herd: worker %d: %w", i+1, errs[i])
			}
		})
	}
	asked.Wait()
	return answers, errors.Join(errs...)
}

// dismiss ends the workers and waits for them. What they complained of comes back as the error.
func (c *crew) dismiss() error {
	defer c.cancel()
	var errs []error
	for _, w := range c.workers {
		w.in.Close() // what a worker ends at
	}
	late := time.AfterFunc(10*time.Second, c.cancel)
	defer late.Stop()
	for i, w := range c.workers {
		if err := w.cmd.Wait(); err != nil && w.stderr.Len() > 0 {
			errs = append(errs, fmt.Errorf("herd: worker %d: %w: %s", i+1, err, bytes.TrimSpace(w.stderr.Bytes())))
		}
	}
	return errors.Join(errs...)
}
