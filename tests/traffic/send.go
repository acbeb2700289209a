// SPDX-License-Identifier: BSD-3-Clause

package traffic

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/bpf"
)

const (
	headerLen  = 14 // Ethernet header
	defaultLen = 60 // shortest Ethernet frame, without its checksum
	// defaultWindow is well below a veth's ring (256) and a NAPI budget (64).
	defaultWindow = 32
)

// SenderOptions say where frames go out. Only Dev is needed.
type SenderOptions struct {
	// NetNS is the path of the namespace that Dev is in, empty for the
	// caller's.
	NetNS string
	// Dev is the name of the netdev that sends.
	Dev string
	// Src and Dst are the addresses in the frames. By default two locally
	// administered ones.
	Src, Dst net.HardwareAddr
	// Length of a frame with its Ethernet header, 60 by default.
	Length int
	// Window is how many frames may be on their way, 32 by default.
	Window int
	// Taken returns how many frames the receiver has taken. The default is
	// the tx_packets counter of Dev, which on a veth counts what has left
	// the peer's ring.
	Taken func() (uint64, error)
}

// Sender sends test frames out of one netdev.
type Sender struct {
	opts  SenderOptions
	fd    int
	index int
	route *netlink.Conn
}

// NewSender opens a sender. The caller needs CAP_NET_RAW there, and calls
// Close.
func NewSender(opts SenderOptions) (*Sender, error) {
	if opts.Src == nil {
		opts.Src = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	}
	if opts.Dst == nil {
		opts.Dst = net.HardwareAddr{2, 0, 0, 0, 0, 2}
	}
	if opts.Length == 0 {
		opts.Length = defaultLen
	}
	if opts.Window == 0 {
		opts.Window = defaultWindow
	}
	if opts.Length <= headerLen {
		return nil, fmt.Errorf("frame of %d bytes has no room for a verdict", opts.Length)
	}

	fd, index, err := packetSocket(opts.NetNS, opts.Dev, 0)
	if err != nil {
		return nil, fmt.Errorf("open sender: %w", err)
	}
	s := &Sender{opts: opts, fd: fd, index: index}
	err = InNetNS(opts.NetNS, func() (err error) {
		s.route, err = netlink.Dial(unix.NETLINK_ROUTE, nil)
		return err
	})
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open sender: %w", err)
	}
	return s, nil
}

// Close closes the sender.
func (s *Sender) Close() error {
	return errors.Join(unix.Close(s.fd), s.route.Close())
}

// Send sends exactly n frames that ask for v and returns when the receiver has
// taken them all. After an error the number sent is unknown.
func (s *Sender) Send(ctx context.Context, v Verdict, n uint64) error {
	taken, dropped, err := s.progress()
	if err != nil {
		return fmt.Errorf("send %d %v frames: %w", n, v, err)
	}
	frame := s.frame(v)
	for sent := uint64(0); sent < n; {
		window := min(n-sent, uint64(s.opts.Window))
		for range window {
			if err := s.write(frame); err != nil {
				return fmt.Errorf("send %d %v frames: frame %d: %w", n, v, sent, err)
			}
			sent++
		}
		err := Until(ctx, fmt.Sprintf("the receiver to take %d frames of %v", sent, v), func() (bool, error) {
			now, lost, err := s.progress()
			if err == nil && lost != dropped {
				err = fmt.Errorf("%s dropped %d frames", s.opts.Dev, lost-dropped)
			}
			if err == nil && now > taken+sent {
				err = fmt.Errorf("%s sent %d frames beside ours", s.opts.Dev, now-taken-sent)
			}
			return now == taken+sent, err
		})
		if err != nil {
			return fmt.Errorf("send %d %v frames: %w", n, v, err)
		}
	}
	return nil
}

// SendAll sends the frames of counts, one verdict after the other, in the order
// of Verdicts.
func (s *Sender) SendAll(ctx context.Context, counts Counts) error {
	for _, v := range Verdicts {
		if err := s.Send(ctx, v, counts[v]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Sender) frame(v Verdict) []byte {
	f := make([]byte, s.opts.Length)
	copy(f, s.opts.Dst)
	copy(f[6:], s.opts.Src)
	binary.BigEndian.PutUint16(f[12:], bpf.EtherType)
	f[headerLen] = byte(v)
	return f
}

// write hands one frame to the driver, waiting for room in the socket. An
// error means that the driver did not get the frame.
func (s *Sender) write(frame []byte) error {
	for {
		err := unix.Sendto(s.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: s.index, Halen: 6})
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			fds := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLOUT}}
			if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
				return err
			}
		default:
			return err
		}
	}
}

// progress returns how many frames the receiver has taken and how many the
// netdev has dropped.
func (s *Sender) progress() (taken, dropped uint64, err error) {
	taken, dropped, err = s.linkStats()
	if err == nil && s.opts.Taken != nil {
		taken, err = s.opts.Taken()
	}
	return taken, dropped, err
}

// linkStats returns tx_packets and tx_dropped of the netdev.
func (s *Sender) linkStats() (packets, dropped uint64, err error) {
	// struct if_stats_msg, and the places of the two in rtnl_link_stats64.
	const (
		msgLen    = 12
		txPackets = 1 * 8
		txDropped = 7 * 8
	)
	req := netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETSTATS, Flags: netlink.Request},
		Data:   make([]byte, msgLen),
	}
	binary.NativeEndian.PutUint32(req.Data[4:], uint32(s.index))
	binary.NativeEndian.PutUint32(req.Data[8:], 1<<(unix.IFLA_STATS_LINK_64-1))
	replies, err := s.route.Execute(req)
	if err != nil {
		return 0, 0, fmt.Errorf("read counters of %s: %w", s.opts.Dev, err)
	}
	for _, m := range replies {
		ad, err := netlink.NewAttributeDecoder(m.Data[msgLen:])
		if err != nil {
			return 0, 0, fmt.Errorf("read counters of %s: %w", s.opts.Dev, err)
		}
		for ad.Next() {
			if b := ad.Bytes(); ad.Type() == unix.IFLA_STATS_LINK_64 && len(b) >= txDropped+8 {
				return binary.NativeEndian.Uint64(b[txPackets:]), binary.NativeEndian.Uint64(b[txDropped:]), nil
			}
		}
	}
	return 0, 0, fmt.Errorf("read counters of %s: none in the reply", s.opts.Dev)
}
