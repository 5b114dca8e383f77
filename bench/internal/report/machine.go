package report

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// Machine is what the figures depend on.
type Machine struct {
	CPU       string            `json:"cpu"`
	Cores     int               `json:"cores"`
	OS        string            `json:"os"`
	Go        string            `json:"go"`
	Libraries map[string]string `json:"libraries"` // what is measured, by module path
	Date      string            `json:"date"`
}

// measured are the modules whose versions stand beside the figures.
var measured = []string{
	"github.com/dgraph-io/ristretto/v2", "github.com/maypok86/otter/v2", "github.com/Yiling-J/theine-go",
	"github.com/hashicorp/golang-lru/v2", "github.com/redis/go-redis/v9", "github.com/redis/rueidis",
	"github.com/viccon/sturdyc", "golang.org/x/sync",
}

// ThisMachine describes where and with what this program runs.
func ThisMachine() Machine {
	m := Machine{
		CPU: cpu(), Cores: runtime.GOMAXPROCS(0), OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(),
		Libraries: map[string]string{}, Date: time.Now().UTC().Format(time.DateOnly),
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			for _, path := range measured {
				if dep.Path == path {
					m.Libraries[path] = dep.Version
				}
			}
		}
	}
	return m
}

func cpu() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU"
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if name, value, ok := strings.Cut(sc.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

// String is one paragraph for people.
func (m Machine) String() string {
	var libs []string
	for _, path := range measured {
		if v := m.Libraries[path]; v != "" {
			name := strings.TrimSuffix(path, "/v2")
			name = strings.TrimSuffix(name, "/v9")
			libs = append(libs, name[strings.LastIndexByte(name, '/')+1:]+" "+v)
		}
	}
	s := fmt.Sprintf("\n%s, %d cores, %s, %s, %s", m.CPU, m.Cores, m.OS, m.Go, m.Date)
	if len(libs) > 0 {
		s += "\n" + strings.Join(libs, ", ")
	}
	return s
}
