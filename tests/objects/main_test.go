// SPDX-License-Identifier: BSD-3-Clause

// Package objects holds the object loader against the loaders of others:
// iproute2 as it was before libbpf, iproute2 as it is, and libxdp.
package objects

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/loader"
)

func TestMain(m *testing.M) {
	if !testutil.InVM() {
		fmt.Println("ok: these tests run in the virtual machine only, under vmrun")
		os.Exit(0)
	}
	testutil.WatchFDs(m)
}

// lab is a BPF file system and a pair of netdevs of a test's own.
type lab struct {
	*testing.T
	ns   *testutil.NetNS
	root string
	pins *loader.Pinning
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{T: t, ns: testutil.NewNetNS(t), root: t.TempDir()}
	l.ns.AddVeth("veth0", "veth1", testutil.VethOptions{})
	l.ns.Up("veth0")
	l.ns.Up("veth1")
	if err := unix.Mount("bpf", l.root, "bpf", 0, "mode=0700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(l.root, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	pins, err := loader.LoadPinning()
	if err != nil {
		t.Fatal(err)
	}
	pins.Root = l.root
	l.pins = pins
	return l
}

// try runs a command in the namespace, with the BPF file system for iproute2 and
// libxdp.
func (l *lab) try(name string, args ...string) (string, error) {
	l.Helper()
	var out []byte
	var err error
	l.ns.Do(func() {
		c := exec.Command(name, args...)
		c.Env = append(os.Environ(), "TC_BPF_MNT="+l.root, "LIBXDP_BPFFS="+l.root)
		out, err = c.CombinedOutput()
	})
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out), err
}

func (l *lab) run(name string, args ...string) string {
	l.Helper()
	out, err := l.try(name, args...)
	if err != nil {
		l.Fatal(err)
	}
	return out
}

// object is the path of a test object.
func object(t testing.TB, name string) string {
	return testutil.Path(t, "loader", "testdata", name+".bpf.o")
}

// legacyTool is a program of iproute2 that was built without libbpf.
func legacyTool(t testing.TB, name string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(testutil.CacheDir(), "iproute2", "*", name))
	if err != nil || len(found) == 0 {
		t.Fatalf("no %s without libbpf: run tests/vm/iproute2.sh", name)
	}
	slices.Sort(found)
	return found[len(found)-1]
}

// pinned is what can be said of a pinned map whoever pinned it.
type pinned struct {
	Type                   ebpf.MapType
	Key, Value, Max, Flags uint32
	Filled                 []uint32 // keys of programs or maps in it
}

// state is what is in the file system, and with which ids.
type state struct {
	Maps  map[string]pinned
	Links map[string]string
	ids   map[string]ebpf.MapID
}

func (l *lab) state() state {
	l.Helper()
	s := state{map[string]pinned{}, map[string]string{}, map[string]ebpf.MapID{}}
	err := filepath.WalkDir(l.root, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(l.root, path)
		switch {
		case err != nil || d.IsDir() || strings.HasSuffix(rel, ".debug"):
			return err
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			s.Links[rel] = target
			return err
		}
		m, err := ebpf.LoadPinnedMap(path, nil)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		defer m.Close()
		info, err := m.Info()
		if err != nil {
			return err
		}
		id, _ := info.ID()
		s.ids[rel] = id
		p := pinned{Type: m.Type(), Key: m.KeySize(), Value: m.ValueSize(), Max: m.MaxEntries(), Flags: m.Flags()}
		if slices.Contains([]ebpf.MapType{ebpf.ProgramArray, ebpf.ArrayOfMaps, ebpf.HashOfMaps}, m.Type()) {
			for key := range m.MaxEntries() {
				var v uint32
				err := m.Lookup(key, &v)
				if err == nil {
					p.Filled = append(p.Filled, key)
				} else if !errors.Is(err, ebpf.ErrKeyNotExist) {
					return err
				}
			}
		}
		s.Maps[rel] = p
		return nil
	})
	if err != nil {
		l.Fatal(err)
	}
	return s
}
