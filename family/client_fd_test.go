// SPDX-License-Identifier: BSD-3-Clause

package family

import (
	"context"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/mdlayher/netlink"

	"github.com/xdpctl/xdpctl-nl/genl"
	"github.com/xdpctl/xdpctl-nl/internal/genltest"
)

// fdTransport passes requests to a fake kernel, and keeps the file descriptors
// that came with the last.
type fdTransport struct {
	f    *os.File
	last *[]int
}

func (t *fdTransport) Send(_ context.Context, b []byte, fds []int) error {
	*t.last = slices.Clone(fds)
	_, err := t.f.Write(b)
	return err
}

func (t *fdTransport) Receive(_ context.Context, b []byte) (int, error) { return t.f.Read(b) }
func (t *fdTransport) JoinGroup(uint32) error                           { return nil }
func (t *fdTransport) LeaveGroup(uint32) error                          { return nil }
func (t *fdTransport) SetOption(netlink.ConnOption, bool) error         { return nil }
func (t *fdTransport) PortID() uint32                                   { return 1 }
func (t *fdTransport) Close() error                                     { return t.f.Close() }

// TestFileDescriptors passes on the file descriptors that attributes hold.
func TestFileDescriptors(t *testing.T) {
	var last []int
	k := &fakeKernel{answer: entry}
	k.id.Store(32)
	fake := genltest.New(t, k.serve)
	c, err := Dial(Options{Transport: func() (genl.Transport, error) {
		f, err := fake.Dial()
		return &fdTransport{f: f, last: &last}, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := context.Background()
	prog := func(fd uint32) *Prog {
		v := new(Prog)
		v.SetFD(fd)
		return v
	}
	meter := new(Attr)
	meter.SetCommand(CommandSetupMeter)
	meter.SetEnableMeter(1)
	meter.SetFD(9)
	for _, tt := range []struct {
		name string
		do   func() error
		want []int
	}{
		{"prog-set", func() error { return c.Prog().Update(ctx, &ProgKey{Ifindex: 7, Queue: 3}, prog(5), UpdateAny) }, []int{5}},
		{"prog-set of fd 0", func() error { return c.Prog().Update(ctx, &ProgKey{Ifindex: 7}, prog(0), UpdateAny) }, []int{0}},
		{"prog-set of no fd", func() error { return c.Prog().Update(ctx, &ProgKey{Ifindex: 7}, prog(1<<32-1), UpdateAny) }, nil},
		{"attr-set", func() error { return c.Attr().Update(ctx, &AttrKey{Ifindex: 7}, meter, UpdateAny) }, []int{9}},
		{"port-set", func() error { return c.Port().Update(ctx, &PortKey{Port: 7}, new(Port), UpdateAny) }, nil},
		{"prog-get", func() error { return c.Prog().Lookup(ctx, &ProgKey{Ifindex: 7, Queue: 3}, new(Prog)) }, nil},
		{"prog-del", func() error { return c.Prog().Delete(ctx, &ProgKey{Ifindex: 7, Queue: 3}) }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			last = []int{-1}
			if err := tt.do(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, last, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
