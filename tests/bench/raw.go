// SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/ctlmap"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/genl"
)

// raw speaks to both doors with system calls alone: what Go itself costs.
type raw struct {
	stats, prog int // control maps
	fd          int // generic netlink
	familyID    uint16
	veth        uint32
	programs    [2]int
	reply       []byte

	close []func() error
}

// newRaw opens both doors. Packages help to open them, and are out of the way
// afterwards.
func newRaw(b *bed, familyID uint16) (*raw, error) {
	r := &raw{familyID: familyID, veth: b.veth, programs: b.programs, reply: make([]byte, 32<<10)}
	for _, m := range []struct {
		typ family.CtrlType
		fd  *int
	}{{family.CtrlTypeXDPStats, &r.stats}, {family.CtrlTypeXDPProg, &r.prog}} {
		cm, err := ctlmap.CreateMap(ctlmap.MapOptions{Type: m.typ})
		if err != nil {
			return nil, err
		}
		*m.fd = cm.FD()
		r.close = append(r.close, cm.Close)
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	r.fd = fd
	r.close = append(r.close, func() error { return unix.Close(fd) })
	if err := unix.Connect(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("connect netlink: %w", err)
	}
	for _, opt := range []int{unix.NETLINK_GET_STRICT_CHK, unix.NETLINK_CAP_ACK} {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, opt, 1); err != nil {
			return nil, fmt.Errorf("set up netlink: %w", err)
		}
	}
	return r, nil
}

func (r *raw) Close() error {
	var errs []error
	for _, f := range r.close {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// request is a generic netlink message with the attributes attrs.
func (r *raw) request(cmd uint8, flags uint16, attrs []byte) []byte {
	b := make([]byte, unix.SizeofNlMsghdr+4, 256)
	binary.NativeEndian.PutUint16(b[4:], r.familyID)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|flags)
	b[16], b[17] = cmd, 1
	b = append(b, attrs...)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	return b
}

// send and recv are the system calls without the copies of package unix.
func (r *raw) send(msg []byte) error {
	_, _, errno := syscall.Syscall6(unix.SYS_SENDTO, uintptr(r.fd),
		uintptr(unsafe.Pointer(&msg[0])), uintptr(len(msg)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func (r *raw) recv() (int, error) {
	n, _, errno := syscall.Syscall6(unix.SYS_RECVFROM, uintptr(r.fd),
		uintptr(unsafe.Pointer(&r.reply[0])), uintptr(len(r.reply)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// do sends msg and receives one message.
func (r *raw) do(msg []byte) error {
	if err := r.send(msg); err != nil {
		return err
	}
	if _, err := r.recv(); err != nil {
		return err
	}
	if binary.NativeEndian.Uint16(r.reply[4:]) != unix.NLMSG_ERROR {
		return nil
	}
	if errno := -int32(binary.NativeEndian.Uint32(r.reply[16:])); errno != 0 {
		return syscall.Errno(errno)
	}
	return nil
}

// dump sends msg and counts the messages up to the end.
func (r *raw) dump(msg []byte) (int, error) {
	if err := r.send(msg); err != nil {
		return 0, err
	}
	for entries := 0; ; {
		n, err := r.recv()
		if err != nil {
			return 0, err
		}
		for b := r.reply[:n]; len(b) >= unix.SizeofNlMsghdr; {
			switch binary.NativeEndian.Uint16(b[4:]) {
			case unix.NLMSG_DONE:
				return entries, nil
			case unix.NLMSG_ERROR:
				return 0, syscall.Errno(-int32(binary.NativeEndian.Uint32(b[16:])))
			}
			entries++
			size := (binary.NativeEndian.Uint32(b) + 3) &^ 3
			b = b[min(int(size), len(b)):]
		}
	}
}

// elemAttr is the part of union bpf_attr that is for elements.
type elemAttr struct {
	fd         uint32
	_          uint32
	key, value unsafe.Pointer
	flags      uint64
}

func mapElem(cmd uintptr, fd int, key, value unsafe.Pointer, flags uint64) error {
	attr := elemAttr{fd: uint32(fd), key: key, value: value, flags: flags}
	_, _, errno := syscall.Syscall(unix.SYS_BPF, cmd, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		return errno
	}
	return nil
}

func (r *raw) getppid() (int, error) {
	syscall.Syscall(unix.SYS_GETPPID, 0, 0, 0)
	return 1, nil
}

func (r *raw) lookup(ifindex uint32) op {
	key, value := &family.StatsKey{Ifindex: ifindex}, new(family.Stats)
	return func() (int, error) {
		return 1, mapElem(unix.BPF_MAP_LOOKUP_ELEM, r.stats, unsafe.Pointer(key), unsafe.Pointer(value), 0)
	}
}

func (r *raw) statsGet(ifindex uint32) op {
	msg := r.request(family.CmdStatsGet, 0, genl.AppendUint32(nil, family.AttrStatsIfindex, ifindex))
	return func() (int, error) { return 1, r.do(msg) }
}

func (r *raw) statsDump() op {
	msg := r.request(family.CmdStatsGet, unix.NLM_F_DUMP, nil)
	return func() (int, error) { return r.dump(msg) }
}

func (r *raw) iterate() op {
	key, next, value := new(family.StatsKey), new(family.StatsKey), new(family.Stats)
	return func() (int, error) {
		from := unsafe.Pointer(nil)
		for entries := 0; ; entries++ {
			err := mapElem(unix.BPF_MAP_GET_NEXT_KEY, r.stats, from, unsafe.Pointer(next), 0)
			if errors.Is(err, os.ErrNotExist) {
				return entries, nil
			}
			if err == nil {
				err = mapElem(unix.BPF_MAP_LOOKUP_ELEM, r.stats, unsafe.Pointer(next), unsafe.Pointer(value), 0)
			}
			if err != nil {
				return 0, err
			}
			*key = *next
			from = unsafe.Pointer(key)
		}
	}
}

// attachNetlink is prog-set and prog-del.
func (r *raw) attachNetlink() op {
	key := genl.AppendUint32(nil, family.AttrProgIfindex, r.veth)
	set := genl.AppendUint32(key[:len(key):len(key)], family.AttrProgUpdate, uint32(family.UpdateNoexist))
	set = genl.AppendUint32(set, family.AttrProgFD, uint32(r.programs[0]))
	set = genl.AppendUint32(set, family.AttrProgMode, uint32(family.ModeNative))
	attach, detach := r.request(family.CmdProgSet, 0, set), r.request(family.CmdProgDel, unix.NLM_F_ACK, key)
	return func() (int, error) {
		if err := r.do(attach); err != nil {
			return 0, err
		}
		return 1, r.do(detach)
	}
}

// attachMap is an update and a delete of the control map.
func (r *raw) attachMap() op {
	key, value := &family.ProgKey{Ifindex: r.veth, Queue: family.QueueAll}, attachValue(r.programs[0])
	return func() (int, error) {
		err := mapElem(unix.BPF_MAP_UPDATE_ELEM, r.prog, unsafe.Pointer(key), unsafe.Pointer(value), unix.BPF_NOEXIST)
		if err != nil {
			return 0, err
		}
		return 1, mapElem(unix.BPF_MAP_DELETE_ELEM, r.prog, unsafe.Pointer(key), nil, 0)
	}
}

// attachValue attaches a program in native mode.
func attachValue(fd int) *family.Prog {
	value := new(family.Prog)
	value.SetFD(uint32(fd))
	value.SetMode(family.ModeNative)
	return value
}
