package sqlengine

import (
	"database/sql/driver"
	"encoding/binary"
	"math"
	"math/big"
	"reflect"
	"slices"
	"time"
)

// AppendArg writes v so that different values have different texts: with its type and, where it varies, its length. ok is
// false for a value whose meaning cannot be told; such a query is not kept. What the caller may change after the call is
// copied, for a load can outlast it: own, unless nil, is to take v's place. With dates a string that may mean the present
// is refused.
func AppendArg(dst []byte, v any, dates bool) (_ []byte, own any, ok bool) {
	switch v := v.(type) {
	case nil:
		return append(dst, '0'), nil, true
	case int64:
		return binary.BigEndian.AppendUint64(append(dst, 'i'), uint64(v)), nil, true
	case int:
		return binary.BigEndian.AppendUint64(append(dst, 'I'), uint64(v)), nil, true
	case string:
		return AppendText(append(dst, 's'), v), nil, !(dates && speaksOfNow(v))
	case bool:
		return append(dst, 'b', boolByte(v)), nil, true
	case float64:
		return binary.BigEndian.AppendUint64(append(dst, 'f'), math.Float64bits(v)), nil, true
	case []byte:
		if v == nil {
			return append(dst, 'z'), nil, true
		}
		return AppendText(append(dst, 'x'), string(v)), slices.Clone(v), !(dates && speaksOfNow(string(v)))
	case time.Time:
		return appendTime(dst, v), nil, true
	}
	return appendReflected(dst, v, dates)
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// AppendText writes s behind its length.
func AppendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// appendTime keeps the zone: some drivers send the instant, others what the clock on the wall shows.
func appendTime(dst []byte, t time.Time) []byte {
	zone, offset := t.Zone()
	dst = binary.BigEndian.AppendUint64(append(dst, 't'), uint64(t.Unix()))
	dst = binary.BigEndian.AppendUint32(dst, uint32(t.Nanosecond()))
	dst = binary.BigEndian.AppendUint32(dst, uint32(offset))
	return AppendText(AppendText(dst, zone), t.Location().String())
}

// appendReflected is for drivers that take any Go value (pgx): named and smaller basic types, slices and arrays of
// them, structs that say their value themselves, and pointers to all that has a meaning. A type's address stands for it:
// two types can have one name, and no type is ever moved or freed.
func appendReflected(dst []byte, v any, dates bool) (_ []byte, own any, ok bool) {
	rv := reflect.ValueOf(v)
	t := rv.Type()
	dst = binary.BigEndian.AppendUint64(append(dst, 'r'), uint64(reflect.ValueOf(t).Pointer()))
	switch rv.Kind() {
	case reflect.Slice:
		if rv.IsNil() {
			return append(dst, 'z'), nil, true
		}
		clone := reflect.MakeSlice(t, rv.Len(), rv.Len())
		reflect.Copy(clone, rv)
		if basic(t.Elem().Kind()) {
			dst, ok = appendList(dst, clone, dates)
		} else {
			dst, ok = appendEach(dst, clone, dates)
		}
		return dst, clone.Interface(), ok
	case reflect.Array:
		if !basic(t.Elem().Kind()) {
			return dst, nil, false
		}
		dst, ok = appendList(dst, rv, dates)
		return dst, nil, ok
	case reflect.Pointer:
		return appendPointed(dst, rv, dates)
	case reflect.Struct:
		return appendStruct(dst, rv, dates)
	}
	dst, ok = appendBasic(dst, rv, dates)
	return dst, nil, ok
}

// appendStruct writes what a struct says of itself and what it is made of: it may tell a driver more than its value.
func appendStruct(dst []byte, v reflect.Value, dates bool) (_ []byte, own any, ok bool) {
	if !v.Type().Implements(valuerType) {
		return dst, nil, false
	}
	clone := reflect.New(v.Type()).Elem()
	clone.Set(v)
	if dst, ok = appendFields(dst, clone, dates); !ok {
		return dst, nil, false
	}
	own = clone.Interface()
	value, err := own.(driver.Valuer).Value()
	if err != nil {
		return dst, nil, false
	}
	switch value.(type) {
	case nil, int64, string, bool, float64, time.Time:
	default:
		return dst, nil, false
	}
	dst, _, ok = AppendArg(append(dst, 'v'), value, dates)
	return dst, own, ok
}

// appendFields writes the fields of a struct that is ours already. What it points to is the caller's yet, to change when
// he likes: a big number is copied, anything else refused.
func appendFields(dst []byte, v reflect.Value, dates bool) (_ []byte, ok bool) {
	for i := range v.NumField() {
		f := v.Field(i)
		switch f.Kind() {
		case reflect.Struct:
			if f.Type() != timeType {
				dst, ok = appendFields(dst, f, dates)
			} else if ok = f.CanInterface(); ok {
				dst = appendTime(dst, f.Interface().(time.Time))
			}
		case reflect.Pointer:
			if f.Type() != numberType || !f.CanSet() {
				return dst, false
			}
			if ok = true; f.IsNil() {
				dst = append(dst, 'z')
				break
			}
			n := new(big.Int).Set(f.Interface().(*big.Int))
			f.Set(reflect.ValueOf(n))
			dst = AppendText(append(dst, 'n'), n.Text(big.MaxBase))
		case reflect.Array:
			if ok = basic(f.Type().Elem().Kind()); ok {
				dst, ok = appendList(dst, f, dates)
			}
		default:
			dst, ok = appendBasic(dst, f, dates)
		}
		if !ok {
			return dst, false
		}
	}
	return dst, true
}

var (
	timeType   = reflect.TypeFor[time.Time]()
	numberType = reflect.TypeFor[*big.Int]()
)

func appendList(dst []byte, list reflect.Value, dates bool) (_ []byte, ok bool) {
	if dates && list.Type().Elem().Kind() == reflect.Uint8 && speaksOfNow(bytesOf(list)) {
		return dst, false
	}
	dst = binary.AppendUvarint(append(dst, 'l'), uint64(list.Len()))
	for i := range list.Len() {
		if dst, ok = appendBasic(dst, list.Index(i), dates); !ok {
			return dst, false
		}
	}
	return dst, true
}

// appendEach is appendList for values that are told one by one: UUIDs, for one.
func appendEach(dst []byte, list reflect.Value, dates bool) (_ []byte, ok bool) {
	dst = binary.AppendUvarint(append(dst, 'L'), uint64(list.Len()))
	for i := range list.Len() {
		v, own := list.Index(i), any(nil)
		if dst, own, ok = AppendArg(dst, v.Interface(), dates); !ok {
			return dst, false
		}
		if own != nil {
			v.Set(reflect.ValueOf(own))
		}
	}
	return dst, true
}

// bytesOf is what a slice or an array of bytes says, be they of a named type.
func bytesOf(list reflect.Value) string {
	b := make([]byte, list.Len())
	for i := range b {
		b[i] = byte(list.Index(i).Uint())
	}
	return string(b)
}

// appendPointed writes what a pointer points to. One that says its value itself may know more than that.
func appendPointed(dst []byte, p reflect.Value, dates bool) (_ []byte, own any, ok bool) {
	elem := p.Type().Elem()
	if p.IsNil() {
		return append(dst, 'z'), nil, true
	}
	if _, says := p.Interface().(driver.Valuer); says && !elem.Implements(valuerType) {
		return dst, nil, false
	}
	dst, own, ok = AppendArg(append(dst, 'p'), p.Elem().Interface(), dates)
	clone := reflect.New(elem)
	if clone.Elem().Set(p.Elem()); own != nil {
		clone.Elem().Set(reflect.ValueOf(own))
	}
	return dst, clone.Interface(), ok
}

var valuerType = reflect.TypeFor[driver.Valuer]()

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
		return AppendText(dst, v.String()), !(dates && speaksOfNow(v.String()))
	}
	return dst, false
}
