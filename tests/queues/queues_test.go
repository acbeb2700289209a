// SPDX-License-Identifier: BSD-3-Clause

// Package queues shows with frames that a program per RX queue runs on the
// frames of its queue and on no others, and that no frame falls into a gap while
// programs come and go.
package queues

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// queues is how many each end of the veth has.
const queues = 4

// port is where the frames go, so that no others are counted.
const port = 4747

// prog is a program that drops our frames and counts them by RX queue, and
// passes all others.
type prog struct {
	*ebpf.Program
	seen *ebpf.Map
}

func newProg(t *testing.T, name string, typ ebpf.AttachType, flags uint32) *prog {
	t.Helper()
	seen, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "seen", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: queues,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { seen.Close() })
	const protoOff, portOff = 12, 14 + 20 + 2
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: name, Type: ebpf.XDP, AttachType: typ, Flags: flags, License: "GPL",
		Instructions: asm.Instructions{
			asm.Mov.Reg(asm.R6, asm.R1),
			asm.LoadMem(asm.R2, asm.R1, 0, asm.Word), // data
			asm.LoadMem(asm.R3, asm.R1, 4, asm.Word), // data_end
			asm.Mov.Reg(asm.R4, asm.R2),
			asm.Add.Imm(asm.R4, portOff+2),
			asm.JGT.Reg(asm.R4, asm.R3, "pass"),
			asm.LoadMem(asm.R5, asm.R2, protoOff, asm.Half),
			asm.JNE.Imm(asm.R5, 0x0008, "pass"),
			asm.LoadMem(asm.R5, asm.R2, portOff, asm.Half),
			asm.JNE.Imm(asm.R5, int32(port>>8|port&0xff<<8), "pass"),
			asm.LoadMem(asm.R2, asm.R6, 16, asm.Word), // rx_queue_index
			asm.StoreMem(asm.RFP, -4, asm.R2, asm.Word),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -4),
			asm.LoadMapPtr(asm.R1, seen.FD()),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "pass"),
			asm.Mov.Imm(asm.R1, 1),
			asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
			asm.Mov.Imm(asm.R0, 1), // XDP_DROP
			asm.Return(),
			asm.Mov.Imm(asm.R0, 2).WithSymbol("pass"),
			asm.Return(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return &prog{p, seen}
}

// take returns what the program has seen since the last call.
func (p *prog) take(t *testing.T) [queues]uint64 {
	t.Helper()
	var n [queues]uint64
	for q := range uint32(queues) {
		if err := p.seen.Lookup(q, &n[q]); err != nil {
			t.Fatal(err)
		}
		if err := p.seen.Put(q, uint64(0)); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// bed is a veth whose end rx takes programs and whose other end tx sends.
type bed struct {
	t     *testing.T
	left  *testutil.NetNS
	right *testutil.NetNS
	rx    uint32
	fd    int // sends
	sock  int // counts what reaches the stack
	sll   *unix.SockaddrLinklayer
	ctl   family.Control
	mode  family.Mode // of what is attached; 0 is best effort, native here
	live  []int       // queues that frames come in on; nil: all
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{t: t, left: testutil.NewNetNS(t), right: testutil.NewNetNS(t)}
	tx, rx := b.left.AddVeth("tx", "rx", testutil.VethOptions{Queues: queues, PeerNS: b.right})
	b.left.Up("tx")
	b.right.Up("rx")
	b.rx = uint32(rx)
	b.fd = b.left.PacketSocket(tx, 0)
	b.sock = b.right.PacketSocket(rx, unix.ETH_P_IP)
	b.sll = &unix.SockaddrLinklayer{Ifindex: tx, Halen: 6}
	c, err := family.Dial(family.Options{NetNS: b.right.FD()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	b.ctl = c
	return b
}

// stack returns how many of our frames have reached the stack since the last
// call.
func (b *bed) stack() uint64 {
	b.t.Helper()
	var n uint64
	buf := make([]byte, 128)
	for {
		l, _, err := unix.Recvfrom(b.sock, buf, unix.MSG_DONTWAIT)
		if err == unix.EAGAIN {
			return n
		}
		if err != nil {
			b.t.Fatal(err)
		}
		if l >= 38 && binary.BigEndian.Uint16(buf[36:]) == port {
			n++
		}
	}
}

// sent is where frames went.
type sent struct {
	stack uint64
	seen  map[*prog][queues]uint64
}

func (s *sent) total() uint64 {
	n := s.stack
	for _, seen := range s.seen {
		for _, m := range seen {
			n += m
		}
	}
	return n
}

// send sends n frames of many flows, a few at a time, so that none is lost for
// want of room, and returns where they went.
func (b *bed) send(n int, progs ...*prog) *sent {
	b.t.Helper()
	const window = 32
	s := &sent{seen: map[*prog][queues]uint64{}}
	for i := range n {
		if err := unix.Sendto(b.fd, testutil.UDPFrame(i%500, port), 0, b.sll); err != nil {
			b.t.Fatal(err)
		}
		if i%window < window-1 && i < n-1 {
			continue
		}
		b.arrive(s, uint64(i+1), progs)
	}
	return s
}

func (b *bed) arrive(s *sent, n uint64, progs []*prog) {
	b.t.Helper()
	ok := testutil.Wait(20*time.Second, func() bool {
		s.stack += b.stack()
		for _, p := range progs {
			sum := s.seen[p]
			for q, m := range p.take(b.t) {
				sum[q] += m
			}
			s.seen[p] = sum
		}
		return s.total() >= n
	})
	if !ok || s.total() != n {
		b.t.Fatalf("%d frames were sent, and %d arrived", n, s.total())
	}
}

// set gives a queue its program.
func (b *bed) set(queue uint32, p *prog, how family.Update) error {
	var v family.Prog
	v.SetFD(uint32(p.FD()))
	if b.mode != 0 {
		v.SetMode(b.mode)
	}
	return b.ctl.Prog().Update(b.t.Context(), &family.ProgKey{Ifindex: b.rx, Queue: queue}, &v, how)
}

func (b *bed) del(queue uint32) error {
	return b.ctl.Prog().Delete(b.t.Context(), &family.ProgKey{Ifindex: b.rx, Queue: queue})
}

// must fails the test for an error.
func (b *bed) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// ran checks which queues each program ran on; every frame went to one of them
// or, from the queues of stack, to the stack.
func (b *bed) ran(what string, want map[*prog][]int, stack bool) {
	b.t.Helper()
	progs := []*prog{}
	for p := range want {
		progs = append(progs, p)
	}
	s := b.send(400, progs...)
	for p, qs := range want {
		got := []int{}
		for q, n := range s.seen[p] {
			if n > 0 {
				got = append(got, q)
			}
		}
		if b.live != nil {
			qs = slices.DeleteFunc(qs, func(q int) bool { return !slices.Contains(b.live, q) })
		}
		if diff := cmp.Diff(qs, got); diff != "" {
			b.t.Errorf("%s: %v ran on queues (-want +got):\n%s", what, p, diff)
		}
	}
	if got := s.stack > 0; got != stack {
		b.t.Errorf("%s: %d frames reached the stack", what, s.stack)
	}
}

// TestQueues goes through the rules of precedence, in the driver and in the core.
func TestQueues(t *testing.T) {
	for _, mode := range []family.Mode{family.ModeNative, family.ModeGeneric} {
		t.Run(mode.String(), func(t *testing.T) {
			b := newBed(t)
			b.mode = mode
			b.findLive()
			// In generic mode the core takes the TX queue of the other
			// end for the RX queue, less one if it is not the first.
			if want := map[family.Mode]int{family.ModeNative: 4, family.ModeGeneric: 3}[mode]; len(b.live) != want {
				t.Fatalf("frames come in on queues %v, want %d", b.live, want)
			}
			precedence(t, b)
		})
	}
}

// findLive finds the queues that frames come in on.
func (b *bed) findLive() {
	b.t.Helper()
	p := newProg(b.t, "find", ebpf.AttachXDP, 0)
	b.must(b.set(family.QueueAll, p, family.UpdateNoexist))
	for q, n := range b.send(400, p).seen[p] {
		if n > 0 {
			b.live = append(b.live, q)
		}
	}
	b.must(b.del(family.QueueAll))
}

func precedence(t *testing.T, b *bed) {
	all := uint32(family.QueueAll)
	dev, one, two := newProg(t, "dev", ebpf.AttachXDP, 0), newProg(t, "one", ebpf.AttachXDP, 0), newProg(t, "two", ebpf.AttachXDP, 0)

	b.must(b.set(1, one, family.UpdateAny))
	b.ran("a queue alone", map[*prog][]int{dev: {}, one: {1}, two: {}}, true)
	b.must(b.set(all, dev, family.UpdateNoexist))
	b.ran("the device fills the others", map[*prog][]int{dev: {0, 2, 3}, one: {1}}, false)
	b.must(b.set(2, two, family.UpdateNoexist))
	b.ran("a second queue", map[*prog][]int{dev: {0, 3}, one: {1}, two: {2}}, false)
	b.must(b.set(2, one, family.UpdateExist))
	b.ran("replace in a queue", map[*prog][]int{dev: {0, 3}, one: {1, 2}, two: {}}, false)
	b.must(b.del(1))
	b.ran("a queue falls back", map[*prog][]int{dev: {0, 1, 3}, one: {2}}, false)
	b.must(b.del(all))
	b.ran("the queues stay", map[*prog][]int{dev: {}, one: {2}}, true)
	b.must(b.set(all, two, family.UpdateAny))
	b.ran("another device's", map[*prog][]int{dev: {}, one: {2}, two: {0, 1, 3}}, false)
	b.must(b.del(2))
	b.ran("no queue", map[*prog][]int{one: {}, two: {0, 1, 2, 3}}, false)
	b.must(b.del(all))
	b.ran("nothing", map[*prog][]int{one: {}, two: {}}, true)
}

// TestNoGap changes programs under traffic: each frame meets one of them.
func TestNoGap(t *testing.T) {
	b := newBed(t)
	all := uint32(family.QueueAll)
	dev, other, queue := newProg(t, "dev", ebpf.AttachXDP, 0), newProg(t, "other", ebpf.AttachXDP, 0), newProg(t, "queue", ebpf.AttachXDP, 0)
	b.must(b.set(all, dev, family.UpdateAny))

	frames := 20000
	if testutil.DebugKernel() {
		frames /= 10 // slower by as much
	}
	var stop atomic.Bool
	var rounds int
	done := make(chan error, 1)
	go func() {
		done <- func() error {
			for !stop.Load() || rounds < 20 {
				for _, step := range []func() error{
					func() error { return b.set(2, queue, family.UpdateAny) },
					func() error { return b.set(all, other, family.UpdateExist) },
					func() error { return b.set(2, other, family.UpdateExist) },
					func() error { return b.set(0, queue, family.UpdateNoexist) },
					func() error { return b.set(all, dev, family.UpdateExist) },
					func() error { return b.del(2) },
					func() error { return b.del(0) },
					func() error { return b.set(all, other, family.UpdateExist) },
					func() error { return b.set(all, dev, family.UpdateExist) },
				} {
					if err := step(); err != nil {
						return err
					}
				}
				rounds++
			}
			return nil
		}()
	}()
	s := b.send(frames, dev, other, queue)
	stop.Store(true)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if s.stack != 0 {
		t.Errorf("%d of %d frames met no program in %d rounds", s.stack, frames, rounds)
	}
	for _, p := range []*prog{dev, other, queue} {
		var n uint64
		for _, m := range s.seen[p] {
			n += m
		}
		if n == 0 {
			t.Errorf("%v saw no frame in %d rounds: that was no race", p, rounds)
		}
	}
}

// TestInactive takes a queue away from under its program, and gives it back.
func TestInactive(t *testing.T) {
	b := newBed(t)
	three := newProg(t, "three", ebpf.AttachXDP, 0)
	b.must(b.set(3, three, family.UpdateAny))
	state := func() family.State {
		t.Helper()
		var v family.Prog
		b.must(b.ctl.Prog().Lookup(t.Context(), &family.ProgKey{Ifindex: b.rx, Queue: 3}, &v))
		if v.DispatcherProgID == 0 || v.ProgID == v.DispatcherProgID {
			t.Errorf("program %d, dispatcher %d", v.ProgID, v.DispatcherProgID)
		}
		return v.State
	}
	if got := state(); got != family.StateActive {
		t.Errorf("got %v", got)
	}
	// This end may not have fewer RX queues than the other has TX queues.
	b.left.Channels("tx", 2)
	b.right.Channels("rx", 2)
	if got := state(); got != family.StateInactive {
		t.Errorf("without the queue: %v", got)
	}
	err := b.set(2, three, family.UpdateAny)
	if want := "the netdev has 2 RX queues, from 0 to 1"; err == nil || !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), want) {
		t.Errorf("a queue that is not there: %v, want %s", err, want)
	}
	b.right.Channels("rx", 4)
	b.left.Channels("tx", 4)
	if got := state(); got != family.StateActive {
		t.Errorf("with the queue again: %v", got)
	}
	b.ran("the queue is back", map[*prog][]int{three: {3}}, true)
}

// TestUnequal refuses programs that cannot share a dispatcher, by name.
func TestUnequal(t *testing.T) {
	const frags = 1 << 5 // BPF_F_XDP_HAS_FRAGS
	b := newBed(t)
	all := uint32(family.QueueAll)
	plain, multi, untyped := newProg(t, "plain", ebpf.AttachXDP, 0), newProg(t, "multi", ebpf.AttachXDP, frags), newProg(t, "untyped", 0, 0)
	id := func(p *prog) ebpf.ProgramID {
		info, err := p.Info()
		b.must(err)
		id, _ := info.ID()
		return id
	}
	b.must(b.set(all, plain, family.UpdateAny))
	refused := func(what string, queue uint32, p *prog, errno unix.Errno, want string) {
		t.Helper()
		err := b.set(queue, p, family.UpdateAny)
		if !errors.Is(err, errno) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v\nwant %v: %s", what, err, errno, want)
		}
	}
	refused("frags beside the device's", 1, multi, unix.EOPNOTSUPP,
		fmt.Sprintf("programs %d and %d cannot share the netdev by RX queue: the one has multi-buffer support, the other is an ordinary one", id(multi), id(plain)))
	refused("another attach type", 1, untyped, unix.EINVAL, "was loaded with another expected attach type")
	b.ran("the device's is there", map[*prog][]int{plain: {0, 1, 2, 3}, multi: {}, untyped: {}}, false)
	b.must(b.set(1, plain, family.UpdateAny))
	refused("frags beside a queue's", 2, multi, unix.EOPNOTSUPP, "has multi-buffer support")
	refused("frags for the device", all, multi, unix.EOPNOTSUPP, "has multi-buffer support")
	b.must(b.del(all))
	b.must(b.del(1))
	b.must(b.set(1, multi, family.UpdateAny))
	b.must(b.set(all, multi, family.UpdateAny))
	b.ran("all with frags", map[*prog][]int{multi: {0, 1, 2, 3}}, false)
}
