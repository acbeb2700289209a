// SPDX-License-Identifier: BSD-3-Clause

package traffic

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/bpf"
)

// receiveBuffer holds some thousand frames of one page each.
const receiveBuffer = 64 << 20

// Counter counts the test frames that reach the stack on one netdev, that is,
// behind XDP.
type Counter struct {
	dev  string
	file *os.File

	mu     sync.Mutex
	counts Counts
	err    error
	done   chan struct{}
}

// CounterOptions say where to count.
type CounterOptions struct {
	// NetNS is the path of the namespace that Dev is in, empty for the
	// caller's.
	NetNS string
	// Dev is the name of the netdev that receives.
	Dev string
}

// NewCounter counts from now on. The caller needs CAP_NET_ADMIN there, and
// calls Close.
func NewCounter(opts CounterOptions) (*Counter, error) {
	fd, _, err := packetSocket(opts.NetNS, opts.Dev, bpf.EtherType)
	if err != nil {
		return nil, fmt.Errorf("open counter: %w", err)
	}
	c := &Counter{
		dev:    opts.Dev,
		file:   os.NewFile(uintptr(fd), "packet:"+opts.Dev),
		counts: Counts{},
		done:   make(chan struct{}),
	}
	go c.run()
	return c, nil
}

// Close stops counting.
func (c *Counter) Close() error {
	err := c.file.Close()
	<-c.done
	return err
}

// Counts returns what has arrived so far. It fails if the counter could not
// keep up and frames were lost.
func (c *Counter) Counts() (Counts, error) {
	lost, err := c.lost()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && err != nil {
		c.err = fmt.Errorf("read packet statistics: %w", err)
	}
	if c.err == nil && lost != 0 {
		c.err = fmt.Errorf("%d frames did not fit into the receive buffer", lost)
	}
	return maps.Clone(c.counts), c.err
}

// lost returns how many frames the socket has dropped since the last call.
func (c *Counter) lost() (n uint32, err error) {
	conn, err := c.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := conn.Control(func(fd uintptr) {
		var stats *unix.TpacketStats
		stats, err = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
		if err == nil {
			n = stats.Drops
		}
	})
	return n, errors.Join(cerr, err)
}

// Wait returns when want has arrived. It fails as soon as more has, when
// frames were lost on the way to the counter, and when ctx ends.
func (c *Counter) Wait(ctx context.Context, want Counts) error {
	var got Counts
	err := Until(ctx, fmt.Sprintf("%v on %s", want, c.dev), func() (bool, error) {
		var err error
		if got, err = c.Counts(); err != nil {
			return false, err
		}
		if got.exceeds(want) {
			return false, errors.New("more frames than were sent")
		}
		return got.Equal(want), nil
	})
	if err != nil {
		return fmt.Errorf("count frames on %s: got %v, want %v: %w", c.dev, got, want, err)
	}
	return nil
}

// run reads frames until the file is closed. The filter has seen to it that
// they are test frames, and cut them behind the verdict.
func (c *Counter) run() {
	defer close(c.done)
	var frame [headerLen + 1]byte
	for {
		n, err := c.file.Read(frame[:])
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err == nil && n < len(frame) {
			err = fmt.Errorf("frame of %d bytes", n)
		}
		c.mu.Lock()
		if err != nil {
			c.err = fmt.Errorf("read frame: %w", err)
			c.mu.Unlock()
			return
		}
		c.counts[Verdict(frame[headerLen])]++
		c.mu.Unlock()
	}
}

// prepareCounter readies a packet socket before it is bound: only frames that
// come in, only test frames, cut behind the verdict.
func prepareCounter(fd int) error {
	// Classic BPF: ldh [12]; jeq #EtherType, 0, 1; ret #15; ret #0.
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 12},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: bpf.EtherType},
		{Code: unix.BPF_RET | unix.BPF_K, K: headerLen + 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return fmt.Errorf("attach filter: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer); err != nil {
		return fmt.Errorf("enlarge receive buffer: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
		return fmt.Errorf("ignore outgoing frames: %w", err)
	}
	return nil
}
