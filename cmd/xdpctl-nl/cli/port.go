// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/xdpctl/xdpctl-nl/family"
)

func (a *app) portObject() *cobra.Command {
	return a.object("port", "Ports for multi-port TX",
		"A port is a netdev under a number, from 0. Programs redirect through the devmap\nof the ports, and find the port of a netdev in the index map: those that declare\nthem as bpf/xdpctl_port.h does get them when they are attached with obj.",
		a.portShow(), a.portSet(), a.portDel())
}

// portWord is the number of a port, which stands without a keyword.
func (a *app) portWord(p **uint32, need bool) word {
	return word{arg: "PORT", help: "number of the port", need: need, set: func(s string) error {
		*p = new(uint32)
		return setNumber(*p, 0, family.Ports-1)(s)
	}, complete: a.completePort}
}

// completePort completes the numbers of the ports there are.
func (a *app) completePort() []string {
	ctl, err := a.control()
	if err != nil {
		return nil
	}
	var list []string
	for e, err := range family.All(context.Background(), ctl.Port(), nil) {
		if err != nil {
			return nil
		}
		list = append(list, cobra.CompletionWithDesc(decimal(e.Key.Port), a.devName(e.Value.Ifindex)))
	}
	return list
}

func (a *app) portShow() *cobra.Command {
	var port *uint32
	return a.command(spec{
		use:     "show [ PORT ]",
		short:   "Show the ports",
		example: "xdpctl-nl port show\nxdpctl-nl -j port show 3",
		words:   words{a.portWord(&port, false)},
		run: func(ctx context.Context) error {
			ctl, err := a.control()
			if err != nil {
				return err
			}
			if port != nil {
				return a.printPort(ctx, ctl, *port, true)
			}
			return printEntries(ctx, a, ctl.Port(), nil, func(e *family.Entry[family.PortKey, family.Port]) error {
				a.printf("%s\n", a.portText(&e.Key, &e.Value))
				return nil
			})
		},
	})
}

// printPort prints one port, in JSON as a list of one if so asked.
func (a *app) printPort(ctx context.Context, ctl family.Control, port uint32, list bool) error {
	e := family.Entry[family.PortKey, family.Port]{Key: family.PortKey{Port: port}}
	if err := ctl.Port().Lookup(ctx, &e.Key, &e.Value); err != nil {
		return err
	}
	switch {
	case a.asJSON() && list:
		return a.printJSON([]any{e})
	case a.asJSON():
		return a.printJSON(e)
	}
	a.printf("%s\n", a.portText(&e.Key, &e.Value))
	return nil
}

// portText is a port on one line.
func (a *app) portText(k *family.PortKey, v *family.Port) string {
	var b line
	b.add("port", decimal(k.Port)+":")
	if v.Has(family.AttrPortIfindex) {
		b.add("dev", a.devName(v.Ifindex), "ifindex", decimal(v.Ifindex))
	}
	if v.Has(family.AttrPortDevmapID) {
		b.add("devmap", decimal(v.DevmapID))
	}
	if v.Has(family.AttrPortIndexMapID) {
		b.add("index-map", decimal(v.IndexMapID))
	}
	return b.String()
}

func (a *app) portSet() *cobra.Command {
	var port *uint32
	var dev string
	var how family.Update
	return a.command(spec{
		use:     "set PORT dev IF [ add | replace ]",
		short:   "Bind a port to a netdev",
		long:    "With neither add nor replace, the netdev takes the place of the one that the port\nhas, if it has any. A netdev has at most one port.",
		example: "xdpctl-nl port set 3 dev eth0\nxdpctl-nl port set 3 dev eth1 replace",
		words: words{
			a.portWord(&port, true),
			{name: "dev", arg: "IF", help: "to this netdev, a name or an ifindex", need: true, set: setString(&dev), complete: a.completeDev},
			{name: "add", help: "only if the port is free", group: "how", set: setUpdate(&how, family.UpdateNoexist)},
			{name: "replace", help: "only if the port is bound", group: "how", set: setUpdate(&how, family.UpdateExist)},
		},
		run: func(ctx context.Context) error {
			ctl, index, err := a.onDev(dev)
			if err != nil {
				return err
			}
			var v family.Port
			v.SetIfindex(index)
			if err := ctl.Port().Update(ctx, &family.PortKey{Port: *port}, &v, how); err != nil {
				return err
			}
			err = a.printPort(ctx, ctl, *port, false)
			if errors.Is(err, os.ErrNotExist) {
				return nil // gone meanwhile
			}
			return err
		},
	})
}

func (a *app) portDel() *cobra.Command {
	var port *uint32
	return a.command(spec{
		use:     "del PORT",
		short:   "Free a port",
		example: "xdpctl-nl port del 3",
		words:   words{a.portWord(&port, true)},
		run: func(ctx context.Context) error {
			ctl, err := a.control()
			if err != nil {
				return err
			}
			key := family.PortKey{Port: *port}
			if err := ctl.Port().Delete(ctx, &key); err != nil {
				return err
			}
			if a.asJSON() {
				return a.printJSON(key)
			}
			return nil
		},
	})
}
