package trace

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// open gives the decompressed contents of path. xz and zstd are read through
// the programs of these names: two libraries more in go.mod would be the price
// of doing without, and every user of the module would pay it. Close reports
// what the decompressor found wrong, and must be called after the last read.
func open(path string) (io.ReadCloser, error) {
	switch filepath.Ext(path) {
	case ".xz":
		return pipe(path, "xz", "apt-get install xz-utils")
	case ".zst":
		return pipe(path, "zstd", "apt-get install zstd")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open trace: %w", err)
	}
	if filepath.Ext(path) != ".gz" {
		return f, nil
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &gzipped{Reader: z, file: f}, nil
}

type gzipped struct {
	*gzip.Reader
	file *os.File
}

func (g *gzipped) Close() error { return errors.Join(g.Reader.Close(), g.file.Close()) }

type piped struct {
	io.Reader
	path   string
	out    io.Closer
	cmd    *exec.Cmd
	stderr bytes.Buffer
	eof    bool
}

func pipe(path, tool, install string) (io.ReadCloser, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open trace: %w", err)
	}
	bin, err := exec.LookPath(tool)
	if err != nil {
		return nil, fmt.Errorf("%s: needs the program %s (%s): %w", path, tool, install, err)
	}
	p := &piped{path: path, cmd: exec.Command(bin, "-dc", "--", path)}
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	p.Reader, p.out = out, out
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: start %s: %w", path, tool, err)
	}
	return p, nil
}

func (p *piped) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	p.eof = p.eof || err == io.EOF
	return n, err
}

// Close waits for the program. Its failure counts only when it was read to its
// end: one that was left early dies of a closed pipe.
func (p *piped) Close() error {
	p.out.Close()
	if err := p.cmd.Wait(); err != nil && p.eof {
		return fmt.Errorf("%s: %w: %s", p.path, err, bytes.TrimSpace(p.stderr.Bytes()))
	}
	return nil
}
