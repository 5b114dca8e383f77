package sqlcache

import (
	"database/sql/driver"
	"reflect"
	"slices"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine"
)

// rowsOf are the rows that st is about.
func rowsOf(st *sqlengine.Statement, args []driver.NamedValue) []sqlengine.Row {
	return st.Rows(len(args), func(i int) any {
		if args[i].Name != "" {
			return nil
		}
		return args[i].Value
	})
}

// about is st as a write of the rows that it names, if it does. pgx takes a first argument that rewrites the text and the others.
func about(st *sqlengine.Statement, args []driver.NamedValue) *sqlengine.Statement {
	if len(args) > 0 && args[0].Value != nil {
		if _, rewrites := reflect.TypeOf(args[0].Value).MethodByName("RewriteQuery"); rewrites {
			return st
		}
	}
	return st.About(rowsOf(st, args))
}

// appendArgs writes args with their names, and returns them with what the caller may change copied.
func appendArgs(dst []byte, args []driver.NamedValue, dates bool) (_ []byte, _ []driver.NamedValue, ok bool) {
	shared := true // with the caller
	for i := range args {
		a := &args[i]
		if a.Name != "" {
			dst = sqlengine.AppendText(append(dst, 'N'), a.Name)
		}
		var own any
		if dst, own, ok = sqlengine.AppendArg(dst, a.Value, dates); !ok {
			return dst, args, false
		}
		if own != nil {
			if shared {
				args, shared = slices.Clone(args), false
			}
			args[i].Value = own
		}
	}
	return dst, args, true
}
