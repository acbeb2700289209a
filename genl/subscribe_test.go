// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/genltest"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// multicaster sends to multicast group 1 of the netlink protocol that is there
// for processes to talk to each other, so that what is received, and lost, is up
// to the test.
type multicaster struct {
	tb testing.TB
	fd int
	to unix.SockaddrNetlink
}

// dialMulticast returns a subscription and who sends to it. It takes root.
func dialMulticast(tb testing.TB, size int) (*Subscription, *multicaster) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("not root, and so the group may not be joined")
	}
	ns := testutil.NewNetNS(tb)
	m := &multicaster{tb: tb, to: unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}}
	var c *Conn
	ns.Do(func() {
		var err error
		m.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_USERSOCK)
		if err != nil {
			tb.Fatal(err)
		}
		c, err = Dial(Options{Socket: func() (Socket, error) {
			return netlink.Dial(unix.NETLINK_USERSOCK, &netlink.Config{NetNS: ns.FD()})
		}})
		if err != nil {
			tb.Fatal(err)
		}
	})
	tb.Cleanup(func() {
		c.Close()
		unix.Close(m.fd)
	})
	sub, err := c.Subscribe(SubscribeOptions{Family: fakeFamily, Groups: []string{"events"}, ReadBuffer: size})
	if err != nil {
		tb.Fatal(err)
	}
	return sub, m
}

func (m *multicaster) send(b []byte) {
	m.tb.Helper()
	// It is sent to port 0 as well, where nobody is with this protocol.
	if err := unix.Sendto(m.fd, b, 0, &m.to); err != unix.ECONNREFUSED {
		m.tb.Fatal(err)
	}
}

// event is a notification with a value.
func event(v uint32) []byte { return newFakeMessage(0).value(0, v) }

// receive returns the value of the next notification.
func receive(ctx context.Context, sub *Subscription) (uint32, error) {
	m, err := sub.Receive(ctx)
	if err != nil {
		return 0, err
	}
	var list []uint32
	if err := values(&list)(m); err != nil {
		return 0, err
	}
	return list[0], nil
}

func TestSubscribe(t *testing.T) {
	sub, m := dialMulticast(t, 0)
	m.send(event(1))
	m.send(genltest.Join(event(2), genltest.Message(0x99, 0, 0, []byte("another")), event(3)))
	m.send(genltest.Message(0x99, 0, 0, nil))
	m.send(event(4))
	for want := uint32(1); want <= 4; want++ {
		if got, err := receive(t.Context(), sub); err != nil || got != want {
			t.Errorf("got %d and error %v, want %d", got, err, want)
		}
	}

	// What is broken is told of and skipped.
	m.send(event(5)[:20])
	m.send(append(event(6), 1))
	m.send(genltest.Message(fakeFamily.ID, 0, 0, []byte{1, 2}))
	m.send(event(7))
	var got []string
	for range 5 {
		v, err := receive(t.Context(), sub)
		got = append(got, fmt.Sprint(v, errors.Is(err, ErrMalformed)))
	}
	want := []string{"0 true", "6 false", "0 true", "0 true", "7 false"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after broken ones (-want +got):\n%s", diff)
	}
}

func TestSubscribeContext(t *testing.T) {
	sub, m := dialMulticast(t, 0)
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		if _, err := receive(ctx, sub); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v, want %v", err, context.DeadlineExceeded)
		}
		cancel()
		if _, err := receive(ctx, sub); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("done before: got error %v, want %v", err, context.DeadlineExceeded)
		}
	}
	m.send(event(1))
	if got, err := receive(t.Context(), sub); err != nil || got != 1 {
		t.Errorf("after that: got %d and error %v, want 1", got, err)
	}

	errc := make(chan error)
	go func() {
		_, err := sub.Receive(context.Background())
		errc <- err
	}()
	time.Sleep(5 * time.Millisecond)
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
	if err := <-errc; !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: got error %v, want %v", err, os.ErrClosed)
	}
	if err := sub.Close(); err != nil {
		t.Error("second time:", err)
	}
}

// Of a flood, what was received before it was too much is delivered first, and
// then the loss; what comes after that has not been lost.
func TestSubscribeOverrun(t *testing.T) {
	sub, m := dialMulticast(t, 16<<10)
	for round := range 3 {
		const flood = 2000
		for i := range uint32(flood) {
			m.send(event(i))
		}
		next := uint32(0)
		for {
			got, err := receive(t.Context(), sub)
			if errors.Is(err, ErrOverrun) {
				if !errors.Is(err, unix.ENOBUFS) {
					t.Errorf("error %v does not match %v", err, unix.ENOBUFS)
				}
				break
			}
			if err != nil || got != next {
				t.Fatalf("round %d: got %d and error %v, want %d", round, got, err, next)
			}
			next++
		}
		if next == 0 || next == flood {
			t.Errorf("round %d: %d notifications came before the loss", round, next)
		}
		m.send(event(9999))
		if got, err := receive(t.Context(), sub); err != nil || got != 9999 {
			t.Errorf("round %d: after the loss: got %d and error %v, want 9999", round, got, err)
		}
	}
}

// The loss is told of even if notifications never stop.
func TestSubscribeOverrunUnderLoad(t *testing.T) {
	sub, m := dialMulticast(t, 16<<10)
	for range 2000 {
		m.send(event(0))
	}
	for n := 0; ; n++ {
		m.send(event(0))
		if _, err := receive(t.Context(), sub); errors.Is(err, ErrOverrun) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		if n > 16<<10 {
			t.Fatal("not told of the loss")
		}
	}
}

func TestSubscribeErrors(t *testing.T) {
	c, _ := dialFake(t, Options{}, func(r fakeMessage) [][]byte { return nil })
	_, err := c.Subscribe(SubscribeOptions{Family: fakeFamily, Groups: []string{"none"}})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such group: got error %v, want %v", err, os.ErrNotExist)
	}
	if _, err = c.Subscribe(SubscribeOptions{Family: fakeFamily}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("no groups: got error %v, want %v", err, errors.ErrUnsupported)
	}
	c.Close()
	if _, err = c.Subscribe(SubscribeOptions{Family: fakeFamily}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: got error %v, want %v", err, os.ErrClosed)
	}
}

// A family that goes ends its subscriptions, and only its own.
func TestSubscriptionIsGone(t *testing.T) {
	sub := &Subscription{family: fakeFamily}
	ctrl := func(cmd uint8, id uint16) []byte {
		body := append([]byte{cmd, 2, 0, 0}, AppendUint16(nil, unix.CTRL_ATTR_FAMILY_ID, id)...)
		return genltest.Message(unix.GENL_ID_CTRL, 0, 0, body)
	}
	for name, tt := range map[string]struct {
		msg  []byte
		want bool
	}{
		"gone":         {ctrl(unix.CTRL_CMD_DELFAMILY, fakeFamily.ID), true},
		"another":      {ctrl(unix.CTRL_CMD_DELFAMILY, fakeFamily.ID+1), false},
		"another news": {ctrl(unix.CTRL_CMD_NEWFAMILY, fakeFamily.ID), false},
		"broken":       {genltest.Message(unix.GENL_ID_CTRL, 0, 0, []byte{unix.CTRL_CMD_DELFAMILY}), false},
	} {
		if got := sub.isGone(tt.msg); got != tt.want {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
}

// Family netdev tells of netdevs that come, and a buffer that is too small for
// many of them is overrun.
func TestKernelSubscribe(t *testing.T) {
	c, ns := dialNetNS(t)
	f := family(t, c, "netdev")
	sub, err := c.Subscribe(SubscribeOptions{Family: f, Groups: []string{"mgmt"}, ReadBuffer: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	a, b := ns.AddVeth("veth0", "veth1", testutil.VethOptions{})
	seen := make(map[uint32]bool)
	for !seen[uint32(a)] || !seen[uint32(b)] {
		m, err := sub.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		err = attrs(m.Attrs, func(typ uint16, data []byte) error {
			if typ == netdevDevIfindex {
				seen[ne.Uint32(data)] = true
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 40 {
		ns.AddVeth(fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i), testutil.VethOptions{})
	}
	for {
		if _, err = sub.Receive(t.Context()); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrOverrun) {
		t.Errorf("got error %v, want %v", err, ErrOverrun)
	}
}
