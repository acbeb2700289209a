// SPDX-License-Identifier: BSD-3-Clause

package differential

import (
	"context"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/genl"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// peer is a side to talk to.
type peer interface {
	send(b []byte) error
	receive() ([]byte, error)
	option(o netlink.ConnOption, on bool) error
	port() uint32
	close()
}

// exchange sends a datagram, and behind it a request that is always answered,
// and returns all that came back before that answer, to the end of a dump.
func exchange(p peer, r *reader, datagram []byte, seq uint32) (answer, error) {
	var a answer
	if err := p.send(datagram); err != nil {
		var errno unix.Errno
		if !errors.As(err, &errno) {
			return nil, err
		}
		a = append(a, fmt.Sprintf("send: %v", errno))
	}
	if err := p.send(sentinel(seq)); err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	var dumping, answered bool
	for !answered || dumping {
		b, err := p.receive()
		if err != nil {
			return a, fmt.Errorf("receive: %w", err)
		}
		for _, m := range split(b) {
			if len(m) < 16 {
				return nil, fmt.Errorf("%d bytes are no message", len(m))
			}
			typ, flags := ne.Uint16(m[4:]), ne.Uint16(m[6:])
			if ne.Uint32(m[8:]) == seq {
				answered = answered || typ == unix.NLMSG_ERROR
				continue
			}
			switch {
			case typ == unix.NLMSG_DONE:
				dumping = false
			case flags&unix.NLM_F_MULTI != 0:
				dumping = true
			}
			a = append(a, r.words(m))
		}
	}
	return a, nil
}

// sentinel asks for the family of families.
func sentinel(seq uint32) []byte {
	m := &message{
		typ: unix.GENL_ID_CTRL, flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK,
		header: []byte{unix.CTRL_CMD_GETFAMILY, 2, 0, 0},
		attrs:  testutil.Attr(unix.CTRL_ATTR_FAMILY_NAME, []byte("nlctrl\x00")),
	}
	return m.bytes(seq)
}

// kernelPeer is a socket that leads to the kernel.
type kernelPeer struct {
	ns  *testutil.NetNS
	fd  int
	id  uint32
	buf []byte
}

func newKernelPeer(ns *testutil.NetNS) (*kernelPeer, error) {
	p := &kernelPeer{ns: ns, buf: make([]byte, 64<<10)}
	var err error
	ns.Do(func() {
		p.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
	})
	if err != nil {
		return nil, err
	}
	// An answer that is lost must not hang the run.
	unix.SetsockoptTimeval(p.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20})
	if err := unix.Bind(p.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		p.close()
		return nil, err
	}
	sa, err := unix.Getsockname(p.fd)
	if err != nil {
		p.close()
		return nil, err
	}
	p.id = sa.(*unix.SockaddrNetlink).Pid
	return p, nil
}

// send implements peer. What changes something has to come from the namespace.
func (p *kernelPeer) send(b []byte) (err error) {
	p.ns.Do(func() { err = unix.Sendto(p.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}) })
	return err
}

func (p *kernelPeer) receive() ([]byte, error) {
	n, _, err := unix.Recvfrom(p.fd, p.buf, 0)
	return p.buf[:max(n, 0)], err
}

var kernelOptions = map[netlink.ConnOption]int{
	netlink.CapAcknowledge:      unix.NETLINK_CAP_ACK,
	netlink.ExtendedAcknowledge: unix.NETLINK_EXT_ACK,
	netlink.GetStrictCheck:      unix.NETLINK_GET_STRICT_CHK,
	netlink.NoENOBUFS:           unix.NETLINK_NO_ENOBUFS,
	netlink.BroadcastError:      unix.NETLINK_BROADCAST_ERROR,
	netlink.PacketInfo:          unix.NETLINK_PKTINFO,
	netlink.ListenAllNSID:       unix.NETLINK_LISTEN_ALL_NSID,
}

func (p *kernelPeer) option(o netlink.ConnOption, on bool) error {
	v := 0
	if on {
		v = 1
	}
	return unix.SetsockoptInt(p.fd, unix.SOL_NETLINK, kernelOptions[o], v)
}

func (p *kernelPeer) port() uint32 { return p.id }
func (p *kernelPeer) close()       { unix.Close(p.fd) }

// serverPeer is a socket that leads to the server.
type serverPeer struct {
	genl.Transport
	ctx context.Context
	buf []byte
}

func newServerPeer(ctx context.Context, s *genl.Server) (*serverPeer, error) {
	t, err := s.Dial()
	if err != nil {
		return nil, err
	}
	return &serverPeer{Transport: t, ctx: ctx, buf: make([]byte, 64<<10)}, nil
}

func (p *serverPeer) send(b []byte) error { return p.Send(p.ctx, b, nil) }

func (p *serverPeer) receive() ([]byte, error) {
	n, err := p.Receive(p.ctx, p.buf)
	return p.buf[:min(n, len(p.buf))], err
}

func (p *serverPeer) option(o netlink.ConnOption, on bool) error { return p.SetOption(o, on) }
func (p *serverPeer) port() uint32                               { return p.PortID() }
func (p *serverPeer) close()                                     { p.Close() }

// findFamily returns the message type of the kernel's family.
func findFamily(p peer) (uint16, error) {
	m := &message{
		typ: unix.GENL_ID_CTRL, flags: unix.NLM_F_REQUEST,
		header: []byte{unix.CTRL_CMD_GETFAMILY, 2, 0, 0},
		attrs:  testutil.Attr(unix.CTRL_ATTR_FAMILY_NAME, append([]byte(family.FamilyName), 0)),
	}
	if err := p.send(m.bytes(1)); err != nil {
		return 0, err
	}
	b, err := p.receive()
	if err != nil {
		return 0, err
	}
	if len(b) < 20 || ne.Uint16(b[4:]) != unix.GENL_ID_CTRL {
		return 0, fmt.Errorf("family %s: %w", family.FamilyName, unix.ENOENT)
	}
	return ne.Uint16(testutil.Attrs(b[20:])[unix.CTRL_ATTR_FAMILY_ID]), nil
}
