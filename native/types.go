// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/sysbpf"
)

// pinTypes is a map without entries that keeps the BTF of the control types in
// the kernel, so that its id means something to others. Like the probes it is
// there from the first change on.
const pinTypes = "types"

// Types implements family.Control. BTF is told once there is any: what only reads
// leaves no trace.
func (c *Control) Types(context.Context) ([]family.Type, error) {
	id, err := c.typesID()
	if err != nil {
		return nil, err
	}
	var list []family.Type
	for i := range family.Descs() {
		d := &family.Descs()[i]
		var t family.Type
		t.SetID(d.Type)
		t.SetName(d.MapName)
		t.SetKeySize(uint32(d.KeySize))
		t.SetValueSize(uint32(d.ValueSize))
		t.SetOperations(d.Operations)
		if id != 0 {
			key, value := d.BTFTypes()
			t.SetBTFID(id)
			t.SetBTFKeyTypeID(key)
			t.SetBTFValueTypeID(value)
		}
		list = append(list, t)
	}
	return list, nil
}

// typesID returns the id of the BTF of the control types, 0 if it is not there.
func (c *Control) typesID() (uint32, error) {
	m, err := ebpf.LoadPinnedMap(filepath.Join(c.state.traceDir(), pinTypes), nil)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("open the types: %w", err)
	}
	defer m.Close()
	info, err := m.Info()
	if err != nil {
		return 0, fmt.Errorf("read the types: %w", err)
	}
	id, _ := info.BTFID()
	return uint32(id), nil
}

// pinTypes loads the BTF of the control types, and keeps it. It runs under the
// lock of the probes.
func (s *state) pinTypes() error {
	path := filepath.Join(s.traceDir(), pinTypes)
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	fd, err := loadBTF(family.BTF())
	if err != nil {
		return fmt.Errorf("load the types: %w", err)
	}
	defer unix.Close(fd)
	d := family.CtrlTypeXDPStats.Desc()
	key, value := d.BTFTypes()
	attr := mapAttr{
		typ: unix.BPF_MAP_TYPE_HASH, keySize: uint32(d.KeySize), valueSize: uint32(d.ValueSize), maxEntries: 1,
		btf: uint32(fd), btfKey: key, btfValue: value,
	}
	copy(attr.name[:], "xdpctl_types")
	n, err := sysbpf.Call(unix.BPF_MAP_CREATE, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	if err != nil {
		return fmt.Errorf("keep the types: %w", os.NewSyscallError("bpf", err))
	}
	m, err := ebpf.NewMapFromFD(n)
	if err != nil {
		return fmt.Errorf("keep the types: %w", err)
	}
	defer m.Close()
	return m.Pin(path)
}

// mapAttr is the beginning of union bpf_attr for BPF_MAP_CREATE.
type mapAttr struct {
	typ, keySize, valueSize, maxEntries uint32
	flags, inner, node                  uint32
	name                                [16]byte
	ifindex                             uint32
	btf, btfKey, btfValue, _            uint32
}

// loadBTF loads BTF, and returns its file descriptor.
func loadBTF(b []byte) (int, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&b[0])
	attr := struct {
		btf, log     uint64
		size, logLen uint32
		level, _     uint32
	}{btf: uint64(uintptr(unsafe.Pointer(&b[0]))), size: uint32(len(b))}
	fd, err := sysbpf.Call(unix.BPF_BTF_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return fd, os.NewSyscallError("bpf", err)
}
