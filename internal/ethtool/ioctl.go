// SPDX-License-Identifier: BSD-3-Clause

package ethtool

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// StringLen is the size of a driver's string. It need not end before that.
const StringLen = 32

// setStats is ETH_SS_STATS, the strings of the counters.
const setStats = 1

// maxCounters is more than a driver has. The most are some 100,000.
const maxCounters = 1 << 20

// ifreq is struct ifreq with a pointer in it.
type ifreq struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// tries is how often a request is made anew because somebody renamed the netdev
// meanwhile.
const tries = 10

// Name returns the name that a netdev has now.
func (c *Conn) Name(ifindex uint32) (string, error) {
	name, err := c.name(ifindex)
	if err != nil {
		return "", fmt.Errorf("name of netdev %d: %w", ifindex, err)
	}
	return name, nil
}

func (c *Conn) name(ifindex uint32) (string, error) {
	r, err := unix.NewIfreq("")
	if err != nil {
		return "", err
	}
	r.SetUint32(ifindex)
	if err := unix.IoctlIfreq(c.fd, unix.SIOCGIFNAME, r); err != nil {
		return "", os.NewSyscallError("ioctl SIOCGIFNAME", err)
	}
	return r.Name(), nil
}

// named calls f with the name of a netdev, and once more if the name was another
// netdev's when it was done: ioctl knows no ifindex.
func (c *Conn) named(ifindex uint32, f func(name string) error) error {
	for range tries {
		name, err := c.name(ifindex)
		if err != nil {
			return err
		}
		ferr := f(name)
		r, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		if err := unix.IoctlIfreq(c.fd, unix.SIOCGIFINDEX, r); err == nil && r.Uint32() == ifindex {
			return ferr
		}
	}
	return unix.ENODEV
}

// ethtool makes an ethtool request of the netdev with a name. Data must be no
// memory that moves.
func (c *Conn) ethtool(name string, data unsafe.Pointer) error {
	req := ifreq{data: data}
	copy(req.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(c.fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	if errno != 0 {
		return os.NewSyscallError("ioctl SIOCETHTOOL", errno)
	}
	return nil
}

// DrvInfo is what ethtool -i shows.
type DrvInfo struct {
	Driver, Version, FWVersion, BusInfo string
}

// DrvInfo returns what a driver says of itself.
func (c *Conn) DrvInfo(ifindex uint32) (*DrvInfo, error) {
	var info unix.EthtoolDrvinfo
	err := c.named(ifindex, func(name string) error {
		info = unix.EthtoolDrvinfo{Cmd: unix.ETHTOOL_GDRVINFO}
		var pin runtime.Pinner
		defer pin.Unpin()
		pin.Pin(&info)
		return c.ethtool(name, unsafe.Pointer(&info))
	})
	if err != nil {
		return nil, fmt.Errorf("driver of netdev %d: %w", ifindex, err)
	}
	return &DrvInfo{
		Driver:    unix.ByteSliceToString(info.Driver[:]),
		Version:   unix.ByteSliceToString(info.Version[:]),
		FWVersion: unix.ByteSliceToString(info.Fw_version[:]),
		BusInfo:   unix.ByteSliceToString(info.Bus_info[:]),
	}, nil
}

// CounterCount returns how many counters the driver of a netdev has. 0 if it has
// none.
func (c *Conn) CounterCount(ifindex uint32) (n int, err error) {
	err = c.named(ifindex, func(name string) error {
		n, err = c.count(name)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("counters of netdev %d: %w", ifindex, err)
	}
	return n, nil
}

// count asks how many counters there are.
func (c *Conn) count(name string) (int, error) {
	req := struct {
		cmd, _ uint32
		mask   uint64
		n      uint32
		_      uint32
	}{cmd: unix.ETHTOOL_GSSET_INFO, mask: 1 << setStats}
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&req)
	if err := c.ethtool(name, unsafe.Pointer(&req)); err != nil {
		return 0, err
	}
	if req.mask == 0 {
		return 0, nil // no such set
	}
	if req.n > maxCounters {
		return 0, fmt.Errorf("%d counters: %w", req.n, unix.ENOMEM)
	}
	return int(req.n), nil
}

// Strings returns what the counters of a driver are called, all in one, each
// StringLen long.
func (c *Conn) Strings(ifindex uint32) (b []byte, err error) {
	err = c.named(ifindex, func(name string) error {
		b, err = c.strings(name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("counters of netdev %d: %w", ifindex, err)
	}
	return b, nil
}

// header of struct ethtool_gstrings and struct ethtool_stats.
const (
	stringsHeader = 12
	statsHeader   = 8
)

func (c *Conn) strings(name string) ([]byte, error) {
	return c.read(name, stringsHeader, StringLen, func(b []byte, n int) {
		binary.NativeEndian.PutUint32(b, unix.ETHTOOL_GSTRINGS)
		binary.NativeEndian.PutUint32(b[4:], setStats)
		binary.NativeEndian.PutUint32(b[8:], uint32(n))
	}, nil)
}

// Counters reads the counters of a driver into dst, which is made larger if it
// is too small, and returns it, empty if there are none.
func (c *Conn) Counters(ifindex uint32, dst []uint64) ([]uint64, error) {
	err := c.named(ifindex, func(name string) (err error) {
		dst, err = c.counters(name, dst[:0])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("counters of netdev %d: %w", ifindex, err)
	}
	return dst, nil
}

func (c *Conn) counters(name string, dst []uint64) ([]uint64, error) {
	_, err := c.read(name, statsHeader, 8, func(b []byte, n int) {
		binary.NativeEndian.PutUint32(b, unix.ETHTOOL_GSTATS)
		binary.NativeEndian.PutUint32(b[4:], uint32(n))
	}, func(b []byte) {
		for ; len(b) > 0; b = b[8:] {
			dst = append(dst, binary.NativeEndian.Uint64(b))
		}
	})
	return dst, err
}

// read makes a request whose answer has an element of size bytes for each
// counter, after a header that fill fills in and whose last word is the number
// of counters. If take is nil, a copy of the elements is returned.
//
// Older kernels write as many as there are by then, whatever there is room for:
// so the room ends where the process may not write, and too many are EFAULT.
// Newer ones say that there are none if the number is not the right one.
func (c *Conn) read(name string, header, size int, fill func(b []byte, n int), take func(b []byte)) (out []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range tries {
		n, err := c.count(name)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, nil
		}
		b, err := c.buf.get(header + n*size)
		if err != nil {
			return nil, err
		}
		clear(b)
		fill(b, n)
		err = c.ethtool(name, unsafe.Pointer(&b[0]))
		if err != nil && !isFault(err) {
			return nil, err
		}
		if err != nil || int(binary.NativeEndian.Uint32(b[header-4:])) != n {
			continue // they have become more or fewer
		}
		if take != nil {
			take(b[header:])
			return nil, nil
		}
		return append(out, b[header:]...), nil
	}
	return nil, fmt.Errorf("the number of counters does not stay the same: %w", unix.EAGAIN)
}
