package trace

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Known is a trace that is published somewhere, and what it must count.
type Known struct {
	Name     string // as replays call it
	File     string // as it is published, the compression by its ending
	Format   Format
	Requests int
	Distinct int
}

// Catalog is the traces that can be loaded by name. Their counts were taken by
// decoding the published files, and are what tells a whole file from another.
func Catalog() []Known {
	f := func(k kind) Format { return Format{kind: k} }
	return []Known{
		{"arc-OLTP", "arc-OLTP.lis.zst", f(arc), 914_145, 186_880},
		{"arc-P3", "arc-P3.lis.zst", f(arc), 3_912_296, 762_543},
		{"cache2k-orm-night", "cache2k-orm-night.xz", f(le32), 5_000_000, 86_466},
		{"cache2k-web12", "cache2k-web12.xz", f(be32), 95_607, 13_756},
		{"cloudphysics-w106", "cloudphysics-w106.xz", f(le32), 5_292_456, 275_171},
		{"adaptsize", "adaptsize-request.xz", Format{kind: fields, column: 2}, 66_987, 36_815},
		{"thesios-blocks", "google-thesios-400k.csv.zst", f(keys), 396_118, 322_519},
		{"thesios-files", "google-thesios-400k.csv.zst", f(file), 396_118, 46_038},
		{"lirs-2pools", "lirs-2pools.gz", f(lirs), 100_000, 9_939},
		{"lirs-glimpse", "lirs-glimpse.gz", f(lirs), 6_015, 2_529},
		{"lirs-loop", "lirs-loop.gz", f(lirs), 505_500, 1_011},
		{"lirs-multi3", "lirs-multi3.gz", f(lirs), 30_241, 7_454},
		{"lirs-sprite", "lirs-sprite.gz", f(lirs), 133_996, 7_075},
	}
}

// Find gives the catalog's entry of that name.
func Find(name string) (Known, error) {
	var names []string
	for _, k := range Catalog() {
		if k.Name == name {
			return k, nil
		}
		names = append(names, k.Name)
	}
	return Known{}, fmt.Errorf("no published trace %q: there are %s", name, strings.Join(names, ", "))
}

// Load reads k from dir, and compares its counts.
func (k Known) Load(dir string) (*Trace, error) {
	path := filepath.Join(dir, k.File)
	t, err := Load(path, k.Format)
	if err != nil {
		return nil, err
	}
	if len(t.Keys) != k.Requests || t.Distinct != k.Distinct {
		return nil, fmt.Errorf("%s: %w: %d requests of %d distinct keys, want %d of %d: cut short, or another version",
			path, ErrMalformed, len(t.Keys), t.Distinct, k.Requests, k.Distinct)
	}
	t.Name = k.Name
	return t, nil
}
