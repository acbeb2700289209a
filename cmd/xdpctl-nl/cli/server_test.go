// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
)

// fakeMachine has all servers but those with an error, each of which shows a
// program with an id of its own.
type fakeMachine struct {
	kernel, ctlmap, embedded, unix error
	asked                          []string
}

func (f *fakeMachine) machine() machine {
	open := func(name string, id uint32, err error) (family.Control, error) {
		f.asked = append(f.asked, name)
		if err != nil {
			return nil, err
		}
		c := newFake()
		var p family.Prog
		p.SetProgID(id)
		c.prog.entries = map[family.ProgKey]family.Prog{{Ifindex: 2, Queue: family.QueueAll}: p}
		return c, nil
	}
	return machine{
		kernel:   func(int) (family.Control, error) { return open("kernel", 1, f.kernel) },
		ctlmap:   func(int) (family.Control, error) { return open("ctlmap", 2, f.ctlmap) },
		embedded: func(int) (family.Control, error) { return open("embedded", 3, f.embedded) },
		native:   func(int) (family.Control, error) { return open("native", 4, f.embedded) },
		unix:     func(path string) (family.Control, error) { return open("unix:"+path, 5, f.unix) },
	}
}

// runOn runs the tool on a machine with an environment.
func runOn(m machine, env map[string]string, args ...string) result {
	var stdout, stderr bytes.Buffer
	a := newApp(&stdout, &stderr)
	a.machine = m
	a.getenv = func(k string) string { return env[k] }
	a.openNetdevs = func(*os.File) (netdevs, error) { return fakeNetdevs{}, nil }
	status := a.run(context.Background(), args)
	return result{status, stdout.String(), stderr.String()}
}

// TestServer chooses servers on machines that have all of them or some.
func TestServer(t *testing.T) {
	gone := fmt.Errorf("family: %w: kernel module is not loaded", fs.ErrNotExist)
	denied := fmt.Errorf("open: %w", unix.EPERM)
	noBPFFS := errors.New("there is no bpffs at /sys/fs/bpf: mount it")
	tests := []struct {
		name, args, env string
		machine         fakeMachine
		asked           string
		prints          string // "" for an error
		errs            string
		status          int
	}{
		{name: "kernel by default", asked: "kernel", prints: "2: veth0: id 1\n"},
		{name: "netlink", args: "--via netlink", asked: "kernel", prints: "2: veth0: id 1\n"},
		{name: "map", args: "--via map", asked: "ctlmap", prints: "2: veth0: id 2\n"},
		{name: "map of the kernel", args: "--via map --server kernel", asked: "ctlmap", prints: "2: veth0: id 2\n"},
		{name: "no family", machine: fakeMachine{kernel: gone}, asked: "kernel ctlmap", prints: "2: veth0: id 2\n"},
		{name: "no module", machine: fakeMachine{kernel: gone, ctlmap: gone}, asked: "kernel ctlmap embedded", prints: "2: veth0: id 3\n"},
		{name: "no module, netlink", args: "--via netlink", machine: fakeMachine{kernel: gone, ctlmap: gone}, asked: "kernel embedded", prints: "2: veth0: id 3\n"},
		{name: "no module, map", args: "--via map", machine: fakeMachine{kernel: gone, ctlmap: gone}, asked: "ctlmap", status: 2,
			errs: "Error: family: file does not exist: kernel module is not loaded\nLoad the kernel module with: modprobe xdpctl\n"},
		{name: "kernel alone", args: "--server kernel", machine: fakeMachine{kernel: gone, ctlmap: gone}, asked: "kernel ctlmap", status: 2,
			errs: "Error: family: file does not exist: kernel module is not loaded\n"},
		{name: "kernel fails", machine: fakeMachine{kernel: denied, ctlmap: gone}, asked: "kernel ctlmap", status: 2,
			errs: "Error: open: operation not permitted\nRun this as root, or with CAP_NET_ADMIN; control maps and programs need CAP_SYS_ADMIN or CAP_BPF too.\n"},
		{name: "embedded", args: "--server embedded", asked: "embedded", prints: "2: veth0: id 3\n"},
		{name: "environment", env: "embedded", asked: "embedded", prints: "2: veth0: id 3\n"},
		{name: "option wins", args: "--server kernel", env: "embedded", asked: "kernel", prints: "2: veth0: id 1\n"},
		{name: "unix", args: "--server unix:/x", asked: "unix:/x", prints: "2: veth0: id 5\n"},
		{name: "unix by environment", env: "unix:/x", asked: "unix:/x", prints: "2: veth0: id 5\n"},
		{name: "embedded, no bpffs", args: "--server embedded", machine: fakeMachine{embedded: noBPFFS}, asked: "embedded", status: 2,
			errs: "Error: there is no bpffs at /sys/fs/bpf: mount it\n"},
		{name: "embedded, no root", args: "--server embedded", machine: fakeMachine{embedded: denied}, asked: "embedded", status: 2,
			errs: "Error: open: operation not permitted\n" + rootHint + "\n"},
		{name: "nothing", machine: fakeMachine{kernel: gone, ctlmap: gone, embedded: noBPFFS}, asked: "kernel ctlmap embedded", status: 2,
			errs: "Error: no server of the family: kernel: family: file does not exist: kernel module is not loaded; embedded: there is no bpffs at /sys/fs/bpf: mount it\n"},
		{name: "no socket", args: "--server unix:/x", machine: fakeMachine{unix: unix.ENOENT}, asked: "unix:/x", status: 2,
			errs: "Error: no such file or directory\nNo server listens there; start one with: xdpctl-nl serve unix:/x\n"},
		{name: "nobody listens", args: "--server unix:/x", machine: fakeMachine{unix: unix.ECONNREFUSED}, asked: "unix:/x", status: 2,
			errs: "Error: connection refused\nThe server that listened there is gone; start one with: xdpctl-nl serve unix:/x\n"},
		{name: "closed socket", args: "--server unix:/x", machine: fakeMachine{unix: unix.EACCES}, asked: "unix:/x", status: 2,
			errs: "Error: permission denied\nThe mode and group of the socket say who may use it; see: ls -l /x\n"},
		{name: "other socket", args: "--server unix:/x", machine: fakeMachine{unix: unix.EPROTOTYPE}, asked: "unix:/x", status: 2,
			errs: "Error: protocol wrong type for socket\nSomething else listens there; a server is: xdpctl-nl serve unix:PATH\n"},
		{name: "no such server", args: "--server userspace", status: 1,
			errs: "Error: --server userspace: expected kernel, embedded or unix:PATH\n"},
		{name: "no such server in the environment", env: "userspace", status: 1,
			errs: "Error: XDPCTL_SERVER userspace: expected kernel, embedded or unix:PATH\n"},
		{name: "no path", args: "--server unix:", status: 1,
			errs: "Error: --server unix:: the path of a socket is missing\n"},
		{name: "netns of a socket", args: "-n blue --server unix:/x", status: 1,
			errs: "Error: --netns: a server on a socket has a network namespace of its own: that of xdpctl-nl -n NETNS serve\n"},
		{name: "map of embedded", args: "--via map --server embedded", status: 1,
			errs: "Error: --via map: control maps are those of the kernel module; --server embedded has none\n"},
		{name: "map of a socket", args: "--via map", env: "unix:/x", status: 1,
			errs: "Error: --via map: control maps are those of the kernel module; XDPCTL_SERVER unix:/x has none\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := tt.machine
			r := runOn(f.machine(), map[string]string{serverEnv: tt.env}, append(strings.Fields(tt.args), "prog", "show")...)
			if diff := cmp.Diff(tt.asked, strings.Join(f.asked, " ")); diff != "" {
				t.Errorf("asked, -want +got:\n%s", diff)
			}
			want := result{tt.status, tt.prints, tt.errs}
			if diff := cmp.Diff(want, r, cmp.AllowUnexported(result{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestServerInJSON says who answered where that breaks nobody's script.
func TestServerInJSON(t *testing.T) {
	all := &fakeMachine{}
	none := &fakeMachine{kernel: fs.ErrNotExist, ctlmap: fs.ErrNotExist, embedded: unix.EPERM}
	tests := []struct {
		name, args string
		m          *fakeMachine
		want       result
	}{
		{"version", "-V", all, result{0, "xdpctl-nl 1.2 server kernel\n", ""}},
		{"version, embedded", "--server embedded -V", all, result{0, "xdpctl-nl 1.2 server embedded\n", ""}},
		{"version, JSON", "-j -V", all, result{0, `{"version":"1.2","server":"kernel"}` + "\n", ""}},
		{"version, socket", "-j --server unix:/x -V", all, result{0, `{"version":"1.2","server":"unix:/x"}` + "\n", ""}},
		{"version, none", "--version", none, result{0, "xdpctl-nl 1.2 server none\n",
			"no server of the family: kernel: file does not exist; embedded: operation not permitted\n"}},
		{"version, none, JSON", "-j -V", none, result{0,
			`{"version":"1.2","server":"none","error":"no server of the family: kernel: file does not exist; embedded: operation not permitted"}` + "\n", ""}},
		{"version, syntax", "-V --server x", all, result{1, "", "Error: --server x: expected kernel, embedded or unix:PATH\n"}},
		{"refused", "-j --server embedded prog detach dev lo", all, result{2, `{"error":"prog-del: no such file or directory: no program is attached","server":"embedded"}` + "\n", ""}},
	}
	old := Version
	Version = "1.2"
	defer func() { Version = old }()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := runOn(tt.m.machine(), nil, strings.Fields(tt.args)...)
			if diff := cmp.Diff(tt.want, r, cmp.AllowUnexported(result{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestServerHints says what to do where a server refuses for want of permission.
func TestServerHints(t *testing.T) {
	for server, want := range map[string]string{
		serverKernel:   "Run this as root, or with CAP_NET_ADMIN",
		serverEmbedded: "Without the kernel module this needs root",
		"unix:/x":      "The server lets only root change things",
	} {
		a := newApp(nil, nil)
		a.ctl.server = server
		if got := a.hint(&family.Error{Op: "prog-set", Errno: unix.EPERM}); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want %q", server, got, want)
		}
	}
}
