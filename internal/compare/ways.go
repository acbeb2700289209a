// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"

	"github.com/xdpctl/xdpctl-nl/ctlmap"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/genl"
)

// Backends are who answers at the end of a way.
const (
	backendModule = "module"
	backendNative = "native"
)

// way is a way into a backend.
type way struct {
	name    Way
	backend string
	control family.Control
	skipped string // why it is not there, instead of control

	pids    []int // processes that work for a request, ours first
	counted *copied
	// collect collects the garbage of another process that serves, nil without one.
	collect func() error
}

// ways are all of them, with what they lead to.
type ways struct {
	list   []*way
	family *family.Client // of the module, nil if there is none
	maps   *ctlmap.Control
	close  []func() error
}

// of is a way by its name.
func (w *ways) of(name Way) *way {
	for _, way := range w.list {
		if way.name == name {
			return way
		}
	}
	return nil
}

// openWays opens what there is. The module is not there where its family is not
// known; all else is an error.
func openWays(ctx context.Context, unit string) (w *ways, err error) {
	w = &ways{}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if err := w.openModule(); err != nil {
		return w, err
	}
	return w, w.openNative(ctx, unit)
}

func (w *ways) openModule() error {
	netlink := &way{name: Netlink, backend: backendModule, pids: []int{os.Getpid()}}
	maps := &way{name: Map, backend: backendModule, pids: []int{os.Getpid()}}
	w.list = append(w.list, netlink, maps)
	c, err := family.Dial(family.Options{})
	if errors.Is(err, fs.ErrNotExist) {
		netlink.skipped, maps.skipped = noModule, noModule
		return nil
	}
	if err != nil {
		return err
	}
	w.close = append(w.close, c.Close)
	netlink.control, w.family = c, c
	m, err := ctlmap.Open(ctlmap.Options{Create: true})
	if err != nil {
		return err
	}
	w.close = append(w.close, m.Close)
	maps.control, w.maps = m, m
	return nil
}

const noModule = "the kernel module xdpctl is not loaded"

func (w *ways) openNative(ctx context.Context, unit string) error {
	s, err := serveNative()
	if err != nil {
		return err
	}
	w.close = append(w.close, s.Close)
	counted := &copied{}
	embedded, err := family.Dial(family.Options{Transport: func() (genl.Transport, error) {
		t, err := s.genl.Dial()
		return &countingTransport{t, counted}, err
	}})
	if err != nil {
		return fmt.Errorf("embedded server: %w", err)
	}
	w.close = append(w.close, embedded.Close)
	server, err := startServer(ctx, unit)
	if err != nil {
		return err
	}
	w.close = append(w.close, server.Close)
	socket, err := family.Dial(family.Options{Transport: func() (genl.Transport, error) { return genl.DialUnix(serveAddress) }})
	if err != nil {
		return fmt.Errorf("server on a socket: %w", err)
	}
	w.close = append(w.close, socket.Close)
	w.list = append(w.list,
		&way{name: Embedded, backend: backendNative, control: embedded, pids: []int{os.Getpid()}, counted: counted},
		&way{name: Socket, backend: backendNative, control: socket, pids: []int{os.Getpid(), server.cmd.Process.Pid},
			collect: server.collect})
	return nil
}

// Close closes them, the last that was opened first.
func (w *ways) Close() error {
	var errs []error
	for i := len(w.close) - 1; i >= 0; i-- {
		errs = append(errs, w.close[i]())
	}
	return errors.Join(errs...)
}

// copied are the bytes that go between a client and a server in this process.
type copied struct{ sent, received atomic.Int64 }

// countingTransport counts them.
type countingTransport struct {
	genl.Transport
	counted *copied
}

func (t *countingTransport) Send(ctx context.Context, b []byte, fds []int) error {
	t.counted.sent.Add(int64(len(b)))
	return t.Transport.Send(ctx, b, fds)
}

func (t *countingTransport) Receive(ctx context.Context, b []byte) (int, error) {
	n, err := t.Transport.Receive(ctx, b)
	if err == nil {
		t.counted.received.Add(int64(min(n, len(b))))
	}
	return n, err
}
