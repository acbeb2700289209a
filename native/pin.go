// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
)

// controlKind is the kind of the module's control devices, which may be there
// although nobody asks the module.
const controlKind = "xdpctl"

// makePinned opens a pinned map, or makes it.
func makePinned(path string, spec *ebpf.MapSpec) (*ebpf.Map, error) {
	m, err := ebpf.LoadPinnedMap(path, nil)
	if err == nil || !errors.Is(err, os.ErrNotExist) {
		return m, err
	}
	m, err = ebpf.NewMap(spec)
	if err != nil {
		return nil, err
	}
	if err := m.Pin(path); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	step("pin " + filepath.Base(path))
	return m, nil
}

// mapID is the id of a map.
func mapID(m *ebpf.Map) (uint32, error) {
	info, err := m.Info()
	if err != nil {
		return 0, err
	}
	id, _ := info.ID()
	return uint32(id), nil
}
