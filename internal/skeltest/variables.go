// SPDX-License-Identifier: BSD-3-Clause

package skeltest

import (
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/xdpctl/xdpctl-nl/skel"
)

func testVariables(t *testing.T, _ *kernel) {
	s := ok(OpenVars())(t)
	closing(t, s)
	equal(t, "limit of the object", s.Data.Limit, 100)
	equal(t, "total of the object", s.Data.Total.Load(), 1000)
	equal(t, "balance of the object", s.Data.Balance.Load(), -1)
	equal(t, "port of the object", s.Data.Port(), 8080)
	equal(t, "big of the object", s.Data.Big, VarsBig(0x100000001))
	equal(t, "ratio of the object", s.Data.Ratio, 0.5)
	equal(t, "custom of the object", s.DataCustom.Custom.Load(), 9)

	s.Data.Limit = 2
	s.Data.Source.Id = 50
	s.Data.Total.Store(10)
	s.Data.SetPort(0xffff)
	s.DataCustom.Custom.Store(20)
	s.Bss.ReadPacked.Kind = 3
	s.Bss.ReadPacked.SetValue(1 << 60)
	s.Bss.ReadPacked.SetPort(4)
	must(t, s.Rodata.SetStep(1))
	must(t, s.Load(nil))

	// What was set before, the program sees.
	equal(t, "verdict", run(t, s.Programs.Touch.Prog), xdpPass)
	equal(t, "runs", s.Bss.Runs.Load(), 1)
	equal(t, "total", s.Data.Total.Load(), 60)
	equal(t, "balance", s.Data.Balance.Load(), -2)
	equal(t, "port", s.Data.Port(), 0)
	equal(t, "ready", s.Bss.Ready(), true)
	equal(t, "state", VarsMode(s.Data.State.Load()), VarsModeIdle)
	equal(t, "where", s.Data.Where.X.Load(), 4)
	equal(t, "where", s.Data.Where.Y.Load(), -4)
	equal(t, "histogram", s.Bss.Histogram[1].Load(), 1)
	equal(t, "flags", s.Bss.Flags(), [3]uint8{0, 0xee, 0})
	equal(t, "over", s.Bss.Over[1].First.Load(), 5)
	equal(t, "custom", s.DataCustom.Custom.Load(), 31)
	equal(t, "tiny", s.Bss.Tiny(), -5)
	equal(t, "name", s.Bss.Name()[0], 's')
	equal(t, "packed kind", s.Bss.WrittenPacked.Kind(), 3)
	equal(t, "packed value", s.Bss.WrittenPacked.Value(), 1<<60+1)
	equal(t, "packed port", s.Bss.WrittenPacked.Port(), 4)

	// And what is set after: the program reads it, and writes over it.
	s.Data.Limit = 3
	s.Data.Total.Store(1 << 40)
	s.Data.SetPort(7)
	run(t, s.Programs.Touch.Prog)
	equal(t, "total set later", s.Data.Total.Load(), 1<<40+50)
	equal(t, "port set later", s.Data.Port(), 8)
	s.Bss.Runs.Store(3)
	equal(t, "verdict at the limit", run(t, s.Programs.Touch.Prog), xdpDrop)

	// Accessors see the same.
	equal(t, "runs", ok(s.Vars.Runs.Get())(t), 3)
	must(t, s.Vars.Runs.Set(1))
	equal(t, "runs set by the accessor", s.Bss.Runs.Load(), 1)
	equal(t, "packed", ok(s.Vars.WrittenPacked.Get())(t).Kind, 3)
}

// testLayout looks at structs, unions and bitfields that a program wrote, and
// lets it read some.
func testLayout(t *testing.T, _ *kernel) {
	s := ok(OpenVars())(t)
	closing(t, s)
	equal(t, "bits of the object", s.Rodata.ConstBits(), func() (b VarsBits) {
		b.SetLow(5)
		b.SetMiddle(-3)
		b.SetHigh(77)
		return b
	}())
	bits := s.Rodata.ConstBits()
	bits.SetMiddle(-64)
	bits.SetHigh(1<<20 - 1)
	must(t, s.Rodata.SetConstBits(bits))
	s.Bss.WrittenBits.SetWide(1<<40 - 1)
	must(t, s.Load(nil))
	run(t, s.Programs.Touch.Prog)

	st := &s.Bss.Stats
	equal(t, "packets", st.Packets.Load(), 1)
	equal(t, "errors", st.Errors.Load(), 100)
	equal(t, "last port", st.LastPort(), 443)
	equal(t, "active", st.Active(), true)
	equal(t, "tag", st.Tag(), 'x')
	equal(t, "mode", VarsMode(st.Mode.Load()), VarsModeBusy)
	equal(t, "inner id", st.Inner.Id.Load(), 42)
	equal(t, "inner mac", st.Inner.Mac(), [6]uint8{5: 3})
	equal(t, "more", st.More[1].Port(), 80)
	equal(t, "low", st.Anon0().Low.Load(), 1)
	equal(t, "high", st.Anon0().High.Load(), 2)
	equal(t, "whole", st.Whole().Load(), 2<<32|1)
	equal(t, "bytes", st.Bytes(), [8]uint8{0: 1, 4: 2})
	equal(t, "choice", st.Choice.AsInner().Port(), 99)
	equal(t, "signed", st.SignedTotal.Load(), -2)
	if st.Pointer.Load() == 0 {
		t.Error("no pointer")
	}

	b := &s.Bss.WrittenBits
	equal(t, "bits low", b.Low(), 5)
	equal(t, "bits middle", b.Middle(), -64)
	equal(t, "bits high", b.High(), 1<<20-1)
	equal(t, "bits after", b.After(), 200)
	equal(t, "bits flag", b.Flag(), true)
	equal(t, "bits wide", b.Wide(), 0xabcdef0123)
	b.SetMiddle(63)
	b.SetLow(2)
	b.SetFlag(false)
	b.SetAfter(1)
	equal(t, "bits low", b.Low(), 2)
	equal(t, "bits middle", b.Middle(), 63)
	equal(t, "bits high next to it", b.High(), 1<<20-1)
	equal(t, "bits wide next to it", b.Wide(), 0xabcdef0123)
	equal(t, "bits flag", b.Flag(), false)
	equal(t, "bits after", b.After(), 1)

	plain := ok(s.Vars.Stats.Get())(t)
	equal(t, "plain packets", plain.Packets, 1)
	equal(t, "plain whole", *plain.Whole(), 2<<32|1)
	equal(t, "plain mode", plain.Mode, VarsModeBusy)
	plainBits := ok(s.Vars.WrittenBits.Get())(t)
	equal(t, "plain bits", plainBits.Middle(), 63)
}

// testVariablesByCalls is a kernel that cannot map maps.
func testVariablesByCalls(t *testing.T, _ *kernel) {
	s := ok(OpenVars())(t)
	closing(t, s)
	s.Data.Limit = 2
	s.Data.Total.Store(10)
	must(t, s.Rodata.SetStep(2))
	must(t, s.Vars.Balance.Set(5))
	must(t, s.Load(&skel.Options{NoMap: true}))
	sec := s.Object().Section(".bss", 464)
	if sec == nil || sec.Mapped() {
		t.Fatal("the section is mapped, or not there")
	}
	run(t, s.Programs.Touch.Prog)

	// Fields have what they had; accessors have what is.
	equal(t, "field", s.Bss.Runs.Load(), 0)
	equal(t, "runs", ok(s.Vars.Runs.Get())(t), 2)
	equal(t, "total", ok(s.Vars.Total.Get())(t), 52)
	equal(t, "balance", ok(s.Vars.Balance.Get())(t), 4)
	equal(t, "step", ok(s.Vars.Step.Get())(t), 2)
	equal(t, "step", s.Rodata.Step(), 2)
	fails(t, "set a constant", s.Vars.Step.Set(3), skel.ErrReadOnly)
	must(t, s.Vars.Limit.Set(100))
	must(t, s.Vars.Total.Set(1000))
	run(t, s.Programs.Touch.Prog)
	equal(t, "total", ok(s.Vars.Total.Get())(t), 1042)
	must(t, s.Refresh())
	equal(t, "field after refresh", s.Bss.Runs.Load(), 4)
	run(t, s.Programs.Touch.Prog)
	must(t, s.Close())
	equal(t, "field after close", s.Bss.Runs.Load(), 6)
	equal(t, "runs after close", ok(s.Vars.Runs.Get())(t), 6)
}

func testConstants(t *testing.T, _ *kernel) {
	s := ok(OpenVars())(t)
	closing(t, s)
	equal(t, "step of the object", s.Rodata.Step(), 1)
	equal(t, "label of the object", s.Rodata.Label(), [8]byte{'s', 'k', 'e', 'l'})
	equal(t, "wanted of the object", s.Rodata.Wanted(), VarsModeBusy)
	equal(t, "port of the object", s.Rodata.Template().Port, 80)
	must(t, s.Rodata.SetStep(3))
	must(t, s.Rodata.SetEnabled(false))
	must(t, s.Vars.Fixed.Set(5))
	must(t, s.Load(nil))
	run(t, s.Programs.Touch.Prog)
	equal(t, "runs", s.Bss.Runs.Load(), 3)
	equal(t, "ready", s.Bss.Ready(), false)
	equal(t, "custom", s.DataCustom.Custom.Load(), 14)

	fails(t, "set after load", s.Rodata.SetStep(9), skel.ErrReadOnly)
	fails(t, "set after load", s.Vars.Step.Set(9), skel.ErrReadOnly)
	equal(t, "step", s.Rodata.Step(), 3)
	must(t, s.Close())
	fails(t, "set after close", s.Rodata.SetStep(9), skel.ErrClosed)
	equal(t, "step after close", s.Rodata.Step(), 3)
}

func testLastValues(t *testing.T, _ *kernel) {
	s := ok(OpenAndLoadVars(nil))(t)
	runs := &s.Bss.Runs
	whole := s.Bss.Stats.Whole()
	run(t, s.Programs.Touch.Prog)
	id, _ := ok(s.Object().Collection.Maps[".bss"].Info())(t).ID()
	must(t, s.Close())
	gone(t, id)
	equal(t, "runs", runs.Load(), 1)
	equal(t, "whole", whole.Load(), 2<<32|1)
	equal(t, "get", ok(s.Vars.Runs.Get())(t), 1)
	// Nobody else sees it.
	runs.Store(5)
	equal(t, "runs", runs.Load(), 5)
}

// gone waits until a map has left the kernel, which memory of it would not let it.
func gone(t *testing.T, id ebpf.MapID) {
	t.Helper()
	for range 200 {
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			return
		}
		m.Close()
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("map %d is still in the kernel", id)
}

// testReaders reads on while the memory is exchanged.
func testReaders(t *testing.T, k *kernel) {
	rounds := 50
	if k.strict {
		rounds = 10 // emulation is slow
	}
	for range rounds {
		s := ok(OpenVars())(t)
		s.Bss.Unused.Errors = 77
		s.Data.Total.Store(5)
		var wg sync.WaitGroup
		stop := make(chan struct{})
		started := make(chan struct{})
		wg.Add(1)
		go func() {
			defer wg.Done()
			for first := true; ; first = false {
				if got := s.Data.Total.Load(); got != 5 {
					t.Errorf("read %d, want 5", got)
					return
				}
				if first {
					close(started)
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		}()
		<-started
		must(t, s.Load(nil))
		must(t, s.Close())
		close(stop)
		wg.Wait()
		equal(t, "a field", s.Bss.Unused.Errors, 77)
	}
}

func testNoBTF(t *testing.T, _ *kernel) {
	s := ok(OpenNoBTF())(t)
	closing(t, s)
	equal(t, "by of the object", s.Rodata.By(), [4]uint8{3})
	must(t, s.Rodata.SetBy([4]uint8{4}))
	must(t, s.Load(nil))
	run(t, s.Programs.Add.Prog)
	run(t, s.Programs.Add.Prog)
	equal(t, "count", s.Bss.Count(), [8]uint8{8})
}

func testKconfig(t *testing.T, _ *kernel) {
	s := ok(OpenKconfig())(t)
	closing(t, s)
	must(t, s.Load(&skel.Options{Kconfig: map[string]string{
		"CONFIG_HZ": "1234", "CONFIG_VETH": "m", "CONFIG_DEFAULT_HOSTNAME": `"(here)"`,
	}}))
	run(t, s.Programs.ReadConfig.Prog)
	equal(t, "has BPF", s.Bss.HasBpf(), true)
	equal(t, "HZ", s.Bss.Hz.Load(), 1234)
	equal(t, "HZ", s.Kconfig.ConfigHz(), 1234)
	equal(t, "veth", KconfigLibbpfTristate(s.Bss.Veth.Load()), KconfigTriModule)
	equal(t, "hostname", s.Bss.FirstLetter(), '(')
	equal(t, "a number that is not there", s.Data.Missing.Load(), 0)
	equal(t, "a bool that is not there", s.Data.MissingBool(), false)
	if v := s.Bss.Version.Load(); v < 6<<16 || v != uint32(s.Kconfig.LinuxKernelVersion()) {
		t.Errorf("version %#x, and %#x", v, s.Kconfig.LinuxKernelVersion())
	}

	// What the kernel itself says.
	k := ok(OpenAndLoadKconfig(nil))(t)
	closing(t, k)
	run(t, k.Programs.ReadConfig.Prog)
	if hz := k.Bss.Hz.Load(); hz < 100 || hz > 1000 || hz != k.Kconfig.ConfigHz() {
		t.Errorf("HZ is %d, and %d", hz, k.Kconfig.ConfigHz())
	}

	bad := ok(OpenKconfig())(t)
	closing(t, bad)
	for _, value := range []string{"y", `"text"`, "99999999999999999999"} {
		if err := bad.Load(&skel.Options{Kconfig: map[string]string{"CONFIG_HZ": value}}); err == nil {
			t.Fatalf("HZ of %s was taken", value)
		}
	}
}
