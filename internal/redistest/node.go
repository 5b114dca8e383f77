package redistest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// view is what a node says of the Cluster, by node id.
type view map[string]entry

type entry struct {
	primary string // the id of whom it replicates; "" for a primary
	sound   bool   // known, not suspected, and linked
	slots   []string
}

// do runs a command on the node itself.
func (n *Node) do(t testing.TB, args ...any) any {
	t.Helper()
	got, err := n.admin.Do(context.Background(), args...).Result()
	if err != nil {
		t.Fatalf("redistest: %s: %v: %v", n.Addr(), args, err)
	}
	return got
}

func (n *Node) meet(t testing.TB, others []*Node) {
	t.Helper()
	for _, o := range others {
		n.do(t, "CLUSTER", "MEET", n.wire.host(), o.Port(), o.busPort)
	}
}

func (n *Node) view() (view, error) {
	table, err := n.admin.ClusterNodes(context.Background()).Result()
	if err != nil {
		return nil, fmt.Errorf("%s: CLUSTER NODES: %w", n.Addr(), err)
	}
	v := make(view)
	for line := range strings.Lines(table) {
		f := strings.Fields(line) // id, address, flags, primary, ping, pong, epoch, link, slots
		if len(f) < 8 {
			return nil, fmt.Errorf("%s: CLUSTER NODES: %q", n.Addr(), line)
		}
		flags := strings.Split(f[2], ",")
		unsound := func(flag string) bool { return !slices.Contains([]string{"myself", "master", "slave"}, flag) }
		v[f[0]] = entry{
			primary: strings.Trim(f[3], "-"),
			sound:   f[7] == "connected" && !slices.ContainsFunc(flags, unsound),
			slots:   f[8:],
		}
	}
	return v, nil
}

// about is what v says of nodes, unless it is unsure of one.
func (v view) about(nodes []*Node) (string, error) {
	var said strings.Builder
	for _, n := range nodes {
		e := v[n.ID]
		if !e.sound {
			return "", fmt.Errorf("no sound link to %s", n.Addr())
		}
		fmt.Fprintf(&said, "%s %s", n.Addr(), e.primary)
		for _, slots := range e.slots {
			if slots[0] != '[' { // on the move: only the node itself says so
				said.WriteString(" " + slots)
			}
		}
		said.WriteString("\n")
	}
	return said.String(), nil
}

func (e entry) owns(slot int) bool {
	return slices.ContainsFunc(e.slots, func(slots string) bool {
		first, last, isRange := strings.Cut(slots, "-")
		if !isRange {
			last = first
		}
		lo, err1 := strconv.Atoi(first)
		hi, err2 := strconv.Atoi(last)
		return err1 == nil && err2 == nil && lo <= slot && slot <= hi
	})
}

// serves says what a node lacks to serve as a primary, or as a replica of the one with that id.
func (n *Node) serves(all []*Node, primary string) error {
	info, err := n.admin.ClusterInfo(context.Background()).Result()
	if err == nil && !strings.Contains(info, "cluster_state:ok") {
		err = errors.New(info)
	}
	for _, p := range all {
		if p.ID == primary && p.reachable() && err == nil {
			err = n.follows(p.Server)
		}
	}
	return err
}
