// SPDX-License-Identifier: BSD-3-Clause

package settings

import (
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

const (
	ebusy = unix.EBUSY
	// deferred is how long objects may take to go that the kernel frees after
	// a grace period or in a worker.
	deferred = 20 * time.Second
)

// channelCounts is what ethtool -l says.
type channelCounts struct {
	cmd, MaxRX, MaxTX, MaxOther, MaxCombined, RX, TX, Other, Combined uint32
}

func channels(t *testing.T, ns *testutil.NetNS, dev string) channelCounts {
	t.Helper()
	ch := channelCounts{cmd: 0x3c} // ETHTOOL_GCHANNELS
	var err error
	ns.Do(func() { err = ethtool(dev, unsafe.Pointer(&ch)) })
	if err != nil {
		t.Fatalf("read channels of %s: %v", dev, err)
	}
	return ch
}

func ethtool(dev string, data unsafe.Pointer) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var req struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(req.name[:unix.IFNAMSIZ-1], dev)
	req.data = data
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return errno
	}
	return nil
}
