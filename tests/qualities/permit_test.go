// SPDX-License-Identifier: BSD-3-Clause

package qualities

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/compare"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// allBut is every capability but some.
func allBut(keep ...int) []int {
	return slices.DeleteFunc(testutil.AllCaps(), func(c int) bool { return slices.Contains(keep, c) })
}

// opening is what comes of the ways in with a set of capabilities.
type opening struct {
	get, set unix.Errno // over netlink, on a socket opened with them
	create   unix.Errno
	change   unix.Errno // of an update through that map
}

// open tries to open both doors with some capabilities only.
func (w *world) open(keep ...int) (o opening) {
	w.Helper()
	desc := family.CtrlTypeXDPProg.Desc()
	attr := testutil.ControlMapAttr(desc.MapName, w.ctl, desc.KeySize, desc.ValueSize)
	testutil.WithoutCaps(w.T, w.ns, allBut(keep...), func() {
		g, err := testutil.DialGenl(w.T, w.genl.Family)
		if err != nil {
			w.Error(err)
			return
		}
		defer g.Close()
		o.get = g.Do(family.CmdStatsGet, unix.NLM_F_DUMP, nil).Errno
		o.set = g.Do(family.CmdProgSet, 0, request(wholeDev(w.veth0), program(w.pass), family.UpdateAny)).Errno
		fd, err := testutil.CreateMap(attr)
		o.create = errno(w.T, err)
		if err == nil {
			o.change = errno(w.T, testutil.UpdateElem(fd, bytesOf(wholeDev(w.veth0)), bytesOf(program(w.pass)), 0))
			unix.Close(fd)
		}
	})
	return o
}

// TestCreate opens both doors with few capabilities, and as root of a user
// namespace of one's own.
func TestCreate(t *testing.T) {
	w := newWorld(t)
	const refused, never = unix.EPERM, 0
	for what, tc := range map[string]struct {
		keep []int
		want opening
	}{
		"nothing":       {nil, opening{0, refused, refused, never}},
		"CAP_NET_ADMIN": {[]int{unix.CAP_NET_ADMIN}, opening{0, 0, refused, never}},
		"all for BPF":   {[]int{unix.CAP_NET_ADMIN, unix.CAP_BPF, unix.CAP_PERFMON}, opening{0, 0, refused, never}},
		"CAP_SYS_ADMIN": {[]int{unix.CAP_SYS_ADMIN}, opening{0, refused, 0, refused}},
		"both":          {[]int{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN}, opening{0, 0, 0, 0}},
	} {
		expect(t, what, w.open(tc.keep...), tc.want)
	}

	before := testutil.XDPLinks(t)
	cmd, done := w.command(order{Alone: true, Steps: []string{"get", "set", "create"}}, w.genl.FD(), w.pass)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}},
	}
	out := w.run(cmd, done)
	expect(t, "get in a user namespace", out["get"], outcome{})
	expect(t, "set in a user namespace", out["set"], outcome{})
	expect(t, "create in a user namespace", out["create"].Errno, refused)
	settled(t, before)

	line(t, compare.Quality{
		Name:     "permission: who may open and create",
		Question: "Which capabilities does it take to read, and to change, without being handed anything?",
		Netlink:  fmt.Sprintf("To read none, to change CAP_NET_ADMIN (%s without), over the network namespace's user namespace: root of a container may change what is his.", name(refused)),
		Map: fmt.Sprintf("To create a map CAP_SYS_ADMIN in the initial user namespace, even to read (%s with CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON, and for root of a user namespace); to change CAP_NET_ADMIN as well (%s without).",
			name(out["create"].Errno), name(refused)),
	})
}

// TestPassOn hands an open map, a pin and a socket to somebody who may not open
// them.
func TestPassOn(t *testing.T) {
	w := newWorld(t)
	const nobodyUID = 65534
	m := w.control(family.CtrlTypeXDPProg)
	w.attach(w.veth0, w.pass)
	dir := testutil.MountBPFFS(t)
	// What keeps others out is to be the mode of the bpffs.
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	pin := filepath.Join(dir, "prog")
	if _, err := object(unix.BPF_OBJ_PIN, pin, m, 0); err != nil {
		t.Fatal(err)
	}
	ask := func(steps ...string) map[string]outcome {
		cmd, done := w.command(order{UID: nobodyUID, Ifindex: w.veth0, Pin: pin, Steps: steps}, m, w.drop)
		return w.run(cmd, done)
	}
	out := ask("lookup", "next", "update", "open pin", "get", "set")
	for step, want := range map[string]unix.Errno{
		"lookup": 0, "next": 0, "update": unix.EPERM, "open pin": unix.EACCES, "get": 0, "set": unix.EPERM,
	} {
		expect(t, step+" by nobody", out[step].Errno, want)
	}
	expect(t, "program after that", w.ids("veth0")[0], w.pass.ID)
	for _, tc := range []struct {
		path string
		mode os.FileMode
		want unix.Errno
	}{{dir, 0o755, unix.EACCES}, {pin, 0o444, 0}} {
		if err := os.Chmod(tc.path, tc.mode); err != nil {
			t.Fatal(err)
		}
		expect(t, "open pin by nobody, after chmod of "+tc.path, ask("open pin")["open pin"].Errno, tc.want)
	}

	up, down, written := w.passSocket()
	expect(t, "set on a socket of who may, by who may not", up, unix.EPERM)
	expect(t, "set on a socket of who may not, by who may", down, 0)
	expect(t, "the same by write", written, unix.EPERM)
	onRead, after := w.handBack(pin)
	expect(t, "update of a map opened to read", onRead, unix.EPERM)
	expect(t, "lookup without the control device", after, unix.ENODEV)

	line(t, compare.Quality{
		Name:     "permission: who may pass on",
		Question: "Can somebody who may not open a door be handed it, whole or in part, and can that be taken back?",
		Netlink: fmt.Sprintf("Reading is open to all. To change, who sends must have the capability, at each request (%s on a socket of somebody who has it); if he sends without an address, as write(2) does, who opened the socket as well (%s). So there is nothing to hand on and nothing to take back.",
			name(up), name(written)),
		Map: fmt.Sprintf("The descriptor is the permission to read: a process of user %d without capabilities that inherits it reads on, but may not change (%s). Pins have owner and mode (%s, and with mode 0444 open). A map opened with BPF_F_RDONLY is not changed by root either (%s). Taken back is only all at once, by deleting the control device (%s).",
			nobodyUID, name(out["update"].Errno), name(out["open pin"].Errno), name(onRead), name(after)),
	})
}

// handBack opens a pinned map to read, as root, updates through it, and looks up
// when the control device is gone.
func (w *world) handBack(pin string) (onRead, after unix.Errno) {
	w.Helper()
	m, err := object(unix.BPF_OBJ_GET, pin, 0, unix.BPF_F_RDONLY)
	if err != nil {
		w.Fatal(err)
	}
	defer unix.Close(m)
	var v family.Prog
	lookup := func() unix.Errno {
		return errno(w.T, testutil.LookupElem(m, bytesOf(wholeDev(w.veth0)), bytesOf(&v), 0))
	}
	expect(w.T, "lookup in a map opened to read", lookup(), 0)
	before := w.ids("veth0")[0]
	onRead = errno(w.T, w.setMap(m, wholeDev(w.veth0), program(w.pass), family.UpdateAny))
	expect(w.T, "program after an update of a map opened to read", w.ids("veth0")[0], before)
	w.ns.Del("xdpctl0")
	return onRead, lookup()
}

// passSocket changes something on a socket that somebody with more capabilities
// opened, and on one of somebody with less, with an address and by write.
func (w *world) passSocket() (up, down, written unix.Errno) {
	w.Helper()
	attrs := request(wholeDev(w.veth0), program(w.drop), family.UpdateAny)
	send := func(g *testutil.Genl) unix.Errno {
		a, err := g.TryRaw(g.Message(family.CmdProgSet, 0, attrs))
		if err != nil {
			w.Error(err)
			return 0
		}
		return a.Errno
	}
	write := func(g *testutil.Genl) unix.Errno {
		const seq = 77
		msg := g.Message(family.CmdProgSet, 0, attrs)
		binary.NativeEndian.PutUint32(msg[8:], seq)
		if _, err := unix.Write(g.FD(), msg); err != nil {
			w.Error(err)
			return 0
		}
		a, err := g.Collect(seq)
		if err != nil {
			w.Error(err)
			return 0
		}
		return a.Errno
	}
	var poor *testutil.Genl
	var err error
	testutil.WithoutCaps(w.T, w.ns, testutil.AllCaps(), func() {
		up = send(w.genl)
		poor, err = testutil.DialGenl(w.T, w.genl.Family)
	})
	if err != nil {
		w.Fatal(err)
	}
	defer poor.Close()
	w.ns.Do(func() {
		expect(w.T, "the same by write on a socket of who may", write(w.genl), 0)
		written, down = write(poor), send(poor)
	})
	return up, down, written
}

// TestNamespaces uses each door from another network namespace, and after its
// own is gone.
func TestNamespaces(t *testing.T) {
	w := newWorld(t)
	elsewhere := newWorld(t)
	expect(t, "ifindex in two namespaces", w.veth0, elsewhere.veth0)
	m := w.control(family.CtrlTypeXDPProg)
	w.attach(w.veth0, w.pass)
	k := wholeDev(w.veth0)

	var v family.Prog
	var get, set *testutil.Answer
	var lookup, update unix.Errno
	elsewhere.ns.Do(func() {
		get = w.genl.Do(family.CmdProgGet, 0, k.AppendAttrs(nil))
		set = w.genl.Do(family.CmdProgSet, 0, request(k, program(w.drop), family.UpdateAny))
		lookup = errno(t, testutil.LookupElem(m, bytesOf(k), bytesOf(&v), 0))
		update = errno(t, testutil.UpdateElem(m, bytesOf(k), bytesOf(program(w.drop)), 0))
	})
	expect(t, "get from elsewhere", get.Errno, 0)
	expect(t, "lookup from elsewhere", lookup, 0)
	expect(t, "program that lookup finds", v.ProgID, w.pass.ID)
	expect(t, "set from elsewhere", set.Errno, unix.EXDEV)
	expect(t, "text", set.Message, "the caller is in another network namespace than its socket")
	expect(t, "update from elsewhere", update, unix.EXDEV)
	expect(t, "program here", w.ids("veth0")[0], w.pass.ID)
	expect(t, "program elsewhere", elsewhere.ids("veth0")[0], 0)

	// What holds a namespace, and what it takes to have the door in one.
	kept, left := testutil.NewNetNS(t), testutil.NewNetNS(t)
	g := kept.NewGenl(t, family.FamilyName)
	desc := family.CtrlTypeXDPStats.Desc()
	without := errno(t, createIn(left, desc, nobody))
	expect(t, "create without a control device", without, unix.EINVAL)
	old := (&world{T: t, ns: left, ctl: left.AddControl("xdpctl0")}).control(desc.Type)
	kept.Close()
	left.Close()
	key := make([]byte, 4)
	testutil.Eventually(t, patience, "a namespace with an open map in it to go", func() bool {
		return testutil.NextKey(old, nil, key) == unix.ENODEV
	})
	a := g.Do(family.CmdStatsGet, unix.NLM_F_DUMP, nil)
	expect(t, "dump in a namespace that only its socket holds", a.Errno, 0)
	expect(t, "netdevs there", len(a.Msgs), 1)

	line(t, compare.Quality{
		Name:     "namespaces",
		Question: "Whose netdevs are meant, from where can they be reached, and what does the door need and hold?",
		Netlink: fmt.Sprintf("Those of the namespace in which the socket was opened. From another it reads, and does not change (%s, %q). Nothing has to be made in a namespace. An open socket keeps it: the dump goes on when everybody else has left.",
			name(set.Errno), set.Message),
		Map: fmt.Sprintf("Those of the control device's. From another namespace the map reads, and does not change (%s). Each namespace needs a control device of its own (%s without). An open map keeps nothing: when the namespace goes, it says %s.",
			name(update), name(without), name(unix.ENODEV)),
	})
}

// createIn makes a control map on a netdev of a namespace, which must fail.
func createIn(ns *testutil.NetNS, desc *family.TypeDesc, ctl int) (err error) {
	ns.Do(func() {
		var fd int
		fd, err = testutil.CreateMap(testutil.ControlMapAttr(desc.MapName, ctl, desc.KeySize, desc.ValueSize))
		if err == nil {
			unix.Close(fd)
		}
	})
	return err
}
