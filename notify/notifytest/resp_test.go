package notifytest

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// FuzzReadRequest: whatever a client sends is read or refused; what is read
// comes back the same when it is written as an array.
func FuzzReadRequest(f *testing.F) {
	for _, in := range []string{
		"", "\r\n", "PING\r\n", "*1\r\n$4\r\nPING\r\n", "*2\r\n$3\r\nGET\r\n$2\r\n\r\n\r\n", "*0\r\n", "*-1\r\n",
		"*1000000\r\n$1\r\n", "*1\r\n$536870912\r\nx", "*1\r\n:1\r\n", "*x\r\n", "$3\r\n", " \n", "*1\n$0\n\n\n",
	} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		args, err := readRequest(bufio.NewReaderSize(bytes.NewReader(in), maxInline))
		if err != nil || len(args) == 0 {
			return
		}
		var b strings.Builder
		fmt.Fprintf(&b, "*%d\r\n", len(args))
		for _, a := range args {
			b.WriteString(bulk(a))
		}
		again, err := readRequest(bufio.NewReaderSize(strings.NewReader(b.String()), maxInline))
		if err != nil || !slices.Equal(args, again) {
			t.Errorf("%q read as %q, then as %q, %v", in, args, again, err)
		}
	})
}
