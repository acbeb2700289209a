// SPDX-License-Identifier: BSD-3-Clause

package stress

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// victimEnv makes this program a process that changes programs until it is
// killed. Its value is an order.
const victimEnv = "XDPCTL_STRESS_VICTIM"

// order is what a victim is told: an entry, and the updates that it makes of it in
// turn, with a delete at times. File descriptors are those that it inherits.
type order struct {
	NetNS  int
	Map    int // a control map of the type, or -1 for the netlink door
	Family uint16
	Table  string // its name
	Key    key
	Puts   []values
	Ready  int
}

// tableOf is the table of that name.
func tableOf(name string) *table {
	for _, tb := range append(tables[:len(tables):len(tables)], port) {
		if tb.name == name {
			return tb
		}
	}
	return nil
}

// victim is the main function of a victim.
func victim() int {
	runtime.LockOSThread()
	var o order
	if err := json.Unmarshal([]byte(os.Getenv(victimEnv)), &o); err != nil {
		return 3
	}
	if err := unix.Setns(o.NetNS, unix.CLONE_NEWNET); err != nil {
		return 4
	}
	tb := tableOf(o.Table)
	via := door(&mapDoor{fd: map[*table]int{tb: o.Map}})
	if o.Map < 0 {
		g, err := testutil.DialGenl(nil, o.Family)
		if err != nil {
			return 5
		}
		via = &nlDoor{g}
	}
	if _, err := unix.Write(o.Ready, []byte{1}); err != nil {
		return 6
	}
	for n := 0; ; n++ {
		err := via.put(tb, o.Key, family.UpdateAny, o.Puts[n%len(o.Puts)])
		if err == nil && n%3 == 2 {
			err = via.drop(tb, o.Key)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 7
		}
	}
}

// killing is a netdev, and victims that work on it.
type killing struct {
	*world
	tally *tally
	exe   string
	dev   uint32
	judge *judge
	maps  *mapDoor
	links map[uint32]testutil.LinkInfo // before
	refs  int                          // to the module, before
}

// Descriptors that a victim inherits.
const (
	victimNetNS = 3 + iota
	victimPass
	victimDrop
	victimMap
	victimReady
)

// kill starts a victim and kills it at some moment. It works through the netlink
// door or through a map.
func (k *killing) kill(netlink bool, o order) error {
	o.NetNS, o.Map, o.Family, o.Ready = victimNetNS, victimMap, k.judge.g.Family, victimReady
	if netlink {
		o.Map = -1
	}
	r, ready, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := exec.Command(k.exe)
	cmd.Stderr = os.Stderr
	text, _ := json.Marshal(o)
	cmd.Env = append(os.Environ(), victimEnv+"="+string(text))
	for _, fd := range []int{k.ns.FD(), k.pass.FD, k.drop.FD, k.maps.fd[tableOf(o.Table)]} {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(dup), strconv.Itoa(fd))
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, ready)
	err = cmd.Start()
	ready.Close()
	if err != nil {
		return err
	}
	if _, err := io.ReadFull(r, make([]byte, 1)); err != nil {
		cmd.Wait()
		return fmt.Errorf("start victim: %w: %v", err, cmd.ProcessState)
	}
	window(40 * time.Millisecond)
	cmd.Process.Kill()
	cmd.Wait()
	if status := cmd.ProcessState.Sys().(interface{ Signaled() bool }); !status.Signaled() {
		return fmt.Errorf("the victim ended by itself: %v", cmd.ProcessState)
	}
	return nil
}

// round kills a victim that changes the program of the netdev, and looks at what
// it left.
func (k *killing) round(i int) error {
	name := []string{"netlink", "map"}[i%2]
	err := k.kill(i%2 == 0, order{
		Table: prog.name, Key: key{k.dev, family.QueueAll},
		Puts: []values{{family.AttrProgFD: victimPass}, {family.AttrProgFD: victimDrop}},
	})
	if err != nil {
		return err
	}
	return k.inspect(name)
}

// inspect makes sure that an update was done or not, and nothing in between,
// and clears up.
func (k *killing) inspect(name string) error {
	st, err := k.judge.get(prog, k.dev, family.QueueAll)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("get after the kill: %w", err)
	}
	var want unix.Errno
	switch {
	case st == state{}:
		want = unix.ENOENT
		k.tally.add(name, "nothing attached")
	case st.owner != family.OwnerModule || st.mode != family.ModeNative || st.link == 0:
		return fmt.Errorf("half an attachment after the kill: %+v", st)
	case st.prog == k.pass.ID:
		k.tally.add(name, "one attached")
	case st.prog == k.drop.ID:
		k.tally.add(name, "other attached")
	default:
		return fmt.Errorf("unknown attachment after the kill: %+v", st)
	}
	if rt := k.ns.XDP("veth"); rt.ProgID != st.prog {
		return fmt.Errorf("rtnetlink says program %d after the kill, the doors say %d", rt.ProgID, st.prog)
	}
	got := unix.Errno(0)
	if err := k.judge.del(k.dev); err != nil && !errors.As(err, &got) {
		return err
	}
	if got != want {
		return fmt.Errorf("detach after the kill: got %v, want %v", got, want)
	}
	if rt := k.ns.XDP("veth"); rt.ProgID != 0 {
		return fmt.Errorf("program %d is attached after the detach", rt.ProgID)
	}
	testutil.Eventually(k.T, deferred, "the links of the victim to go", func() bool {
		for id := range testutil.XDPLinks(k.T) {
			if _, ok := k.links[id]; !ok {
				return false
			}
		}
		return true
	})
	return nil
}

// TestKill kills processes while they change programs.
func TestKill(t *testing.T) {
	stress(t, func(t *testing.T) {
		w := newWorld(t)
		k := &killing{
			world: w, tally: newTally(), exe: stageSelf(t), dev: w.veth("veth"),
			judge: w.judge(), maps: w.maps(), links: testutil.XDPLinks(t),
		}
		done := newCrew(t).times(rounds(t, 10), func(i int) {
			if err := k.round(i); err != nil {
				t.Error(err)
			}
		})
		k.tally.report(t, done,
			"netlink: nothing attached", "netlink: one attached", "netlink: other attached",
			"map: nothing attached", "map: one attached", "map: other attached")
	})
}

// death is what a victim changes when it is killed, and the attribute that says
// what it left.
type death struct {
	name string
	order
	attr uint16
	may  []uint64 // its values; 0 is none
}

// deaths are those of everything but the program of a whole netdev.
func (k *killing) deaths() []death {
	dev, port7, peer := key{k.dev}, key{7}, uint64(k.ns.Index("vethp"))
	list := []death{{
		name: "queue", attr: family.AttrProgProgID, may: []uint64{0, uint64(k.pass.ID), uint64(k.drop.ID)},
		order: order{Table: prog.name, Key: key{k.dev, 0}, Puts: []values{
			{family.AttrProgFD: victimPass}, {family.AttrProgFD: victimDrop},
		}},
	}, {
		name: "port", attr: family.AttrPortIfindex, may: []uint64{0, uint64(k.dev), peer},
		order: order{Table: port.name, Key: port7, Puts: []values{
			{family.AttrPortIfindex: uint64(k.dev)}, {family.AttrPortIfindex: peer},
		}},
	}}
	for _, s := range settings() {
		list = append(list, death{name: s.name, attr: s.attr, may: []uint64{0, 1}, order: order{
			Table: attr.name, Key: dev, Puts: []values{
				{family.AttrAttrCommand: uint64(s.command), s.attr: 1},
				{family.AttrAttrCommand: uint64(s.command), s.attr: 0},
			},
		}})
	}
	return list
}

// die kills a victim and makes sure that what it changed is there or not, that it
// can be undone, and that the module is held by nothing then.
func (k *killing) die(netlink bool, d death) error {
	if err := k.kill(netlink, d.order); err != nil {
		return err
	}
	tb := tableOf(d.Table)
	v, err := k.judge.look(tb, d.Key)
	if err != nil && (tb == attr || !errors.Is(err, unix.ENOENT)) {
		return fmt.Errorf("look at the %s after the kill: %w", d.name, err)
	}
	got := slices.Index(d.may, v[d.attr])
	if got < 0 {
		return fmt.Errorf("%s after the kill: got %v, want one of %v", d.name, v, d.may)
	}
	k.tally.add(d.name, fmt.Sprintf("state %d", got))
	err = k.judge.drop(tb, d.Key)
	if want := got != 0 || tb == attr; want != (err == nil) || err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("delete %s after the kill, which left %v: %w", d.name, v, err)
	}
	if v, err := k.judge.look(tb, d.Key); v[d.attr] != 0 {
		return fmt.Errorf("%s after the delete: %v, %v", d.name, v, err)
	}
	references(k.T, k.refs)
	return nil
}

// TestKillSettings kills processes while they change settings, programs of RX
// queues, and ports.
func TestKillSettings(t *testing.T) {
	stress(t, func(t *testing.T) {
		w := newWorld(t).withBTF()
		k := &killing{
			world: w, tally: newTally(), exe: stageSelf(t), dev: w.veth("veth"),
			judge: w.judge(), maps: w.maps(),
		}
		w.must(k.judge.set(k.dev, change{prog: w.pass}))
		k.refs = moduleRefs(t)
		deaths := k.deaths()
		var want []string
		done := newCrew(t).times(rounds(t, 10), func(i int) {
			if err := k.die(i/len(deaths)%2 == 0, deaths[i%len(deaths)]); err != nil {
				t.Error(err)
			}
		})
		for _, d := range deaths {
			for i := range d.may {
				want = append(want, fmt.Sprintf("%s: state %d", d.name, i))
			}
		}
		k.tally.report(t, done, want...)
	})
}

// stageSelf copies this program into the guest's memory, from where it starts
// faster.
func stageSelf(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := t.TempDir() + "/victim"
	if err := os.WriteFile(path, b, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}
