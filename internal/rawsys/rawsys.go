// SPDX-License-Identifier: BSD-3-Clause

// Package rawsys is netlink and bpf(2) by system calls alone: what Go itself
// costs, for who measures libraries against it. Errors are errnos.
package rawsys

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// replySize is as large as a netlink message of the kernel's gets in a dump.
const replySize = 32 << 10

// Netlink is a netlink socket with the room for what it receives.
type Netlink struct {
	fd    int
	reply []byte
}

// Dial opens a socket that talks to the kernel.
func Dial(protocol int) (*Netlink, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	n := &Netlink{fd: fd, reply: make([]byte, replySize)}
	if err := n.setUp(); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

func (n *Netlink) setUp() error {
	if err := unix.Connect(n.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("connect netlink: %w", err)
	}
	for _, opt := range []int{unix.NETLINK_GET_STRICT_CHK, unix.NETLINK_CAP_ACK} {
		if err := unix.SetsockoptInt(n.fd, unix.SOL_NETLINK, opt, 1); err != nil {
			return fmt.Errorf("set up netlink: %w", err)
		}
	}
	return nil
}

// Close closes the socket.
func (n *Netlink) Close() error { return unix.Close(n.fd) }

// Message is a netlink message: flags are those beside NLM_F_REQUEST, header is
// the family's, attrs follow it.
func Message(typ, flags uint16, header, attrs []byte) []byte {
	b := make([]byte, unix.SizeofNlMsghdr, 256)
	binary.NativeEndian.PutUint16(b[4:], typ)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|flags)
	b = append(append(b, header...), attrs...)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	return b
}

// Genl is a message of generic netlink.
func Genl(family, flags uint16, cmd uint8, attrs []byte) []byte {
	return Message(family, flags, []byte{cmd, 1, 0, 0}, attrs)
}

// Exchange sends a message and receives the answer to it: all of a dump, what
// comes up to the acknowledgement if that is asked for, and else one datagram.
// It returns how many messages there were beside acknowledgement and end, and
// calls each with them, unless it is nil.
func (n *Netlink) Exchange(msg []byte, each func(msg []byte)) (int, error) {
	if err := n.send(msg); err != nil {
		return 0, err
	}
	flags := binary.NativeEndian.Uint16(msg[6:])
	more := flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP || flags&unix.NLM_F_ACK != 0
	for entries := 0; ; {
		size, err := n.recv()
		if err != nil {
			return 0, err
		}
		for b := n.reply[:size]; len(b) >= unix.SizeofNlMsghdr; {
			switch binary.NativeEndian.Uint16(b[4:]) {
			case unix.NLMSG_DONE:
				return entries, nil
			case unix.NLMSG_ERROR:
				return entries, errnoOf(b)
			}
			entries++
			size := min(int(binary.NativeEndian.Uint32(b)+3)&^3, len(b))
			if each != nil {
				each(b[:size])
			}
			b = b[size:]
		}
		if !more {
			return entries, nil
		}
	}
}

// errnoOf is what an NLMSG_ERROR says, nil for an acknowledgement.
func errnoOf(b []byte) error {
	if errno := -int32(binary.NativeEndian.Uint32(b[unix.SizeofNlMsghdr:])); errno != 0 {
		return syscall.Errno(errno)
	}
	return nil
}

// send and recv are the system calls without the copies of package unix.
func (n *Netlink) send(msg []byte) error {
	_, _, errno := syscall.Syscall6(unix.SYS_SENDTO, uintptr(n.fd),
		uintptr(unsafe.Pointer(&msg[0])), uintptr(len(msg)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func (n *Netlink) recv() (int, error) {
	size, _, errno := syscall.Syscall6(unix.SYS_RECVFROM, uintptr(n.fd),
		uintptr(unsafe.Pointer(&n.reply[0])), uintptr(len(n.reply)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(size), nil
}

// elemAttr is the part of union bpf_attr that is for elements.
type elemAttr struct {
	fd         uint32
	_          uint32
	key, value unsafe.Pointer
	flags      uint64
}

// AttrSize is how much of union bpf_attr a call of [MapElem] hands over.
const AttrSize = int(unsafe.Sizeof(elemAttr{}))

// MapElem is bpf(2) for an element of a map.
func MapElem(cmd uintptr, fd int, key, value unsafe.Pointer, flags uint64) error {
	attr := elemAttr{fd: uint32(fd), key: key, value: value, flags: flags}
	_, _, errno := syscall.Syscall(unix.SYS_BPF, cmd, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		return errno
	}
	return nil
}

// Walk is an iteration over a map, by the loop of the control map RFC.
type Walk struct {
	fd               int
	key, next, value []byte
}

// NewWalk makes what an iteration needs, which may be done any number of times.
func NewWalk(fd, keySize, valueSize int) *Walk {
	return &Walk{fd, make([]byte, keySize), make([]byte, keySize), make([]byte, valueSize)}
}

// Do goes over all entries, and returns how many there are. It calls each with
// them, unless it is nil.
func (w *Walk) Do(each func(key, value []byte)) (int, error) {
	from := unsafe.Pointer(nil)
	for entries := 0; ; entries++ {
		err := MapElem(unix.BPF_MAP_GET_NEXT_KEY, w.fd, from, unsafe.Pointer(&w.next[0]), 0)
		if errors.Is(err, os.ErrNotExist) {
			return entries, nil
		}
		if err == nil {
			err = MapElem(unix.BPF_MAP_LOOKUP_ELEM, w.fd, unsafe.Pointer(&w.next[0]), unsafe.Pointer(&w.value[0]), 0)
		}
		if err != nil {
			return 0, err
		}
		if each != nil {
			each(w.next, w.value)
		}
		copy(w.key, w.next)
		from = unsafe.Pointer(&w.key[0])
	}
}
