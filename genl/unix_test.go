// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// asUser runs f on a thread of another user without privileges.
func asUser(tb testing.TB, uid, gid int, groups []int, f func() error) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("not root, and so nobody else can be played")
	}
	errc := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock it: the thread is of no more use
		ids := make([]uint32, len(groups)+1)
		for i, g := range groups {
			ids[i] = uint32(g)
		}
		errc <- func() error {
			if err := setThreadIDs(uid, gid, ids[:len(groups)]); err != nil {
				return err
			}
			return f()
		}()
	}()
	if err := <-errc; err != nil {
		tb.Errorf("as user %d: %v", uid, err)
	}
}

// What the peer may do is decided by who connected.
func TestUnixPermission(t *testing.T) {
	for name, tt := range map[string]struct {
		admin    func(Peer) bool
		uid, gid int
		groups   []int
		set      error
		private  error
	}{
		"root":          {uid: 0, gid: 0},
		"another":       {uid: 1234, gid: 1234, groups: []int{5, 6}, set: unix.EPERM, private: unix.EPERM},
		"user allowed":  {admin: AllowIDs([]uint32{7, 1234}, nil), uid: 1234, gid: 1},
		"group allowed": {admin: AllowIDs(nil, []uint32{1, 99}), uid: 1234, gid: 99},
		"groups":        {admin: AllowIDs(nil, []uint32{6}), uid: 1234, gid: 1, groups: []int{5, 6}},
		"not allowed":   {admin: AllowIDs([]uint32{7}, []uint32{6}), uid: 1234, gid: 1, groups: []int{5}, set: unix.EPERM, private: unix.EPERM},
		"root always":   {admin: AllowIDs([]uint32{7}, nil), uid: 0, gid: 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBedOf(t, ServerOptions{Admin: tt.admin})
			asUser(t, tt.uid, tt.gid, tt.groups, func() error {
				c, err := Dial(Options{Transport: b.ways()["unix"]})
				if err != nil {
					return err
				}
				defer c.Close()
				if err := c.Do(t.Context(), b.request(bedGet, AppendUint32(nil, bedValue, 1)), nil); err != nil {
					return fmt.Errorf("get: %w", err)
				}
				if err := c.Do(t.Context(), b.request(bedSet, nil), nil); !errors.Is(err, tt.set) {
					return fmt.Errorf("set: got error %v, want %v", err, tt.set)
				}
				for group, want := range map[string]error{"events": nil, "private": tt.private} {
					sub, err := c.Subscribe(SubscribeOptions{Family: b.fam, Groups: []string{group}})
					if !errors.Is(err, want) {
						return fmt.Errorf("group %s: got error %v, want %v", group, err, want)
					}
					if err == nil {
						sub.Close()
					}
				}
				return nil
			})
		})
	}
}

func TestListenUnix(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "socket")
	listen := func(o UnixOptions) *UnixListener {
		t.Helper()
		l, err := ListenUnix(path, o)
		if err != nil {
			t.Fatal(err)
		}
		if l.Path() != path {
			t.Errorf("listens on %s, want %s", l.Path(), path)
		}
		return l
	}
	mode := func(want fs.FileMode) {
		t.Helper()
		if fi, err := os.Stat(path); err != nil || fi.Mode() != want|fs.ModeSocket {
			t.Errorf("got mode %v and error %v, want %v", fi.Mode(), err, want)
		}
	}
	l := listen(UnixOptions{})
	mode(0o666)
	if _, err := ListenUnix(path, UnixOptions{}); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("second: got error %v, want %v", err, unix.EADDRINUSE)
	}
	mode(0o666)
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Error(err)
	}
	if ents, err := os.ReadDir(dir); err != nil || len(ents) > 0 {
		t.Errorf("left behind: %v, error %v", ents, err)
	}
	if _, err := DialUnix(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("dial after that: got error %v, want %v", err, os.ErrNotExist)
	}

	// One that was killed leaves its files.
	l = listen(UnixOptions{Mode: 0o600})
	mode(0o600)
	l.file.Close()
	l.lock.Close()
	if _, err := DialUnix(path); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("dial a stale one: got error %v, want %v", err, unix.ECONNREFUSED)
	}
	l = listen(UnixOptions{Mode: 0o660, UID: os.Getuid(), GID: os.Getgid()})
	mode(0o660)
	if os.Geteuid() == 0 {
		l.Close()
		l = listen(UnixOptions{UID: 12, GID: 34})
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil || st.Uid != 12 || st.Gid != 34 {
			t.Errorf("belongs to %d:%d, error %v, want 12:34", st.Uid, st.Gid, err)
		}
	}
	l.Close()

	// Somebody else's listens without our lock.
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 1)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{path, file} {
		if _, err := ListenUnix(path, UnixOptions{}); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("%s: got error %v, want %v", path, err, unix.EADDRINUSE)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("was removed: %v", err)
		}
	}
	if _, err := ListenUnix(filepath.Join(dir, "none", "socket"), UnixOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: got error %v, want %v", err, os.ErrNotExist)
	}
}

// Of those who start at once, one listens.
func TestListenUnixRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	for range 20 {
		won := make(chan *UnixListener, 8)
		var wg sync.WaitGroup
		for range cap(won) {
			wg.Go(func() {
				l, err := ListenUnix(path, UnixOptions{})
				if err == nil {
					won <- l
				} else if !errors.Is(err, unix.EADDRINUSE) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("%d listen", len(won))
		}
		l := <-won
		l.file.Close() // as when it is killed
		l.lock.Close()
	}
}

func TestUnixAbstract(t *testing.T) {
	path := fmt.Sprintf("@genl-test-%d", os.Getpid())
	l, err := ListenUnix(path, UnixOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ListenUnix(path, UnixOptions{}); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("second: got error %v, want %v", err, unix.EADDRINUSE)
	}
	srv := NewServer(ServerOptions{})
	served := make(chan error)
	go func() { served <- srv.ServeUnix(l) }()
	tr, err := DialUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	// Closing the listener ends what it has accepted.
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, os.ErrClosed) {
		t.Errorf("got error %v, want %v", err, os.ErrClosed)
	}
	if _, err := tr.Receive(t.Context(), make([]byte, 10)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got error %v, want %v", err, os.ErrClosed)
	}
	srv.Close()
}

// rawClient is a client that says what it likes.
type rawClient struct {
	tb       testing.TB
	fd       int
	received uint32 // as it was last said
}

func newRawClient(tb testing.TB, b *bed) *rawClient {
	tb.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { unix.Close(fd) })
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: b.path}); err != nil {
		tb.Fatal(err)
	}
	r := &rawClient{tb: tb, fd: fd}
	if f, _, ok := r.receive(); !ok || f.kind != frameHello || f.id != unixVersion || f.value == 0 {
		tb.Fatalf("got %+v, want a hello", f)
	}
	return r
}

func (r *rawClient) send(f clientFrame, data []byte) {
	r.tb.Helper()
	var h [frameLen]byte
	f.put(&h)
	r.received = f.received
	if err := unix.Send(r.fd, append(h[:], data...), unix.MSG_NOSIGNAL); err != nil {
		r.tb.Fatal(err)
	}
}

// receive receives a datagram; ok is false if the server has hung up.
func (r *rawClient) receive() (f serverFrame, data []byte, ok bool) {
	r.tb.Helper()
	b := make([]byte, 1<<18)
	unix.SetsockoptTimeval(r.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10})
	n := 0
	err := retryIntr(func() (err error) { n, err = unix.Read(r.fd, b); return err })
	if err == unix.ECONNRESET || err == nil && n == 0 {
		return f, nil, false
	}
	if err != nil || n < frameLen {
		r.tb.Fatalf("got %d bytes and error %v", n, err)
	}
	return parseServerFrame((*[frameLen]byte)(b)), b[frameLen:n], true
}

// nothing fails the test if there is anything to receive.
func (r *rawClient) nothing() {
	r.tb.Helper()
	r.send(clientFrame{kind: frameSync, id: 4711, received: r.received}, nil)
	if f, _, ok := r.receive(); !ok || f.kind != frameAck || f.id != 4711 {
		r.tb.Errorf("got %+v, want nothing before the acknowledgement", f)
	}
}

// The server hangs up on those who break the protocol, and on nobody else.
func TestUnixHostile(t *testing.T) {
	b := newBed(t, ServerOptions{})
	bystander := b.conn(t, b.ways()["unix"])
	for name, do := range map[string]func(r *rawClient){
		"short":                func(r *rawClient) { unix.Send(r.fd, make([]byte, frameLen-1), 0) },
		"empty":                func(r *rawClient) { unix.Send(r.fd, nil, 0) },
		"kind 0":               func(r *rawClient) { r.send(clientFrame{}, nil) },
		"kind of the server's": func(r *rawClient) { r.send(clientFrame{kind: frameData}, nil) },
		"unknown kind":         func(r *rawClient) { r.send(clientFrame{kind: 77}, nil) },
		"received nothing yet": func(r *rawClient) { r.send(clientFrame{kind: frameReceive, received: 1}, nil) },
		"received backwards": func(r *rawClient) {
			r.send(clientFrame{kind: frameReceive, received: ^uint32(0)}, nil)
		},
		"too large": func(r *rawClient) {
			unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 1<<20)
			unix.Send(r.fd, append([]byte{frameRequest}, make([]byte, 300<<10)...), 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "too large" && os.Geteuid() != 0 {
				t.Skip("not root, and so the buffer cannot be made large enough")
			}
			r := newRawClient(t, b)
			do(r)
			if f, data, ok := r.receive(); ok {
				t.Errorf("was answered: %+v %v", f, data)
			}
		})
	}
	if err := bystander.Do(t.Context(), b.request(bedSet, nil), nil); err != nil {
		t.Error(err)
	}
}

// What docs/transport.md says of the window.
func TestUnixWindow(t *testing.T) {
	b := newBed(t, ServerOptions{})
	r := newRawClient(t, b)
	req := b.request(bedGet, AppendUint32(nil, bedValue, 1))
	ask := func(window uint16, received uint32, flags uint16) {
		r.send(clientFrame{kind: frameRequest, window: window, received: received}, appendRequest(nil, &req, flags, 1))
	}
	next := func(kind, flags uint16) {
		t.Helper()
		if f, _, ok := r.receive(); !ok || f.kind != kind || f.flags != flags {
			t.Errorf("got %+v, want kind %#x and flags %d", f, kind, flags)
		}
	}
	ask(0, 0, 0)
	r.nothing()
	r.send(clientFrame{kind: frameReceive, window: 1}, nil)
	next(frameData, 0)
	ask(2, 0, unix.NLM_F_ACK) // one under way, one more may be
	next(frameData, 0)
	r.nothing()
	r.send(clientFrame{kind: frameReceive, window: 2, received: 2}, nil)
	next(frameData, 0)
	ask(2, 3, unix.NLM_F_ACK)
	next(frameData, frameMore)
	next(frameData, 0)
	r.nothing()
	// What was granted stays granted.
	r.send(clientFrame{kind: frameReceive, window: 3, received: 5}, nil)
	ask(0, 5, unix.NLM_F_ACK)
	next(frameData, frameMore)
	next(frameData, 0)
	// A window has its limits.
	for range 20 {
		ask(0, 7, 0)
	}
	next(frameData, 0) // of the three
	r.send(clientFrame{kind: frameReceive, window: 1000, received: 8}, nil)
	for i := range uint16(maxWindow) {
		next(frameData, min(maxWindow-1-i, frameMore))
	}
	r.nothing()
}

// What is acknowledged, and with what.
func TestUnixOptions(t *testing.T) {
	b := newBed(t, ServerOptions{})
	r := newRawClient(t, b)
	words := func(w ...uint32) (b []byte) {
		for _, v := range w {
			b = ne.AppendUint32(b, v)
		}
		return b
	}
	for i, tt := range []struct {
		kind  uint16
		data  []byte
		errno unix.Errno
		value uint32
	}{
		{frameSync, nil, 0, 0},
		{frameGetOption, words(unix.SOL_SOCKET, unix.SO_RCVBUF), 0, defaultRcvbuf},
		{frameSetOption, words(unix.SOL_SOCKET, unix.SO_RCVBUF, 10000), 0, 20000},
		{frameGetOption, words(unix.SOL_SOCKET, unix.SO_RCVBUF), 0, 20000},
		{frameSetOption, words(unix.SOL_SOCKET, unix.SO_SNDBUF, 10000), unix.ENOPROTOOPT, 0},
		{frameSetOption, words(unix.SOL_SOCKET, unix.SO_RCVBUF), unix.EINVAL, 0},
		{frameGetOption, words(unix.SOL_SOCKET), unix.EINVAL, 0},
		{frameGetOption, words(unix.SOL_NETLINK, unix.NETLINK_EXT_ACK), 0, 0},
		{frameSetOption, words(unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 5), 0, 0},
		{frameGetOption, words(unix.SOL_NETLINK, unix.NETLINK_EXT_ACK), 0, 1},
		{frameSetOption, words(unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 0), 0, 0},
		{frameGetOption, words(unix.SOL_NETLINK, unix.NETLINK_EXT_ACK), 0, 0},
		{frameSetOption, words(unix.SOL_NETLINK, 77, 0), unix.ENOPROTOOPT, 0},
		{frameGetOption, words(unix.SOL_NETLINK, unix.NETLINK_LIST_MEMBERSHIPS), unix.ENOPROTOOPT, 0},
		{frameSetOption, words(unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, 0), unix.EINVAL, 0},
		{frameSetOption, words(unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, b.fam.Groups[0].ID), 0, 0},
		{frameSetOption, words(unix.SOL_NETLINK, unix.NETLINK_DROP_MEMBERSHIP, b.fam.Groups[0].ID), 0, 0},
		{frameSetOption, words(99, 1, 1), unix.ENOPROTOOPT, 0},
	} {
		r.send(clientFrame{kind: tt.kind, id: uint32(i)}, tt.data)
		f, data, ok := r.receive()
		want := serverFrame{kind: frameAck, id: uint32(i), errno: uint32(tt.errno), value: tt.value}
		if !ok || f != want || len(data) != 0 {
			t.Errorf("%d: got %+v, want %+v", i, f, want)
		}
	}
}

// Who does not receive holds up himself alone.
func TestUnixSlowClient(t *testing.T) {
	b := newBed(t, ServerOptions{})
	slow := newRawClient(t, b)
	slow.send(clientFrame{kind: frameSetOption, id: 1, window: maxWindow}, ne.AppendUint32(ne.AppendUint32(ne.AppendUint32(nil,
		unix.SOL_NETLINK), unix.NETLINK_ADD_MEMBERSHIP), b.fam.Groups[0].ID))
	if f, _, ok := slow.receive(); !ok || f.errno != 0 {
		t.Fatalf("got %+v", f)
	}
	unix.SetNonblock(slow.fd, true)
	for id := uint32(2); ; id++ {
		f := clientFrame{kind: frameSync, id: id}
		var h [frameLen]byte
		f.put(&h)
		if err := unix.Send(slow.fd, h[:], unix.MSG_NOSIGNAL); err == unix.EAGAIN {
			break // the server waits for it
		} else if err != nil {
			t.Fatal(err)
		}
	}
	c := b.conn(t, b.ways()["unix"])
	sub, err := c.Subscribe(SubscribeOptions{Family: b.fam, Groups: []string{"events"}})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	for v := range uint32(1000) {
		b.served.Multicast("events", bedNews, AppendUint32(nil, bedValue, v))
		if _, err := sub.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// A client that dies in the middle of a request leaves nothing behind.
func TestUnixClientDies(t *testing.T) {
	b := newBed(t, ServerOptions{})
	for range 20 {
		r := newRawClient(t, b)
		req := b.request(bedHang, AppendUint32(nil, bedValue, 1))
		r.send(clientFrame{kind: frameRequest, window: 2}, appendRequest(nil, &req, unix.NLM_F_ACK, 1))
		req = b.request(bedGet, AppendUint32(nil, bedValue, 9000))
		r.send(clientFrame{kind: frameRequest, window: 2}, appendRequest(nil, &req, unix.NLM_F_DUMP, 1))
		<-b.hung
		unix.Shutdown(r.fd, unix.SHUT_RDWR)
	}
	close(b.hang)
	deadline := time.Now().Add(10 * time.Second)
	for {
		b.srv.socketsMu.RLock()
		n := len(b.srv.sockets)
		b.srv.socketsMu.RUnlock()
		if n == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d sockets are left", n)
		}
		time.Sleep(time.Millisecond)
	}
}

// fakeServer is a server that says what it likes.
func fakeServer(t testing.TB, serve func(fd int)) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "socket")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 1)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		defer unix.Close(fd)
		c, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
		if err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(c)
		serve(c)
	})
	t.Cleanup(wg.Wait)
	return path
}

func sendFrame(fd int, f serverFrame, data []byte) {
	var h [frameLen]byte
	f.put(&h)
	unix.Send(fd, append(h[:], data...), unix.MSG_NOSIGNAL)
}

// A client is not confused by a server that is.
func TestUnixBadServer(t *testing.T) {
	hello := serverFrame{kind: frameHello, id: unixVersion, value: 5}
	for name, tt := range map[string]struct {
		serve      func(fd int)
		dial, recv error
	}{
		"hangs up":     {func(int) {}, os.ErrClosed, nil},
		"no hello":     {func(fd int) { sendFrame(fd, serverFrame{kind: frameData}, nil) }, ErrMalformed, nil},
		"short":        {func(fd int) { unix.Send(fd, []byte("HTTP"), 0) }, ErrMalformed, nil},
		"newer":        {func(fd int) { sendFrame(fd, serverFrame{kind: frameHello, id: 2}, nil) }, errors.ErrUnsupported, nil},
		"unknown kind": {func(fd int) { sendFrame(fd, hello, nil); sendFrame(fd, serverFrame{kind: 1}, nil) }, nil, ErrMalformed},
		"stale acknowledgement": {func(fd int) {
			sendFrame(fd, hello, nil)
			sendFrame(fd, serverFrame{kind: frameAck, id: 9}, nil)
			sendFrame(fd, serverFrame{kind: frameError, errno: uint32(unix.ENOMEM)}, nil)
		}, nil, unix.ENOMEM},
		"goes": {func(fd int) { sendFrame(fd, hello, nil) }, nil, os.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			tr, err := DialUnix(fakeServer(t, tt.serve))
			if !errors.Is(err, tt.dial) {
				t.Fatalf("dial: got error %v, want %v", err, tt.dial)
			}
			if err != nil {
				return
			}
			defer tr.Close()
			if tr.PortID() != 5 {
				t.Errorf("got port %d, want 5", tr.PortID())
			}
			if _, err := tr.Receive(context.Background(), make([]byte, 10)); !errors.Is(err, tt.recv) {
				t.Errorf("receive: got error %v, want %v", err, tt.recv)
			}
		})
	}
}
