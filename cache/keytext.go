package cache

import (
	"encoding/hex"
	"reflect"
	"strconv"
)

// keyText returns how keys of type K are written, or nil for types that need Options.AppendKey.
func keyText[K comparable]() func(dst []byte, k K) []byte {
	t := reflect.TypeFor[K]()
	switch t.Kind() {
	case reflect.String:
		return func(dst []byte, k K) []byte {
			if s, ok := any(k).(string); ok {
				return append(dst, s...)
			}
			return append(dst, reflect.ValueOf(k).String()...)
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return func(dst []byte, k K) []byte { return strconv.AppendInt(dst, reflect.ValueOf(k).Int(), 10) }
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return func(dst []byte, k K) []byte { return strconv.AppendUint(dst, reflect.ValueOf(k).Uint(), 10) }
	case reflect.Array:
		if t.Len() == 16 && t.Elem() == reflect.TypeFor[byte]() {
			return func(dst []byte, k K) []byte {
				u := reflect.ValueOf(k).Convert(reflect.TypeFor[[16]byte]()).Interface().([16]byte)
				return appendUUID(dst, u)
			}
		}
	}
	return nil
}

// appendUUID writes u as RFC 9562 section 4 has it.
func appendUUID(dst []byte, u [16]byte) []byte {
	for i, part := range [][]byte{u[:4], u[4:6], u[6:8], u[8:10], u[10:]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, part)
	}
	return dst
}

// sizeOf returns how many bytes a V holds, or nil for types that need Options.Cost.
func sizeOf[V any]() func(V) int64 {
	t := reflect.TypeFor[V]()
	if t.Kind() == reflect.String || t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 {
		return func(v V) int64 {
			switch v := any(v).(type) {
			case string:
				return int64(len(v))
			case []byte:
				return int64(len(v))
			}
			return int64(reflect.ValueOf(v).Len())
		}
	}
	return nil
}
