// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// overBothConns runs a test with a connection of package genetlink over both
// transports.
func overBothConns(t *testing.T, test func(t *testing.T, b *bed, c *genetlink.Conn)) {
	overBoth(t, ServerOptions{}, func(t *testing.T, b *bed, dial func() (Transport, error)) {
		tr, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		c := NewGenetlinkConn(tr)
		t.Cleanup(func() { c.Close() })
		test(t, b, c)
	})
}

func bedMessage(cmd uint8, attrs []byte) genetlink.Message {
	return genetlink.Message{Header: genetlink.Header{Command: cmd, Version: 1}, Data: attrs}
}

func TestGenetlink(t *testing.T) {
	overBothConns(t, func(t *testing.T, b *bed, c *genetlink.Conn) {
		f, err := c.GetFamily("bed")
		if err != nil {
			t.Fatal(err)
		}
		want := genetlink.Family{ID: b.fam.ID, Name: "bed", Version: 1}
		for _, g := range b.fam.Groups {
			want.Groups = append(want.Groups, genetlink.MulticastGroup{ID: g.ID, Name: g.Name})
		}
		if diff := cmp.Diff(want, f); diff != "" {
			t.Errorf("family (-want +got):\n%s", diff)
		}
		if list, err := c.ListFamilies(); err != nil || len(list) != 2 || list[0].Name != "nlctrl" || list[1].Name != "bed" {
			t.Errorf("got families %v and error %v", list, err)
		}
		if _, err := c.GetFamily("none"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("no family: got error %v, want %v", err, os.ErrNotExist)
		}

		for range 3 {
			msgs, err := c.Execute(bedMessage(bedGet, AppendUint32(nil, bedValue, 5)), f.ID, netlink.Request)
			if err != nil || len(msgs) != 1 || !cmp.Equal(msgs[0], bedMessage(bedGet, AppendUint32(nil, bedValue, 5))) {
				t.Errorf("do: got %v and error %v", msgs, err)
			}
			if msgs, err := c.Execute(bedMessage(bedSet, nil), f.ID, netlink.Request|netlink.Acknowledge); err != nil || len(msgs) > 1 {
				t.Errorf("acknowledged: got %v and error %v", msgs, err)
			}
			for _, n := range []uint32{0, 1, 2000} {
				msgs, err = c.Execute(bedMessage(bedGet, AppendUint32(nil, bedValue, n)), f.ID, netlink.Request|netlink.Dump)
				if err != nil || len(msgs) != int(n) {
					t.Errorf("dump: got %d messages and error %v, want %d", len(msgs), err, n)
				}
			}
		}

		for ext, want := range map[bool]string{false: "", true: "no zero"} {
			if err := c.SetOption(netlink.ExtendedAcknowledge, ext); err != nil {
				t.Fatal(err)
			}
			_, err := c.Execute(bedMessage(bedGet, AppendUint32(nil, bedValue, 0)), f.ID, netlink.Request)
			var e *netlink.OpError
			if !errors.As(err, &e) || !errors.Is(err, unix.ERANGE) || e.Message != want || (e.Offset != 0) != ext {
				t.Errorf("with extack %v: got error %v, want ERANGE and %q", ext, err, want)
			}
		}
		if err := c.SetOption(99, true); !errors.Is(err, unix.ENOPROTOOPT) {
			t.Errorf("got error %v, want %v", err, unix.ENOPROTOOPT)
		}

		// In pieces, several at a time, and their parts one by one.
		var sent []netlink.Message
		for range 3 {
			m, err := c.Send(bedMessage(bedGet, AppendUint32(nil, bedValue, 6)), f.ID, netlink.Request)
			if err != nil {
				t.Fatal(err)
			}
			sent = append(sent, m)
		}
		for _, m := range sent {
			_, got, err := c.Receive()
			if err != nil || len(got) != 1 || netlink.Validate(m, got) != nil {
				t.Errorf("got %v and error %v, want the reply to %d", got, err, m.Header.Sequence)
			}
		}
	})
}

func TestGenetlinkMulticast(t *testing.T) {
	overBothConns(t, func(t *testing.T, b *bed, c *genetlink.Conn) {
		events, private := b.fam.Groups[0].ID, b.fam.Groups[1].ID
		tell := func(v uint32) { b.served.Multicast("events", bedNews, AppendUint32(nil, bedValue, v)) }
		if err := errors.Join(c.SetReadBuffer(8<<10), c.SetWriteBuffer(8<<10), c.JoinGroup(events), c.JoinGroup(private)); err != nil {
			t.Fatal(err)
		}
		if err := c.JoinGroup(9999); !errors.Is(err, unix.EINVAL) {
			t.Errorf("no group: got error %v, want %v", err, unix.EINVAL)
		}
		next := func() (uint32, error) {
			msgs, _, err := c.Receive()
			if err != nil {
				return 0, err
			}
			return ne.Uint32(msgs[0].Data[4:]), nil
		}
		for v := range uint32(5) {
			tell(v)
			if got, err := next(); err != nil || got != v {
				t.Errorf("got %d and error %v, want %d", got, err, v)
			}
		}
		// While it waits, and groups change meanwhile.
		for v := range uint32(10) {
			var wg sync.WaitGroup
			wg.Go(func() {
				time.Sleep(time.Millisecond)
				if err := errors.Join(c.LeaveGroup(private), c.JoinGroup(private)); err != nil {
					t.Error(err)
				}
				tell(v)
			})
			if got, err := next(); err != nil || got != v {
				t.Errorf("got %d and error %v, want %d", got, err, v)
			}
			wg.Wait()
		}
		for v := range uint32(1000) {
			tell(v)
		}
		overrun := false
		for range 200 {
			_, err := next()
			if overrun = errors.Is(err, unix.ENOBUFS); overrun || err != nil {
				break
			}
		}
		if !overrun {
			t.Error("not told of an overrun")
		}
		if err := c.LeaveGroup(events); err != nil {
			t.Fatal(err)
		}
		tell(1)
		c.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		for {
			_, err := next()
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestGenetlinkDeadline(t *testing.T) {
	overBothConns(t, func(t *testing.T, b *bed, c *genetlink.Conn) {
		timedOut := func(err error) bool {
			var e *netlink.OpError
			return errors.Is(err, os.ErrDeadlineExceeded) && errors.As(err, &e) && e.Timeout()
		}
		for _, d := range []time.Duration{-time.Second, 0, time.Millisecond} {
			c.SetDeadline(time.Now().Add(d))
			if _, _, err := c.Receive(); !timedOut(err) {
				t.Errorf("after %v: got error %v, want %v", d, err, os.ErrDeadlineExceeded)
			}
		}
		c.SetWriteDeadline(time.Unix(1, 0))
		if _, err := c.Send(bedMessage(bedSet, nil), b.fam.ID, netlink.Request); !timedOut(err) {
			t.Errorf("send: got error %v, want %v", err, os.ErrDeadlineExceeded)
		}
		c.SetDeadline(time.Time{})
		if _, err := c.Execute(bedMessage(bedSet, nil), b.fam.ID, netlink.Request|netlink.Acknowledge); err != nil {
			t.Error(err)
		}

		// It may be set, and be put off, while somebody waits.
		errc := make(chan error)
		go func() {
			_, _, err := c.Receive()
			errc <- err
		}()
		c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		c.SetReadDeadline(time.Now().Add(time.Hour))
		select {
		case err := <-errc:
			t.Errorf("ended with %v although it was put off", err)
		case <-time.After(20 * time.Millisecond):
		}
		c.SetReadDeadline(time.Now())
		if err := <-errc; !timedOut(err) {
			t.Errorf("set while waiting: got error %v, want %v", err, os.ErrDeadlineExceeded)
		}
		c.SetReadDeadline(time.Time{})
		go func() {
			_, _, err := c.Receive()
			errc <- err
		}()
		time.Sleep(time.Millisecond)
		c.Close()
		if err := <-errc; !errors.Is(err, os.ErrClosed) {
			t.Errorf("closed: got error %v, want %v", err, os.ErrClosed)
		}
	})
}

func TestNetlinkSocket(t *testing.T) {
	overBoth(t, ServerOptions{}, func(t *testing.T, b *bed, dial func() (Transport, error)) {
		tr := b.dial(t, dial)
		s := NewNetlinkSocket(tr)
		nl := netlink.NewConn(s, tr.PortID())
		if err := nl.SetReadBuffer(10000); err != nil {
			t.Fatal(err)
		}
		if n, err := nl.ReadBuffer(); err != nil || n != 20000 {
			t.Errorf("got a read buffer of %d and error %v, want 20000", n, err)
		}
		if n, err := nl.WriteBuffer(); err != nil || n == 0 {
			t.Errorf("got a write buffer of %d and error %v", n, err)
		}
		rc, err := nl.SyscallConn()
		if _, has := tr.(syscall.Conn); has {
			var typ int
			rc.Control(func(fd uintptr) { typ, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE) })
			if err != nil || typ != unix.SOCK_SEQPACKET {
				t.Errorf("got a socket of type %d and error %v", typ, err)
			}
		} else if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("got error %v, want %v", err, errors.ErrUnsupported)
		}

		// A file, and two messages at once.
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		s.FDs = func([]netlink.Message) []int { return []int{int(f.Fd())} }
		message := func(cmd uint8, attrs []byte) netlink.Message {
			return netlink.Message{
				Header: netlink.Header{Type: netlink.HeaderType(b.fam.ID), Flags: netlink.Request},
				Data:   append([]byte{cmd, 1, 0, 0}, attrs...),
			}
		}
		_, err = nl.SendMessages([]netlink.Message{
			message(bedGet, AppendUint32(nil, bedValue, 8)),
			message(bedFile, AppendUint32(nil, bedFD, uint32(f.Fd()))),
		})
		if err != nil {
			t.Fatal(err)
		}
		var got []uint32
		for range 2 {
			for m, err := range nl.ReceiveIter() {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, ne.Uint32(m.Data[8:]))
			}
		}
		if diff := cmp.Diff([]uint32{8, uint32(st.Ino)}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// oddTransport receives what no server sends.
type oddTransport struct {
	Transport
	d []byte
}

func (o oddTransport) Receive(_ context.Context, b []byte) (int, error) {
	copy(b, o.d)
	return len(o.d), nil
}

func TestNetlinkSocketMalformed(t *testing.T) {
	for name, d := range map[string][]byte{
		"short":       make([]byte, 10),
		"no length":   make([]byte, 20),
		"long length": append(ne.AppendUint32(nil, 100), make([]byte, 16)...),
		"larger":      make([]byte, unixMax+1),
	} {
		if _, err := NewNetlinkSocket(oddTransport{d: d}).Receive(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got error %v, want %v", name, err, ErrMalformed)
		}
	}
	if err := NewNetlinkSocket(oddTransport{}).SetReadBuffer(1); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got error %v, want %v", err, errors.ErrUnsupported)
	}
}
