// SPDX-License-Identifier: BSD-3-Clause

package qualities

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// patience is how long the kernel may take for what it puts off.
const patience = 20 * time.Second

// nobody is the ifindex of no netdev, and the number of no file descriptor.
const nobody = 9999

// errNotsupp is the kernel's own ENOTSUPP, which has no name outside.
const errNotsupp = unix.Errno(524)

// world is a network namespace with a control device, the netdevs veth0, veth1
// and dummy0, and both doors without the packages that hide what they say.
type world struct {
	*testing.T
	ns                   *testutil.NetNS
	ctl                  int
	genl                 *testutil.Genl
	veth0, veth1, dummy0 uint32
	pass, drop           *testutil.Prog
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		T: t, ns: testutil.NewNetNS(t),
		pass: testutil.NewXDP(t, "pass", 2), drop: testutil.NewXDP(t, "drop", 1),
	}
	w.ctl = w.ns.AddControl("xdpctl0")
	veth0, veth1 := w.ns.AddVeth("veth0", "veth1", testutil.VethOptions{})
	w.veth0, w.veth1, w.dummy0 = uint32(veth0), uint32(veth1), uint32(w.ns.AddDummy("dummy0"))
	w.genl = w.ns.NewGenl(t, "xdpctl")
	return w
}

// control makes a control map of a type.
func (w *world) control(typ family.CtrlType) int {
	w.Helper()
	return w.controlOf(typ, typ.Desc().ValueSize)
}

// controlOf makes a control map whose value has another size than today's.
func (w *world) controlOf(typ family.CtrlType, valueSize int) int {
	w.Helper()
	fd, err := w.create(typ.Desc(), valueSize)
	if err != nil {
		w.Fatalf("create %s with values of %d bytes: %v", typ.Desc().MapName, valueSize, err)
	}
	w.Cleanup(func() { unix.Close(fd) })
	return fd
}

func (w *world) create(desc *family.TypeDesc, valueSize int) (fd int, err error) {
	w.Helper()
	w.ns.Do(func() {
		fd, err = testutil.CreateMap(testutil.ControlMapAttr(desc.MapName, w.ctl, desc.KeySize, valueSize))
	})
	return fd, err
}

// do sends a request from within the namespace.
func (w *world) do(cmd uint8, flags uint16, attrs []byte) (a *testutil.Answer) {
	w.Helper()
	w.ns.Do(func() { a = w.genl.Do(cmd, flags, attrs) })
	return a
}

// bytesOf is the memory of v.
func bytesOf[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}

// wholeDev is the key of the program of a netdev.
func wholeDev(ifindex uint32) *family.ProgKey {
	return &family.ProgKey{Ifindex: ifindex, Queue: family.QueueAll}
}

// program is a value that attaches a program.
func program(p *testutil.Prog) *family.Prog {
	v := new(family.Prog)
	v.SetFD(uint32(p.FD))
	return v
}

// request is an update as attributes.
func request(k *family.ProgKey, v *family.Prog, how family.Update) []byte {
	b := testutil.AttrU32(family.AttrProgUpdate, uint32(how))
	return slices.Concat(k.AppendAttrs(nil), b, v.AppendAttrs(nil, true))
}

// setNetlink and setMap make the same update, from within the namespace.
func (w *world) setNetlink(k *family.ProgKey, v *family.Prog, how family.Update) *testutil.Answer {
	w.Helper()
	return w.do(family.CmdProgSet, 0, request(k, v, how))
}

func (w *world) setMap(m int, k *family.ProgKey, v *family.Prog, how family.Update) (err error) {
	w.Helper()
	w.ns.Do(func() { err = testutil.UpdateElem(m, bytesOf(k), bytesOf(v), uint64(how)) })
	return err
}

// attach attaches a program over netlink.
func (w *world) attach(ifindex uint32, p *testutil.Prog) {
	w.Helper()
	if a := w.setNetlink(wholeDev(ifindex), program(p), family.UpdateAny); a.Errno != 0 {
		w.Fatalf("attach: %v", a)
	}
}

// ids are the programs of netdevs, as rtnetlink says.
func (w *world) ids(names ...string) (ids []uint32) {
	w.Helper()
	for _, name := range names {
		ids = append(ids, w.ns.XDP(name).ProgID)
	}
	return ids
}

// expect fails the test unless something is as the line of the table says.
func expect[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// errno is the errno in err, 0 for none.
func errno(t testing.TB, err error) unix.Errno {
	t.Helper()
	var e unix.Errno
	if err != nil && !errors.As(err, &e) {
		t.Fatalf("%v has no errno", err)
	}
	return e
}

// name is an errno as C spells it.
func name(e unix.Errno) string {
	switch s := unix.ErrnoName(e); {
	case e == 0:
		return "success"
	case e == unix.EOPNOTSUPP: // ENOTSUP is the same number
		return "EOPNOTSUPP"
	case e == errNotsupp:
		return "errno 524 (ENOTSUPP, which user space has no name for)"
	case s != "":
		return s
	default:
		return fmt.Sprintf("errno %d", int(e))
	}
}

// dump is what came of a dump.
type dump struct {
	msgs     []testutil.GenlMsg
	received int // calls
}

// dump asks for all entries of a control type, or for those that match.
func (w *world) dump(g *testutil.Genl, cmd uint8, filter []byte) dump {
	w.Helper()
	g.Buffer = 32 << 10
	if _, err := g.Send(g.Message(cmd, unix.NLM_F_DUMP, filter)); err != nil {
		w.Fatal(err)
	}
	var d dump
	for !d.next(w, g) {
	}
	return d
}

// next receives the next piece, and tells whether it was the last. The kernel
// makes pieces no larger than the reader's buffer, and one ahead.
func (d *dump) next(w *world, g *testutil.Genl) bool {
	w.Helper()
	buf := make([]byte, max(g.Buffer, 4096))
	n, _, err := unix.Recvfrom(g.FD(), buf, 0)
	if err != nil {
		w.Fatalf("receive: %v", err)
	}
	d.received++
	done := false
	for b := buf[:n]; len(b) >= unix.NLMSG_HDRLEN; {
		m := b[:binary.NativeEndian.Uint32(b)]
		b = b[min((len(m)+3)&^3, len(b)):]
		switch typ := binary.NativeEndian.Uint16(m[4:]); typ {
		case unix.NLMSG_ERROR:
			w.Fatalf("dump: %v", unix.Errno(-int32(binary.NativeEndian.Uint32(m[16:]))))
		case unix.NLMSG_DONE:
			done = true
		default:
			d.msgs = append(d.msgs, testutil.GenlMsg{
				Cmd: m[16], Flags: binary.NativeEndian.Uint16(m[6:]),
				Seq: binary.NativeEndian.Uint32(m[8:]), Attrs: m[20:],
			})
		}
	}
	return done
}

// ifindex is the first attribute of an entry, which all have that are by netdev.
func ifindex(m testutil.GenlMsg) uint32 {
	return binary.NativeEndian.Uint32(testutil.Attrs(m.Attrs)[family.AttrProgIfindex])
}

// keys are the keys of a map from one on, nil for the first, and how many calls
// that took.
func keys(t testing.TB, m int, from []byte, size int) (list [][]byte, calls int) {
	t.Helper()
	for key := from; ; {
		next := make([]byte, size)
		calls++
		err := testutil.NextKey(m, key, next)
		if errors.Is(err, unix.ENOENT) {
			return list, calls
		}
		if err != nil {
			t.Fatalf("next key: %v", err)
		}
		list = append(list, next)
		key = next
	}
}
