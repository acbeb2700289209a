// SPDX-License-Identifier: BSD-3-Clause

package qualities

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// childEnv makes this program a process of somebody else's. Its value is an order.
const childEnv = "XDPCTL_QUALITIES_CHILD"

// Descriptors that a child inherits.
const childMap, childProg = 3, 4

// order is what a child is told.
type order struct {
	UID     int    // user to become first; 0 stays who it is
	Alone   bool   // it has a user and a network namespace of its own
	Family  uint16 // id of the family
	Ifindex uint32
	How     uint32 // the flags of updates
	Pin     string // a map to open
	Steps   []string
}

// outcome is what became of a step: its errno, and the text beside it.
type outcome struct {
	Errno unix.Errno
	Text  string
}

// child is the main function of a child. It prints what became of its steps.
func child() int {
	runtime.LockOSThread()
	var o order
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	if err := o.prepare(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 4
	}
	out := make(map[string]outcome)
	for _, s := range o.Steps {
		r, err := o.step(s)
		if err != nil && !errors.As(err, &r.Errno) {
			fmt.Fprintln(os.Stderr, err)
			return 5
		}
		out[s] = r
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		return 6
	}
	return 0
}

func (o *order) prepare() error {
	if o.Alone {
		for _, args := range [][]string{{"dummy0", "type", "dummy"}, {"xdpctl0", "type", "xdpctl"}} {
			if out, err := exec.Command("ip", append([]string{"link", "add"}, args...)...).CombinedOutput(); err != nil {
				return fmt.Errorf("ip link add %v: %w: %s", args, err, out)
			}
		}
		dev, err := net.InterfaceByName("dummy0")
		if err != nil {
			return err
		}
		o.Ifindex = uint32(dev.Index)
	}
	if o.UID != 0 {
		return syscall.Setresuid(o.UID, o.UID, o.UID)
	}
	return nil
}

// step does one thing. An error without an errno is a fault of the test.
func (o *order) step(what string) (outcome, error) {
	k, v := wholeDev(o.Ifindex), new(family.Prog)
	switch what {
	case "lookup":
		return outcome{}, testutil.LookupElem(childMap, bytesOf(k), bytesOf(v), 0)
	case "next":
		return outcome{}, testutil.NextKey(childMap, nil, bytesOf(k))
	case "update":
		v.SetFD(childProg)
		return outcome{}, testutil.UpdateElem(childMap, bytesOf(k), bytesOf(v), uint64(o.How))
	case "create":
		return outcome{}, o.create()
	case "load":
		fd, err := testutil.LoadProg(testutil.XDPProgAttr("child"), testutil.Return(2))
		if err == nil {
			unix.Close(fd)
		}
		return outcome{}, err
	case "open pin":
		fd, err := object(unix.BPF_OBJ_GET, o.Pin, 0, unix.BPF_F_RDONLY)
		if err == nil {
			unix.Close(fd)
		}
		return outcome{}, err
	case "get":
		return o.ask(family.CmdStatsGet, unix.NLM_F_DUMP, nil)
	case "set":
		v.SetFD(childProg)
		return o.ask(family.CmdProgSet, 0, request(k, v, family.Update(o.How)))
	}
	return outcome{}, fmt.Errorf("no step %q", what)
}

func (o *order) create() error {
	dev, err := net.InterfaceByName("xdpctl0")
	if err != nil {
		return err
	}
	desc := family.CtrlTypeXDPProg.Desc()
	fd, err := testutil.CreateMap(testutil.ControlMapAttr(desc.MapName, dev.Index, desc.KeySize, desc.ValueSize))
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// ask sends a request on a socket of the child's own.
func (o *order) ask(cmd uint8, flags uint16, attrs []byte) (outcome, error) {
	g, err := testutil.DialGenl(nil, o.Family)
	if err != nil {
		return outcome{}, err
	}
	defer g.Close()
	a, err := g.TryRaw(g.Message(cmd, flags, attrs))
	if err != nil {
		return outcome{}, err
	}
	return outcome{a.Errno, a.Message}, nil
}

// object is BPF_OBJ_PIN or BPF_OBJ_GET.
func object(cmd int, path string, fd int, flags uint32) (int, error) {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return -1, err
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(name)
	a := struct {
		path      uint64
		fd, flags uint32
	}{uint64(uintptr(unsafe.Pointer(name))), uint32(fd), flags}
	return testutil.BPF(cmd, unsafe.Pointer(&a), unsafe.Sizeof(a))
}

// command is a child that has a map and a program as its descriptors.
func (w *world) command(o order, m int, p *testutil.Prog, wrapper ...string) (cmd *exec.Cmd, done func()) {
	w.Helper()
	exe, err := os.Executable()
	if err != nil {
		w.Fatal(err)
	}
	o.Family = w.genl.Family
	text, err := json.Marshal(o)
	if err != nil {
		w.Fatal(err)
	}
	args := append(wrapper, exe)
	cmd = exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	for _, fd := range []int{m, p.FD} {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			w.Fatal(err)
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(uintptr(dup), "inherited"))
	}
	return cmd, func() {
		for _, f := range cmd.ExtraFiles {
			f.Close()
		}
	}
}

// run runs a child in the namespace, and returns what became of its steps.
func (w *world) run(cmd *exec.Cmd, done func()) map[string]outcome {
	w.Helper()
	defer done()
	var b []byte
	var err error
	w.ns.Do(func() { b, err = cmd.Output() })
	if err != nil {
		w.Fatalf("%v: %v", cmd.Args, err)
	}
	var out map[string]outcome
	if err := json.Unmarshal(b, &out); err != nil {
		w.Fatalf("parse %q: %v", b, err)
	}
	return out
}

// settled waits until attachments in namespaces that are gone are, too.
func settled(t testing.TB, before map[uint32]testutil.LinkInfo) {
	t.Helper()
	testutil.Eventually(t, patience, "the links of a child to go", func() bool {
		for id := range testutil.XDPLinks(t) {
			if _, ok := before[id]; !ok {
				return false
			}
		}
		return true
	})
}
