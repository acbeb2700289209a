// SPDX-License-Identifier: BSD-3-Clause

package hostile

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// The stack of a BPF program of type syscall, from the frame pointer down.
const (
	stackKey   = -8
	stackValue = stackKey - int16(valueSize)
	stackAttr  = stackValue - 32
)

// store puts b on the stack.
func store(at int16, b []byte) asm.Instructions {
	var insns asm.Instructions
	for i := 0; i < len(b); i += 4 {
		imm := int32(binary.NativeEndian.Uint32(b[i:]))
		insns = append(insns, asm.StoreImm(asm.RFP, at+int16(i), int64(imm), asm.Word))
	}
	return insns
}

// pointer puts the address of a place on the stack at another place there.
func pointer(at, to int16) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.RFP),
		asm.Add.Imm(asm.R1, int32(to)),
		asm.StoreMem(asm.RFP, at, asm.R1, asm.DWord),
	}
}

// sysBPF is bpf_sys_bpf(cmd, attr, size), and the end.
func sysBPF(cmd int32, size int32) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Imm(asm.R1, cmd),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, int32(stackAttr)),
		asm.Mov.Imm(asm.R3, size),
		asm.FnSysBpf.Call(),
		asm.Return(),
	}
}

// elem is a program that does what bpf(2) does with an element.
func elem(cmd int32, m int, key, value []byte, flags uint32) asm.Instructions {
	attr := make([]byte, 32)
	binary.NativeEndian.PutUint32(attr, uint32(m))
	binary.NativeEndian.PutUint32(attr[24:], flags)
	var insns asm.Instructions
	insns = append(insns, store(stackKey, key)...)
	insns = append(insns, store(stackValue, value)...)
	insns = append(insns, store(stackAttr, attr)...)
	insns = append(insns, pointer(stackAttr+8, stackKey)...)
	if cmd != unix.BPF_MAP_DELETE_ELEM {
		insns = append(insns, pointer(stackAttr+16, stackValue)...)
	}
	return append(insns, sysBPF(cmd, 32)...)
}

// runSyscall runs a program of type syscall in the namespace, and returns what
// it returns.
func (w *world) runSyscall(insns asm.Instructions) int32 {
	w.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "hostile", Type: ebpf.Syscall, License: "GPL", Flags: unix.BPF_F_SLEEPABLE, Instructions: insns,
	})
	if err != nil {
		w.Fatalf("load program of type syscall: %+v", err)
	}
	defer prog.Close()
	var ret uint32
	w.ns.Do(func() { ret, err = prog.Run(&ebpf.RunOptions{}) })
	if err != nil {
		w.Fatalf("run program of type syscall: %v", err)
	}
	return int32(ret)
}

// TestBPFProgram calls bpf(2) from a BPF program of type syscall.
func TestBPFProgram(t *testing.T) {
	w := newWorld(t)
	w.update(w.dev, w.pass)
	drop := value(w.drop.FD)
	for _, tc := range []struct {
		name  string
		insns asm.Instructions
		want  unix.Errno
	}{
		{"replace", elem(unix.BPF_MAP_UPDATE_ELEM, w.m, key(w.dev), drop, unix.BPF_EXIST), unix.EOPNOTSUPP},
		{"add", elem(unix.BPF_MAP_UPDATE_ELEM, w.m, key(w.other), drop, unix.BPF_NOEXIST), unix.EOPNOTSUPP},
		{"replace or add", elem(unix.BPF_MAP_UPDATE_ELEM, w.m, key(w.dev), drop, unix.BPF_ANY), unix.EOPNOTSUPP},
		{"update of no netdev", elem(unix.BPF_MAP_UPDATE_ELEM, w.m, key(missing), drop, unix.BPF_ANY), unix.EOPNOTSUPP},
		{"delete", elem(unix.BPF_MAP_DELETE_ELEM, w.m, key(w.dev), drop, 0), unix.EOPNOTSUPP},
		{"delete of nothing", elem(unix.BPF_MAP_DELETE_ELEM, w.m, key(w.other), drop, 0), unix.EOPNOTSUPP},
		// The helper knows no command that reads.
		{"lookup", elem(unix.BPF_MAP_LOOKUP_ELEM, w.m, key(w.dev), drop, 0), unix.EINVAL},
		{"next key", elem(unix.BPF_MAP_GET_NEXT_KEY, w.m, key(w.dev), drop, 0), unix.EINVAL},
		{"update of no map", elem(unix.BPF_MAP_UPDATE_ELEM, 9999, key(w.dev), drop, 0), unix.EBADF},
	} {
		w.unchanged(tc.name, func() {
			if got := w.runSyscall(tc.insns); got != -int32(tc.want) {
				t.Errorf("%s: got %d, want %v", tc.name, got, tc.want)
			}
		})
	}
	w.createFromProgram()
	w.referToMap()
	w.settle()
}

// createFromProgram makes a control map from a BPF program, which works like
// any other.
func (w *world) createFromProgram() {
	w.Helper()
	attr := bytesOf(testutil.ControlMapAttr("xdp_prog", w.ctl, keySize, valueSize))[:stackSize]
	insns := append(store(stackAttr, attr[:]), sysBPF(unix.BPF_MAP_CREATE, int32(len(attr)))...)
	fd := w.runSyscall(insns)
	if fd < 0 {
		w.Errorf("create from a program: got %v", unix.Errno(-fd))
		return
	}
	defer unix.Close(int(fd))
	info := testutil.MapInfoOf(w.T, int(fd))
	if want := testutil.MapInfoOf(w.T, w.m); info.BTFID != want.BTFID || info.BTFValueTypeID != want.BTFValueTypeID {
		w.Errorf("map made by a program: %+v, want BTF as in %+v", info, want)
	}
	var v family.Prog
	if err := testutil.LookupElem(int(fd), key(w.dev), bytesOf(&v), 0); err != nil || v.ProgID != w.pass.ID {
		w.Errorf("lookup in a map made by a program: got %+v (%v), want program %d", v, err, w.pass.ID)
	}
}

// stackSize is the part of the attribute of BPF_MAP_CREATE that is needed, up to
// the ifindex.
const stackSize = int(unsafe.Offsetof(testutil.MapAttr{}.BTFFD))

// referToMap loads programs that use a control map themselves.
func (w *world) referToMap() {
	w.Helper()
	for _, typ := range []ebpf.ProgramType{ebpf.Syscall, ebpf.XDP, ebpf.SchedCLS} {
		insns := append(store(stackKey, key(w.dev)),
			asm.LoadMapPtr(asm.R1, w.m),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, int32(stackKey)),
			asm.FnMapLookupElem.Call(),
			asm.Mov.Imm(asm.R0, 0),
			asm.Return(),
		)
		spec := &ebpf.ProgramSpec{Type: typ, License: "GPL", Instructions: insns}
		if typ == ebpf.Syscall {
			spec.Flags = unix.BPF_F_SLEEPABLE
		}
		prog, err := ebpf.NewProgram(spec)
		if err == nil {
			prog.Close()
		}
		if !errors.Is(err, unix.EINVAL) {
			w.Errorf("load a program of type %v with the map: got %v, want EINVAL", typ, err)
		}
	}
}

// TestCompat calls bpf(2) as a 32-bit program does, and by the x32 number.
func TestCompat(t *testing.T) {
	w := newWorld(t)
	w.update(w.dev, w.pass)
	w.unchanged("a 32-bit call", func() {
		if out := w.run("compat", 1); !strings.Contains(out, "int80: refused") {
			t.Errorf("this kernel has no 32-bit calls: %q", out)
		}
	})
	w.settle()
}

// TestURing submits every operation of io_uring on a control map.
func TestURing(t *testing.T) {
	w := newWorld(t)
	w.run("uring", 1)
	w.settle()
}
