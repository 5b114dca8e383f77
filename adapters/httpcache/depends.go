package httpcache

import (
	"reflect"

	"github.com/gofreshet/freshet/invalidate"
)

// depends reports whether v falls with anything at all. Validity does not tell by itself, so it is looked at from
// outside: its list of slots, and whether it depends on everything. TestDepends fails if they change their names.
func depends(v invalidate.Validity) bool {
	s := reflect.ValueOf(v)
	return s.FieldByName("deps").FieldByName("n").Uint() > 0 || s.FieldByName("all").Bool()
}
