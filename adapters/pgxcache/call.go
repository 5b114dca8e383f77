package pgxcache

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine"
)

// call is a statement as its caller gave it, taken apart as pgx does it.
type call struct {
	sql     string // as the server will see it
	args    []any  // as the server will see them
	given   []any  // what pgx is to be given with the caller's text
	options []any  // those of given that come before the arguments, without a rewriter
	rewrote bool
}

// parse takes sql and args apart. conn is asked for only by a rewriter that may need one: pgx's own do not.
func parse(ctx context.Context, sql string, args []any, conn func() (*pgx.Conn, error)) (call, error) {
	var rewriter pgx.QueryRewriter
	n := 0
options:
	for ; n < len(args); n++ {
		switch a := args[n].(type) {
		case pgx.QueryResultFormats, pgx.QueryResultFormatsByOID, pgx.QueryExecMode:
		case pgx.QueryRewriter:
			rewriter = a
		default:
			break options
		}
	}
	c := call{sql: sql, args: args[n:], given: args, options: args[:n]}
	if rewriter == nil {
		return c, nil
	}
	var on *pgx.Conn
	switch rewriter.(type) {
	case pgx.NamedArgs, pgx.StrictNamedArgs:
	default:
		var err error
		if on, err = conn(); err != nil {
			return c, err
		}
	}
	sql, rest, err := rewriter.RewriteQuery(ctx, on, c.sql, c.args)
	if err != nil {
		return c, fmt.Errorf("rewrite query failed: %w", err)
	}
	c.sql, c.args, c.rewrote = sql, rest, true
	c.options = slices.DeleteFunc(slices.Clone(c.options), func(a any) bool {
		_, is := a.(pgx.QueryRewriter)
		return is
	})
	c.given = c.with(rest)
	return c, nil
}

// rows are those that st, the call's statement, is about.
func (c call) rows(st *sqlengine.Statement) []sqlengine.Row {
	return st.Rows(len(c.args), func(i int) any { return c.args[i] })
}

// with is what pgx is to be given to run the statement with args. What was rewritten is not rewritten again: it could
// come out as another statement than the one that was understood.
func (c call) with(args []any) []any {
	if c.rewrote {
		return append(slices.Clip(c.options), rewritten{c.sql, args})
	}
	return slices.Concat(c.options, args)
}

// rewritten is a rewriter that has done its work.
type rewritten struct {
	sql  string
	args []any
}

func (r rewritten) RewriteQuery(context.Context, *pgx.Conn, string, []any) (string, []any, error) {
	return r.sql, r.args, nil
}

// appendKey writes all that the answer depends on beside the text, and returns the arguments with what the caller may
// change copied. ok is false where that cannot be told.
func (c call) appendKey(dst []byte) (_ []byte, args []any, ok bool) {
	for _, o := range c.options {
		switch o := o.(type) {
		case pgx.QueryExecMode:
			dst = binary.AppendVarint(append(dst, 'M'), int64(o))
		case pgx.QueryResultFormats:
			dst = binary.AppendUvarint(append(dst, 'F'), uint64(len(o)))
			for _, f := range o {
				dst = binary.BigEndian.AppendUint16(dst, uint16(f))
			}
		default:
			return dst, nil, false
		}
	}
	args = slices.Clone(c.args)
	for i, a := range args {
		var own any
		if dst, own, ok = sqlengine.AppendArg(dst, a, true); !ok {
			return dst, nil, false
		}
		if own != nil {
			args[i] = own
		}
	}
	return dst, args, true
}
