// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/loader"
)

// tap has the verdicts of a program counted when it runs on a netdev.
func (c *Control) tap(dev *netdev, array *ebpf.Map, prog *ebpf.Program) error {
	info, err := prog.Info()
	if err != nil {
		return err
	}
	id, _ := info.ID()
	tapped, err := c.isTapped(dev.index, uint32(id))
	if err != nil || tapped {
		return err
	}
	own, err := ownMeter(info)
	if err != nil {
		return err
	}
	if own != nil {
		defer own.Close()
	}
	err = checkTraceable(uint32(id), info)
	if err == nil {
		err = c.fexit(dev, array, prog, info)
	}
	if err == nil || own == nil || errors.Is(err, syscall.ENOMEM) {
		return err
	}
	return c.enableOwn(dev, own)
}

// tapOwn has a program count itself when it runs on a netdev. It is for kernels
// that refuse fexit.
func (c *Control) tapOwn(dev *netdev, prog *ebpf.Program) error {
	info, err := prog.Info()
	if err != nil {
		return err
	}
	id, _ := info.ID()
	tapped, err := c.isTapped(dev.index, uint32(id))
	if err != nil || tapped {
		return err
	}
	own, err := ownMeter(info)
	if err != nil {
		return err
	}
	if own == nil {
		return errors.Join(checkTraceable(uint32(id), info), refusedTap(uint32(id), syscall.EPERM))
	}
	defer own.Close()
	return c.enableOwn(dev, own)
}

// checkTraceable says why the kernel lets nobody see the verdicts of a program.
func checkTraceable(id uint32, info *ebpf.ProgramInfo) error {
	if _, ok := info.BTFID(); !ok {
		return refuse(syscall.EOPNOTSUPP, "", "the meter is for programs with BTF, and program %d has none", id)
	}
	if size, err := info.JitedSize(); err == nil && size == 0 {
		return refuse(syscall.EOPNOTSUPP, "",
			"the meter is for programs in machine code, and the kernel interprets program %d", id)
	}
	return nil
}

// ownMeter opens the map in which a program counts itself, nil if it does not.
func ownMeter(info *ebpf.ProgramInfo) (*ebpf.Map, error) {
	ids, _ := info.MapIDs()
	for _, id := range ids {
		m, err := ebpf.NewMapFromID(id)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		have, err := m.Info()
		want := loader.MeterMapSpec()
		if err == nil && have.Name == want.Name && have.Type == want.Type &&
			have.KeySize == want.KeySize && have.ValueSize == want.ValueSize {
			return m, nil
		}
		m.Close()
	}
	return nil, nil
}

// enableOwn has a program count itself on a netdev.
func (c *Control) enableOwn(dev *netdev, own *ebpf.Map) error {
	id, err := mapID(own)
	if err != nil {
		return err
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return err
	}
	zero := make([]loader.MeterVerdicts, cpus)
	path := c.ownPin(dev.index, id)
	if err := own.Pin(path); err != nil {
		return err
	}
	// The entry of the other queues comes last, so that no queue is counted
	// there that has one of its own.
	if err := eachOwn(dev, func(k loader.MeterKey) error { return own.Put(k, zero) }); err != nil {
		return errors.Join(fmt.Errorf("turn on meter of program: %w", err), forgetOwn(path, dev.index))
	}
	step("turn on meter of program")
	return nil
}

// forgetOwn has a program not count itself any more on a netdev.
func forgetOwn(path string, ifindex uint32) error {
	own, err := ebpf.LoadPinnedMap(path, nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer own.Close()
	// That of the other queues first, see enableOwn.
	keys := []loader.MeterKey{{Ifindex: ifindex, Queue: loader.MeterOther}}
	var k loader.MeterKey
	var v []loader.MeterVerdicts
	it := own.Iterate()
	for it.Next(&k, &v) {
		if k.Ifindex == ifindex && k.Queue != loader.MeterOther {
			keys = append(keys, k)
		}
	}
	if err := it.Err(); err != nil {
		return err
	}
	for _, k := range keys {
		if err := own.Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
	}
	return unpin(path)
}

// hasFexit tells whether the kernel lets a program see the verdicts of another, as
// far as it has to do with the kernel.
var hasFexit = sync.OnceValue(func() bool {
	const name = "xdpctl"
	fn := ownFunc()
	target, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: name, Type: ebpf.XDP, License: "GPL",
		Instructions: asm.Instructions{
			btf.WithFuncMetadata(asm.Mov.Imm(asm.R0, xdpPass).WithSymbol(name), fn),
			asm.Return(),
		},
	})
	if err != nil {
		return true // let others find out why
	}
	defer target.Close()
	tap, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: name, Type: ebpf.Tracing, AttachType: ebpf.AttachTraceFExit, License: "GPL",
		AttachTarget: target, AttachTo: fn.Name,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		return false
	}
	defer tap.Close()
	l, err := link.AttachTracing(link.TracingOptions{Program: tap})
	if err != nil {
		return false
	}
	l.Close()
	return true
})

// fexit makes the tap of a program, and pins it.
func (c *Control) fexit(dev *netdev, array *ebpf.Map, prog *ebpf.Program, info *ebpf.ProgramInfo) error {
	id, _ := info.ID()
	name, err := mainFunction(info)
	if err != nil {
		return err
	}
	f, err := c.loadFexit(dev, array, prog, name)
	if err != nil {
		return refusedTap(uint32(id), err)
	}
	defer f.Close()
	l, err := link.AttachTracing(link.TracingOptions{Program: f})
	if err != nil {
		return refusedTap(uint32(id), err)
	}
	defer l.Close()
	if err := l.Pin(c.tapPin(dev.index, uint32(id))); err != nil {
		return err
	}
	step("pin tap")
	return nil
}

// mainFunction is the name of the first function of a program.
func mainFunction(info *ebpf.ProgramInfo) (string, error) {
	funcs, err := info.FuncInfos()
	if err != nil {
		return "", fmt.Errorf("read functions of program: %w", err)
	}
	for _, f := range funcs {
		if f.Offset == 0 {
			return f.Func.Name, nil
		}
	}
	return "", errors.New("read functions of program: there is no main function")
}

// refusedTap says why a program cannot have a tap.
func refusedTap(id uint32, err error) error {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err
	}
	switch errno {
	case syscall.ENOMEM:
		return refuse(errno, "", "no memory")
	case syscall.E2BIG:
		return refuse(errno, "", "program %d is metered on, or traced by, as many as the kernel allows", id)
	case syscall.EBUSY:
		return refuse(syscall.EOPNOTSUPP, "",
			"the main function of program %d is replaced by another program, and the kernel lets nobody see the verdicts of that", id)
	default:
		return refuse(syscall.EOPNOTSUPP, "",
			"the kernel does not let the meter count the verdicts of program %d (error -%d)", id, int(errno))
	}
}

// loadFexit loads the program of a tap. Where the BTF of the target says struct
// xdp_md *, the verifier knows what that is; where it says something else, the
// kernel takes the program for a function of five numbers, the first of which is
// the same pointer.
func (c *Control) loadFexit(dev *netdev, array *ebpf.Map, target *ebpf.Program, name string) (*ebpf.Program, error) {
	at, err := findMembers()
	if err != nil {
		return nil, err
	}
	spec := &ebpf.ProgramSpec{
		Name: "xdpctl_meter", Type: ebpf.Tracing, AttachType: ebpf.AttachTraceFExit, License: "GPL",
		AttachTarget: target, AttachTo: name,
	}
	tail := fexitTail(dev, c.cookie, array)
	spec.Instructions = append(at.typed(), tail...)
	f, err := ebpf.NewProgram(spec)
	if !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EINVAL) {
		return f, err
	}
	spec.Instructions = append(at.untyped(), tail...)
	return ebpf.NewProgram(spec)
}

// members are where the kernel has what a tap reads.
type members struct{ rxq, dev, queue, ifindex, net, cookie int16 }

func findMembers() (m members, err error) {
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return m, fmt.Errorf("read types of the kernel: %w", err)
	}
	for _, f := range []struct {
		to        *int16
		typ, name string
	}{
		{&m.rxq, "xdp_buff", "rxq"},
		{&m.dev, "xdp_rxq_info", "dev"},
		{&m.queue, "xdp_rxq_info", "queue_index"},
		{&m.ifindex, "net_device", "ifindex"},
		{&m.net, "net_device", "nd_net"},
		{&m.cookie, "net", "net_cookie"},
	} {
		var s *btf.Struct
		if err := kernel.TypeByName(f.typ, &s); err != nil {
			return m, fmt.Errorf("read types of the kernel: %w", err)
		}
		off, ok := offsetIn(s.Members, f.name)
		if !ok || off > 1<<15-1 {
			return m, fmt.Errorf("struct %s of the kernel has no %s", f.typ, f.name)
		}
		*f.to = int16(off)
	}
	return m, nil
}

// offsetIn finds a member by its name, also in structs without one.
func offsetIn(list []btf.Member, name string) (uint32, bool) {
	for _, m := range list {
		if m.Name == name {
			return m.Offset.Bytes(), true
		}
		if m.Name != "" {
			continue
		}
		var inner []btf.Member
		switch t := btf.UnderlyingType(m.Type).(type) {
		case *btf.Struct:
			inner = t.Members
		case *btf.Union:
			inner = t.Members
		}
		if off, ok := offsetIn(inner, name); ok {
			return m.Offset.Bytes() + off, true
		}
	}
	return 0, false
}

// typed finds the ifindex (r3), the cookie of the network namespace (r4), the RX
// queue (r8) and the verdict (r7) of a frame.
func (m *members) typed() asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R6, asm.R1, 0, asm.DWord),
		asm.LoadMem(asm.R7, asm.R1, 8, asm.DWord),
		asm.LoadMem(asm.R6, asm.R6, m.rxq, asm.DWord),
		asm.LoadMem(asm.R2, asm.R6, m.dev, asm.DWord),
		asm.LoadMem(asm.R8, asm.R6, m.queue, asm.Word),
		asm.LoadMem(asm.R3, asm.R2, m.ifindex, asm.Word),
		asm.LoadMem(asm.R4, asm.R2, m.net, asm.DWord),
		asm.LoadMem(asm.R4, asm.R4, m.cookie, asm.DWord),
	}
}

// maxRegArgs is MAX_BPF_FUNC_REG_ARGS: so many numbers, and then the verdict.
const maxRegArgs = 5

// untyped finds the same.
func (m *members) untyped() asm.Instructions {
	const ptr, dev, num = -8, -16, -24
	insns := asm.Instructions{
		asm.LoadMem(asm.R6, asm.R1, 0, asm.DWord),
		asm.LoadMem(asm.R7, asm.R1, maxRegArgs*8, asm.DWord),
	}
	read := func(to int16, size int32, off int16) {
		insns = append(insns,
			asm.Mov.Reg(asm.R1, asm.RFP),
			asm.Add.Imm(asm.R1, int32(to)),
			asm.Mov.Imm(asm.R2, size),
			asm.Mov.Reg(asm.R3, asm.R6),
			asm.Add.Imm(asm.R3, int32(off)),
			asm.FnProbeReadKernel.Call())
	}
	load := func(reg asm.Register, from int16, size asm.Size) {
		insns = append(insns, asm.LoadMem(reg, asm.RFP, from, size))
	}
	read(ptr, 8, m.rxq)
	load(asm.R6, ptr, asm.DWord)
	read(dev, 8, m.dev)
	read(num, 4, m.queue)
	load(asm.R8, num, asm.Word)
	load(asm.R6, dev, asm.DWord)
	read(num, 4, m.ifindex)
	load(asm.R9, num, asm.Word)
	read(ptr, 8, m.net)
	load(asm.R6, ptr, asm.DWord)
	read(dev, 8, m.cookie)
	load(asm.R4, dev, asm.DWord)
	return append(insns, asm.Mov.Reg(asm.R3, asm.R9))
}

// fexitTail counts. The counters are those of a CPU, and bottom halves are off
// while XDP runs, so that nobody else adds to them meanwhile.
func fexitTail(dev *netdev, cookie uint64, array *ebpf.Map) asm.Instructions {
	const key = -32
	const redirect = 4
	return asm.Instructions{
		asm.JNE.Imm(asm.R3, int32(dev.index), "out"),
		asm.LoadImm(asm.R5, int64(cookie), asm.DWord),
		asm.JNE.Reg(asm.R4, asm.R5, "out"),
		asm.JLT.Imm(asm.R8, int32(dev.maxRX), "known"),
		asm.Mov.Imm(asm.R8, int32(dev.maxRX)),
		asm.StoreMem(asm.RFP, key, asm.R8, asm.Word).WithSymbol("known"),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, key),
		asm.LoadMapPtr(asm.R1, array.FD()),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.Mov.Reg32(asm.R7, asm.R7),
		asm.JLE.Imm(asm.R7, redirect, "valid"),
		asm.Mov.Imm(asm.R7, redirect+1),
		asm.LSh.Imm(asm.R7, 3).WithSymbol("valid"),
		asm.Add.Reg(asm.R0, asm.R7),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
		asm.Return(),
	}
}
