// SPDX-License-Identifier: BSD-3-Clause

package loader

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"

	"github.com/xdpctl/xdpctl-nl/family"
)

// Names of the maps of the port table, as bpf/xdpctl_port.h declares them.
const (
	// PortMap is a devmap from port to netdev.
	PortMap = "xdp_port"
	// PortIndexMap is a hash map from ifindex to port.
	PortIndexMap = "xdp_port_index"
)

// PortMaps opens the maps of the port table of c's network namespace, by the
// names of bpf/xdpctl_port.h. They are what programs with that header want in
// the place of their own maps:
//
//	maps, err := loader.PortMaps(ctx, control)
//	...
//	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{
//		MapReplacements: maps,
//	})
//
// A program that uses only one of the two has only that in its spec; delete the
// other from what is returned before. The maps can be read, but written only by
// binding ports. The caller closes them with [ClosePortMaps].
//
// The module makes the maps with the first port that is bound, and then keeps
// them. Returns an error matching [os.ErrNotExist] if no port is bound, or
// [os.ErrPermission] without CAP_SYS_ADMIN.
func PortMaps(ctx context.Context, c family.Control) (map[string]*ebpf.Map, error) {
	v, err := anyPort(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("open port maps: %w", err)
	}
	maps := make(map[string]*ebpf.Map)
	for name, id := range map[string]uint32{PortMap: v.DevmapID, PortIndexMap: v.IndexMapID} {
		m, err := ebpf.NewMapFromID(ebpf.MapID(id))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open port map %s: %w", name, err), ClosePortMaps(maps))
		}
		maps[name] = m
	}
	return maps, nil
}

// ClosePortMaps closes what [PortMaps] opened. Collections that were loaded with
// them keep them.
func ClosePortMaps(maps map[string]*ebpf.Map) error {
	var errs []error
	for _, m := range maps {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}

// anyPort returns the entry of some port, all of which tell the maps.
func anyPort(ctx context.Context, c family.Control) (*family.Port, error) {
	for e, err := range family.All(ctx, c.Port(), nil) {
		if err != nil {
			return nil, err
		}
		return &e.Value, nil
	}
	return nil, fmt.Errorf("no port is bound yet: %w", os.ErrNotExist)
}
