// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"errors"
	"slices"
	"syscall"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/ethtool"
)

// setup-redirect makes a netdev without an XDP program able to send the frames
// that are redirected to it, by what its driver needs for that, as
// kmod/redirect.c does.

// vethRing is what a veth makes its rings of, VETH_RING_SIZE.
const vethRing = 256

// xmitNeedsProgram are the drivers that send what is redirected to them only
// while they have a program.
var xmitNeedsProgram = []string{
	"bnxt_en", "ena", "funeth", "gve", "i40e", "ice", "igb", "igc",
	"ixgbe", "rvu_nicpf", "virtio_net",
}

// xmitNever are drivers that run programs and have no ndo_xdp_xmit.
var xmitNever = []string{"bond", "ixgbevf", "netdevsim", "nfp", "nicvf"}

// redirection is setup-redirect at work on a netdev.
type redirection struct {
	side
	driverName string
	features   family.XDPAct
	before     settings // what is set so far
	done       settings // what was done here
}

func (c *Control) redirection(ctx context.Context, dev *netdev) (*redirection, error) {
	r := &redirection{side: side{c: c, dev: dev}}
	var err error
	if r.before, err = c.settingsOf(dev.index); err != nil {
		return nil, err
	}
	return r, r.look(ctx)
}

// look reads what may have changed of the netdev.
func (r *redirection) look(ctx context.Context) (err error) {
	if r.dev, err = r.c.netdev(r.dev.index); err != nil {
		return err
	}
	if r.driverName, err = r.driver(); err != nil {
		return err
	}
	caps, err := r.caps(ctx)
	r.features = caps.XDPFeatures
	return err
}

func (r *redirection) isVeth() bool { return r.dev.kind == "veth" }

// isAble tells whether what is redirected to the netdev is sent, as things are
// now.
func (r *redirection) isAble(ctx context.Context) (bool, error) {
	if r.features&family.XDPActNDOXmit == 0 {
		return false, nil
	}
	if !r.isVeth() {
		return !slices.Contains(xmitNeedsProgram, r.driverName) || r.dev.xdp.native != 0, nil
	}
	peer, err := r.c.peer(r.dev)
	if isRefusal(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer peer.close()
	if !peer.dev.up || peer.dev.xdp.native != 0 {
		return peer.dev.up, nil
	}
	return peer.gro(ctx)
}

// isRefusal tells whether err is a refusal, and not a failure of the machine.
func isRefusal(err error) bool {
	var e *family.Error
	return errors.As(err, &e)
}

// gro tells whether GRO is on.
func (s *side) gro(ctx context.Context) (bool, error) {
	eth, err := s.c.ethtool()
	if err != nil {
		return false, err
	}
	f, err := eth.FeaturesGet(ctx, s.dev.index)
	if err != nil {
		return false, err
	}
	return f.Active[ethtool.FeatureGRO], nil
}

// needsPlaceholder: the features are not asked for a driver of the list, which
// has them while there is a program, be it somebody else's, that may go.
func (r *redirection) needsPlaceholder() bool {
	if r.isVeth() {
		return false
	}
	if slices.Contains(xmitNeedsProgram, r.driverName) {
		return true
	}
	return r.features&family.XDPActBasic != 0 && r.features&family.XDPActNDOXmit == 0
}

// checkDriver refuses a driver without ndo_xdp_xmit. The kernel does not tell
// who has it. Whoever has it runs programs or says that it sends.
func (r *redirection) checkDriver() error {
	switch {
	case r.isVeth(), r.features&family.XDPActNDOXmit != 0, slices.Contains(xmitNeedsProgram, r.driverName):
		return nil
	case r.features&family.XDPActBasic != 0 && !slices.Contains(xmitNever, r.driverName):
		return nil
	case r.driverName != "":
		return refuse(syscall.EOPNOTSUPP, "",
			"driver %s has no ndo_xdp_xmit, so that nothing can be redirected to the netdev", r.driverName)
	default:
		return refuse(syscall.EOPNOTSUPP, "",
			"the netdev has no ndo_xdp_xmit, so that nothing can be redirected to it")
	}
}

// record takes down what is about to be done.
func (r *redirection) record(note func(done *settings)) error {
	note(&r.done)
	s := r.before
	s.Redirect = 1
	s.Placeholder |= r.done.Placeholder
	s.GRO |= r.done.GRO
	s.Rings.merge(r.done.Rings)
	s.Queues.merge(r.done.Queues)
	return r.c.settingsPut(r.dev.index, &s)
}

func (r *redirection) recordRings(c ringChange) error {
	return r.record(func(done *settings) { done.Rings.merge(c) })
}

func (r *redirection) recordQueues(c ringChange) error {
	return r.record(func(done *settings) { done.Queues.merge(c) })
}

// vethPrepare does to a veth what it lacks.
func (r *redirection) vethPrepare(ctx context.Context, num, size uint32) error {
	peer, err := r.c.peer(r.dev)
	if err != nil {
		return err
	}
	defer peer.close()
	if !peer.dev.up {
		return refuse(syscall.ENETDOWN, "", "the peer %s of the veth must be up", peer.dev.name)
	}
	if size > vethRing {
		return refuse(syscall.EOPNOTSUPP, "", "a ring of a veth holds %d frames", vethRing)
	}
	if err := peer.raise(ctx, ringsRX, num, r.recordRings); err != nil {
		return err
	}
	tx, err := peer.queues(ringsTX)
	if err != nil {
		return err
	}
	// or veth has no XDP features, and the core redirects nothing
	if err := r.raise(ctx, ringsRX, tx, r.recordQueues); err != nil {
		return err
	}
	// A program that has NAPI there may go.
	on, err := peer.gro(ctx)
	if err != nil || on {
		return err
	}
	if err := r.record(func(done *settings) { done.GRO = 1 }); err != nil {
		return err
	}
	if err := peer.setGRO(ctx, true); err != nil {
		return err
	}
	if on, err = peer.gro(ctx); err != nil || on {
		return err
	}
	return refuse(syscall.EOPNOTSUPP, "", "GRO cannot be turned on at the peer %s", peer.dev.name)
}

func (s *side) setGRO(ctx context.Context, on bool) error {
	eth, err := s.c.ethtool()
	if err != nil {
		return err
	}
	return eth.FeaturesSet(ctx, s.dev.index, map[string]bool{ethtool.FeatureGRO: on})
}

// undo undoes what s says, but for the placeholder, and for a peer that is out
// of reach now: it was moved to another netns.
func (r *redirection) undo(ctx context.Context, s *settings) error {
	if !r.isVeth() {
		return r.restore(ctx, ringsTX, &s.Rings)
	}
	err := r.restore(ctx, ringsRX, &s.Queues)
	peer, peerErr := r.c.peer(r.dev)
	if isRefusal(peerErr) {
		return err
	}
	if peerErr != nil {
		return errors.Join(err, peerErr)
	}
	defer peer.close()
	if s.GRO != 0 {
		err = errors.Join(err, peer.setGRO(ctx, false))
	}
	return errors.Join(err, peer.restore(ctx, ringsRX, &s.Rings))
}

// prepare does all but the placeholder. The caller undoes it after an error.
func (r *redirection) prepare(ctx context.Context, num, size uint32) error {
	if err := r.checkDriver(); err != nil {
		return err
	}
	var err error
	if r.isVeth() {
		err = r.vethPrepare(ctx, num, size)
	} else {
		err = r.raise(ctx, ringsTX, num, r.recordRings)
		if err == nil && size != 0 {
			err = r.grow(ctx, size, r.recordRings)
		}
	}
	if err != nil || r.needsPlaceholder() {
		return err
	}
	if err := r.look(ctx); err != nil {
		return err
	}
	able, err := r.isAble(ctx)
	if err != nil || able {
		return err
	}
	return refuse(syscall.EOPNOTSUPP, "",
		"driver %s sends nothing that is redirected to the netdev in its present settings", nameOf(r.driverName))
}

// on sets up the netdev. Of one that is set up already, it makes sure of it, and
// adds rings.
func (r *redirection) on(ctx context.Context, num, size uint32) error {
	err := r.prepare(ctx, num, size)
	if err == nil && (r.before.Placeholder != 0 || r.needsPlaceholder()) {
		err = r.record(func(done *settings) { done.Placeholder = 1 })
		if err == nil {
			_, err = r.c.placeholderOn(ctx, r.dev.index)
		}
	}
	if err == nil {
		return r.record(func(*settings) {})
	}
	if r.done != (settings{}) {
		err = errors.Join(err, r.undo(ctx, &r.done), r.putBack())
	}
	return err
}

// putBack writes what was set before.
func (r *redirection) putBack() error {
	if err := r.c.settingsPut(r.dev.index, &r.before); err != nil {
		return err
	}
	return r.c.settingsTidy(r.dev.index)
}

// off undoes all.
func (r *redirection) off(ctx context.Context) error {
	s := r.before
	if s.Redirect == 0 {
		return nil
	}
	if s.Placeholder != 0 {
		if err := r.c.placeholderOff(ctx, r.dev.index); err != nil {
			return err
		}
	}
	if err := r.undo(ctx, &s); err != nil {
		return err
	}
	s.Redirect, s.Placeholder, s.GRO = 0, 0, 0
	s.Rings, s.Queues = ringChange{}, ringChange{}
	return r.c.settingsPut(r.dev.index, &s)
}

// redirectSet sets up a netdev for frames that are redirected to it, with at
// least num rings, each for at least size frames; num 0 undoes it.
func (c *Control) redirectSet(ctx context.Context, dev *netdev, num, size uint32) error {
	r, err := c.redirection(ctx, dev)
	if err != nil {
		return err
	}
	if num == 0 {
		return r.off(ctx)
	}
	return r.on(ctx, num, size)
}

// redirectFill reports the setting. If what it rests on was changed by somebody
// else, it says that there are no rings.
func (c *Control) redirectFill(ctx context.Context, dev *netdev, s *settings, v *family.Attr) error {
	v.SetRingsNum(0)
	if s.Redirect == 0 {
		return nil
	}
	r, err := c.redirection(ctx, dev)
	if err != nil {
		return err
	}
	id, err := c.placeholderID(dev.index)
	if err != nil {
		return err
	}
	if id != 0 {
		v.SetPlaceholderProgID(id)
	}
	able, err := r.isAble(ctx)
	if err != nil || !able {
		return err
	}
	var num, size uint32
	if r.isVeth() {
		peer, err := c.peer(r.dev)
		if err != nil {
			return nil // it has gone just now
		}
		defer peer.close()
		num, err = peer.rings(ctx, ringsRX)
		if err != nil {
			return err
		}
		size = vethRing
	} else {
		if num, err = r.rings(ctx, ringsTX); err != nil {
			return err
		}
		if size, err = r.ringSize(ctx); err != nil {
			return err
		}
	}
	v.SetRingsNum(num)
	if size != 0 {
		v.SetRingsSize(size)
	}
	return nil
}
