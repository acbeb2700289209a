// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/ctlmap"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/genl"
)

// Servers of the family, as option --server has them. The empty one is the
// kernel where the family is there, and else embedded.
const (
	serverKernel   = "kernel"   // the kernel module
	serverEmbedded = "embedded" // in this process
	serverUnix     = "unix:"    // and the path of a socket on which another process answers
)

// serverEnv is the environment variable that stands for option --server where
// that is not given.
const serverEnv = "XDPCTL_SERVER"

// defaultSocket is where serve answers if nothing else is said.
const defaultSocket = "/run/xdpctl.sock"

// machine opens servers. Tests have one of their own.
type machine struct {
	kernel   func(netns int) (family.Control, error)
	ctlmap   func(netns int) (family.Control, error)
	native   func(netns int) (family.Control, error) // what embedded serves
	embedded func(netns int) (family.Control, error)
	unix     func(path string) (family.Control, error)

	// clean removes what the embedded server has left, and says what.
	clean func(ctx context.Context, netns int, all bool) (removed []string, err error)

	answer func(ctx context.Context, l *genl.UnixListener, c family.Control, devs netdevs, change func(genl.Peer) bool) error
}

func realMachine() machine {
	return machine{
		kernel: func(netns int) (family.Control, error) {
			return control(family.Dial(family.Options{NetNS: netns}))
		},
		ctlmap: func(netns int) (family.Control, error) {
			return control(ctlmap.Open(ctlmap.Options{NetNS: netns}))
		},
		native:   openNative,
		embedded: openEmbedded,
		unix:     dialUnix,
		clean:    cleanUp,
		answer:   answer,
	}
}

// control is c as an interface, which is nil if there is an error.
func control[C family.Control](c C, err error) (family.Control, error) {
	if err != nil {
		return nil, err
	}
	return c, nil
}

// opened is a door that is open.
type opened struct {
	family.Control
	server string // kernel, embedded or unix:PATH
}

// chooseServer settles which server is meant and holds it against the other
// options.
func (a *app) chooseServer() error {
	if a.server == "" {
		a.server, a.serverByEnv = a.getenv(serverEnv), true
	}
	from := "--server"
	if a.serverByEnv {
		from = serverEnv
	}
	switch path, isUnix := strings.CutPrefix(a.server, serverUnix); {
	case a.server == "", a.server == serverKernel:
		return nil
	case isUnix && path == "":
		return usagef("%s %s: the path of a socket is missing", from, a.server)
	case a.server != serverEmbedded && !isUnix:
		return usagef("%s %s: expected kernel, embedded or unix:PATH", from, a.server)
	case isUnix && a.netnsName != "":
		return usagef("--netns: a server on a socket has a network namespace of its own: that of xdpctl-nl -n NETNS serve")
	case a.via == "map":
		return usagef("--via map: control maps are those of the kernel module; %s %s has none", from, a.server)
	}
	return nil
}

// needKernel refuses what only the kernel module can do, if another server is
// asked for.
func (a *app) needKernel(what string) error {
	if a.server == "" || a.server == serverKernel {
		return nil
	}
	return usagef("%s: control maps are those of the kernel module; server %s has none", what, a.server)
}

// openDoor opens a door of the server that is meant.
func openDoor(a *app) (opened, error) {
	if path, ok := strings.CutPrefix(a.server, serverUnix); ok {
		c, err := a.machine.unix(path)
		return opened{c, a.server}, unixError(path, err)
	}
	fd, err := a.netnsFD()
	if err != nil {
		return opened{}, err
	}
	if a.server == serverEmbedded {
		c, err := a.machine.embedded(fd)
		return opened{c, serverEmbedded}, a.embeddedError(err)
	}
	if a.via == "map" {
		c, err := a.machine.ctlmap(fd)
		return opened{c, serverKernel}, a.noDevice(err)
	}
	c, err := a.machine.kernel(fd)
	switch {
	case err == nil || a.server == serverKernel && a.via == "netlink":
		return opened{c, serverKernel}, err
	case a.via == "auto":
		if m, merr := a.machine.ctlmap(fd); merr == nil {
			return opened{m, serverKernel}, nil
		}
	}
	if a.server == serverKernel || !errors.Is(err, fs.ErrNotExist) {
		return opened{}, err
	}
	c, eerr := a.machine.embedded(fd)
	if eerr != nil {
		return opened{}, a.embeddedError(fmt.Errorf("no server of the family: kernel: %w; embedded: %w", err, eerr))
	}
	return opened{c, serverEmbedded}, nil
}

// unixError adds to the error of a socket what to do about it.
func unixError(path string, err error) error {
	start := "start one with: xdpctl-nl serve " + serverUnix + path
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return &hinted{err, "No server listens there; " + start}
	case errors.Is(err, unix.ECONNREFUSED):
		return &hinted{err, "The server that listened there is gone; " + start}
	case errors.Is(err, fs.ErrPermission):
		return &hinted{err, "The mode and group of the socket say who may use it; see: ls -l " + path}
	case errors.Is(err, unix.EPROTOTYPE), errors.Is(err, unix.ENOTSOCK):
		return &hinted{err, "Something else listens there; a server is: xdpctl-nl serve " + serverUnix + "PATH"}
	}
	return err
}

// embeddedError adds to the error of the embedded server what to do about it.
func (a *app) embeddedError(err error) error {
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return &hinted{err, rootHint + a.socketHint()}
}

const rootHint = "Without the kernel module this needs root: CAP_NET_ADMIN with CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN."

// socketHint tells of the server that others can ask, if there is one.
func (a *app) socketHint() string {
	if _, err := os.Stat(defaultSocket); err != nil {
		return ""
	}
	return " A server listens on " + defaultSocket + ": ask it with --server " + serverUnix + defaultSocket
}

// client is the connection over which the server is asked, nil if it is not
// asked over one.
func (o *opened) client() *genl.Conn {
	if c, ok := o.Control.(interface{ Conn() *genl.Conn }); ok {
		return c.Conn()
	}
	return nil
}

// printVersion prints the version, and which server answers here.
func (a *app) printVersion(context.Context) error {
	server, why := "none", ""
	err := a.checkOptions()
	if err != nil {
		return err
	}
	if _, err = a.control(); err == nil {
		server = a.ctl.server
	} else {
		why = message(err)
	}
	if !a.asJSON() {
		a.printf("xdpctl-nl %s server %s\n", version(), server)
		if why != "" {
			fmt.Fprintf(a.stderr, "%s\n", why)
		}
		return nil
	}
	o := ordered{{"version", version()}, {"server", server}}
	if why != "" {
		o = append(o, member{"error", why})
	}
	return a.printJSON(o)
}
