package notify

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/gofreshet/freshet/internal/redistest"
	"github.com/redis/go-redis/v9"
)

const (
	idA = "07c37dfeb235213a872192d90877d0cd55635b91"
	idB = "67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1"
	idC = "292f8b365bb7edb5e285caf0b7e6ddc7265d2f4f"
)

// node is a line of CLUSTER NODES.
func node(id, addr, flags, primary string, epoch int, slots ...string) string {
	line := fmt.Sprintf("%s %s %s %s 0 1426238317239 %d connected", id, addr, flags, primary, epoch)
	return strings.Join(append([]string{line}, slots...), " ") + "\n"
}

func TestParseNodes(t *testing.T) {
	me := node(idA, "10.0.0.1:7000@17000,", "myself,master", "-", 3, "0-5460")
	for name, test := range map[string]struct {
		text string
		want []string // members beside the first
	}{
		"7.0":                {node(idB, "10.0.0.2:7000@17000,", "master", "-", 4, "5461-16383"), []string{"10.0.0.2:7000 4 votes"}},
		"7.0 with a name":    {node(idB, "10.0.0.2:7000@17000,b.example", "master", "-", 4, "5461"), []string{"10.0.0.2:7000 4 votes"}},
		"name, no address":   {node(idB, ":7000@17000,b.example", "master", "-", 4, "5461"), []string{"b.example:7000 4 votes"}},
		"7.2, extensions":    {node(idB, ":7000@17000,b.example,shard-id=1", "master", "-", 4, "5461"), []string{"b.example:7000 4 votes"}},
		"no address at all":  {node(idB, ":7000@17000", "master", "-", 4, "5461"), []string{"origin:7000 4 votes"}},
		"6.0":                {node(idB, "10.0.0.2:7000@17000", "master", "-", 4, "5461"), []string{"10.0.0.2:7000 4 votes"}},
		"3.2":                {node(idB, "10.0.0.2:7000", "master", "-", 4, "5461"), []string{"10.0.0.2:7000 4 votes"}},
		"IPv6":               {node(idB, "fd00::2:7000@17000,", "master", "-", 4, "5461"), []string{"[fd00::2]:7000 4 votes"}},
		"loopback":           {node(idB, "127.0.0.1:7001@17001,", "master", "-", 4, "5461"), []string{"origin:7001 4 votes"}},
		"port 0":             {node(idB, "10.0.0.2:0@17000,", "master", "-", 4, "5461"), []string{"10.0.0.2:6379 4 votes"}},
		"without slots":      {node(idB, "10.0.0.2:7000@17000,", "master", "-", 0), []string{"10.0.0.2:7000 0"}},
		"slots on their way": {node(idB, "10.0.0.2:7000@17000,", "master", "-", 0, "[77-<-"+idA+"]"), []string{"10.0.0.2:7000 0"}},
		"some leave":         {node(idB, "10.0.0.2:7000@17000,", "master", "-", 0, "7", "[7->-"+idA+"]"), []string{"10.0.0.2:7000 0 votes"}},
		"replica":            {node(idB, "10.0.0.2:7000@17000,", "slave", idA, 3), nil},
		"handshake":          {node(idB, "10.0.0.2:7000@17000,", "master,handshake", "-", 0), nil},
		"noaddr":             {node(idB, ":0@0,", "master,noaddr", "-", 4, "5461"), nil},
		"fails, with slots":  {node(idB, "10.0.0.2:7000@17000,", "master,fail", "-", 4, "5461"), []string{"10.0.0.2:7000 4 votes"}},
		"fails, without":     {node(idB, "10.0.0.2:7000@17000,", "master,fail", "-", 4), nil},
		"may fail, without":  {node(idB, "10.0.0.2:7000@17000,", "master,fail?", "-", 4), []string{"10.0.0.2:7000 4"}},
		"vars of a Cluster":  {"vars currentEpoch 6 lastVoteEpoch 5\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			table, err := parseNodes(test.text+me, "origin:6379")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, m := range table.members {
				s := fmt.Sprint(m.addr, " ", m.epoch)
				if m.votes {
					s += " votes"
				}
				if m.id != idA {
					got = append(got, s)
				} else if s != "10.0.0.1:7000 3 votes" {
					t.Errorf("the answering node: %s", s)
				}
			}
			if table.self != idA || !slices.Equal(got, test.want) {
				t.Errorf("%s says %q, want %q", table.self, got, test.want)
			}
		})
	}
	for name, text := range map[string]string{
		"nobody answers": node(idB, "10.0.0.2:7000@17000,", "master", "-", 4, "5461"),
		"no epoch":       strings.Replace(me, " 3 connected", " three connected", 1),
		"nothing":        "",
	} {
		if table, err := parseNodes(text, "origin:6379"); err == nil {
			t.Errorf("%s: %+v", name, table)
		}
	}
}

// Who has no slots is dialled by name where clients are to dial by name.
func TestNamesOfSlotless(t *testing.T) {
	text := node(idA, "10.0.0.1:7000@17000,a.example", "myself,master", "-", 3, "0-16383") +
		node(idB, "10.0.0.2:7000@17000,b.example", "master", "-", 4) + node(idC, "10.0.0.3:7000@17000,", "master", "-", 5)
	for _, test := range []struct {
		told string // by CLUSTER SLOTS
		want []string
	}{
		{"a.example:7000", []string{"a.example:7000", "b.example:7000", "10.0.0.3:7000"}},
		{"10.0.0.1:7000", []string{"10.0.0.1:7000", "10.0.0.2:7000", "10.0.0.3:7000"}},
	} {
		table, err := parseNodes(text, "origin:6379")
		if err != nil {
			t.Fatal(err)
		}
		table.takeSlots([]redis.ClusterSlot{{Start: 0, End: 16383, Nodes: []redis.ClusterNode{{ID: idA, Addr: test.told}}}}, "origin:6379")
		var got []string
		for _, id := range []string{idA, idB, idC} {
			for _, m := range table.members {
				if m.id == id {
					got = append(got, m.addr)
				}
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("of %s: %q, want %q", test.told, got, test.want)
		}
	}
}

func TestClusterInfo(t *testing.T) {
	for text, want := range map[string][2]uint64{
		"cluster_state:ok\r\ncluster_current_epoch:6\r\ncluster_stats_messages_sent:12\r\n":                                       {6, 0},
		"cluster_current_epoch:6\r\ncluster_stats_messages_auth-ack_sent:2\r\ncluster_stats_messages_sent:12\r\n":                 {6, 2},
		"cluster_current_epoch:6\r\ncluster_stats_messages_auth-ack_received:2\r\ncluster_stats_messages_sent:12\r\n":             {6, 0},
		"cluster_current_epoch:6\r\ncluster_my_epoch:2\r\n":                                                                       {6, 1}, // it does not tell
		"cluster_current_epoch:18446744073709551615\r\ncluster_stats_messages_sent:0\r\ntotal_cluster_links_buffer_limit_x:0\r\n": {1<<64 - 1, 0},
	} {
		if term, votes, err := clusterInfo(text); err != nil || (want != [2]uint64{term, votes}) {
			t.Errorf("%q: term %d, %d votes, %v", text, term, votes, err)
		}
	}
	for _, text := range []string{"", "cluster_state:ok\r\n", "cluster_current_epoch:-1\r\n", "cluster_current_epoch:\r\n"} {
		if term, _, err := clusterInfo(text); err == nil {
			t.Errorf("%q: term %d", text, term)
		}
	}
}

func TestReach(t *testing.T) {
	for _, test := range [][3]string{
		{"10.0.0.2:7000", "10.0.0.1:6379", "10.0.0.2:7000"},
		{"127.0.0.1:7000", "10.0.0.1:6379", "10.0.0.1:7000"},
		{"127.0.0.1:7000", "localhost:6379", "127.0.0.1:7000"},
		{"[::1]:7000", "redis.example:6379", "redis.example:7000"},
		{"localhost:7000", "10.0.0.1:6379", "localhost:7000"},
		{"127.0.0.1:7000", "host.docker.internal:6379", "127.0.0.1:7000"},
		{":7000", "[fd00::1]:6379", "[fd00::1]:7000"},
		{"?:7000", "10.0.0.1:6379", "10.0.0.1:7000"},
		{"10.0.0.2:0", "10.0.0.1:6379", "10.0.0.2:6379"},
		{"nonsense", "10.0.0.1:6379", "nonsense"},
		{"10.0.0.2:7000", "nonsense", "10.0.0.2:7000"},
	} {
		if got := reach(test[0], test[1]); got != test[2] {
			t.Errorf("%s told by %s: %s, want %s", test[0], test[1], got, test[2])
		}
	}
}

// Whatever a node answers: no panic, members in order and none twice, and voters among them.
func FuzzParseNodes(f *testing.F) {
	f.Add(node(idA, "10.0.0.1:7000@17000,", "myself,master", "-", 3, "0-5460")+node(idB, ":7000@17000,b", "master,fail", "-", 4), "origin:6379")
	f.Add(node(idA, "fd00::1:7000@17000,", "myself,slave", idC, 3)+node(idC, "127.0.0.1:0@1", "master", "-", 4, "[7->-"+idA+"]"), "[::1]:1")
	f.Fuzz(func(t *testing.T, text, origin string) {
		table, err := parseNodes(text, origin)
		if err != nil {
			return
		}
		voters := table.voters()
		for i, m := range table.members {
			if i > 0 && table.members[i-1].id > m.id {
				t.Errorf("out of order: %+v", table.members)
			}
			if !table.known[m.id] || !strings.Contains(text, m.id) {
				t.Errorf("made up: %+v", m)
			}
			if _, votes := voters[m.id]; m.votes && !votes {
				t.Errorf("%+v is not among %v", m, slices.Sorted(maps.Keys(voters)))
			}
			if m.epoch > table.latest() {
				t.Errorf("%+v is later than the latest", m)
			}
		}
		if !table.known[table.self] {
			t.Errorf("%q answers and is not known", table.self)
		}
	})
}

// Redis itself says which slot a key is in.
func TestSlotsAreRedissOwn(t *testing.T) {
	rdb := redistest.StartCluster(t, 1, 0).Nodes()[0].Client(t)
	ctx := testContext(t)
	is := func(key string) int { return int(rdb.ClusterKeySlot(ctx, key).Val()) }
	for _, s := range []string{"", "a", "123456789", "freshet", "\x00\xff", strings.Repeat("x", 300)} {
		if got := int(crc16(s)) % clusterSlots; s != "" && got != is(s) {
			t.Errorf("%q is in slot %d, not %d", s, is(s), got)
		}
	}
	for slot := 0; slot < clusterSlots; slot += 331 {
		if key := "k{" + tagOf(slot) + "}k"; is(key) != slot {
			t.Errorf("%q is in slot %d, not %d", key, is(key), slot)
		}
	}
	if key := "{" + tagOf(clusterSlots-1) + "}"; is(key) != clusterSlots-1 {
		t.Errorf("%q is in slot %d", key, is(key))
	}
}
