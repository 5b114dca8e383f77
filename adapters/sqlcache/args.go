package sqlcache

import (
	"database/sql/driver"
	"slices"

	"github.com/gofreshet/freshet/adapters/internal/sqlengine"
)

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
