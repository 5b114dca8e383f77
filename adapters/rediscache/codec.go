package rediscache

import "encoding/json"

// Codec turns values into what Redis holds and back. Its methods may be called from any goroutine. Unmarshal must not
// keep data.
type Codec[V any] interface {
	Marshal(V) ([]byte, error)
	Unmarshal(data []byte, v *V) error
}

// JSON is encoding/json, and what a nil Codec means.
func JSON[V any]() Codec[V] { return jsonCodec[V]{} }

// Bytes is the value as it is, in a copy of its own. It is shared by all who read it: do not change it, or set
// cache.Options.Clone.
func Bytes() Codec[[]byte] { return bytesCodec{} }

// Text is the value as a string.
func Text() Codec[string] { return textCodec{} }

type jsonCodec[V any] struct{}

func (jsonCodec[V]) Marshal(v V) ([]byte, error)       { return json.Marshal(v) }
func (jsonCodec[V]) Unmarshal(data []byte, v *V) error { return json.Unmarshal(data, v) }

type bytesCodec struct{}

func (bytesCodec) Marshal(v []byte) ([]byte, error) { return v, nil }
func (bytesCodec) Unmarshal(data []byte, v *[]byte) error {
	*v = append(make([]byte, 0, len(data)), data...)
	return nil
}

type textCodec struct{}

func (textCodec) Marshal(v string) ([]byte, error) { return []byte(v), nil }
func (textCodec) Unmarshal(data []byte, v *string) error {
	*v = string(data)
	return nil
}
