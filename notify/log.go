package notify

import (
	"context"
	"log/slog"
)

// logger hands records to a goroutine of its own: a slow slog.Handler must not delay the receive loop (I5). What does
// not fit is dropped. A nil *logger is silent.
type logger struct {
	to      *slog.Logger
	records chan record
}

type record struct {
	level slog.Level
	msg   string
	args  []any
}

func newLogger(to *slog.Logger) *logger {
	if to == nil {
		return nil
	}
	return &logger{to: to, records: make(chan record, 64)}
}

// run writes records until ctx ends, and then what is left.
func (l *logger) run(ctx context.Context) {
	if l == nil {
		return
	}
	for {
		select {
		case r := <-l.records:
			l.write(r)
			continue
		case <-ctx.Done():
		}
		for {
			select {
			case r := <-l.records:
				l.write(r)
			default:
				return
			}
		}
	}
}

func (l *logger) write(r record) {
	l.to.Log(context.Background(), r.level, "notify: "+r.msg, r.args...)
}

func (l *logger) info(msg string, args ...any)  { l.put(slog.LevelInfo, msg, args) }
func (l *logger) warn(msg string, args ...any)  { l.put(slog.LevelWarn, msg, args) }
func (l *logger) error(msg string, args ...any) { l.put(slog.LevelError, msg, args) }

func (l *logger) put(level slog.Level, msg string, args []any) {
	if l == nil {
		return
	}
	select {
	case l.records <- record{level, msg, args}:
	default: // a flood of records says no more than its first
	}
}
