package sqlcache

import (
	"database/sql/driver"
	"reflect"
	"slices"
	"time"

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

// about is st as a write of the rows that it names, if it does.
func about(st *sqlengine.Statement, args []driver.NamedValue) *sqlengine.Statement {
	return st.About(rowsOf(st, args))
}

// rewrites reports whether one of args makes another text of its query: pgx takes such arguments, and asks them. Its own make
// placeholders of names and nothing else.
func rewrites(args []driver.NamedValue) bool {
	for i := range args {
		switch args[i].Value.(type) {
		case nil, int64, string, bool, float64, []byte, time.Time:
			continue
		}
		t := reflect.TypeOf(args[i].Value)
		if t.NumMethod() == 0 || t.PkgPath() == "github.com/jackc/pgx/v5" {
			continue
		}
		if _, is := t.MethodByName("RewriteQuery"); is {
			return true
		}
	}
	return false
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
