// SPDX-License-Identifier: BSD-3-Clause

package skeltest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/skel"
)

func mountBPF(dir string) error { return unix.Mount("bpf", dir, "bpf", 0, "") }

func unmount(dir string) error { return unix.Unmount(dir, unix.MNT_DETACH) }

// inNetNS runs f in a network namespace of its own, with a loopback device.
func inNetNS(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		// The thread goes with the goroutine.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("make a network namespace: %w", err)
			return
		}
		if err := loopbackUp(); err != nil {
			done <- err
			return
		}
		f()
		done <- nil
	}()
	must(t, <-done)
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}

const loopback = 1

// send sends a datagram over loopback.
func send() error {
	to, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer to.Close()
	_, err = to.WriteTo([]byte("hello"), to.LocalAddr())
	return err
}

// probeSelf does what the tracing programs wait for. A shell asks libc for the
// process above it.
func probeSelf() {
	unix.Getpgid(0)
	exec.Command("sh", "-c", "exit").Run()
}

func openLinks(t *testing.T) *Links {
	t.Helper()
	s := ok(OpenLinks())(t)
	closing(t, s)
	must(t, s.Rodata.SetOnlyPid(uint32(os.Getpid())))
	return s
}

func testLinks(t *testing.T, _ *kernel) {
	s := openLinks(t)
	equal(t, "what is optional is not loaded", s.Programs.OnKprobe.Autoload, false)
	s.Programs.OnRawTp.Autoattach = false
	must(t, s.Load(nil))
	probeSelf()
	equal(t, "before attach", s.Bss.SeenTpBtf.Load(), 0)
	must(t, s.Attach(t.Context()))
	if s.Links.OnTpBtf == nil || s.Links.OnRawTp != nil || s.Links.OnXdp != nil || s.Links.OnKprobe != nil {
		t.Errorf("links %+v", s.Links)
	}
	probeSelf()
	seen := s.Bss.SeenTpBtf.Load()
	if seen == 0 || s.Bss.SeenRawTp.Load() != 0 {
		t.Errorf("seen %d by tp_btf, %d by raw_tp", seen, s.Bss.SeenRawTp.Load())
	}
	id := ok(s.Links.OnTpBtf.Info())(t).ID
	first := s.Links.OnTpBtf
	s.Programs.OnRawTp.Autoattach = true
	must(t, s.Attach(t.Context()))
	probeSelf()
	if s.Links.OnTpBtf != first || s.Bss.SeenRawTp.Load() == 0 {
		t.Error("the second attach did not add to the first")
	}
	must(t, s.Close())
	if s.Links.OnTpBtf != nil {
		t.Error("the link is still there")
	}
	if l, err := link.NewFromID(id); err == nil {
		l.Close()
		t.Error("the link is still in the kernel")
	}
	seen = s.Bss.SeenTpBtf.Load()
	probeSelf()
	equal(t, "after close", s.Bss.SeenTpBtf.Load(), seen)
}

// probe is a program that is attached by its section, and what it has seen.
type probe struct {
	name  string
	of    func(s *Links) (*skel.Program, func() uint64)
	needs func() error // what the kernel may lack; nil if all have it
}

var probes = []probe{
	{"tracepoint", func(s *Links) (*skel.Program, func() uint64) {
		return &s.Programs.OnTracepoint, s.Bss.SeenTracepoint.Load
	}, nil},
	{"kprobe", func(s *Links) (*skel.Program, func() uint64) { return &s.Programs.OnKprobe, s.Bss.SeenKprobe.Load }, nil},
	{"kprobes of a pattern", func(s *Links) (*skel.Program, func() uint64) {
		return &s.Programs.OnKprobes, s.Bss.SeenMulti.Load
	}, features.HaveBPFLinkKprobeMulti},
	{"kretprobe", func(s *Links) (*skel.Program, func() uint64) {
		return &s.Programs.OnKretprobe, s.Bss.SeenReturn.Load
	}, features.HaveBPFLinkKprobeMulti},
	{"uprobes of a pattern", func(s *Links) (*skel.Program, func() uint64) {
		return &s.Programs.OnUprobes, s.Bss.SeenUprobe.Load
	}, features.HaveBPFLinkUprobeMulti},
	{"fentry", func(s *Links) (*skel.Program, func() uint64) { return &s.Programs.OnFentry, s.Bss.SeenFentry.Load }, nil},
}

// testRefused are those that some machines refuse, each on its own.
func testRefused(t *testing.T, k *kernel) {
	for _, tt := range probes {
		t.Run(tt.name, func(t *testing.T) {
			s := openLinks(t)
			p, seen := tt.of(s)
			s.Programs.OnTpBtf.Autoattach, s.Programs.OnRawTp.Autoattach = false, false
			p.Autoload = true
			if err := errors.Join(s.Load(nil), s.Attach(t.Context())); err != nil {
				if k.strict && tt.needs != nil && errors.Is(tt.needs(), ebpf.ErrNotSupported) {
					fails(t, "attach", err, ebpf.ErrNotSupported)
					return
				}
				k.refused(t, err)
			}
			probeSelf()
			if seen() == 0 {
				t.Error("it saw nothing")
			}
		})
	}
}

// testUSDT is refused, whatever the kernel.
func testUSDT(t *testing.T, k *kernel) {
	s := openLinks(t)
	s.Programs.OnUsdt.Autoload = true
	if err := s.Load(nil); err != nil {
		k.refused(t, err)
	}
	fails(t, "attach", s.Attach(t.Context()), errors.ErrUnsupported)
	s.Programs.OnUsdt.Autoattach = false
	must(t, s.Attach(t.Context()))
}

// testOwnLink attaches what only the caller knows how to.
func testOwnLink(t *testing.T, k *kernel) {
	dir, err := os.MkdirTemp("", "skel-cgroup")
	must(t, err)
	defer os.Remove(dir)
	must(t, unix.Mount("cgroup2", dir, "cgroup2", 0, ""))
	defer unmount(dir)
	group := filepath.Join(dir, "skeltest")
	if err := os.Mkdir(group, 0o755); err != nil {
		k.refused(t, err)
	}
	defer os.Remove(group)

	s := openLinks(t)
	must(t, s.Load(nil))
	s.Links.OnEgress = ok(link.AttachCgroup(link.CgroupOptions{
		Path: group, Attach: ebpf.AttachCGroupInetEgress, Program: s.Programs.OnEgress.Prog,
	}))(t)
	id := ok(s.Links.OnEgress.Info())(t).ID
	second := ok(link.AttachRawTracepoint(link.RawTracepointOptions{Name: "sys_enter", Program: s.Programs.OnRawTp.Prog}))(t)
	s.Programs.OnRawTp.Keep(second)
	if s.Links.OnRawTp != second {
		t.Error("the link that was kept is not in its field")
	}
	must(t, s.Close())
	if l, err := link.NewFromID(id); err == nil {
		l.Close()
		t.Error("the link is still in the kernel")
	}
}

func testXDP(t *testing.T, _ *kernel) {
	inNetNS(t, func() {
		if err := xdp(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func xdp(ctx context.Context) error {
	s, err := OpenAndLoadLinks(nil)
	if err != nil {
		return err
	}
	defer s.Close()
	s.Programs.OnXdp.Netdev = skel.XDPOptions{Ifindex: loopback, Mode: family.ModeGeneric}
	if err := s.Attach(ctx); err != nil {
		return err
	}
	if err := send(); err != nil {
		return err
	}
	if n := s.Bss.SeenXdp.Load(); n == 0 || n >= 1000 {
		return fmt.Errorf("seen %d frames", n)
	}
	l := s.Links.OnXdp
	if l == nil || l.Ifindex() != loopback || l.Link == nil || s.Links.OnXdpToo != nil {
		return fmt.Errorf("links %+v", s.Links)
	}
	if _, err := s.Programs.OnXdpToo.Attach(ctx, skel.XDPOptions{Ifindex: loopback, Mode: family.ModeGeneric}); !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("attach another: %w", err)
	}
	if err := l.Update(ctx, s.Programs.OnXdpToo.Prog); err != nil {
		return err
	}
	if err := send(); err != nil {
		return err
	}
	if n := s.Bss.SeenXdp.Load(); n < 1000 {
		return fmt.Errorf("seen %d frames after the update", n)
	}
	if err := s.Close(); err != nil {
		return err
	}
	n := s.Bss.SeenXdp.Load()
	if err := send(); err != nil {
		return err
	}
	if s.Bss.SeenXdp.Load() != n {
		return errors.New("frames are seen after close")
	}
	return l.Close()
}

// door is a control that notes what it is asked for.
type door struct {
	family.Control
	asked    []string
	attached family.Prog
}

func (d *door) Prog() family.Table[family.ProgKey, family.Prog] { return (*doorProg)(d) }

type doorProg door

func (d *doorProg) Lookup(_ context.Context, k *family.ProgKey, v *family.Prog) error {
	if !d.attached.Has(family.AttrProgProgID) {
		return os.ErrNotExist
	}
	*v = d.attached
	return nil
}

func (d *doorProg) Update(_ context.Context, k *family.ProgKey, v *family.Prog, how family.Update) error {
	p, err := ebpf.NewProgramFromFD(mustDup(int(v.FD)))
	if err != nil {
		return err
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return err
	}
	if v.Has(family.AttrProgExpectedProgID) && v.ExpectedProgID != d.attached.ProgID {
		return unix.EBUSY
	}
	id, _ := info.ID()
	d.attached.SetProgID(uint32(id))
	d.asked = append(d.asked, fmt.Sprintf("update %d queue %d how %d mode %d", k.Ifindex, int32(k.Queue), how, v.Mode))
	return nil
}

func mustDup(fd int) int {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	return n
}

func (d *doorProg) Delete(_ context.Context, k *family.ProgKey) error {
	d.asked = append(d.asked, fmt.Sprintf("delete %d queue %d", k.Ifindex, int32(k.Queue)))
	d.attached = family.Prog{}
	return nil
}

func (d *doorProg) Cursor(context.Context, *family.ProgKey) family.Cursor[family.ProgKey, family.Prog] {
	return nil
}

func testDoor(t *testing.T, _ *kernel) {
	d := &door{}
	s := ok(OpenAndLoadLinks(nil))(t)
	closing(t, s)
	s.Programs.OnTpBtf.Autoattach, s.Programs.OnRawTp.Autoattach = false, false
	s.Programs.OnXdp.Netdev = skel.XDPOptions{Ifindex: 7, Control: d, Mode: family.ModeNative}
	must(t, s.Attach(t.Context()))
	must(t, s.Links.OnXdp.Update(t.Context(), s.Programs.OnXdpToo.Prog))
	must(t, s.Close())
	equal(t, "asked", d.asked, []string{
		fmt.Sprintf("update 7 queue -1 how %d mode %d", family.UpdateNoexist, family.ModeNative),
		fmt.Sprintf("update 7 queue -1 how %d mode %d", family.UpdateExist, family.ModeNative),
		"delete 7 queue -1",
	})

	// What somebody else attached instead stays.
	d = &door{}
	s = ok(OpenAndLoadLinks(nil))(t)
	closing(t, s)
	queue := uint32(3)
	l := ok(s.Programs.OnXdp.Attach(t.Context(), skel.XDPOptions{Ifindex: 7, Control: d, Queue: &queue}))(t)
	d.attached.SetProgID(d.attached.ProgID + 1)
	fails(t, "update", l.Update(t.Context(), s.Programs.OnXdpToo.Prog), unix.EBUSY)
	must(t, s.Close())
	equal(t, "asked", d.asked, []string{fmt.Sprintf("update 7 queue 3 how %d mode 0", family.UpdateNoexist)})
	fails(t, "update after close", l.Update(t.Context(), nil), skel.ErrClosed)
}

func testFailedAttach(t *testing.T, _ *kernel) {
	s := openLinks(t)
	must(t, s.Load(nil))
	s.Programs.OnXdp.Netdev.Ifindex = 0x7fffffff
	if err := s.Attach(t.Context()); err == nil {
		t.Fatal("attached to a netdev that is not there")
	}
	if s.Links.OnTpBtf != nil || s.Links.OnRawTp != nil || s.Links.OnXdp != nil {
		t.Errorf("links %+v", s.Links)
	}
	seen := s.Bss.SeenTpBtf.Load()
	probeSelf()
	equal(t, "seen", s.Bss.SeenTpBtf.Load(), seen)
}

// congestion makes a TCP connection whose control is name.
func congestion(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, name); err != nil {
		return err
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	to := &unix.SockaddrInet4{Port: l.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	return unix.Connect(fd, to)
}

func testOpsLink(t *testing.T, k *kernel) {
	s := ok(OpenOpsLink())(t)
	closing(t, s)
	equal(t, "name of the object", string(s.StructOps.Counting.Value.Name[:9]), "skel_link")
	copy(s.StructOps.Counting.Value.Name[:], "skel_other\x00")
	if err := s.Load(nil); err != nil {
		k.refused(t, err)
	}
	if err := congestion("skel_other"); err == nil {
		t.Error("it is attached before attach")
	}
	if err := s.Attach(t.Context()); err != nil {
		k.refused(t, err)
	}
	must(t, congestion("skel_other"))
	equal(t, "inits", s.Bss.Inits.Load(), 1)
	must(t, s.StructOps.Counting.Detach())
	if err := congestion("skel_other"); err == nil {
		t.Error("it is attached after detach")
	}
	must(t, s.Close())
}

// testOpsRefused lets the kernel refuse the value of a struct_ops map, which with
// links is the last that Load does.
func testOpsRefused(t *testing.T, k *kernel) {
	s := ok(OpenOpsLink())(t)
	closing(t, s)
	name := s.StructOps.Counting.Value.Name
	s.StructOps.Counting.Value.Name = [16]byte{}
	if err := s.Load(nil); err == nil {
		if err := s.Attach(t.Context()); err == nil {
			t.Error("a congestion control without a name was attached")
		}
		return
	} else if !errors.Is(err, unix.EINVAL) {
		k.refused(t, err)
	}
	if sec := s.Object().Section(".bss", 8); sec == nil || sec.Mapped() {
		t.Error("the section is still mapped")
	}
	if s.Programs.CcInit.Prog != nil || s.StructOps.Counting.Map != nil {
		t.Error("something was left")
	}
	s.StructOps.Counting.Value.Name = name
	must(t, s.Load(nil))
}

func testOpsUpdate(t *testing.T, k *kernel) {
	s := ok(OpenOpsUpdate())(t)
	closing(t, s)
	if err := s.Load(nil); err != nil {
		k.refused(t, err)
	}
	if err := congestion("skel_update"); err == nil {
		t.Error("it is attached before attach")
	}
	if err := s.Attach(t.Context()); err != nil {
		k.refused(t, err)
	}
	if s.Links.Counting != nil {
		t.Error("there is a link")
	}
	must(t, congestion("skel_update"))
	equal(t, "inits", s.Bss.Inits.Load(), 1)
	must(t, s.Close())
	if err := congestion("skel_update"); err == nil {
		t.Error("it is attached after close")
	}
}

func testPins(t *testing.T, _ *kernel) {
	dir := filepath.Join(bpffs(t), "skel")
	s := ok(OpenAndLoadLinks(nil))(t)
	closing(t, s)
	must(t, s.Attach(t.Context()))
	must(t, s.Pin(dir))
	for _, name := range []string{"on_xdp", "on_tp_btf", "on_tp_btf_link", "call"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	p := ok(ebpf.LoadPinnedProgram(filepath.Join(dir, "on_xdp"), nil))(t)
	p.Close()
	if err := s.Pin(dir); !errors.Is(err, os.ErrExist) {
		t.Errorf("pin again: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "on_xdp")); err != nil {
		t.Errorf("pins are gone: %v", err)
	}
	must(t, s.Close())
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is still there: %v", err)
	}

	m := ok(OpenAndLoadMapTypes(nil))(t)
	closing(t, m)
	must(t, m.Pin(dir))
	flows := ok(ebpf.LoadPinnedMap(filepath.Join(dir, "flows"), nil))(t)
	flows.Close()
	must(t, m.Close())
}
