package report

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

const (
	// showAfter is how long something may take before a bar is shown for it.
	showAfter = 2 * time.Second
	drawEvery = 200 * time.Millisecond
	barWidth  = 30
)

// Progress is a bar on the terminal, or nothing where there is none. Add and
// Done may be called from any goroutine.
type Progress struct {
	out          *os.File // nil: silent
	label        string
	total        int
	start        time.Time
	mu           sync.Mutex
	done         int // guarded by mu, as is what follows
	drawn, ended bool
	last         time.Time
}

// Progress begins a bar of total steps, drawn once two seconds have passed.
// Whoever begins one calls Done.
func (o *Out) Progress(label string, total int) *Progress {
	p := &Progress{label: label, total: max(1, total), start: time.Now()}
	if f, ok := o.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.out = f
	}
	return p
}

// Add counts n steps more.
func (p *Progress) Add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	now := time.Now()
	if p.out == nil || p.ended || now.Sub(p.start) < showAfter || now.Sub(p.last) < drawEvery {
		return
	}
	p.drawn, p.last = true, now
	fmt.Fprint(p.out, "\r\x1b[K", p.line(now))
}

func (p *Progress) line(now time.Time) string {
	share := min(1, float64(p.done)/float64(p.total))
	full := int(share * barWidth)
	left := ""
	if share > 0 && share < 1 {
		rest := time.Duration(float64(now.Sub(p.start)) * (1 - share) / share)
		left = ", " + rest.Round(time.Second).String() + " left"
	}
	return fmt.Sprintf("%s [%s%s] %d%%%s", p.label, strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), int(100*share), left)
}

// Done takes the bar away.
func (p *Progress) Done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	p.ended, p.drawn = true, false
}
