// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"slices"

	"github.com/xdpctl/xdpctl-nl/family"
)

// snapshot is what events are told of.
type snapshot struct {
	devs  []*netdev                      // the netdevs at first
	progs map[family.ProgKey]family.Prog // that were attached here
	attrs map[uint32]uint64              // when the settings of a netdev changed, by ifindex
	ports map[uint32]uint32              // ifindex by port
}

// snapshot reads what there is.
func (c *Control) snapshot(ctx context.Context) (s snapshot, err error) {
	progs := make(map[family.ProgKey]family.Prog)
	err = c.inNetNS(func() error {
		if s.devs, err = c.netdevs(); err != nil {
			return err
		}
		return c.snapshotProgs(ctx, s.devs, progs)
	})
	if err != nil {
		return s, err
	}
	s.progs = make(map[family.ProgKey]family.Prog)
	for k, v := range progs {
		if v.Owner == family.OwnerModule {
			s.progs[k] = v
		}
	}
	if s.attrs, err = c.snapshotAttrs(); err != nil {
		return s, err
	}
	s.ports, err = c.snapshotPorts()
	return s, err
}

func (c *Control) snapshotAttrs() (map[uint32]uint64, error) {
	devs, err := c.state.devs()
	if err != nil {
		return nil, err
	}
	attrs := make(map[uint32]uint64)
	for _, ifindex := range devs {
		s, err := c.settingsOf(ifindex)
		if err != nil {
			return nil, err
		}
		if s.Changed != 0 {
			attrs[ifindex] = s.Changed
		}
	}
	return attrs, nil
}

func (c *Control) snapshotPorts() (map[uint32]uint32, error) {
	p, err := c.portsOpen()
	if p == nil {
		return nil, err
	}
	defer p.close()
	// Not more are in the devmap than in the index.
	var ifindex, port uint32
	var maybe []uint32
	it := p.index.Iterate()
	for it.Next(&ifindex, &port) {
		maybe = append(maybe, port)
	}
	if err := it.Err(); err != nil {
		return nil, err
	}
	ports := make(map[uint32]uint32)
	for _, port := range maybe {
		ifindex, err := p.ifindex(port)
		if err != nil {
			return nil, err
		}
		if ifindex != 0 {
			ports[port] = ifindex
		}
	}
	return ports, nil
}

// Generation implements family.Generation: a hash of the netdevs and of what is
// told of when it changes.
func (c *Control) Generation(ctx context.Context) (uint32, error) {
	h := fnv.New32a()
	s, err := c.snapshot(ctx)
	if err != nil {
		return 0, err
	}
	for _, d := range s.devs {
		fmt.Fprintln(h, d.index, d.xdp)
	}
	for _, k := range slices.SortedFunc(maps.Keys(s.progs), compareProgs) {
		fmt.Fprintln(h, k, s.progs[k].ProgID, s.progs[k].LinkID, s.progs[k].Mode)
	}
	for _, k := range slices.Sorted(maps.Keys(s.attrs)) {
		fmt.Fprintln(h, k, s.attrs[k])
	}
	for _, k := range slices.Sorted(maps.Keys(s.ports)) {
		fmt.Fprintln(h, k, s.ports[k])
	}
	return h.Sum32(), nil
}

// changedKeys are the keys of what is not the same in both, in ascending order.
func changedKeys[K comparable, V any](old, now map[K]V, same func(a, b V) bool, order func(a, b K) int) []K {
	keys := map[K]bool{}
	for k, v := range old {
		if w, ok := now[k]; !ok || !same(v, w) {
			keys[k] = true
		}
	}
	for k := range now {
		if _, ok := old[k]; !ok {
			keys[k] = true
		}
	}
	return slices.SortedFunc(maps.Keys(keys), order)
}

// sameProg tells whether two entries have the same attachment.
func sameProg(a, b family.Prog) bool {
	return a.ProgID == b.ProgID && a.LinkID == b.LinkID && a.Mode == b.Mode
}

func compareProgs(a, b family.ProgKey) int {
	return cmp.Or(cmp.Compare(a.Ifindex, b.Ifindex), cmp.Compare(a.Queue, b.Queue))
}

func same[V comparable](a, b V) bool { return a == b }

// differences are the events that make now of old. Key is an entry that is among
// them in any case.
func (c *Control) differences(ctx context.Context, old, now *snapshot, key any) (list []family.Event, err error) {
	progs := changedKeys(old.progs, now.progs, sameProg, compareProgs)
	if k, ok := key.(*family.ProgKey); ok && !slices.Contains(progs, *k) {
		progs = append(progs, *k)
	}
	for _, k := range progs {
		v := now.progs[k] // zero if it is gone
		list = append(list, family.Event{Op: "prog-ntf", Type: family.CtrlTypeXDPProg, Key: &k, Value: &v})
	}
	for _, ifindex := range changedKeys(old.attrs, now.attrs, same, cmp.Compare) {
		k, v := &family.AttrKey{Ifindex: ifindex}, new(family.Attr)
		err := c.attrLookup(ctx, k, v)
		if errors.Is(err, os.ErrNotExist) {
			continue // of what goes with its netdev nothing is told
		}
		if err != nil {
			return nil, err
		}
		list = append(list, family.Event{Op: "attr-ntf", Type: family.CtrlTypeXDPAttr, Key: k, Value: v})
	}
	ports := changedKeys(old.ports, now.ports, same, cmp.Compare)
	if k, ok := key.(*family.PortKey); ok && !slices.Contains(ports, k.Port) {
		ports = append(ports, k.Port)
	}
	for _, port := range ports {
		k, v := &family.PortKey{Port: port}, new(family.Port)
		err := c.portLookup(ctx, k, v)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		list = append(list, family.Event{Op: "port-ntf", Type: family.CtrlTypeXDPPort, Key: k, Value: v})
	}
	return list, nil
}
