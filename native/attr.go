// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"errors"
	"math/bits"
	"syscall"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
)

// attrOps are the operations of control type xdp-attr. Every netdev has an
// entry, so that nothing can be added, and a delete puts back what there was.
func (c *Control) attrOps() ops[family.AttrKey, family.Attr] {
	return ops[family.AttrKey, family.Attr]{
		keys:   c.attrKeys,
		lookup: c.attrLookup,
		update: c.attrUpdate,
		del:    c.attrDelete,
	}
}

func (c *Control) attrKeys(_ context.Context, filter *family.AttrKey) ([]family.AttrKey, error) {
	if filter != nil {
		_, err := c.netdev(filter.Ifindex)
		if errors.Is(err, syscall.ENOENT) {
			return nil, nil
		}
		return []family.AttrKey{*filter}, err
	}
	devs, err := c.netdevs()
	if err != nil {
		return nil, err
	}
	keys := make([]family.AttrKey, len(devs))
	for i, d := range devs {
		keys[i].Ifindex = d.index
	}
	return keys, nil
}

func (c *Control) attrLookup(ctx context.Context, k *family.AttrKey, v *family.Attr) error {
	dev, err := c.netdev(k.Ifindex)
	if err != nil {
		return err
	}
	s, err := c.settingsOf(dev.index)
	if err != nil {
		return err
	}
	if err := c.redirectFill(ctx, dev, &s, v); err != nil {
		return err
	}
	if err := c.mdFill(ctx, dev, &s, v); err != nil {
		return err
	}
	on, err := c.isMetered(dev.index)
	v.SetEnableMeter(number(on))
	return err
}

// number is what the spec has instead of a truth.
func number(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// attrCommand is what an update that sets something carries: bits of Present
// that it needs, and those that it takes beside them.
type attrCommand struct {
	name      string
	must, may uint64
}

func attrBits(attrs ...uint16) (mask uint64) {
	for _, a := range attrs {
		mask |= 1 << a
	}
	return mask
}

var attrCommands = map[family.Command]attrCommand{
	family.CommandSetupRedirect: {
		name: "setup-redirect",
		must: attrBits(family.AttrAttrCommand, family.AttrAttrRingsNum),
		may:  attrBits(family.AttrAttrRingsSize),
	},
	family.CommandSetupMD: {
		name: "setup-md",
		must: attrBits(family.AttrAttrCommand, family.AttrAttrEnableMD),
	},
	family.CommandSetupMeter: {
		name: "setup-meter",
		must: attrBits(family.AttrAttrCommand, family.AttrAttrEnableMeter),
		may:  attrBits(family.AttrAttrFD),
	},
}

// attrName is the spec's name of the attribute with the lowest bit of mask.
func attrName(mask uint64) string {
	return family.AttrSetAttr.AttrName(uint16(bits.TrailingZeros64(mask)))
}

// attrCheck checks what an update carries, in the order in which the module
// does.
func attrCheck(v *family.Attr) error {
	lacks := func(mask uint64) error {
		return missing(attrName(mask), "%s is missing", attrName(mask))
	}
	if unknown := v.Present &^ family.CtrlTypeXDPAttr.Desc().SetMask; unknown != 0 {
		return refuse(syscall.EINVAL, attrName(unknown), "Unsupported attribute")
	}
	cmd, known := attrCommands[v.Command]
	switch {
	case v.Has(family.AttrAttrCommand) && !known:
		return refuse(syscall.ERANGE, "command", outOfRange)
	case v.Has(family.AttrAttrEnableMD) && v.EnableMD > 1:
		return refuse(syscall.ERANGE, "enable-md", outOfRange)
	case v.Has(family.AttrAttrEnableMeter) && v.EnableMeter > 1:
		return refuse(syscall.ERANGE, "enable-meter", outOfRange)
	case !v.Has(family.AttrAttrCommand):
		return lacks(1 << family.AttrAttrCommand)
	}
	if surplus := v.Present &^ (cmd.must | cmd.may); surplus != 0 {
		return refuse(syscall.EINVAL, attrName(surplus), "%s does not go with %s", attrName(surplus), cmd.name)
	}
	if lacking := cmd.must &^ v.Present; lacking != 0 {
		return lacks(lacking)
	}
	return nil
}

// attrProg opens the program that an update names, nil if it names none.
func attrProg(v *family.Attr) (*ebpf.Program, error) {
	if !v.Has(family.AttrAttrFD) {
		return nil, nil
	}
	fd, err := unix.FcntlInt(uintptr(v.FD), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, refuse(syscall.EBADF, "", "no such file descriptor")
	}
	p, err := ebpf.NewProgramFromFD(fd)
	if err == nil && p.Type() == ebpf.XDP {
		return p, nil
	}
	if err == nil {
		p.Close()
	}
	return nil, refuse(syscall.EINVAL, "", "not an XDP program")
}

// attrDev finds the netdev whose settings are to be changed.
func (c *Control) attrDev(ifindex uint32) (*netdev, error) {
	dev, err := c.netdev(ifindex)
	if errors.Is(err, syscall.ENOENT) {
		return nil, refuse(syscall.ENODEV, "", "no such netdev")
	}
	if err != nil {
		return nil, err
	}
	if dev.kind == controlKind {
		return nil, refuse(syscall.EOPNOTSUPP, "", "a control device has no settings")
	}
	return dev, nil
}

func (c *Control) attrUpdate(ctx context.Context, k *family.AttrKey, v *family.Attr, how family.Update) error {
	if err := attrCheck(v); err != nil {
		return err
	}
	prog, err := attrProg(v)
	if err != nil {
		return err
	}
	if prog != nil {
		defer prog.Close()
	}
	dev, err := c.attrDev(k.Ifindex)
	if err != nil {
		return err
	}
	if how == family.UpdateNoexist {
		return refuse(syscall.EEXIST, "", "every netdev has settings already")
	}
	return c.attrChange(ctx, dev, func() error {
		switch v.Command {
		case family.CommandSetupRedirect:
			size := uint32(0)
			if v.Has(family.AttrAttrRingsSize) {
				size = v.RingsSize
			}
			return c.redirectSet(ctx, dev, v.RingsNum, size)
		case family.CommandSetupMD:
			return c.mdSet(ctx, dev, v.EnableMD != 0, 1)
		default:
			return c.meterSet(ctx, dev, v.EnableMeter != 0, prog)
		}
	})
}

func (c *Control) attrDelete(ctx context.Context, k *family.AttrKey) error {
	dev, err := c.attrDev(k.Ifindex)
	if errors.Is(err, syscall.ENODEV) {
		return noNetdev()
	}
	if err != nil {
		return err
	}
	// One that cannot be undone does not keep the others from it.
	return c.attrChange(ctx, dev, func() error {
		meter := c.meterSet(ctx, dev, false, nil)
		md := c.mdSet(ctx, dev, false, allUsers)
		redirect := c.redirectSet(ctx, dev, 0, 0)
		return errors.Join(meter, md, redirect)
	})
}

// allUsers is all users of the metadata.
const allUsers = ^uint32(0)

// attrChange makes a change, and takes down whether what is reported has changed
// with it, be it that it failed half way.
func (c *Control) attrChange(ctx context.Context, dev *netdev, change func() error) error {
	k := &family.AttrKey{Ifindex: dev.index}
	var before, after family.Attr
	if err := c.attrLookup(ctx, k, &before); err != nil {
		return err
	}
	err := c.changeDev(dev.index, change)
	if lookupErr := c.attrLookup(ctx, k, &after); lookupErr != nil {
		// It has gone meanwhile, and takes its settings with it.
		return errors.Join(err, c.attrForget(dev.index))
	}
	if before != after {
		return errors.Join(err, c.settingsStamp(dev.index))
	}
	return err
}
