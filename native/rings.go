// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"errors"
	"syscall"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/ethtool"
)

// The rings of a netdev: how many, how large, and more of them, as ethtool
// changes them. Rings are only ever added. They are taken back if they are still
// what was made of them; the kernel and the driver keep those that somebody has
// come to rely on.

// ringSide says which rings of a netdev are meant.
type ringSide bool

const (
	ringsTX ringSide = false
	ringsRX ringSide = true
)

func (s ringSide) String() string {
	if s == ringsRX {
		return "RX"
	}
	return "TX"
}

// channels are the channels of one side of a netdev.
type channels struct {
	count    *uint32 // those that are changed, in an ethtool.Channels
	max      uint32  // most of them
	others   uint32  // those that count as well, and are left alone
	combined bool    // count are combined channels
}

// channelsOf goes on with the kind that is in use, where a driver has both.
func channelsOf(ch *ethtool.Channels, side ringSide) channels {
	own, most := &ch.TX, ch.MaxTX
	if side == ringsRX {
		own, most = &ch.RX, ch.MaxRX
	}
	if most != 0 && ch.Combined == 0 {
		return channels{count: own, max: most}
	}
	return channels{count: &ch.Combined, max: ch.MaxCombined, others: *own, combined: true}
}

// nameOf is the driver of a netdev, for texts.
func nameOf(driver string) string {
	if driver == "" {
		return "of the netdev"
	}
	return driver
}

// driver is the name of the driver of a netdev, or "".
func (s *side) driver() (string, error) {
	if s.dev.kind != "" {
		return s.dev.kind, nil
	}
	eth, err := s.c.ethtool()
	if err != nil {
		return "", err
	}
	info, err := eth.DrvInfo(s.dev.index)
	if errors.Is(err, syscall.EOPNOTSUPP) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return info.Driver, nil
}

// queues counts the queues of a side that are in use.
func (s *side) queues(of ringSide) (n uint32, err error) {
	err = s.c.inNetNS(func() error {
		rx, tx, err := s.dev.queues()
		n = tx
		if of == ringsRX {
			n = rx
		}
		return err
	})
	return n, err
}

// rings counts the rings of a netdev.
func (s *side) rings(ctx context.Context, of ringSide) (uint32, error) {
	eth, err := s.c.ethtool()
	if err != nil {
		return 0, err
	}
	ch, err := eth.ChannelsGet(ctx, s.dev.index)
	if err != nil {
		return s.queues(of)
	}
	have := channelsOf(ch, of)
	if n := *have.count + have.others; n != 0 {
		return n, nil
	}
	return s.queues(of)
}

// ringSize is how many frames a TX ring of a netdev holds, or 0 if the driver
// does not tell.
func (s *side) ringSize(ctx context.Context) (uint32, error) {
	eth, err := s.c.ethtool()
	if err != nil {
		return 0, err
	}
	r, err := eth.RingsGet(ctx, s.dev.index)
	if err != nil {
		return 0, nil
	}
	return r.TX, nil
}

// refused says why a driver does not change rings. One that refuses because of a
// program does not say so.
func (s *side) refused(driver, what string, err error) error {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err
	}
	if s.dev.xdp.native != 0 {
		return refuse(syscall.EBUSY, "", "driver %s does not change %s while an XDP program is attached", nameOf(driver), what)
	}
	return refuse(errno, "", "driver %s refuses to change %s", nameOf(driver), what)
}

// raise sees to it that a netdev has enough rings. Record is called with what is
// to be changed before it is.
func (s *side) raise(ctx context.Context, of ringSide, num uint32, record func(ringChange) error) error {
	driver, err := s.driver()
	if err != nil {
		return err
	}
	eth, err := s.c.ethtool()
	if err != nil {
		return err
	}
	fixed := func(n uint32) error {
		return refuse(syscall.EOPNOTSUPP, "", "driver %s has %d %s rings and cannot change that", nameOf(driver), n, of)
	}
	ch, err := eth.ChannelsGet(ctx, s.dev.index)
	if errors.Is(err, syscall.EOPNOTSUPP) {
		n, err := s.queues(of)
		if err == nil && num > n {
			err = fixed(n)
		}
		return err
	}
	if err != nil {
		return notThere(err)
	}
	have := channelsOf(ch, of)
	if num <= *have.count+have.others {
		return nil
	}
	if most := have.max + have.others; num > most {
		return refuse(syscall.EOPNOTSUPP, "", "driver %s has at most %d %s rings here", nameOf(driver), most, of)
	}
	change := ringChange{NumOld: *have.count, NumNew: num - have.others, Combined: number(have.combined)}
	if err := record(change); err != nil {
		return err
	}
	*have.count = change.NumNew
	err = eth.ChannelsSet(ctx, s.dev.index, ch)
	if errors.Is(err, syscall.EOPNOTSUPP) {
		return fixed(change.NumOld + have.others)
	}
	if err != nil {
		return s.refused(driver, "the number of its rings", err)
	}
	return nil
}

func notThere(err error) error {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err
	}
	return refuse(errno, "", "the device is not there now")
}

// grow sees to it that the TX rings of a netdev are large enough.
func (s *side) grow(ctx context.Context, size uint32, record func(ringChange) error) error {
	driver, err := s.driver()
	if err != nil {
		return err
	}
	eth, err := s.c.ethtool()
	if err != nil {
		return err
	}
	r, err := eth.RingsGet(ctx, s.dev.index)
	if errors.Is(err, syscall.EOPNOTSUPP) {
		return refuse(syscall.EOPNOTSUPP, "", "driver %s does not tell what its TX rings hold", nameOf(driver))
	}
	if err != nil {
		return notThere(err)
	}
	atMost := func(n uint32) error {
		return refuse(syscall.EOPNOTSUPP, "", "a TX ring of driver %s holds at most %d frames", nameOf(driver), n)
	}
	if size <= r.TX {
		return nil
	}
	if size > r.MaxTX {
		return atMost(max(r.MaxTX, r.TX))
	}
	if err := record(ringChange{SizeOld: r.TX, SizeNew: size}); err != nil {
		return err
	}
	err = eth.RingsSet(ctx, s.dev.index, &ethtool.Rings{TX: size})
	if errors.Is(err, syscall.EOPNOTSUPP) {
		return atMost(r.TX)
	}
	if err != nil {
		return s.refused(driver, "the size of its rings", err)
	}
	// The driver may have rounded it up.
	now, err := eth.RingsGet(ctx, s.dev.index)
	if err != nil || now.TX == size {
		return nil
	}
	return record(ringChange{SizeOld: r.TX, SizeNew: now.TX})
}

// restore undoes raise and grow. What somebody else has changed since, has come
// to rely on, or what the driver does not give back now, stays.
func (s *side) restore(ctx context.Context, of ringSide, c *ringChange) error {
	if c.NumNew == 0 && c.SizeNew == 0 {
		return nil
	}
	eth, err := s.c.ethtool()
	if err != nil {
		return err
	}
	if c.SizeNew != 0 {
		if r, err := eth.RingsGet(ctx, s.dev.index); err == nil && r.TX == c.SizeNew {
			eth.RingsSet(ctx, s.dev.index, &ethtool.Rings{TX: c.SizeOld})
		}
	}
	if c.NumNew == 0 {
		return nil
	}
	ch, err := eth.ChannelsGet(ctx, s.dev.index)
	if err != nil {
		return nil
	}
	have := channelsOf(ch, of)
	if number(have.combined) != c.Combined || *have.count != c.NumNew {
		return nil
	}
	*have.count = c.NumOld
	eth.ChannelsSet(ctx, s.dev.index, ch)
	return nil
}

// merge adds what was changed later.
func (c *ringChange) merge(more ringChange) {
	if more.NumNew != 0 {
		if c.NumNew == 0 || c.Combined != more.Combined {
			c.NumOld = more.NumOld
		}
		c.NumNew, c.Combined = more.NumNew, more.Combined
	}
	if more.SizeNew != 0 {
		if c.SizeNew == 0 {
			c.SizeOld = more.SizeOld
		}
		c.SizeNew = more.SizeNew
	}
}

// caps reads what a netdev can do.
func (s *side) caps(ctx context.Context) (v family.Caps, err error) {
	err = s.c.Caps().Lookup(ctx, &family.CapsKey{Ifindex: s.dev.index}, &v)
	return v, err
}
