// SPDX-License-Identifier: BSD-3-Clause

package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/xdpctl/xdpctl-nl/ctlmap"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/genl"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	nativexdp "github.com/xdpctl/xdpctl-nl/native"
)

// backend is what does the work behind doors.
type backend string

const (
	// module is the kernel module, behind its netlink door and its map door.
	module backend = "module"

	// userspace is package native, behind a server of the family: in this
	// process, and on a unix socket.
	userspace backend = "native"
)

// door is a way in.
type door struct {
	name string
	open func(ns *testutil.NetNS) (family.Control, error)
}

// doors are the ways into a backend.
func (b backend) doors() []door {
	if b == module {
		return moduleDoors
	}
	return userspaceDoors
}

var moduleDoors = []door{
	{"netlink", func(ns *testutil.NetNS) (family.Control, error) {
		return family.Dial(family.Options{NetNS: ns.FD()})
	}},
	{"map", func(ns *testutil.NetNS) (family.Control, error) {
		return ctlmap.Open(ctlmap.Options{NetNS: ns.FD()})
	}},
}

var userspaceDoors = []door{
	{"embedded", func(ns *testutil.NetNS) (family.Control, error) {
		return dialNative(ns, func(s *nativeServer) (genl.Transport, error) { return s.server.Dial() })
	}},
	{"unix", func(ns *testutil.NetNS) (family.Control, error) {
		return dialNative(ns, func(s *nativeServer) (genl.Transport, error) { return genl.DialUnix(s.path) })
	}},
}

// nativeServer serves package native in this process, in both ways.
type nativeServer struct {
	control  *nativexdp.Control
	server   *genl.Server
	served   *family.Server
	path     string
	listener *genl.UnixListener
	wg       sync.WaitGroup
	users    int
}

// servers are those there are, by network namespace.
var servers = struct {
	sync.Mutex
	m map[*testutil.NetNS]*nativeServer
	n int
}{m: make(map[*testutil.NetNS]*nativeServer)}

// nativeClient is a way into a server, which ends with the last of them.
type nativeClient struct {
	*family.Client
	ns *testutil.NetNS
}

func dialNative(ns *testutil.NetNS, dial func(*nativeServer) (genl.Transport, error)) (family.Control, error) {
	servers.Lock()
	defer servers.Unlock()
	s := servers.m[ns]
	if s == nil {
		servers.n++
		var err error
		if s, err = serveNative(ns, fmt.Sprintf("@xdpctl-conformance-%d-%d", os.Getpid(), servers.n)); err != nil {
			return nil, err
		}
		servers.m[ns] = s
	}
	s.users++
	c, err := family.Dial(family.Options{Transport: func() (genl.Transport, error) { return dial(s) }})
	if err != nil {
		return nil, errors.Join(err, s.leave(ns))
	}
	return &nativeClient{c, ns}, nil
}

func serveNative(ns *testutil.NetNS, path string) (*nativeServer, error) {
	c, err := nativexdp.Open(nativexdp.Options{NetNS: ns.FD()})
	if err != nil {
		return nil, err
	}
	// As xdpctl-nl serve does. What the machine has once outlives the world.
	if err := c.CountExceptions(context.Background()); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	s := &nativeServer{control: c, server: genl.NewServer(genl.ServerOptions{}), path: path}
	if s.served, err = family.Serve(s.server, c, family.ServeOptions{}); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if s.listener, err = genl.ListenUnix(path, genl.UnixOptions{}); err != nil {
		return nil, errors.Join(err, s.close())
	}
	s.wg.Go(func() { s.server.ServeUnix(s.listener) })
	return s, nil
}

// Close ends the client, and the server after the last.
func (c *nativeClient) Close() error {
	servers.Lock()
	defer servers.Unlock()
	return errors.Join(c.Client.Close(), servers.m[c.ns].leave(c.ns))
}

func (s *nativeServer) leave(ns *testutil.NetNS) error {
	if s.users--; s.users > 0 {
		return nil
	}
	delete(servers.m, ns)
	return s.close()
}

func (s *nativeServer) close() error {
	var errs []error
	if s.listener != nil {
		errs = append(errs, s.listener.Close())
	}
	errs = append(errs, s.served.Close(), s.server.Close())
	s.wg.Wait()
	return errors.Join(append(errs, s.control.Close())...)
}

// eachBackend runs fn as a subtest for every backend.
func eachBackend(t *testing.T, fn func(t *testing.T, b backend)) {
	t.Helper()
	for _, b := range []backend{module, userspace} {
		if b != module && testutil.ModuleOnly() {
			continue
		}
		t.Run(string(b), func(t *testing.T) {
			if deviates(t) {
				return
			}
			fn(t, b)
			if b == userspace {
				judgePinned(t)
			}
		})
	}
}

// prepare makes what the backend needs in a network namespace, and returns the ifindex of
// the control device. Where there is none another netdev has its place, so that
// the ifindexes of two worlds are the same.
func (b backend) prepare(ns *testutil.NetNS) int {
	if b == module {
		return ns.AddControl("xdpctl0")
	}
	return ns.AddDummy("xdpctl0")
}

// cleanUp removes what the backend leaves when its doors are closed.
func (b backend) cleanUp(w *world) {
	if b == module {
		return
	}
	_, err := nativexdp.Clean(context.Background(), nativexdp.CleanOptions{Options: nativexdp.Options{NetNS: w.ns.FD()}})
	if err != nil {
		w.Errorf("clean up: %v", err)
	}
}
