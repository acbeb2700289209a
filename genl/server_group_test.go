// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// heard receives all that there is, each message as its command and sequence
// number, or its type if it is of another family.
func heard(t *testing.T, k *serverSide) []string {
	t.Helper()
	var list []string
	buf := make([]byte, 8192)
	for {
		n, err := k.recv(buf)
		if err == unix.EAGAIN {
			return list
		}
		if err != nil {
			list = append(list, err.Error())
			continue
		}
		m := nlmsg(buf[:n])
		to := "nobody"
		if ne.Uint32(m[12:]) == k.port() {
			to = "me"
		}
		switch m.typ() {
		case unix.NLMSG_ERROR:
			list = append(list, fmt.Sprintf("ack %d", int32(ne.Uint32(m.body()))))
		default:
			list = append(list, fmt.Sprintf("%#x command %d seq %d to %s", m.typ(), m[headerLen], m.seq(), to))
		}
	}
}

func wantHeard(t *testing.T, who string, k *serverSide, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, heard(t, k)); diff != "" {
		t.Errorf("what %s heard (-want +got):\n%s", who, diff)
	}
}

// Notifications go to those who joined, and to who made the request if that has
// NLM_F_ECHO.
func TestServerNotify(t *testing.T) {
	s := newTestServer(t, ServerOptions{})
	asker, listener, other := s.dial(t), s.dial(t), s.dial(t)
	one := s.Family("test").Groups[0].ID
	if s.fam.HasListeners("one") || s.fam.HasListeners("none") {
		t.Error("there are listeners")
	}
	if err := s.fam.Multicast("one", 7, nil); !errors.Is(err, unix.ESRCH) {
		t.Errorf("multicast to nobody: got error %v", err)
	}
	for range 2 {
		if err := listener.t.JoinGroup(one); err != nil {
			t.Fatal(err)
		}
	}
	if !s.fam.HasListeners("one") || s.fam.HasListeners("two") {
		t.Error("HasListeners is wrong")
	}

	const ntf = "0x13 command 77 seq 0 to nobody"
	for _, tt := range []struct {
		name  string
		flags uint16
		asker []string
		heard []string
	}{
		{"notify", ackd, []string{"ack 0"}, []string{ntf}},
		{"echo", ackd | unix.NLM_F_ECHO, []string{ntf, "ack 0"}, []string{ntf}},
	} {
		if err := asker.send(request(testID, tt.flags, cmdNotify, nil)); err != nil {
			t.Fatal(err)
		}
		wantHeard(t, "asker of "+tt.name, asker, tt.asker...)
		wantHeard(t, "listener to "+tt.name, listener, tt.heard...)
		wantHeard(t, "other", other)
	}
	// Who asks and listens hears an echo once.
	if err := listener.send(request(testID, req|unix.NLM_F_ECHO, cmdNotify, nil)); err != nil {
		t.Fatal(err)
	}
	wantHeard(t, "asker who listens", listener, ntf)

	if err := s.fam.Multicast("one", 8, AppendUint32(nil, 1, 2)); err != nil {
		t.Error(err)
	}
	wantHeard(t, "listener", listener, "0x13 command 8 seq 0 to nobody")
	if err := s.fam.Multicast("none", 8, nil); !errors.Is(err, unix.EINVAL) {
		t.Errorf("multicast to no group: got error %v", err)
	}
	if err := listener.t.LeaveGroup(one); err != nil {
		t.Error(err)
	}
	if err := s.fam.Multicast("one", 7, nil); !errors.Is(err, unix.ESRCH) {
		t.Errorf("multicast after leaving: got error %v", err)
	}
}

// Who may join, and who is told.
func TestServerJoin(t *testing.T) {
	allow := false
	s := newTestServer(t, ServerOptions{Admin: func(Peer) bool { return allow }})
	one, two := s.Family("test").Groups[0].ID, s.Family("test").Groups[1].ID
	k, other := s.dial(t), s.dial(t)
	if err := k.t.JoinGroup(two); !errors.Is(err, unix.EPERM) {
		t.Errorf("got error %v, want %v", err, unix.EPERM)
	}
	allow = true
	for _, join := range []struct {
		k  side
		id uint32
	}{{k, two}, {k, one}, {other, one}} {
		if err := join.k.(*serverSide).t.JoinGroup(join.id); err != nil {
			t.Error(err)
		}
	}
	k.t.Close()
	if err := k.t.JoinGroup(one); !errors.Is(err, os.ErrClosed) {
		t.Errorf("join when closed: got error %v", err)
	}
	other.t.LeaveGroup(one)
	want := []string{"two 1", "one 1", "one 2", "two 0", "one 1", "one 0"}
	if diff := cmp.Diff(want, s.listeners); diff != "" {
		t.Errorf("listeners (-want +got):\n%s", diff)
	}
}

// A full buffer is told once, then all that was kept comes, and nothing new until
// that is received.
func TestServerOverrun(t *testing.T) {
	s := newTestServer(t, ServerOptions{})
	one := s.Family("test").Groups[0].ID
	k, free := s.dial(t), s.dial(t)
	free.option(netlink.NoENOBUFS, true)
	for _, k := range []*serverSide{k, free} {
		k.t.(*ServerSocket).SetReadBuffer(2000)
		if err := k.t.JoinGroup(one); err != nil {
			t.Fatal(err)
		}
	}
	var errs []error
	for range 5 {
		errs = append(errs, s.fam.Multicast("one", 1, make([]byte, 200)))
	}
	lost := slices.Index(errs, error(unix.ESRCH))
	if lost < 1 {
		t.Fatalf("got errors %v", errs)
	}
	ntf := slices.Repeat([]string{"0x13 command 1 seq 0 to nobody"}, lost)
	buf := make([]byte, 8192)
	if _, err := k.t.Receive(t.Context(), buf); !errors.Is(err, ErrOverrun) || !errors.Is(err, unix.ENOBUFS) {
		t.Errorf("got error %v", err)
	}
	k.recv(buf)
	if err := s.fam.Multicast("one", 2, nil); !errors.Is(err, unix.ESRCH) {
		t.Errorf("multicast to one who has not received all: got error %v", err)
	}
	wantHeard(t, "slow listener", k, ntf[1:]...)
	wantHeard(t, "listener without ENOBUFS", free, ntf...)
	if err := s.fam.Multicast("one", 2, nil); err != nil {
		t.Error(err)
	}
	wantHeard(t, "slow listener after that", k, "0x13 command 2 seq 0 to nobody")
	wantHeard(t, "listener without ENOBUFS after that", free, "0x13 command 2 seq 0 to nobody")

	k.option(netlink.BroadcastError, true)
	for range 5 {
		errs = append(errs, s.fam.Multicast("one", 1, make([]byte, 200)))
	}
	if !errors.Is(errs[len(errs)-1], unix.ENOBUFS) {
		t.Errorf("multicast with BroadcastError: got errors %v", errs[5:])
	}
	heard(t, k)
	heard(t, free)

	if n := s.fam.SetErr("one"); n != 1 {
		t.Errorf("SetErr did not tell %d listeners, want 1", n)
	}
	wantHeard(t, "listener after SetErr", k, "no buffer space available")
	wantHeard(t, "listener without ENOBUFS after SetErr", free)
}

// As many datagrams are kept as by Debian's kernels, whose counts these are.
func TestServerReadBuffer(t *testing.T) {
	nlctrl := AppendString(nil, unix.CTRL_ATTR_FAMILY_NAME, "nlctrl")
	tests := []struct {
		name     string
		req      []byte
		old, new int
	}{
		{"reply", request(unix.GENL_ID_CTRL, req, unix.CTRL_CMD_GETFAMILY, nlctrl), 277, 221},
		{"refusal", request(unix.GENL_ID_CTRL, req, 77, nil), 277, 221},
		{"refusal of 300 bytes", request(unix.GENL_ID_CTRL, req, 77, make([]byte, 300)), 166, 221},
		{"refusal of 3000 bytes", request(unix.GENL_ID_CTRL, req, 77, make([]byte, 3000)), 48, 48},
		{"refusal of 9000 bytes", request(unix.GENL_ID_CTRL, req, 77, make([]byte, 9000)), 12, 12},
		{"dump, then refusals", request(unix.GENL_ID_CTRL, dmp, unix.CTRL_CMD_GETPOLICY, nlctrl), 273, 219},
	}
	for _, kernel := range []string{"6.1", "6.12"} {
		s := NewServer(ServerOptions{Kernel: kernel})
		defer s.Close()
		for _, tt := range tests {
			t.Run(kernel+" "+tt.name, func(t *testing.T) {
				k := newServerSide(t, s)
				for range 300 {
					if err := k.send(tt.req); err != nil {
						t.Fatal(err)
					}
				}
				want := map[string]int{"6.1": tt.old, "6.12": tt.new}[kernel]
				if got := len(answer(t, k, tt.req, 32<<10)) - 1; got != want { // and the overrun
					t.Errorf("got %d datagrams, want %d", got, want)
				}
			})
		}
	}
}

// One datagram is kept, however large.
func TestServerReadBufferOfOne(t *testing.T) {
	s := newTestServer(t, ServerOptions{})
	k := newServerSide(t, s.Server)
	k.t.(*ServerSocket).SetReadBuffer(0)
	large := request(testID, ackd, 99, make([]byte, 9000))
	if got := answer(t, k, large, 32<<10); len(got) != 1 || !strings.HasPrefix(got[0], "datagram of 9") {
		t.Errorf("got %v", got)
	}
}

// What nlctrl tells of families that come and go.
func TestServerEvents(t *testing.T) {
	s := newTestServer(t, ServerOptions{})
	k := s.dial(t)
	if err := k.t.JoinGroup(ctrlNotifyGroup); err != nil {
		t.Fatal(err)
	}
	fam := &ServedFamily{Name: "late", Groups: []ServedGroup{{Name: "x"}, {Name: "y"}}}
	if err := s.Register(fam); err != nil {
		t.Fatal(err)
	}
	member := s.dial(t)
	x := s.Family("late").Groups[0].ID
	if err := member.t.JoinGroup(x); err != nil {
		t.Fatal(err)
	}
	if err := s.Unregister("late"); err != nil {
		t.Fatal(err)
	}
	event := func(cmd int) string { return fmt.Sprintf("0x10 command %d seq 0 to nobody", cmd) }
	wantHeard(t, "listener", k,
		event(unix.CTRL_CMD_NEWFAMILY), event(unix.CTRL_CMD_NEWMCAST_GRP), event(unix.CTRL_CMD_NEWMCAST_GRP),
		event(unix.CTRL_CMD_DELMCAST_GRP), event(unix.CTRL_CMD_DELMCAST_GRP), event(unix.CTRL_CMD_DELFAMILY))

	// The group is nobody's any more, so its next owner has no listener.
	again := &ServedFamily{Name: "again", Groups: []ServedGroup{{Name: "z"}}}
	if err := s.Register(again); err != nil {
		t.Fatal(err)
	}
	if id := s.Family("again").Groups[0].ID; id != x || again.HasListeners("z") {
		t.Errorf("group %d, was %d, has listeners: %v", id, x, again.HasListeners("z"))
	}
	if err := s.dial(t).t.JoinGroup(x); err != nil {
		t.Fatal(err)
	}
	if err := again.Multicast("z", 1, nil); err != nil {
		t.Error(err)
	}
	wantHeard(t, "member of the group before", member)
}

// Subscribers see notifications, and that the family goes.
func TestServerSubscribe(t *testing.T) {
	s := newTestServer(t, ServerOptions{})
	c, f := s.conn(t, Options{})
	sub, err := c.Subscribe(SubscribeOptions{Family: f, Groups: []string{"one"}})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	if err := s.fam.Multicast("one", 9, AppendUint32(nil, 1, 5)); err != nil {
		t.Fatal(err)
	}
	m, err := sub.Receive(t.Context())
	if err != nil || m.Command != 9 || m.Version != 3 || ne.Uint32(m.Attrs[4:]) != 5 {
		t.Errorf("got %+v, error %v", m, err)
	}
}

// File descriptors are in the attributes in the same process, and else come
// beside the request, in order.
func TestServerFDs(t *testing.T) {
	var got []string
	fam := &ServedFamily{Name: "fds", Ops: []ServedOp{{
		Command: 1,
		FDs:     []uint16{1, 3},
		Policy: &PolicySet{Attrs: []AttrPolicy{
			{1, Policy{Type: unix.NL_ATTR_TYPE_U32}},
			{2, Policy{Type: unix.NL_ATTR_TYPE_U32}},
			{3, Policy{Type: unix.NL_ATTR_TYPE_U32}},
		}},
		Do: HandlerFunc(func(w *ReplyWriter, r *ServerRequest) error {
			for typ := range uint16(4) {
				if fd, ok := r.FD(typ); ok {
					got = append(got, fmt.Sprintf("%d:%d", typ, fd))
				}
			}
			return nil
		}),
	}}}
	s := NewServer(ServerOptions{})
	defer s.Close()
	if err := s.Register(fam); err != nil {
		t.Fatal(err)
	}
	attrs := func(one, two, three uint32) []byte {
		return AppendUint32(AppendUint32(AppendUint32(nil, 1, one), 2, two), 3, three)
	}
	local := newServerSide(t, s)
	if err := local.send(request(testID, req, 1, attrs(10, 20, 30))); err != nil {
		t.Fatal(err)
	}
	if want := []string{"1:10", "2:20", "3:30"}; !slices.Equal(got, want) {
		t.Errorf("in the same process: got %v, want %v", got, want)
	}

	remote, err := s.Socket(Peer{PID: 1})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		b    []byte
		fds  int
		want []string // 0, 1: which of fds
	}{
		{"in order", request(testID, req, 1, attrs(10, 20, 30)), 2, []string{"1:#0", "2:-1", "3:#1"}},
		{"none for what is below 0", request(testID, req, 1, attrs(^uint32(0), 20, 30)), 1, []string{"1:-1", "2:-1", "3:#0"}},
		{"too few", request(testID, req, 1, attrs(10, 20, 30)), 1, []string{"1:#0", "2:-1", "3:-1"}},
		{"two messages", slices.Concat(request(testID, req, 1, attrs(10, 20, 30)), request(testID, req, 1, AppendUint32(nil, 3, 1))), 3,
			[]string{"1:#0", "2:-1", "3:#1", "3:#2"}},
		{"last of two", request(testID, req, 1, AppendUint32(attrs(10, 20, 30), 1, 11)), 3, []string{"1:#2", "2:-1", "3:#1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got = nil
			var fds []int
			for range tt.fds {
				fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
				if err != nil {
					t.Fatal(err)
				}
				fds = append(fds, fd)
			}
			want := slices.Clone(tt.want)
			for i := range want {
				for n, fd := range fds {
					if want[i][2:] == fmt.Sprintf("#%d", n) {
						want[i] = fmt.Sprintf("%c:%d", want[i][0], fd)
					}
				}
			}
			if err := remote.Input(tt.b, fds); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("file descriptors (-want +got):\n%s", diff)
			}
			for _, fd := range fds {
				if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != unix.EBADF {
					t.Errorf("file descriptor %d is open: %v", fd, err)
				}
			}
		})
	}
}

// Who has the capability if nobody says.
func TestServerAdmin(t *testing.T) {
	s := newTestServer(t, ServerOptions{})
	for _, tt := range []struct {
		peer Peer
		want bool
	}{
		{Peer{UID: 0}, true},
		{Peer{UID: 1000}, false},
		{Peer{Local: true, UID: 1000}, hasNetAdmin()},
	} {
		if got := s.admin(tt.peer); got != tt.want {
			t.Errorf("%+v: got %v, want %v", tt.peer, got, tt.want)
		}
	}
}

// Port ids are the process id once, and then below 0.
func TestServerPorts(t *testing.T) {
	s := NewServer(ServerOptions{})
	defer s.Close()
	var got []int32
	for range 3 {
		k, err := s.Socket(Peer{PID: 42})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, int32(k.PortID()))
	}
	if want := []int32{42, -4097, -4098}; !slices.Equal(got, want) {
		t.Errorf("got port ids %v, want %v", got, want)
	}
}

// A socket that is closed ends who waits for it.
func TestServerSocketClose(t *testing.T) {
	s := newTestServer(t, ServerOptions{})
	k := s.dial(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	receive := func() {
		_, err := k.t.Receive(ctx, make([]byte, 100))
		done <- err
	}
	go receive()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v", err)
	}
	ctx = t.Context()
	go receive()
	if err := k.t.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Errorf("got error %v", err)
	}
	if err := k.t.Close(); err != nil {
		t.Error(err)
	}
	if err := k.t.Send(ctx, request(testID, req, cmdNone, nil), nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("send: got error %v", err)
	}
	if err := k.t.SetOption(99, true); !errors.Is(err, unix.ENOPROTOOPT) {
		t.Errorf("no such option: got error %v", err)
	}
}

// All at once, for the race detector.
func TestServerConcurrent(t *testing.T) {
	s := newTestServer(t, ServerOptions{})
	s.list = counting(50, 400, nil)
	c, f := s.conn(t, Options{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 50 {
				if err := c.Do(t.Context(), Request{Family: f, Command: cmdNotify}, nil); err != nil {
					t.Error(err)
				}
				cur := c.Dump(t.Context(), Request{Family: f, Command: cmdList})
				for cur.Next() {
				}
				if err := cur.Err(); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			fam := &ServedFamily{Name: fmt.Sprint("f", i), Groups: []ServedGroup{{Name: "x"}}}
			for range 50 {
				if err := s.Register(fam); err != nil {
					t.Error(err)
				}
				k := newServerSide(t, s.Server)
				k.t.JoinGroup(f.Groups[0].ID)
				k.t.JoinGroup(s.Family(fam.Name).Groups[0].ID)
				fam.Multicast("x", 1, nil)
				k.send(request(testID, dmp, cmdList, nil))
				k.t.Close()
				if err := s.Unregister(fam.Name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(s.sockets); n > 6 {
		t.Errorf("%d sockets are left", n)
	}
	if s.fam.HasListeners("one") {
		t.Error("listeners are left")
	}
}
