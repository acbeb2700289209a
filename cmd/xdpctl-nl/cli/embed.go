// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"context"
	"errors"
	"os"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/genl"
	"github.com/xdpctl/xdpctl-nl/native"
)

// server serves family xdpctl of a Control.
type server struct {
	genl   *genl.Server
	family *family.Server
}

func newServer(c family.Control, o genl.ServerOptions) (*server, error) {
	s := &server{genl: genl.NewServer(o)}
	var err error
	if s.family, err = family.Serve(s.genl, c, family.ServeOptions{}); err != nil {
		return nil, errors.Join(err, s.genl.Close())
	}
	return s, nil
}

// Close ends the server, and then nobody uses the Control any more.
func (s *server) Close() error { return errors.Join(s.family.Close(), s.genl.Close()) }

// embedded is a client of a server in the same process.
type embedded struct {
	*family.Client
	server  *server
	control family.Control
}

// Close closes the client, the server and what that has served.
func (e *embedded) Close() error {
	return errors.Join(e.Client.Close(), e.server.Close(), e.control.Close())
}

// openNative opens what the embedded server serves.
func openNative(netns int) (family.Control, error) {
	return control(native.Open(native.Options{NetNS: netns}))
}

// openEmbedded opens the server in this process, and asks that.
func openEmbedded(netns int) (family.Control, error) {
	c, err := openNative(netns)
	if err != nil {
		return nil, err
	}
	e, err := embed(c)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return e, nil
}

// embed serves c in this process, and asks the server. Both are closed with what
// it returns.
func embed(c family.Control) (*embedded, error) {
	s, err := newServer(c, genl.ServerOptions{})
	if err != nil {
		return nil, err
	}
	client, err := family.Dial(family.Options{Transport: s.genl.Dial})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &embedded{client, s, c}, nil
}

// dialUnix asks a server on a socket.
func dialUnix(path string) (family.Control, error) {
	return control(family.Dial(family.Options{
		Transport: func() (genl.Transport, error) { return genl.DialUnix(path) },
	}))
}

// answer answers on a socket with what c knows and with the names of netdevs,
// until ctx is done or the socket fails. Change tells who may change things. It
// closes the socket.
func answer(ctx context.Context, l *genl.UnixListener, c family.Control, devs netdevs, change func(genl.Peer) bool) error {
	s, err := newServer(c, genl.ServerOptions{Admin: change})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	if err := s.genl.Register(newNetdevFamily(devs)); err != nil {
		return errors.Join(err, l.Close(), s.Close())
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	err = s.genl.ServeUnix(l)
	if ctx.Err() != nil && errors.Is(err, os.ErrClosed) {
		err = nil
	}
	return errors.Join(err, s.Close())
}

// needsMeter tells whether programs are to be given a meter when they are loaded.
func (a *app) needsMeter() bool { return a.ctl.server != serverKernel && native.NeedsMeter() }
