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

// order is what a victim is told. File descriptors are those that it inherits.
type order struct {
	NetNS    int
	Map      int // a control map of type xdp_prog, or -1 for the netlink door
	Family   uint16
	Ifindex  uint32
	Programs []int
	Ready    int
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
	via := door(&mapDoor{fd: map[*table]int{prog: o.Map}})
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
		err := via.set(o.Ifindex, change{prog: &testutil.Prog{FD: o.Programs[n%len(o.Programs)]}})
		if err == nil && n%3 == 2 {
			err = via.del(o.Ifindex)
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
}

// round starts a victim, kills it at some moment, and looks at what it left.
func (k *killing) round(i int) error {
	name, mapFD := "netlink", -1
	if i%2 == 1 {
		name, mapFD = "map", 6
	}
	r, ready, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := exec.Command(k.exe)
	cmd.Stderr = os.Stderr
	o, _ := json.Marshal(order{
		NetNS: 3, Programs: []int{4, 5}, Map: mapFD, Family: k.judge.g.Family, Ifindex: k.dev, Ready: 7,
	})
	cmd.Env = append(os.Environ(), victimEnv+"="+string(o))
	for _, fd := range []int{k.ns.FD(), k.pass.FD, k.drop.FD, k.maps.fd[prog]} {
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
