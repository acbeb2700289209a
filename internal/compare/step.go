// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"encoding/hex"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/rawsys"
)

// step is a request as its system calls have it, which C and Go make alike.
type step interface {
	// line is the step as tests/bench/replay.h reads it. Fd gives the numbers
	// that file descriptors have there.
	line(fd func(int) int) string
	// open makes all that is needed to do it from Go. Each is called with what
	// is read, unless it is nil.
	open(each func([]byte)) (do func() (int, error), done func() error, err error)
	// bytes are those of an operation with so many entries, if they are known
	// beforehand.
	bytes(entries int) (sent, received int, ok bool)
}

// message is a netlink message.
type message struct {
	protocol int
	msg      []byte
	remote   []byte // for another process, if that has other file descriptors
}

func (m *message) line(func(int) int) string {
	msg := m.msg
	if m.remote != nil {
		msg = m.remote
	}
	return fmt.Sprintf("netlink %d %x", m.protocol, msg)
}

func (m *message) open(each func([]byte)) (func() (int, error), func() error, error) {
	n, err := rawsys.Dial(m.protocol)
	if err != nil {
		return nil, nil, err
	}
	return func() (int, error) { return n.Exchange(m.msg, each) }, n.Close, nil
}

func (m *message) bytes(int) (sent, received int, ok bool) { return 0, 0, false }

// elem is an operation on an element of a map.
type elem struct {
	cmd, fd    int
	key, value []byte // value is nil for a delete
	remote     []byte // instead of value, for another process
	flags      uint64
}

func hexOf(b []byte) string {
	if len(b) == 0 {
		return "-"
	}
	return hex.EncodeToString(b)
}

func (e *elem) line(fd func(int) int) string {
	value := e.value
	if e.remote != nil {
		value = e.remote
	}
	return fmt.Sprintf("elem %d %d %s %s %d", e.cmd, fd(e.fd), hexOf(e.key), hexOf(value), e.flags)
}

func (e *elem) open(each func([]byte)) (func() (int, error), func() error, error) {
	value := unsafe.Pointer(nil)
	if e.value != nil {
		value = unsafe.Pointer(&e.value[0])
	}
	do := func() (int, error) {
		err := rawsys.MapElem(uintptr(e.cmd), e.fd, unsafe.Pointer(&e.key[0]), value, e.flags)
		if err == nil && each != nil && e.cmd == unix.BPF_MAP_LOOKUP_ELEM {
			each(e.key)
			each(e.value)
		}
		return 1, err
	}
	return do, func() error { return nil }, nil
}

func (e *elem) bytes(int) (sent, received int, ok bool) {
	if e.cmd == unix.BPF_MAP_LOOKUP_ELEM {
		return rawsys.AttrSize + len(e.key), len(e.value), true
	}
	return rawsys.AttrSize + len(e.key) + len(e.value), 0, true
}

// walk is an iteration over a map.
type walk struct{ fd, keySize, valueSize int }

func (w *walk) line(fd func(int) int) string {
	return fmt.Sprintf("walk %d %d %d", fd(w.fd), w.keySize, w.valueSize)
}

func (w *walk) open(each func([]byte)) (func() (int, error), func() error, error) {
	walk := rawsys.NewWalk(w.fd, w.keySize, w.valueSize)
	var both func(key, value []byte)
	if each != nil {
		both = func(key, value []byte) { each(key); each(value) }
	}
	return func() (int, error) { return walk.Do(both) }, func() error { return nil }, nil
}

// The last key has none after it, which takes another call.
func (w *walk) bytes(n int) (sent, received int, ok bool) {
	return (2*n+1)*rawsys.AttrSize + 2*n*w.keySize, n * (w.keySize + w.valueSize), true
}

// counters is the ioctl of ethtool -S.
type counters struct{ netdev string }

func (c *counters) line(func(int) int) string { return "ethtool " + c.netdev }

func (c *counters) open(func([]byte)) (func() (int, error), func() error, error) {
	s, err := newEthtoolStats(c.netdev)
	if err != nil {
		return nil, nil, err
	}
	return s.do, s.close, nil
}

func (c *counters) bytes(int) (sent, received int, ok bool) { return 0, 0, false }

// setStats is ETH_SS_STATS.
const setStats = 1

// ethtoolStats has the room that ETHTOOL_GSTATS wants.
type ethtoolStats struct {
	fd  int
	ifr *ifreq
	buf []byte
}

// ifreq is struct ifreq with a pointer in it.
type ifreq struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

func newEthtoolStats(netdev string) (*ethtoolStats, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	s := &ethtoolStats{fd: fd, ifr: &ifreq{}}
	copy(s.ifr.name[:], netdev)
	// struct ethtool_sset_info with room for one number.
	sset := struct {
		cmd, _ uint32
		mask   uint64
		n      uint32
	}{cmd: unix.ETHTOOL_GSSET_INFO, mask: 1 << setStats}
	s.ifr.data = unsafe.Pointer(&sset)
	if err := s.call(); err != nil {
		return nil, errors.Join(fmt.Errorf("ethtool: number of counters: %w", err), s.close())
	}
	s.buf = make([]byte, 8+8*sset.n)
	header := (*[2]uint32)(unsafe.Pointer(&s.buf[0]))
	header[0], header[1] = unix.ETHTOOL_GSTATS, sset.n
	s.ifr.data = unsafe.Pointer(&s.buf[0])
	return s, nil
}

func (s *ethtoolStats) call() error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s.fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(s.ifr)))
	if errno != 0 {
		return errno
	}
	return nil
}

func (s *ethtoolStats) do() (int, error) { return 1, s.call() }

func (s *ethtoolStats) close() error { return unix.Close(s.fd) }
