// SPDX-License-Identifier: BSD-3-Clause

package settings

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

const strangerEnv = "XDPCTL_STRANGER"

func isStranger() bool { return os.Getenv(strangerEnv) != "" }

// stranger is the process of a user who is root in a user and network namespace
// of his own: at each line of input, which is a number of rings and a netdev, it
// sets up the netdev, or undoes it for 0 rings, and says what came of it.
func stranger() int {
	in := bufio.NewScanner(os.Stdin)
	fmt.Println("ready")
	for in.Scan() {
		fmt.Println(strangerTry(in.Text()))
	}
	return 0
}

func strangerTry(line string) string {
	var dev string
	var rings uint32
	if _, err := fmt.Sscan(line, &rings, &dev); err != nil {
		return err.Error()
	}
	l, err := net.InterfaceByName(dev)
	if err != nil {
		return err.Error()
	}
	c, err := family.Dial(family.Options{})
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	err = c.Attr().Update(context.Background(), &family.AttrKey{Ifindex: uint32(l.Index)}, redirect(rings, 0), family.UpdateAny)
	var e *family.Error
	switch {
	case err == nil:
		return "done"
	case errors.As(err, &e):
		return fmt.Sprintf("%v: %s", e.Errno, e.Message)
	default:
		return err.Error()
	}
}

// TestStranger shows that who is root in a namespace of his own cannot change a
// peer in another, but use it as it is.
func TestStranger(t *testing.T) {
	w := newWorld(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), strangerEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	in, err := cmd.StdinPipe()
	w.must(err)
	pipe, err := cmd.StdoutPipe()
	w.must(err)
	cmd.Stderr = os.Stderr
	w.must(cmd.Start())
	defer func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}()
	out := bufio.NewScanner(pipe)
	line := func() string {
		t.Helper()
		if !out.Scan() {
			t.Fatalf("the stranger is gone: %v", out.Err())
		}
		return out.Text()
	}
	if got := line(); got != "ready" {
		t.Fatalf("the stranger says %q", got)
	}
	ask := func(rings int, what, want string) {
		t.Helper()
		fmt.Fprintln(in, rings, "out")
		if got := line(); !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}

	w.ns.AddVeth("far", "out", testutil.VethOptions{})
	run(t, w.ns, "ip", "link", "set", "out", "netns", fmt.Sprint(cmd.Process.Pid))
	ask(1, "a peer that lacks GRO", fmt.Sprintf("%v: the peer far of the veth must be changed, which takes CAP_NET_ADMIN in its network namespace", unix.EPERM))
	if gro(t, w.ns, "far") {
		t.Error("GRO of the peer is on")
	}
	run(t, w.ns, "ethtool", "-K", "far", "gro", "on")
	ask(1, "a peer that has GRO", "done")
	w.ns.Del("far") // and the other end with its setting

	// A setting that was made here and moves there with its netdev.
	w.ns.AddVeth("far", "out", testutil.VethOptions{})
	w.must(w.update(w.doors[0], int(w.ns.Index("out")), redirect(1, 0)))
	run(t, w.ns, "ip", "link", "set", "out", "netns", fmt.Sprint(cmd.Process.Pid))
	ask(0, "undo what was done to the peer", "done")
	if !gro(t, w.ns, "far") {
		t.Error("GRO of the peer is off again")
	}
	w.ns.Del("far")
}
