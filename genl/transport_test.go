// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Operations and attributes of the family that transports are tested with.
const (
	bedGet  = 1 // replies with bedValue; a dump has as many as bedValue says
	bedSet  = 2 // takes CAP_NET_ADMIN, and has no reply
	bedFile = 3 // replies with the inodes of bedFD and bedFD2
	bedHang = 4 // waits until the test lets it go on
	bedNews = 5 // a notification with bedValue

	bedValue = 1
	bedFD    = 2
	bedFD2   = 3
	bedInode = 4
	bedFill  = 5
)

// bed is a server with two ways to it.
type bed struct {
	srv    *Server
	served *ServedFamily
	fam    *Family
	path   string        // of the unix socket
	hang   chan struct{} // closed when bedHang may go on
	hung   chan struct{} // told when bedHang waits
}

func newBed(tb testing.TB, o ServerOptions) *bed {
	tb.Helper()
	if o.Admin == nil {
		o.Admin = func(p Peer) bool { return p.UID == 0 }
	}
	return newBedOf(tb, o)
}

// newBedOf is newBed with the server's own idea of who is an administrator.
func newBedOf(tb testing.TB, o ServerOptions) *bed {
	tb.Helper()
	b := &bed{srv: NewServer(o), hang: make(chan struct{}), hung: make(chan struct{}, 16)}
	num := func(typ uint16) AttrPolicy { return AttrPolicy{typ, Policy{Type: unix.NL_ATTR_TYPE_U32}} }
	value := &PolicySet{Attrs: []AttrPolicy{num(bedValue), {bedFill, Policy{Type: unix.NL_ATTR_TYPE_BINARY}}}}
	b.served = &ServedFamily{
		Name: "bed", Version: 1,
		Ops: []ServedOp{
			{Command: bedGet, Policy: value, Do: HandlerFunc(bedReply), Dump: DumpFunc(bedDump)},
			{Command: bedSet, Policy: value, Flags: OpAdminInNets, Do: HandlerFunc(func(*ReplyWriter, *ServerRequest) error { return nil })},
			{Command: bedFile, Policy: &PolicySet{Attrs: []AttrPolicy{num(bedFD), num(bedFD2)}}, FDs: []uint16{bedFD, bedFD2}, Do: HandlerFunc(bedInodes)},
			{Command: bedHang, Policy: value, Do: HandlerFunc(func(w *ReplyWriter, r *ServerRequest) error {
				b.hung <- struct{}{}
				<-b.hang
				return bedReply(w, r)
			})},
		},
		Groups: []ServedGroup{{Name: "events"}, {Name: "private", Admin: true}},
	}
	if err := b.srv.Register(b.served); err != nil {
		tb.Fatal(err)
	}
	b.fam = b.srv.Family("bed")
	dir, err := os.MkdirTemp("", "genl")
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	b.path = filepath.Join(dir, "socket")
	l, err := ListenUnix(b.path, UnixOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- b.srv.ServeUnix(l) }()
	tb.Cleanup(func() {
		b.srv.Close()
		if err := <-served; !errors.Is(err, os.ErrClosed) {
			tb.Errorf("ServeUnix: got error %v, want %v", err, os.ErrClosed)
		}
		if ents, err := os.ReadDir(dir); err != nil || len(ents) > 0 {
			tb.Errorf("left behind: %v, error %v", ents, err)
		}
		os.RemoveAll(dir)
	})
	return b
}

func bedReply(w *ReplyWriter, r *ServerRequest) error {
	v, ok := r.Uint32(bedValue)
	if !ok {
		return r.Missing(bedValue)
	}
	if v == 0 {
		return &Error{Errno: unix.ERANGE, Message: "no zero", Offset: r.Offset(bedValue)}
	}
	return w.Reply(AppendUint32(w.Buffer(), bedValue, v))
}

func bedDump(r *ServerRequest) (DumpCursor, error) {
	n, _ := r.Uint32(bedValue)
	if n > 10000 {
		return nil, &Error{Errno: unix.ERANGE, Message: "too many"}
	}
	fill, _ := r.Attr(bedFill)
	var msgs [][]byte
	for i := range n {
		msgs = append(msgs, AppendAttr(AppendUint32(nil, bedValue, i), bedFill, fill))
	}
	return DumpSlice(msgs...), nil
}

func bedInodes(w *ReplyWriter, r *ServerRequest) error {
	b := w.Buffer()
	for _, typ := range []uint16{bedFD, bedFD2} {
		fd, ok := r.FD(typ)
		if !ok {
			continue
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return &Error{Errno: unix.EBADF, Message: "no file", Offset: r.Offset(typ)}
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			return &Error{Errno: unix.EBADFD, Message: "not close-on-exec"}
		}
		b = AppendUint32(b, bedInode, uint32(st.Ino))
	}
	return w.Reply(b)
}

// ways are the transports to the server.
func (b *bed) ways() map[string]func() (Transport, error) {
	return map[string]func() (Transport, error){
		"in-process": b.srv.Dial,
		"unix":       func() (Transport, error) { return DialUnix(b.path) },
	}
}

func (b *bed) request(cmd uint8, attrs []byte) Request {
	return Request{Op: "bed", Family: b.fam, Command: cmd, Attrs: attrs}
}

func (b *bed) conn(tb testing.TB, dial func() (Transport, error)) *Conn {
	tb.Helper()
	c, err := Dial(Options{Transport: dial})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

func (b *bed) dial(tb testing.TB, dial func() (Transport, error)) Transport {
	tb.Helper()
	tr, err := dial()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { tr.Close() })
	return tr
}

// overBoth runs a test over both transports, each with a server of its own.
func overBoth(t *testing.T, o ServerOptions, test func(t *testing.T, b *bed, dial func() (Transport, error))) {
	for _, name := range []string{"in-process", "unix"} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, o)
			test(t, b, b.ways()[name])
		})
	}
}

// numbers appends the values of messages to list.
func numbers(typ uint16, list *[]uint32) func(Message) error {
	return func(m Message) error {
		return attrs(m.Attrs, func(got uint16, data []byte) error {
			if got == typ {
				*list = append(*list, ne.Uint32(data))
			}
			return nil
		})
	}
}

func TestTransportConn(t *testing.T) {
	overBoth(t, ServerOptions{}, func(t *testing.T, b *bed, dial func() (Transport, error)) {
		c := b.conn(t, dial)
		got, err := c.Family(t.Context(), "bed")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(b.fam.Groups, got.Groups); diff != "" || got.ID != b.fam.ID {
			t.Errorf("family %d, want %d; groups (-want +got):\n%s", got.ID, b.fam.ID, diff)
		}
		for range 3 {
			var got []uint32
			req := b.request(bedGet, AppendUint32(nil, bedValue, 7))
			if err := c.Do(t.Context(), req, numbers(bedValue, &got)); err != nil {
				t.Fatal(err)
			}
			req.OneReply = true
			if err := c.Do(t.Context(), req, numbers(bedValue, &got)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]uint32{7, 7}, got); diff != "" {
				t.Errorf("replies (-want +got):\n%s", diff)
			}
		}
		err = c.Do(t.Context(), b.request(bedGet, AppendUint32(nil, bedValue, 0)), nil)
		var e *Error
		if !errors.As(err, &e) || e.Errno != unix.ERANGE || e.Message != "no zero" || e.Offset != 20 {
			t.Errorf("got error %+v, want ERANGE with its reason", err)
		}
		err = c.Do(t.Context(), b.request(bedGet, nil), nil)
		if !errors.As(err, &e) || e.MissType != bedValue {
			t.Errorf("got error %+v, want one that names what is missing", err)
		}
		if err := c.Do(t.Context(), b.request(bedSet, nil), nil); err != nil {
			t.Error(err)
		}
		for _, n := range []uint32{0, 1, 2, 300, 5000} {
			var got []uint32
			cur := c.Dump(t.Context(), b.request(bedGet, AppendUint32(nil, bedValue, n)))
			for cur.Next() {
				if err := numbers(bedValue, &got)(cur.Message()); err != nil {
					t.Error(err)
				}
			}
			if err := cur.Err(); err != nil || len(got) != int(n) || n > 0 && got[n-1] != n-1 {
				t.Errorf("dump of %d: got %d and error %v", n, len(got), err)
			}
		}
		cur := c.Dump(t.Context(), b.request(bedGet, AppendUint32(nil, bedValue, 99999)))
		if cur.Next() || !errors.Is(cur.Err(), unix.ERANGE) {
			t.Errorf("got error %v, want %v", cur.Err(), unix.ERANGE)
		}
		// As large as a request can be, whose refusal is larger.
		req := b.request(bedFile, AppendAttr(nil, bedFill, make([]byte, 60<<10)))
		for len(req.Attrs) < 150<<10 {
			req.Attrs = AppendAttr(req.Attrs, bedFill, make([]byte, 60<<10))
		}
		tr := b.dial(t, dial)
		if err := tr.Send(t.Context(), appendRequest(nil, &req, 0, 1), nil); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1<<18)
		if n, err := tr.Receive(t.Context(), buf[:100]); err != nil || n < len(req.Attrs) {
			t.Errorf("got %d bytes and error %v, want more than %d", n, err, len(req.Attrs))
		}
		if err := tr.Send(t.Context(), make([]byte, maxSend+1), nil); !errors.Is(err, unix.EMSGSIZE) {
			t.Errorf("too large: got error %v, want %v", err, unix.EMSGSIZE)
		}
		if err := tr.Send(t.Context(), nil, nil); !errors.Is(err, unix.ENODATA) {
			t.Errorf("empty: got error %v, want %v", err, unix.ENODATA)
		}
	})
}

// describe says in short what was received.
func (b *bed) describe(d []byte, n int, err error) string {
	switch {
	case err != nil:
		var errno unix.Errno
		if errors.As(err, &errno) {
			return errno.Error()
		}
		return err.Error()
	case n > len(d):
		return fmt.Sprintf("%d of %d bytes", len(d), n)
	}
	var out []string
	for rest := d[:n]; len(rest) > 0; {
		m, r, err := nextMessage(rest)
		if err != nil {
			return err.Error()
		}
		rest = r
		switch m.typ() {
		case unix.NLMSG_ERROR, unix.NLMSG_DONE:
			out = append(out, fmt.Sprintf("%d:%d/%d(%d)", m.typ(), m.seq(), int32(ne.Uint32(m.body())), len(m)))
		default:
			out = append(out, fmt.Sprintf("%d:%d", m.typ(), m.seq()))
		}
	}
	if len(out) > 4 {
		out = append(out[:2], fmt.Sprint(len(out)-3, " more"), out[len(out)-1])
	}
	return strings.Join(out, " ")
}

// Both transports do the same, whatever is done with them in whatever order.
func TestTransportsAgree(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 30
	}
	local, remote := newBed(t, ServerOptions{Kernel: "6.12"}), newBed(t, ServerOptions{Kernel: "6.12"})
	seen := make(map[string]int)
	for seed := range rounds {
		rnd := rand.New(rand.NewPCG(uint64(seed), 1))
		trs := []Transport{local.dial(t, local.srv.Dial), remote.dial(t, remote.ways()["unix"])}
		var log []string
		for step := range 40 {
			do := local.randomStep(rnd, uint32(step))
			var got []string
			for _, tr := range trs {
				got = append(got, do(tr))
			}
			log = append(log, got[0])
			seen[got[0][:min(len(got[0]), 12)]]++
			if got[0] != got[1] {
				t.Fatalf("seed %d: after\n%s\nin-process:\n%s\nunix:\n%s", seed, strings.Join(log, "\n"), got[0], got[1])
			}
		}
		for _, tr := range trs {
			tr.Close()
		}
	}
	busy := false
	for s := range seen {
		busy = busy || strings.HasPrefix(s, "receive: 2:")
	}
	if !busy {
		t.Errorf("nothing was refused: %v", seen)
	}
}

// randomStep returns something to do with a transport, and to tell of.
func (b *bed) randomStep(rnd *rand.Rand, seq uint32) func(Transport) string {
	buf := make([]byte, 64<<10)
	result := func(what string, err error) string { return fmt.Sprintf("%s: %s", what, b.describe(nil, 0, err)) }
	send := func(d []byte) func(Transport) string {
		return func(tr Transport) string { return result("send", tr.Send(context.Background(), d, nil)) }
	}
	flags := uint16(rnd.IntN(2) * unix.NLM_F_ACK)
	req := b.request(bedGet, AppendUint32(nil, bedValue, uint32(rnd.IntN(3))))
	switch rnd.IntN(9) {
	case 0:
		return send(appendRequest(nil, &req, flags, seq))
	case 1, 2:
		req.Attrs = AppendUint32(nil, bedValue, uint32(rnd.IntN(900)))
		return send(appendRequest(nil, &req, flags|unix.NLM_F_DUMP, seq))
	case 3:
		d := appendRequest(nil, &req, flags, seq)
		d = append(d, appendRequest(nil, &req, unix.NLM_F_DUMP, seq+1000)...)
		d[rnd.IntN(len(d))] ^= byte(1 << rnd.IntN(8))
		return send(d[:1+rnd.IntN(len(d))])
	case 4:
		o, on := netlink.ConnOption(rnd.IntN(9)), rnd.IntN(2) == 0
		return func(tr Transport) string { return result(fmt.Sprint("option ", o, on), tr.SetOption(o, on)) }
	case 5:
		id := rnd.Uint32N(40)
		return func(tr Transport) string {
			return result(fmt.Sprint("group ", id), errors.Join(tr.JoinGroup(id), tr.LeaveGroup(id)))
		}
	}
	size := []int{100, 4000, 8192, len(buf)}[rnd.IntN(4)]
	return func(tr Transport) string {
		n, err := tr.Receive(now, buf[:size])
		return "receive: " + b.describe(buf[:size], n, err)
	}
}

func TestTransportGroups(t *testing.T) {
	overBoth(t, ServerOptions{}, func(t *testing.T, b *bed, dial func() (Transport, error)) {
		c := b.conn(t, dial)
		sub, err := c.Subscribe(SubscribeOptions{Family: b.fam, Groups: []string{"events"}, ReadBuffer: 8 << 10})
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Close()
		next := func() (uint32, error) {
			m, err := sub.Receive(t.Context())
			if err != nil {
				return 0, err
			}
			var list []uint32
			err = numbers(bedValue, &list)(m)
			return list[0], err
		}
		tell := func(v uint32) { b.served.Multicast("events", bedNews, AppendUint32(nil, bedValue, v)) }
		for v := range uint32(5) {
			tell(v)
			if got, err := next(); err != nil || got != v {
				t.Fatalf("got %d and error %v, want %d", got, err, v)
			}
		}
		for v := range uint32(5) { // while it waits
			go func() {
				time.Sleep(time.Millisecond)
				tell(v)
			}()
			if got, err := next(); err != nil || got != v {
				t.Fatalf("got %d and error %v, want %d", got, err, v)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		if _, err := sub.Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v, want %v", err, context.DeadlineExceeded)
		}
		for round := range 3 {
			const flood = 500
			for v := range uint32(flood) {
				tell(v)
			}
			n := uint32(0)
			for {
				got, err := next()
				if errors.Is(err, ErrOverrun) && errors.Is(err, unix.ENOBUFS) {
					break
				}
				if err != nil || got != n {
					t.Fatalf("round %d: got %d and error %v, want %d", round, got, err, n)
				}
				n++
			}
			if n == 0 || n > 100 {
				t.Errorf("round %d: %d came before the loss", round, n)
			}
			tell(9999)
			if got, err := next(); err != nil || got != 9999 {
				t.Errorf("round %d: got %d and error %v, want 9999", round, got, err)
			}
		}
		tell(1)
		if err := b.srv.Unregister("bed"); err != nil {
			t.Fatal(err)
		}
		if got, err := next(); err != nil || got != 1 {
			t.Errorf("before the end: got %d and error %v", got, err)
		}
		if _, err := next(); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after the end: got error %v, want %v", err, os.ErrNotExist)
		}
	})
}

// A second dump is refused until the end of the first was made, which depends on
// what was received alone.
func TestTransportSecondDump(t *testing.T) {
	overBoth(t, ServerOptions{Kernel: "6.12"}, func(t *testing.T, b *bed, dial func() (Transport, error)) {
		tr := b.dial(t, dial)
		buf := make([]byte, 64<<10)
		send := func(seq uint32) {
			t.Helper()
			req := b.request(bedGet, AppendUint32(nil, bedValue, 300)) // 3 parts of a page
			if err := tr.Send(t.Context(), appendRequest(nil, &req, unix.NLM_F_DUMP, seq), nil); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond) // which makes no difference
		}
		seqs := func() (out []uint32, refused bool) {
			n, err := tr.Receive(t.Context(), buf[:3800])
			if err != nil {
				t.Fatal(err)
			}
			m, _, _ := nextMessage(buf[:n])
			return []uint32{m.seq()}, m.typ() == unix.NLMSG_ERROR
		}
		var got []string
		receive := func() {
			s, refused := seqs()
			got = append(got, fmt.Sprint(s, refused))
		}
		send(1)
		send(2)
		receive()
		if err := tr.SetOption(netlink.ExtendedAcknowledge, true); err != nil {
			t.Fatal(err)
		}
		send(3)
		for range 3 {
			receive()
		}
		send(4)
		for range 4 {
			receive()
		}
		send(5)
		receive()
		// Upon the first receive part 2 of dump 1 was made, behind refusal 2; and
		// when that was received, part 3.
		want := []string{"[1] false", "[2] true", "[1] false", "[3] true", "[1] false", "[4] false", "[4] false", "[4] false", "[5] false"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestTransportFDs(t *testing.T) {
	overBoth(t, ServerOptions{}, func(t *testing.T, b *bed, dial func() (Transport, error)) {
		c := b.conn(t, dial)
		unixway := t.Name() == "TestTransportFDs/unix"
		var fds []int
		var inodes []uint32
		for i := range 3 {
			f, err := os.Create(filepath.Join(t.TempDir(), fmt.Sprint(i)))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			var st unix.Stat_t
			fd := int(f.Fd())
			if err := unix.Fstat(fd, &st); err != nil {
				t.Fatal(err)
			}
			fds, inodes = append(fds, fd), append(inodes, uint32(st.Ino))
		}
		attr := func(typ uint16, i int) []byte { return AppendUint32(nil, typ, uint32(fds[i])) }
		for name, tt := range map[string]struct {
			attrs [][]byte
			fds   []int
			want  []uint32
			err   error
		}{
			"in order":   {[][]byte{attr(bedFD, 0), attr(bedFD2, 1)}, fds[:2], inodes[:2], nil},
			"turned":     {[][]byte{attr(bedFD2, 0), attr(bedFD, 1)}, fds[:2], []uint32{inodes[1], inodes[0]}, nil},
			"one":        {[][]byte{attr(bedFD2, 2)}, fds[2:], inodes[2:], nil},
			"too many":   {[][]byte{attr(bedFD, 0)}, fds, inodes[:1], nil},
			"unwanted":   {nil, fds, nil, nil},
			"too few":    {[][]byte{attr(bedFD, 0), attr(bedFD2, 1)}, fds[:1], inodes[:2], unix.EBADF},
			"none":       {[][]byte{attr(bedFD, 0)}, nil, inodes[:1], unix.EBADF},
			"negative":   {[][]byte{AppendUint32(nil, bedFD, ^uint32(0)), attr(bedFD2, 1)}, fds[1:2], nil, unix.EBADF},
			"not a file": {[][]byte{AppendUint32(nil, bedFD, 1<<20)}, nil, nil, unix.EBADF},
		} {
			t.Run(name, func(t *testing.T) {
				req := b.request(bedFile, nil)
				for _, a := range tt.attrs {
					req.Attrs = append(req.Attrs, a...)
				}
				req.FDs = tt.fds
				// In the same process the number is enough.
				if !unixway && tt.want != nil {
					tt.err = nil
				}
				var got []uint32
				err := c.Do(t.Context(), req, numbers(bedInode, &got))
				if !errors.Is(err, tt.err) {
					t.Fatalf("got error %v, want %v", err, tt.err)
				}
				if diff := cmp.Diff(tt.want, got); err == nil && diff != "" {
					t.Errorf("inodes (-want +got):\n%s", diff)
				}
			})
		}
		if unixway {
			tr := b.dial(t, dial)
			req := b.request(bedFile, attr(bedFD, 0))
			if err := tr.Send(t.Context(), appendRequest(nil, &req, 0, 1), make([]int, 300)); !errors.Is(err, unix.EINVAL) {
				t.Errorf("300: got error %v, want %v", err, unix.EINVAL)
			}
			if err := tr.Send(t.Context(), appendRequest(nil, &req, 0, 1), []int{-1}); !errors.Is(err, unix.EBADF) {
				t.Errorf("bad: got error %v, want %v", err, unix.EBADF)
			}
		}
	})
}
