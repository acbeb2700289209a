// SPDX-License-Identifier: BSD-3-Clause

// Package ethtool asks netdevs what ethtool(8) asks them, and sets a few things:
// by netlink what netlink has, and by ioctl the counters of drivers, which it has
// not.
//
// A netdev that is not there is unix.ENODEV, and what a driver has not is
// unix.EOPNOTSUPP; both are in what the functions return as errors.Is finds it.
package ethtool

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/genl"
	"github.com/xdpctl/xdpctl-nl/internal/netns"
)

// Conn speaks of the netdevs of one network namespace. It may be used by several
// goroutines at once, on whatever threads.
type Conn struct {
	genl *genl.Conn
	fd   int // socket for ioctl, which remembers the namespace

	mu     sync.Mutex
	family *genl.Family // nil until it is needed
	buf    guarded      // for counters and strings
}

// Dial opens a connection to the netdevs of a network namespace, which ns
// refers to; if 0, that of the calling thread.
func Dial(ns int) (*Conn, error) {
	c := &Conn{fd: -1}
	if err := c.dial(ns); err != nil {
		c.Close()
		return nil, fmt.Errorf("dial ethtool: %w", err)
	}
	return c, nil
}

func (c *Conn) dial(ns int) (err error) {
	c.genl, err = genl.Dial(genl.Options{NetNS: ns})
	if err != nil {
		return err
	}
	socket := func() (err error) {
		c.fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return os.NewSyscallError("socket", err)
	}
	if ns == 0 {
		return socket()
	}
	f, err := netns.Dup(ns)
	if err != nil {
		return err
	}
	defer f.Close()
	return netns.Do(f, socket)
}

// Close closes the connection, which nobody may be using.
func (c *Conn) Close() error {
	var errs []error
	if c.genl != nil {
		errs = append(errs, c.genl.Close())
		c.genl = nil
	}
	if c.fd >= 0 {
		errs = append(errs, os.NewSyscallError("close", unix.Close(c.fd)))
		c.fd = -1
	}
	return errors.Join(append(errs, c.buf.free())...)
}

// familyID finds the family ethtool, which is part of the kernel and keeps its
// number.
func (c *Conn) familyID(ctx context.Context) (*genl.Family, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.family != nil {
		return c.family, nil
	}
	f, err := c.genl.Family(ctx, unix.ETHTOOL_GENL_NAME)
	if err != nil {
		return nil, err
	}
	c.family = f
	return f, nil
}

// names of the attributes of all requests here, for errors.
type names map[uint16]string

func (n names) AttrName(typ uint16) string { return n[typ] }

// do makes a request about a netdev. Every request has its header in attribute
// 1. Each is called with the attributes of the answer.
func (c *Conn) do(ctx context.Context, op string, cmd uint8, ifindex uint32, flags uint32, attrs []byte, n names, each func(typ uint16, data []byte) error) error {
	f, err := c.familyID(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	b := genl.AppendNested(nil, 1, func(b []byte) []byte {
		b = genl.AppendUint32(b, unix.ETHTOOL_A_HEADER_DEV_INDEX, ifindex)
		if flags != 0 {
			b = genl.AppendUint32(b, unix.ETHTOOL_A_HEADER_FLAGS, flags)
		}
		return b
	})
	return c.genl.Do(ctx, genl.Request{
		Op: op, Family: f, Command: cmd, Attrs: append(b, attrs...), Names: n,
	}, func(m genl.Message) error {
		if each == nil {
			return nil
		}
		return eachAttr(m.Attrs, each)
	})
}

func eachAttr(b []byte, fn func(typ uint16, data []byte) error) error {
	for len(b) > 0 {
		typ, data, rest, ok := genl.NextAttr(b)
		if !ok {
			return genl.ErrMalformed
		}
		if err := fn(typ, data); err != nil {
			return err
		}
		b = rest
	}
	return nil
}

// fields are the numbers of an answer or a request: where each is by attribute.
type fields map[uint16]*uint32

func (f fields) read(typ uint16, data []byte) error {
	p := f[typ]
	if p == nil {
		return nil
	}
	if len(data) != 4 {
		return genl.ErrMalformed
	}
	*p = binary.NativeEndian.Uint32(data)
	return nil
}

// Channels are the channels of a netdev, as ethtool -l shows them.
type Channels struct {
	MaxRX, MaxTX, MaxOther, MaxCombined uint32
	RX, TX, Other, Combined             uint32
}

var channelNames = names{
	unix.ETHTOOL_A_CHANNELS_HEADER:         "header",
	unix.ETHTOOL_A_CHANNELS_RX_COUNT:       "rx-count",
	unix.ETHTOOL_A_CHANNELS_TX_COUNT:       "tx-count",
	unix.ETHTOOL_A_CHANNELS_OTHER_COUNT:    "other-count",
	unix.ETHTOOL_A_CHANNELS_COMBINED_COUNT: "combined-count",
}

func (ch *Channels) fields() fields {
	return fields{
		unix.ETHTOOL_A_CHANNELS_RX_MAX:         &ch.MaxRX,
		unix.ETHTOOL_A_CHANNELS_TX_MAX:         &ch.MaxTX,
		unix.ETHTOOL_A_CHANNELS_OTHER_MAX:      &ch.MaxOther,
		unix.ETHTOOL_A_CHANNELS_COMBINED_MAX:   &ch.MaxCombined,
		unix.ETHTOOL_A_CHANNELS_RX_COUNT:       &ch.RX,
		unix.ETHTOOL_A_CHANNELS_TX_COUNT:       &ch.TX,
		unix.ETHTOOL_A_CHANNELS_OTHER_COUNT:    &ch.Other,
		unix.ETHTOOL_A_CHANNELS_COMBINED_COUNT: &ch.Combined,
	}
}

// ChannelsGet reads the channels of a netdev. A kind that the driver has not is
// 0, its maximum, too.
func (c *Conn) ChannelsGet(ctx context.Context, ifindex uint32) (*Channels, error) {
	ch := new(Channels)
	err := c.do(ctx, "channels-get", unix.ETHTOOL_MSG_CHANNELS_GET, ifindex, 0, nil, channelNames, ch.fields().read)
	if err != nil {
		return nil, err
	}
	return ch, nil
}

// ChannelsSet makes the channels of a netdev as many as ch says; those of a kind
// that the driver has not must be 0. The maxima are not looked at.
func (c *Conn) ChannelsSet(ctx context.Context, ifindex uint32, ch *Channels) error {
	// A count that does not change is no request: drivers refuse kinds that
	// they have not even if they are 0.
	old, err := c.ChannelsGet(ctx, ifindex)
	if err != nil {
		return err
	}
	var b []byte
	for _, f := range []struct {
		attr     uint16
		old, new uint32
	}{
		{unix.ETHTOOL_A_CHANNELS_RX_COUNT, old.RX, ch.RX},
		{unix.ETHTOOL_A_CHANNELS_TX_COUNT, old.TX, ch.TX},
		{unix.ETHTOOL_A_CHANNELS_OTHER_COUNT, old.Other, ch.Other},
		{unix.ETHTOOL_A_CHANNELS_COMBINED_COUNT, old.Combined, ch.Combined},
	} {
		if f.old != f.new {
			b = genl.AppendUint32(b, f.attr, f.new)
		}
	}
	if b == nil {
		return nil
	}
	return c.do(ctx, "channels-set", unix.ETHTOOL_MSG_CHANNELS_SET, ifindex, 0, b, channelNames, nil)
}

// Rings are the sizes of the rings of a netdev in descriptors, as ethtool -g
// shows them.
type Rings struct {
	MaxRX, MaxTX uint32
	RX, TX       uint32
}

var ringNames = names{
	unix.ETHTOOL_A_RINGS_HEADER: "header",
	unix.ETHTOOL_A_RINGS_RX:     "rx",
	unix.ETHTOOL_A_RINGS_TX:     "tx",
}

// RingsGet reads the sizes of the rings of a netdev.
func (c *Conn) RingsGet(ctx context.Context, ifindex uint32) (*Rings, error) {
	r := new(Rings)
	f := fields{
		unix.ETHTOOL_A_RINGS_RX_MAX: &r.MaxRX,
		unix.ETHTOOL_A_RINGS_TX_MAX: &r.MaxTX,
		unix.ETHTOOL_A_RINGS_RX:     &r.RX,
		unix.ETHTOOL_A_RINGS_TX:     &r.TX,
	}
	err := c.do(ctx, "rings-get", unix.ETHTOOL_MSG_RINGS_GET, ifindex, 0, nil, ringNames, f.read)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// RingsSet sets the sizes of the rings of a netdev; 0 leaves one as it is. The
// maxima are not looked at. The driver may round up.
func (c *Conn) RingsSet(ctx context.Context, ifindex uint32, r *Rings) error {
	var b []byte
	if r.RX != 0 {
		b = genl.AppendUint32(b, unix.ETHTOOL_A_RINGS_RX, r.RX)
	}
	if r.TX != 0 {
		b = genl.AppendUint32(b, unix.ETHTOOL_A_RINGS_TX, r.TX)
	}
	return c.do(ctx, "rings-set", unix.ETHTOOL_MSG_RINGS_SET, ifindex, 0, b, ringNames, nil)
}
