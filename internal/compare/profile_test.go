// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProfiledOperation(t *testing.T) {
	o := NewProfiledOperation("op", 0, 1000, []Sampled{
		{Name: "put_entry", Module: "xdpctl", Samples: 100},
		{Name: "main", User: true, Samples: 4},
		{Name: "netlink_unicast", Samples: 200},
		{Name: "genl_family_rcv_msg_attrs_parse.constprop.0", Samples: 91},
		{Name: "unheard_of", Samples: 5},
	})
	want := []ProfiledShare{
		{"netlink_unicast", groupNetlink, 500},
		{"put_entry", groupModule, 250},
		{"genl_family_rcv_msg_attrs_parse.constprop.0", groupNetlink, 227.5},
		{"unheard_of", groupRest, 12.5},
		{"main", groupProgram, 10},
		{other, "", 0},
	}
	if diff := cmp.Diff(want, o.Functions); diff != "" {
		t.Errorf("functions (-want +got):\n%s", diff)
	}
	sum := 0.
	for _, g := range o.Groups {
		sum += g.Cost
	}
	if o.Samples != 400 || sum != 1000 || share(o.Groups, groupNetlink) != 727.5 {
		t.Errorf("%d samples, %v in groups %v", o.Samples, sum, o.Groups)
	}
	// Less than a hundredth is in other, and in its group all the same.
	o = NewProfiledOperation("op", 0, 1000, []Sampled{{Name: "kfree", Samples: 991}, {Name: "nla_put", Samples: 9}})
	if got := share(o.Functions, other); got != 9 || len(o.Functions) != 2 || share(o.Groups, groupNetlink) != 9 {
		t.Errorf("got %v and %v", o.Functions, o.Groups)
	}
}

func TestGroups(t *testing.T) {
	for _, r := range groupRules {
		if !slices.Contains(groups, r.group) || len(r.names) == 0 {
			t.Errorf("there is no group %q, or nothing in it", r.group)
		}
	}
	for name, want := range map[string]string{
		"_raw_spin_unlock_irqrestore":    groupLocks,
		"kmem_cache_alloc_node_noprof":   groupMemory,
		"rtnl_lock":                      groupLocks,
		"rtnl_stats_get":                 groupNetdevs,
		"rep_movs_alternative":           groupCopy,
		"security_netlink_send":          groupLSM,
		"netlink_sendmsg":                groupNetlink,
		"__sys_sendto":                   groupSocket,
		"__sys_bpf":                      groupBPF,
		"do_syscall_64":                  groupEntry,
		"bpf_lsm_socket_sendmsg":         groupLSM,
		"vmap_small_pages_range_noflush": groupMemory,
		"map_lookup":                     groupBPF,
		"sha256_update":                  groupRest,
	} {
		if got := groupOf(&Sampled{Name: name}); got != want {
			t.Errorf("%s is for %q, want %q", name, got, want)
		}
	}
}

// profilesIn are the paths of the profiles in a directory.
func profilesIn(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "profile-*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("profiles in %s: %v, %v", dir, paths, err)
	}
	return paths
}

func TestReadProfiles(t *testing.T) {
	all, err := ReadProfiles(profilesIn(t, "testdata"))
	if err != nil {
		t.Fatal(err)
	}
	var releases []string
	for _, p := range all {
		releases = append(releases, p.Release)
		out, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again := &Profile{}
		if err := json.Unmarshal(out, again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(p, again); diff != "" {
			t.Errorf("%s written and read (-want +got):\n%s", p.Release, diff)
		}
	}
	if diff := cmp.Diff([]string{"6.1.0-1", "6.12.0-1"}, releases); diff != "" {
		t.Errorf("releases (-want +got):\n%s", diff)
	}
	if none, err := ReadProfiles(nil); err != nil || none != nil || profileSection(none) != "" {
		t.Errorf("without profiles there is %v, error %v", none, err)
	}
}

// TestProfileText looks at what is said of stats-get beside RTM_GETSTATS.
func TestProfileText(t *testing.T) {
	for name, tt := range map[string]struct {
		get, module, peer float64
		want, not         string
	}{
		"less":     {5000, 800, 6000, "costs 5,000 instructions, of which the module has 800. The other 4,200", "brought"},
		"possible": {7000, 800, 6500, "reply in 300.", "nothing at all"},
		"hopeless": {7400, 800, 6500, "if the module did nothing at all", "reply in"},
	} {
		of := func(name string, cost, module float64) *ProfiledOperation {
			return NewProfiledOperation(name, 0, cost, []Sampled{
				{Name: "lookup", Module: "xdpctl", Samples: int(module)}, {Name: "netlink_sendmsg", Samples: int(cost - module)}})
		}
		p := &Profile{Operations: []*ProfiledOperation{of(profiledStatsGet, tt.get, tt.module), of(profiledGetStats, tt.peer, 0), of(profiledFloor, 8000, 0)}}
		if got := p.doText(); !strings.Contains(got, tt.want) || strings.Contains(got, tt.not) {
			t.Errorf("%s: got %s", name, got)
		}
		if p.dumpText() != "" || p.ioctlText() != "" {
			t.Errorf("%s: there is something of what was not profiled", name)
		}
	}
}

func TestProfileWriteText(t *testing.T) {
	all, err := ReadProfiles(profilesIn(t, "testdata"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := all[0].WriteText(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "profile.txt", b.String())
}
