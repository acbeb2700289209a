// SPDX-License-Identifier: BSD-3-Clause

package testutil

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BPF is bpf(2).
func BPF(cmd int, attr unsafe.Pointer, size uintptr) (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(cmd), uintptr(attr), size)
	runtime.KeepAlive(attr)
	if errno != 0 {
		return -1, errno
	}
	return int(r), nil
}

func bpf[T any](cmd int, attr *T) (int, error) {
	return BPF(cmd, unsafe.Pointer(attr), unsafe.Sizeof(*attr))
}

// MapAttr is what BPF_MAP_CREATE takes.
type MapAttr struct {
	Type, KeySize, ValueSize, MaxEntries, Flags uint32
	InnerMapFD, NumaNode                        uint32
	Name                                        [16]byte
	Ifindex                                     uint32
	BTFFD, BTFKeyTypeID, BTFValueTypeID         uint32
	BTFVmlinuxValueTypeID                       uint32
	Extra                                       uint64
}

// CreateMap is BPF_MAP_CREATE.
func CreateMap(a *MapAttr) (int, error) { return bpf(unix.BPF_MAP_CREATE, a) }

// ControlMapAttr describes a control map on the control device ctl.
func ControlMapAttr(name string, ctl, keySize, valueSize int) *MapAttr {
	a := &MapAttr{
		Type: unix.BPF_MAP_TYPE_HASH, KeySize: uint32(keySize), ValueSize: uint32(valueSize),
		MaxEntries: 1, Ifindex: uint32(ctl),
	}
	copy(a.Name[:15], name)
	return a
}

type elemAttr struct {
	fd, _             uint32
	key, value, flags uint64
}

func elem(cmd, fd int, key, value []byte, flags uint64) error {
	var pin runtime.Pinner
	defer pin.Unpin()
	a := elemAttr{fd: uint32(fd), flags: flags}
	if len(key) > 0 {
		pin.Pin(&key[0])
		a.key = uint64(uintptr(unsafe.Pointer(&key[0])))
	}
	if len(value) > 0 {
		pin.Pin(&value[0])
		a.value = uint64(uintptr(unsafe.Pointer(&value[0])))
	}
	_, err := bpf(cmd, &a)
	return err
}

// LookupElem is BPF_MAP_LOOKUP_ELEM.
func LookupElem(fd int, key, value []byte, flags uint64) error {
	return elem(unix.BPF_MAP_LOOKUP_ELEM, fd, key, value, flags)
}

// UpdateElem is BPF_MAP_UPDATE_ELEM.
func UpdateElem(fd int, key, value []byte, flags uint64) error {
	return elem(unix.BPF_MAP_UPDATE_ELEM, fd, key, value, flags)
}

// DeleteElem is BPF_MAP_DELETE_ELEM.
func DeleteElem(fd int, key []byte) error {
	return elem(unix.BPF_MAP_DELETE_ELEM, fd, key, nil, 0)
}

// NextKey is BPF_MAP_GET_NEXT_KEY; a nil key asks for the first.
func NextKey(fd int, key, next []byte) error {
	return elem(unix.BPF_MAP_GET_NEXT_KEY, fd, key, next, 0)
}

// LookupAndDeleteElem is BPF_MAP_LOOKUP_AND_DELETE_ELEM.
func LookupAndDeleteElem(fd int, key, value []byte) error {
	return elem(unix.BPF_MAP_LOOKUP_AND_DELETE_ELEM, fd, key, value, 0)
}

// Batch is one of the batch commands over count entries.
func Batch(cmd, fd int, keys, values []byte, count uint32) error {
	var pin runtime.Pinner
	defer pin.Unpin()
	out := make([]byte, 64)
	for _, b := range [][]byte{out, keys, values} {
		pin.Pin(&b[0])
	}
	a := struct {
		inBatch, outBatch, keys, values uint64
		count, fd                       uint32
		elemFlags, flags                uint64
	}{
		outBatch: uint64(uintptr(unsafe.Pointer(&out[0]))),
		keys:     uint64(uintptr(unsafe.Pointer(&keys[0]))),
		values:   uint64(uintptr(unsafe.Pointer(&values[0]))),
		count:    count, fd: uint32(fd),
	}
	_, err := bpf(cmd, &a)
	return err
}

// FreezeMap is BPF_MAP_FREEZE.
func FreezeMap(fd int) error {
	a := elemAttr{fd: uint32(fd)}
	_, err := bpf(unix.BPF_MAP_FREEZE, &a)
	return err
}

// Insn is a BPF instruction.
type Insn struct {
	Op  uint8
	Reg uint8 // source << 4 | destination
	Off int16
	Imm int32
}

// Return is a program that returns n.
func Return(n int32) []Insn {
	return []Insn{{Op: 0xb7, Imm: n}, {Op: 0x95}}
}

// ProgAttr is what BPF_PROG_LOAD takes.
type ProgAttr struct {
	Type         uint32
	insnCnt      uint32
	insns        uint64
	license      uint64
	logLevel     uint32
	logSize      uint32
	logBuf       uint64
	kernVersion  uint32
	Flags        uint32
	Name         [16]byte
	Ifindex      uint32
	ExpectedType uint32
}

// LoadProg is BPF_PROG_LOAD under the licence GPL.
func LoadProg(a ProgAttr, insns []Insn) (int, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	licence, log := []byte("GPL\x00"), make([]byte, 16<<10)
	pin.Pin(&licence[0])
	pin.Pin(&insns[0])
	pin.Pin(&log[0])
	a.insnCnt, a.insns = uint32(len(insns)), uint64(uintptr(unsafe.Pointer(&insns[0])))
	a.license = uint64(uintptr(unsafe.Pointer(&licence[0])))
	fd, err := bpf(unix.BPF_PROG_LOAD, &a)
	for errors.Is(err, unix.EAGAIN) {
		fd, err = bpf(unix.BPF_PROG_LOAD, &a) // a signal is pending
	}
	if err == nil {
		return fd, nil
	}
	a.logLevel, a.logSize, a.logBuf = 1, uint32(len(log)), uint64(uintptr(unsafe.Pointer(&log[0])))
	if fd, again := bpf(unix.BPF_PROG_LOAD, &a); again == nil {
		return fd, nil
	}
	return -1, fmt.Errorf("load program: %w: %s", err, unix.ByteSliceToString(log))
}

// Prog is a loaded BPF program.
type Prog struct {
	FD   int
	ID   uint32
	Tag  [8]byte
	Name string
}

// NewProg loads a program, which goes with the test.
func NewProg(tb testing.TB, a ProgAttr, insns []Insn) *Prog {
	tb.Helper()
	fd, err := LoadProg(a, insns)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { unix.Close(fd) })
	var info struct {
		typ, id uint32
		tag     [8]byte
	}
	if err := ObjInfo(fd, unsafe.Pointer(&info), unsafe.Sizeof(info)); err != nil {
		tb.Fatal(err)
	}
	return &Prog{FD: fd, ID: info.id, Tag: info.tag, Name: unix.ByteSliceToString(a.Name[:])}
}

// XDPProgAttr is for an XDP program, with BPF_XDP as the kind of attachment
// and no frags.
func XDPProgAttr(name string) ProgAttr {
	a := ProgAttr{Type: unix.BPF_PROG_TYPE_XDP, ExpectedType: unix.BPF_XDP}
	copy(a.Name[:15], name)
	return a
}

// NewXDP loads an XDP program that returns action, which goes with the test.
func NewXDP(tb testing.TB, name string, action int32) *Prog {
	tb.Helper()
	return NewProg(tb, XDPProgAttr(name), Return(action))
}

// ObjInfo is BPF_OBJ_GET_INFO_BY_FD.
func ObjInfo(fd int, info unsafe.Pointer, size uintptr) error {
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(info)
	a := struct {
		fd, len uint32
		info    uint64
	}{uint32(fd), uint32(size), uint64(uintptr(info))}
	_, err := bpf(unix.BPF_OBJ_GET_INFO_BY_FD, &a)
	return err
}

// MapInfo is the kernel's struct bpf_map_info.
type MapInfo struct {
	Type, ID, KeySize, ValueSize, MaxEntries, Flags uint32
	Name                                            [16]byte
	Ifindex, BTFVmlinuxValueTypeID                  uint32
	NetNSDev, NetNSIno                              uint64
	BTFID, BTFKeyTypeID, BTFValueTypeID, _          uint32
	Extra                                           uint64
}

// MapInfoOf describes an open map.
func MapInfoOf(tb testing.TB, fd int) *MapInfo {
	tb.Helper()
	var info MapInfo
	if err := ObjInfo(fd, unsafe.Pointer(&info), unsafe.Sizeof(info)); err != nil {
		tb.Fatal(err)
	}
	return &info
}

type idAttr struct{ id, next, flags uint32 }

func bpfIDs(cmd int) ([]uint32, error) {
	var ids []uint32
	var a idAttr
	for {
		if _, err := bpf(cmd, &a); errors.Is(err, unix.ENOENT) {
			return ids, nil
		} else if err != nil {
			return nil, err
		}
		ids = append(ids, a.next)
		a = idAttr{id: a.next}
	}
}

// MapIDs lists the ids of all maps.
func MapIDs() ([]uint32, error) { return bpfIDs(unix.BPF_MAP_GET_NEXT_ID) }

// ProgIDs lists the ids of all programs.
func ProgIDs() ([]uint32, error) { return bpfIDs(unix.BPF_PROG_GET_NEXT_ID) }

// LinkIDs lists the ids of all links.
func LinkIDs() ([]uint32, error) { return bpfIDs(unix.BPF_LINK_GET_NEXT_ID) }

// MapByID opens a map.
func MapByID(id uint32) (int, error) {
	return bpf(unix.BPF_MAP_GET_FD_BY_ID, &idAttr{id: id})
}

// LinkInfo is what the kernel says of an XDP link.
type LinkInfo struct {
	Type, ID, ProgID, _ uint32
	Ifindex             uint32 // 0: the netdev is gone
	_                   [60]byte
}

// XDPLinks lists the XDP links of the whole system, by id.
func XDPLinks(tb testing.TB) map[uint32]LinkInfo {
	tb.Helper()
	ids, err := LinkIDs()
	if err != nil {
		tb.Fatal(err)
	}
	out := make(map[uint32]LinkInfo)
	for _, id := range ids {
		fd, err := LinkByID(id)
		if err != nil {
			continue // gone meanwhile
		}
		var info LinkInfo
		err = ObjInfo(fd, unsafe.Pointer(&info), unsafe.Sizeof(info))
		unix.Close(fd)
		if err == nil && info.Type == unix.BPF_LINK_TYPE_XDP {
			out[id] = info
		}
	}
	return out
}

// LinkByID opens a link.
func LinkByID(id uint32) (int, error) {
	return bpf(unix.BPF_LINK_GET_FD_BY_ID, &idAttr{id: id})
}

// DetachLink is BPF_LINK_DETACH.
func DetachLink(fd int) error {
	_, err := bpf(unix.BPF_LINK_DETACH, &elemAttr{fd: uint32(fd)})
	return err
}

// UpdateLink is BPF_LINK_UPDATE.
func UpdateLink(fd, progFD int) error {
	a := struct{ link, prog, flags, old uint32 }{link: uint32(fd), prog: uint32(progFD)}
	_, err := bpf(unix.BPF_LINK_UPDATE, &a)
	return err
}

// CreateXDPLink is BPF_LINK_CREATE; the link is somebody else's for the
// module. It goes with the test at the latest.
func CreateXDPLink(tb testing.TB, progFD, ifindex int, flags uint32) int {
	tb.Helper()
	a := struct{ prog, target, typ, flags, _, _, _, _ uint32 }{
		prog: uint32(progFD), target: uint32(ifindex), typ: unix.BPF_XDP, flags: flags,
	}
	fd, err := bpf(unix.BPF_LINK_CREATE, &a)
	if err != nil {
		tb.Fatalf("create XDP link: %v", err)
	}
	tb.Cleanup(func() { unix.Close(fd) })
	return fd
}
