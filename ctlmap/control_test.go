// SPDX-License-Identifier: BSD-3-Clause

package ctlmap

import (
	"context"
	"errors"
	"os"
	"runtime"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
)

func TestParseLink(t *testing.T) {
	// `ip link add xdpctl0 type xdpctl` as the kernel lists it, cut down to
	// the attributes that matter.
	ae := netlink.NewAttributeEncoder()
	ae.String(unix.IFLA_IFNAME, "xdpctl0")
	ae.Uint32(unix.IFLA_MTU, 0)
	ae.Nested(unix.IFLA_LINKINFO, func(nae *netlink.AttributeEncoder) error {
		nae.String(unix.IFLA_INFO_KIND, Kind)
		return nil
	})
	attrs, err := ae.Encode()
	if err != nil {
		t.Fatal(err)
	}
	info := cat([]byte{0, 0, 0xfe, 0xff}, ne32(7), ne32(0), ne32(0))
	dev, kind, err := parseLink(append(info, attrs...))
	if err != nil || kind != Kind || *dev != (Device{Name: "xdpctl0", Index: 7}) {
		t.Errorf("got %+v of kind %q, error %v", dev, kind, err)
	}
	if _, _, err := parseLink(info[:8]); err == nil {
		t.Error("a short message was parsed")
	}
	if _, _, err := parseLink(append(info, 3, 0, 0, 0)); err == nil {
		t.Error("a malformed attribute was parsed")
	}
}

func FuzzParseLink(f *testing.F) {
	f.Add(make([]byte, unix.SizeofIfInfomsg+8))
	f.Fuzz(func(t *testing.T, b []byte) { parseLink(b) })
}

// newNetNS is a file descriptor of a new netns.
func newNetNS(t *testing.T) *os.File {
	t.Helper()
	type result struct {
		f   *os.File
		err error
	}
	c := make(chan result)
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			c <- result{nil, err}
			return
		}
		f, err := os.Open("/proc/thread-self/ns/net")
		c <- result{f, err}
	}()
	r := <-c
	if errors.Is(r.err, unix.EPERM) {
		t.Skip("network namespaces cannot be made here")
	}
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() { r.f.Close() })
	return r.f
}

// dup is ns for somebody who closes it.
func dup(t *testing.T, ns *os.File) *os.File {
	t.Helper()
	f, err := openNetNS("", int(ns.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func inode(t *testing.T, f *os.File, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	var err error
	if f != nil {
		err = unix.Fstat(int(f.Fd()), &st)
	} else {
		err = unix.Stat(path, &st)
	}
	if err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func TestThread(t *testing.T) {
	const self = "/proc/thread-self/ns/net"
	ns := newNetNS(t)
	process := inode(t, nil, "/proc/self/ns/net")
	th, err := newThread(dup(t, ns))
	if err != nil {
		t.Fatal(err)
	}
	defer th.close()

	for range 3 {
		var got uint64
		if err := th.do(func() { got = inode(t, nil, self) }); err != nil {
			t.Fatal(err)
		}
		if want := inode(t, ns, ""); got != want {
			t.Errorf("ran in netns %d, want %d", got, want)
		}
	}
	if got := inode(t, nil, "/proc/self/ns/net"); got != process {
		t.Errorf("the process went to netns %d", got)
	}

	var none *thread
	ran := false
	if err := none.do(func() { ran = true }); err != nil || !ran {
		t.Errorf("no thread: ran %v, error %v", ran, err)
	}
	if err := none.close(); err != nil {
		t.Error(err)
	}
}

// TestThreadInPlace keeps a caller that is in the netns on his own thread,
// whose credentials count.
func TestThreadInPlace(t *testing.T) {
	ns := newNetNS(t)
	th, err := newThread(dup(t, ns))
	if err != nil {
		t.Fatal(err)
	}
	defer th.close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		tid := unix.Gettid()
		if err := th.do(func() {
			if got := unix.Gettid(); got != tid {
				t.Errorf("ran on thread %d, want %d", got, tid)
			}
		}); err != nil {
			t.Error(err)
		}
	}()
	<-done
}

func TestNetNSErrors(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := Open(Options{NetNS: int(f.Fd())}); err == nil {
		t.Error("a file is a netns")
	}
	if _, err := Open(Options{NetNSName: "no-such-netns"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such netns: got %v, want %v", err, os.ErrNotExist)
	}
}

// TestNoDevice is the first thing a newcomer sees.
func TestNoDevice(t *testing.T) {
	ns := newNetNS(t)
	for _, err := range []error{
		func() error { _, err := FindDevice(DeviceOptions{NetNS: int(ns.Fd())}); return err }(),
		func() error { _, err := Open(Options{NetNS: int(ns.Fd())}); return err }(),
		func() error {
			_, err := CreateMap(MapOptions{Type: family.CtrlTypeXDPStats, DeviceOptions: DeviceOptions{NetNS: int(ns.Fd())}})
			return err
		}(),
	} {
		if !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("got %v, want %v", err, os.ErrNotExist)
		}
		if want := "find control device: file does not exist; make it with: ip link add type xdpctl"; err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
	}
}

func TestOpenPinned(t *testing.T) {
	c, err := Open(Options{PinPath: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.Stats().Lookup(context.Background(), &family.StatsKey{Ifindex: 1}, new(family.Stats))
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("nothing is pinned: got %v, want %v", err, errors.ErrUnsupported)
	}
	if _, err := OpenMap(t.TempDir() + "/nothing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing is pinned: got %v, want %v", err, os.ErrNotExist)
	}
}

// control opens the map door, which only a machine with the module has.
func control(b *testing.B) *Control {
	b.Helper()
	c, err := Open(Options{Create: true})
	if err != nil {
		b.Skipf("no control device: %v", err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

func BenchmarkLookup(b *testing.B) {
	ctx := context.Background()
	tab := control(b).Stats()
	k, v := &family.StatsKey{Ifindex: 1}, new(family.Stats)
	b.ReportAllocs()
	for b.Loop() {
		if err := tab.Lookup(ctx, k, v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCursor(b *testing.B) { benchmarkCursor(b, control(b).Stats()) }

func benchmarkCursor[K, V any](b *testing.B, tab family.Table[K, V]) {
	ctx := context.Background()
	k, v := new(K), new(V)
	b.ReportAllocs()
	cur := tab.Cursor(ctx, nil)
	for b.Loop() {
		if !cur.Next(k, v) {
			if err := cur.Err(); err != nil {
				b.Fatal(err)
			}
			cur = tab.Cursor(ctx, nil)
		}
	}
}

// BenchmarkLookupPlain is the yardstick: the same path, on a hash map of the
// kernel's own.
func BenchmarkLookupPlain(b *testing.B) {
	ctx := context.Background()
	tab := plainTable(b)
	k, v := &family.ProgKey{Ifindex: 1}, new(family.Prog)
	if err := tab.Update(ctx, k, v, family.UpdateAny); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := tab.Lookup(ctx, k, v); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCursorPlain iterates over a hash map of the kernel's own.
func BenchmarkCursorPlain(b *testing.B) {
	ctx := context.Background()
	tab := plainTable(b)
	for i := range uint32(50) {
		if err := tab.Update(ctx, &family.ProgKey{Ifindex: 1 + i}, new(family.Prog), family.UpdateAny); err != nil {
			b.Fatal(err)
		}
	}
	benchmarkCursor[family.ProgKey, family.Prog](b, tab)
}
