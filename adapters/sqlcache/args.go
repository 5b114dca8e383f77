package sqlcache

import (
	"database/sql/driver"
	"encoding/binary"
	"math"
	"reflect"
	"slices"
	"time"
)

// appendArgs writes args so that different ones have different texts: each with its type and, where it varies, its
// length. ok is false for an argument of a kind whose meaning cannot be told; such a query is not kept. What the caller
// may change after the call is copied: a load can outlast it. With dates a string that may mean the present is refused.
func appendArgs(dst []byte, args []driver.NamedValue, dates bool) (_ []byte, _ []driver.NamedValue, ok bool) {
	shared := true // with the caller
	for i := range args {
		a := &args[i]
		if a.Name != "" {
			dst = appendText(append(dst, 'N'), a.Name)
		}
		switch v := a.Value.(type) {
		case nil:
			dst = append(dst, '0')
		case int64:
			dst = binary.BigEndian.AppendUint64(append(dst, 'i'), uint64(v))
		case int:
			dst = binary.BigEndian.AppendUint64(append(dst, 'I'), uint64(v))
		case string:
			if dates && speaksOfNow(v) {
				return dst, args, false
			}
			dst = appendText(append(dst, 's'), v)
		case bool:
			dst = append(dst, 'b', boolByte(v))
		case float64:
			dst = binary.BigEndian.AppendUint64(append(dst, 'f'), math.Float64bits(v))
		case []byte:
			if v == nil {
				dst = append(dst, 'z')
				break
			}
			dst = appendText(append(dst, 'x'), string(v))
			if shared {
				args, shared = slices.Clone(args), false
			}
			args[i].Value = slices.Clone(v)
		case time.Time:
			dst = appendTime(dst, v)
		default:
			var copied any
			if dst, copied, ok = appendReflected(dst, v, dates); !ok {
				return dst, args, false
			}
			if shared {
				args, shared = slices.Clone(args), false
			}
			args[i].Value = copied
		}
	}
	return dst, args, true
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// appendTime keeps the zone: some drivers send the instant, others what the clock on the wall shows.
func appendTime(dst []byte, t time.Time) []byte {
	zone, offset := t.Zone()
	dst = binary.BigEndian.AppendUint64(append(dst, 't'), uint64(t.Unix()))
	dst = binary.BigEndian.AppendUint32(dst, uint32(t.Nanosecond()))
	dst = binary.BigEndian.AppendUint32(dst, uint32(offset))
	return appendText(appendText(dst, zone), t.Location().String())
}

// appendReflected is for drivers that take any Go value (pgx): named and smaller basic types, slices and arrays of
// them, and structs that say their value themselves.
func appendReflected(dst []byte, v any, dates bool) (_ []byte, copied any, ok bool) {
	rv := reflect.ValueOf(v)
	t := rv.Type()
	dst = appendText(appendText(append(dst, 'r'), t.PkgPath()), t.String())
	switch rv.Kind() {
	case reflect.Slice:
		if !basic(t.Elem().Kind()) {
			return dst, nil, false
		}
		if rv.IsNil() {
			return append(dst, 'z'), v, true
		}
		clone := reflect.MakeSlice(t, rv.Len(), rv.Len())
		reflect.Copy(clone, rv)
		rv = clone
		fallthrough
	case reflect.Array:
		if !basic(t.Elem().Kind()) {
			return dst, nil, false
		}
		dst = binary.AppendUvarint(append(dst, 'l'), uint64(rv.Len()))
		for i := range rv.Len() {
			if dst, ok = appendBasic(dst, rv.Index(i), dates); !ok {
				return dst, nil, false
			}
		}
		return dst, rv.Interface(), true
	case reflect.Struct:
		valuer, isValuer := v.(driver.Valuer)
		if !isValuer {
			return dst, nil, false
		}
		value, err := valuer.Value()
		if err != nil {
			return dst, nil, false
		}
		switch value.(type) {
		case nil, int64, string, bool, float64, time.Time:
		default:
			return dst, nil, false
		}
		dst, _, ok = appendArgs(append(dst, 'v'), []driver.NamedValue{{Value: value}}, dates)
		return dst, v, ok
	}
	dst, ok = appendBasic(dst, rv, dates)
	return dst, v, ok
}

func basic(k reflect.Kind) bool {
	return k >= reflect.Bool && k <= reflect.Float64 || k == reflect.String
}

func appendBasic(dst []byte, v reflect.Value, dates bool) ([]byte, bool) {
	switch k := v.Kind(); {
	case k == reflect.Bool:
		return append(dst, boolByte(v.Bool())), true
	case k >= reflect.Int && k <= reflect.Int64:
		return binary.BigEndian.AppendUint64(dst, uint64(v.Int())), true
	case k >= reflect.Uint && k <= reflect.Uintptr:
		return binary.BigEndian.AppendUint64(dst, v.Uint()), true
	case k == reflect.Float32 || k == reflect.Float64:
		return binary.BigEndian.AppendUint64(dst, math.Float64bits(v.Float())), true
	case k == reflect.String:
		return appendText(dst, v.String()), !(dates && speaksOfNow(v.String()))
	}
	return dst, false
}
