// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/xdpctl/xdpctl-nl/loader"
)

// The XDP programs of our own: the placeholder, which passes every frame, and the
// dispatcher, which calls the program of a frame's RX queue. They carry BTF, since
// a meter sits on a program by its BTF.

const xdpPass = 2

// The kernel's struct xdp_md.
const (
	xdpMDSize    = 24
	xdpMDRXQueue = 16
)

// bpfFXDPHasFrags says that a program takes frames of several buffers.
const bpfFXDPHasFrags = 1 << 5

// ownFunc is int xdpctl(struct xdp_md *ctx), of whose ctx the kernel knows the
// members.
func ownFunc() *btf.Func {
	return &btf.Func{
		Name: "xdpctl",
		Type: &btf.FuncProto{
			Return: &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed},
			Params: []btf.FuncParam{{
				Name: "ctx",
				Type: &btf.Pointer{Target: &btf.Struct{Name: "xdp_md", Size: xdpMDSize}},
			}},
		},
		Linkage: btf.GlobalFunc,
	}
}

// loadOwn loads a program of our own, which ends with a verdict in R0, unless it
// goes elsewhere by tail call, and uses no stack. No meter can sit on it where the
// kernel refuses fexit, so it counts itself there.
func loadOwn(name string, attach ebpf.AttachType, hasFrags bool, insns asm.Instructions) (*ebpf.Program, error) {
	const key = -8
	list := &ebpf.CollectionSpec{}
	if !hasFexit() {
		insns = append(loader.MeterBegin(key), append(insns, loader.MeterEnd(key)...)...)
		list.Maps = map[string]*ebpf.MapSpec{loader.MeterMap: loader.MeterMapSpec()}
	}
	insns[0] = btf.WithFuncMetadata(insns[0].WithSymbol("xdpctl"), ownFunc())
	spec := &ebpf.ProgramSpec{
		Name: name, Type: ebpf.XDP, AttachType: attach, License: "GPL",
		Instructions: append(insns, asm.Return()),
	}
	if hasFrags {
		spec.Flags = bpfFXDPHasFrags
	}
	list.Programs = map[string]*ebpf.ProgramSpec{name: spec}
	coll, err := ebpf.NewCollection(list)
	if err != nil {
		return nil, err
	}
	defer coll.Close()
	return coll.DetachProgram(name), nil
}

// loadPlaceholder loads a program that passes every frame. It has multi-buffer
// support, so that no driver refuses it for the MTU.
func loadPlaceholder() (*ebpf.Program, error) {
	return loadOwn("xdpctl_pass", ebpf.AttachXDP, true, asm.Instructions{
		asm.Mov.Imm(asm.R0, xdpPass),
	})
}

// loadDispatcher loads a program that calls those of RX queues, which are like a
// given one. The program for the queues without one is in the given slot.
func loadDispatcher(array *ebpf.Map, slot uint32, like *progTraits) (*ebpf.Program, error) {
	return loadOwn("xdpctl_dispatch", ebpf.AttachType(like.attach), like.hasFrags, asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R3, asm.R1, xdpMDRXQueue, asm.Word),
		asm.LoadMapPtr(asm.R2, array.FD()),
		asm.FnTailCall.Call(),
		// the queue has none
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.LoadMapPtr(asm.R2, array.FD()),
		asm.Mov.Imm(asm.R3, int32(slot)),
		asm.FnTailCall.Call(),
		// the netdev has none
		asm.Mov.Imm(asm.R0, xdpPass),
	})
}

// waitForFrames waits until no frame is in a program that was taken away before.
// The kernel does so, with a grace period, for who changes a map of maps.
func waitForFrames() error {
	inner := &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}
	m, err := ebpf.NewMap(inner)
	if err != nil {
		return fmt.Errorf("wait for frames: %w", err)
	}
	defer m.Close()
	outer, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "xdpctl_wait", Type: ebpf.ArrayOfMaps, KeySize: 4, ValueSize: 4, MaxEntries: 1, InnerMap: inner,
	})
	if err != nil {
		return fmt.Errorf("wait for frames: %w", err)
	}
	defer outer.Close()
	if err := outer.Put(uint32(0), m); err != nil {
		return fmt.Errorf("wait for frames: %w", err)
	}
	return nil
}
