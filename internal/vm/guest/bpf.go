// SPDX-License-Identifier: BSD-3-Clause

package guest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"unsafe"
)

// Commands of bpf(2).
const (
	bpfProgGetFDByID  = 13
	bpfMapGetFDByID   = 14
	bpfObjGetInfo     = 15
	bpfBTFGetFDByID   = 19
	bpfLinkGetFDByID  = 30
	bpfProgGetNextID  = 11
	bpfMapGetNextID   = 12
	bpfBTFGetNextID   = 23
	bpfLinkGetNextID  = 31
	bpfObjNameLen     = 16
	progInfoName      = 64 // offset of the name in struct bpf_prog_info
	mapInfoName       = 24 // and in struct bpf_map_info
	btfInfoName       = 16 // name, name_len and kernel_btf in struct bpf_btf_info
	bpfInfoSize       = 256
	bpfBTFInfoNameLen = 64
)

// bpfKind is one kind of object that has ids.
type bpfKind struct {
	name         string
	next, fdByID int
}

var bpfKinds = []bpfKind{
	{"program", bpfProgGetNextID, bpfProgGetFDByID},
	{"map", bpfMapGetNextID, bpfMapGetFDByID},
	{"link", bpfLinkGetNextID, bpfLinkGetFDByID},
	{"BTF object", bpfBTFGetNextID, bpfBTFGetFDByID},
}

// bpfObject is a BPF object by its kind, an index of bpfKinds, and its id.
type bpfObject struct {
	kind int
	id   uint32
}

// bpfObjects lists the BPF objects that exist, but not the BTF of the kernel and
// of modules other than the project's.
func bpfObjects() (map[bpfObject]string, error) {
	objects := make(map[bpfObject]string)
	for i, k := range bpfKinds {
		var attr [12]byte
		for {
			if _, err := bpf(k.next, attr[:]); errors.Is(err, syscall.ENOENT) {
				break
			} else if err != nil {
				return nil, fmt.Errorf("list BPF %ss: %w", k.name, err)
			}
			id := binary.NativeEndian.Uint32(attr[4:])
			if name, ok := describe(i, id); ok {
				objects[bpfObject{i, id}] = name
			}
			binary.NativeEndian.PutUint32(attr[0:], id)
		}
	}
	return objects, nil
}

// describe names a BPF object. It returns false if the object is gone or does
// not matter.
func describe(kind int, id uint32) (string, bool) {
	k := bpfKinds[kind]
	text := fmt.Sprintf("%s %d", k.name, id)
	var attr [12]byte
	binary.NativeEndian.PutUint32(attr[0:], id)
	fd, err := bpf(k.fdByID, attr[:])
	if errors.Is(err, syscall.ENOENT) {
		return "", false
	}
	if err != nil {
		return fmt.Sprintf("%s (%v)", text, err), true
	}
	defer syscall.Close(fd)

	info := make([]byte, bpfInfoSize)
	name := make([]byte, bpfBTFInfoNameLen)
	size := bpfInfoSize
	if k.fdByID == bpfBTFGetFDByID {
		size = 32
		binary.NativeEndian.PutUint64(info[btfInfoName:], uint64(uintptr(unsafe.Pointer(&name[0]))))
		binary.NativeEndian.PutUint32(info[btfInfoName+8:], bpfBTFInfoNameLen)
	}
	var get [16]byte
	binary.NativeEndian.PutUint32(get[0:], uint32(fd))
	binary.NativeEndian.PutUint32(get[4:], uint32(size))
	binary.NativeEndian.PutUint64(get[8:], uint64(uintptr(unsafe.Pointer(&info[0]))))
	_, err = bpf(bpfObjGetInfo, get[:])
	runtime.KeepAlive(info)
	runtime.KeepAlive(name)
	if err != nil {
		return fmt.Sprintf("%s (%v)", text, err), true
	}
	switch k.fdByID {
	case bpfProgGetFDByID:
		text += fmt.Sprintf(" of type %d %q", binary.NativeEndian.Uint32(info), cString(info[progInfoName:][:bpfObjNameLen]))
	case bpfMapGetFDByID:
		text += fmt.Sprintf(" of type %d %q", binary.NativeEndian.Uint32(info), cString(info[mapInfoName:][:bpfObjNameLen]))
	case bpfLinkGetFDByID:
		text += fmt.Sprintf(" of type %d to program %d", binary.NativeEndian.Uint32(info), binary.NativeEndian.Uint32(info[8:]))
	case bpfBTFGetFDByID:
		kernel := binary.NativeEndian.Uint32(info[btfInfoName+12:]) != 0
		if kernel && cString(name) != project {
			return "", false
		}
		text += fmt.Sprintf(" %q", cString(name))
	}
	return text, true
}

func cString(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}

// leaked names the objects that are in after and not in before.
func leaked(before, after map[bpfObject]string) []string {
	var list []string
	for o, name := range after {
		if _, ok := before[o]; !ok {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}
