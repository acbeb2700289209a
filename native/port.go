// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"errors"
	"syscall"

	"github.com/xdpctl/xdpctl-nl/family"
)

// portOps are the operations of control type xdp-port.
func (c *Control) portOps() ops[family.PortKey, family.Port] {
	return ops[family.PortKey, family.Port]{
		keys:   c.portKeys,
		lookup: c.portLookup,
		update: c.portUpdate,
		del:    c.portDelete,
	}
}

const outOfRange = "integer out of range"

func portRange(port uint32) error {
	if port >= family.Ports {
		return refuse(syscall.ERANGE, "port", outOfRange)
	}
	return nil
}

func portFree() error { return refuse(syscall.ENOENT, "", "the port is free") }

func (c *Control) portKeys(_ context.Context, filter *family.PortKey) ([]family.PortKey, error) {
	first, last := uint32(0), uint32(family.Ports-1)
	if filter != nil {
		if err := portRange(filter.Port); err != nil {
			return nil, err
		}
		first, last = filter.Port, filter.Port
	}
	p, err := c.portsOpen()
	if p == nil {
		return nil, err
	}
	defer p.close()
	var keys []family.PortKey
	for port := first; port <= last; port++ {
		ifindex, err := p.ifindex(port)
		if err != nil {
			return nil, err
		}
		if ifindex != 0 {
			keys = append(keys, family.PortKey{Port: port})
		}
	}
	return keys, nil
}

func (c *Control) portLookup(_ context.Context, k *family.PortKey, v *family.Port) error {
	if err := portRange(k.Port); err != nil {
		return err
	}
	p, err := c.portsOpen()
	if err != nil {
		return err
	}
	if p == nil {
		return portFree()
	}
	defer p.close()
	ifindex, err := p.ifindex(k.Port)
	if err != nil {
		return err
	}
	if ifindex == 0 {
		return portFree()
	}
	devmap, err := mapID(p.devmap)
	if err != nil {
		return err
	}
	index, err := mapID(p.index)
	if err != nil {
		return err
	}
	v.SetIfindex(ifindex)
	v.SetDevmapID(devmap)
	v.SetIndexMapID(index)
	return nil
}

// portUpdate binds a port. The rules are those of check_bind in
// kmod/ctrl_port.c.
func (c *Control) portUpdate(_ context.Context, k *family.PortKey, v *family.Port, how family.Update) error {
	if err := portRange(k.Port); err != nil {
		return err
	}
	if !v.Has(family.AttrPortIfindex) {
		return missing("ifindex", "no netdev is given")
	}
	if v.Ifindex == 0 {
		return refuse(syscall.ERANGE, "ifindex", outOfRange)
	}
	p, err := c.portsOpen()
	if err != nil {
		return err
	}
	if p != nil {
		defer func() { p.close() }()
	}
	holder, err := c.portCheck(p, k.Port, v.Ifindex, how)
	if err != nil || holder == v.Ifindex {
		return err
	}
	if err := c.traceOn(); err != nil {
		return err
	}
	if p == nil {
		if p, err = c.portsMake(); err != nil {
			return err
		}
		defer p.close()
	}
	return p.bind(k.Port, v.Ifindex)
}

// portCheck returns the netdev that has the port, or 0. P is nil if there is no
// table yet.
func (c *Control) portCheck(p *ports, port, ifindex uint32, how family.Update) (holder uint32, err error) {
	dev, err := c.netdev(ifindex)
	if errors.Is(err, syscall.ENOENT) {
		return 0, refuse(syscall.ENODEV, "", "no such netdev")
	}
	if err != nil {
		return 0, err
	}
	if dev.kind == controlKind {
		return 0, refuse(syscall.EOPNOTSUPP, "", "a control device takes no port")
	}
	var own uint32
	has := false
	if p != nil {
		if err := p.tidy(); err != nil {
			return 0, err
		}
		if holder, err = p.ifindex(port); err != nil {
			return 0, err
		}
		if own, has, err = p.portOf(ifindex); err != nil {
			return 0, err
		}
	}
	switch {
	case holder != 0 && how == family.UpdateNoexist:
		err = refuse(syscall.EEXIST, "", "the port is bound to ifindex %d already", holder)
	case holder == 0 && how == family.UpdateExist:
		err = portFree()
	case has && own != port:
		err = refuse(syscall.EBUSY, "", "the netdev has port %d already: free it first", own)
	}
	return holder, err
}

func (c *Control) portDelete(_ context.Context, k *family.PortKey) error {
	if err := portRange(k.Port); err != nil {
		return err
	}
	p, err := c.portsOpen()
	if err != nil {
		return err
	}
	if p == nil {
		return portFree()
	}
	defer p.close()
	if err := p.tidy(); err != nil {
		return err
	}
	ifindex, err := p.ifindex(k.Port)
	if err != nil {
		return err
	}
	if ifindex == 0 {
		return portFree()
	}
	return p.unbind(k.Port, ifindex)
}
