// SPDX-License-Identifier: BSD-3-Clause

package loader

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/dirlock"
	"github.com/xdpctl/xdpctl-nl/internal/sysbpf"
)

// Difference is one thing in which a map is not as an object wants it.
type Difference struct {
	Field  string // type, key size, value size, max entries, flags, key BTF, value BTF
	Map    string // as the map has it
	Object string // as the object has it
}

// Mismatch says that a map is of another shape than an object wants it. It matches
// [ebpf.ErrMapIncompatible].
type Mismatch struct {
	Name  string
	Path  string // empty: it is not from a pin
	Diffs []Difference
}

func (e *Mismatch) Error() string {
	where, what := "map "+e.Name, "given"
	if e.Path != "" {
		where, what = "map "+e.Name+" pinned at "+e.Path, "pinned"
	}
	var diffs []string
	for _, d := range e.Diffs {
		diffs = append(diffs, fmt.Sprintf("%s %s (%s) and %s (object)", d.Field, d.Map, what, d.Object))
	}
	return where + " differs from that of the object: " + strings.Join(diffs, ", ")
}

// Is matches the error of the library.
func (e *Mismatch) Is(target error) bool { return target == ebpf.ErrMapIncompatible }

// flagRdonlyProg is BPF_F_RDONLY_PROG, which the kernel gives every devmap, and
// flagMmapable BPF_F_MMAPABLE, which the library gives maps of data.
const (
	flagRdonlyProg = 1 << 7
	flagMmapable   = 1 << 10
)

// compare holds a map against a definition, and returns a *Mismatch if they differ.
func compare(spec *ebpf.MapSpec, m *ebpf.Map, path string) error {
	e := &Mismatch{Name: spec.Name, Path: path}
	add := func(field string, got, want any) {
		if got != want {
			e.Diffs = append(e.Diffs, Difference{field, fmt.Sprint(got), fmt.Sprint(want)})
		}
	}
	want := wanted(spec)
	add("type", m.Type(), want.Type)
	add("key size", m.KeySize(), want.KeySize)
	add("value size", m.ValueSize(), want.ValueSize)
	add("max entries", m.MaxEntries(), want.MaxEntries)
	ignore := uint32(0)
	if want.Type == ebpf.DevMap || want.Type == ebpf.DevMapHash {
		ignore = flagRdonlyProg
	}
	if isDataMap(spec.Name) {
		ignore |= flagMmapable
	}
	if (m.Flags()^want.Flags)&^ignore != 0 {
		add("flags", fmt.Sprintf("%#x", m.Flags()), fmt.Sprintf("%#x", want.Flags))
	}
	if len(e.Diffs) == 0 {
		diffs, err := compareBTF(spec, m)
		if err != nil {
			return fmt.Errorf("map %s: %w", spec.Name, err)
		}
		e.Diffs = diffs
	}
	if len(e.Diffs) == 0 {
		return nil
	}
	return e
}

// wanted is a definition with the sizes that the kernel makes of it.
func wanted(spec *ebpf.MapSpec) *ebpf.MapSpec {
	w := *spec
	switch {
	case isOuter(w.Type):
		w.ValueSize = 4
	case w.Type == ebpf.PerfEventArray:
		w.KeySize, w.ValueSize = 4, 4
	}
	if w.Type == ebpf.PerfEventArray || w.Type == ebpf.CPUMap {
		if n, err := ebpf.PossibleCPU(); err == nil && (w.MaxEntries == 0 || w.MaxEntries > uint32(n)) {
			w.MaxEntries = uint32(n)
		}
	}
	return &w
}

// mapInfo is the head of struct bpf_map_info.
type mapInfo struct {
	_                                   [12]uint32 // type to btf_vmlinux_value_type_id
	_                                   [2]uint64  // the network namespace
	btfID, keyType, valueType, vmlinux_ uint32
}

// compareBTF holds the types of a map against those of a definition. Without types
// on one side there is nothing to compare.
func compareBTF(spec *ebpf.MapSpec, m *ebpf.Map) ([]Difference, error) {
	if spec.Key == nil && spec.Value == nil {
		return nil, nil
	}
	var info mapInfo
	if err := sysbpf.ObjInfo(m.FD(), unsafe.Pointer(&info), unsafe.Sizeof(info)); err != nil {
		return nil, fmt.Errorf("read its types: %w", err)
	}
	if info.btfID == 0 || info.keyType == 0 && info.valueType == 0 {
		return nil, nil
	}
	h, err := btf.NewHandleFromID(btf.ID(info.btfID))
	if err != nil {
		return nil, fmt.Errorf("read its types: %w", err)
	}
	defer h.Close()
	types, err := h.Spec(nil)
	if err != nil {
		return nil, fmt.Errorf("read its types: %w", err)
	}
	var diffs []Difference
	for _, side := range []struct {
		field string
		id    uint32
		want  btf.Type
	}{{"key BTF", info.keyType, spec.Key}, {"value BTF", info.valueType, spec.Value}} {
		if side.id == 0 || side.want == nil {
			continue
		}
		got, err := types.TypeByID(btf.TypeID(side.id))
		if err != nil {
			return nil, fmt.Errorf("read its types: %w", err)
		}
		if !sameType(got, side.want, map[[2]btf.Type]bool{}) {
			diffs = append(diffs, Difference{side.field, typeText(got), typeText(side.want)})
		}
	}
	return diffs, nil
}

// typeText is a type as errors write it.
func typeText(t btf.Type) string {
	switch v := btf.UnderlyingType(t).(type) {
	case *btf.Struct:
		var members []string
		for _, m := range v.Members {
			members = append(members, m.Name)
		}
		return fmt.Sprintf("struct %s {%s}", v.Name, strings.Join(members, " "))
	case *btf.Int:
		return v.Name
	default:
		return strings.TrimPrefix(fmt.Sprintf("%T %s", v, v.TypeName()), "*btf.")
	}
}

// sameType tells whether two types have the same shape and the same names.
// Typedefs and qualifiers do not count.
func sameType(a, b btf.Type, seen map[[2]btf.Type]bool) bool {
	a, b = btf.UnderlyingType(a), btf.UnderlyingType(b)
	pair := [2]btf.Type{a, b}
	if seen[pair] {
		return true // it is being compared
	}
	seen[pair] = true
	switch a := a.(type) {
	case *btf.Int:
		b, ok := b.(*btf.Int)
		return ok && a.Size == b.Size && a.Encoding == b.Encoding
	case *btf.Pointer:
		_, ok := b.(*btf.Pointer)
		return ok
	case *btf.Array:
		b, ok := b.(*btf.Array)
		return ok && a.Nelems == b.Nelems && sameType(a.Type, b.Type, seen)
	case *btf.Struct:
		b, ok := b.(*btf.Struct)
		return ok && a.Name == b.Name && a.Size == b.Size && sameMembers(a.Members, b.Members, seen)
	case *btf.Union:
		b, ok := b.(*btf.Union)
		return ok && a.Name == b.Name && a.Size == b.Size && sameMembers(a.Members, b.Members, seen)
	case *btf.Enum:
		b, ok := b.(*btf.Enum)
		return ok && a.Size == b.Size && slices.Equal(a.Values, b.Values)
	}
	as, aerr := btf.Sizeof(a)
	bs, berr := btf.Sizeof(b)
	return fmt.Sprintf("%T", a) == fmt.Sprintf("%T", b) && as == bs && (aerr == nil) == (berr == nil)
}

func sameMembers(a, b []btf.Member, seen map[[2]btf.Type]bool) bool {
	return slices.EqualFunc(a, b, func(x, y btf.Member) bool {
		return x.Name == y.Name && x.Offset == y.Offset && x.BitfieldSize == y.BitfieldSize && sameType(x.Type, y.Type, seen)
	})
}

// infoOf asks for the head of what the kernel knows of a program.
func infoOf(p *ebpf.Program) (*sysbpf.ProgInfo, error) {
	info, err := sysbpf.ProgInfoOf(p.FD())
	if err != nil {
		return nil, fmt.Errorf("read what a program is: %w", err)
	}
	return info, nil
}

// undoes are what to do, last one first, to take something back, and what has to
// stay open for that.
type undoes struct {
	list []func() error
	open []func() error
}

func (u *undoes) push(f func() error) { u.list = append(u.list, f) }

// run takes everything back.
func (u *undoes) run() error {
	var errs []error
	for _, f := range slices.Backward(u.list) {
		errs = append(errs, f())
	}
	u.list = nil
	return errors.Join(append(errs, u.close())...)
}

// close makes it final.
func (u *undoes) close() error {
	var errs []error
	for _, f := range u.open {
		errs = append(errs, f())
	}
	u.list, u.open = nil, nil
	return errors.Join(errs...)
}

// lockRoot keeps other loaders out, until unlock is called. What is locked is the
// root of the BPF file system, which is always there.
func lockRoot(ctx context.Context, root string) (unlock func() error, err error) {
	if err := checkBPFFS(root); err != nil {
		return nil, err
	}
	return dirlock.Take(ctx, root, unix.LOCK_EX)
}

// checkBPFFS checks that there is a BPF file system.
func checkBPFFS(root string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(root, &st); err != nil {
		return fmt.Errorf("find the BPF file system at %s: %w", root, err)
	}
	if st.Type != unix.BPF_FS_MAGIC {
		return fmt.Errorf("%s is no BPF file system; mount one with: mount -t bpf bpf %s: %w", root, root, unix.ENOENT)
	}
	return nil
}

// makeDirs makes a directory with those above it, and says how to take away what
// was made. Links on the way are followed.
func makeDirs(dir string, u *undoes) error {
	if st, err := os.Stat(dir); err == nil {
		if !st.IsDir() {
			return fmt.Errorf("make directory %s: %w", dir, unix.ENOTDIR)
		}
		return nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("make directory: %w", err)
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := makeDirs(parent, u); err != nil {
			return err
		}
	}
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, os.ErrExist) {
		if target, lerr := os.Readlink(dir); lerr == nil && filepath.IsAbs(target) {
			return makeDirs(filepath.Clean(target), u) // what iproute2 linked to is gone
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	u.push(func() error {
		err := os.Remove(dir)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTEMPTY) {
			return nil // somebody else uses it by now
		}
		return err
	})
	return nil
}

// makeLinks makes xdp and ip links to tc, as iproute2 does, so that a loader that
// comes later looks where the maps are.
func (p *Pinning) makeLinks(u *undoes) error {
	tc := filepath.Join(p.root(), "tc")
	for _, name := range []string{"xdp", "ip"} {
		link := filepath.Join(p.root(), name)
		err := os.Symlink(tc+"/", link)
		if errors.Is(err, os.ErrExist) || errors.Is(err, os.ErrPermission) {
			continue
		}
		if err != nil {
			return fmt.Errorf("link %s to tc: %w", name, err)
		}
		u.push(func() error { return os.Remove(link) })
	}
	return nil
}

// place pins a map or program at a path, over what is there if force says so. What
// was there is kept open, to put it back.
func place(fd int, path string, force bool, u *undoes) error {
	if err := makeDirs(filepath.Dir(path), u); err != nil {
		return err
	}
	if force {
		old, err := sysbpf.ObjGet(path)
		if err == nil {
			u.open = append(u.open, func() error { return unix.Close(old) })
			u.push(func() error { return exchange(old, path) })
			return exchange(fd, path)
		}
		if !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("open what is pinned at %s: %w", path, err)
		}
	}
	if err := sysbpf.ObjPin(fd, path); err != nil {
		return fmt.Errorf("pin at %s: %w", path, err)
	}
	u.push(func() error { return os.Remove(path) })
	return nil
}

// exchange pins at a path where there is something already, in one step.
func exchange(fd int, path string) error {
	next := fmt.Sprintf("%s_new_%d", path, os.Getpid())
	if err := sysbpf.ObjPin(fd, next); err != nil {
		return fmt.Errorf("pin at %s: %w", next, err)
	}
	if err := os.Rename(next, path); err != nil {
		return errors.Join(fmt.Errorf("pin at %s: %w", path, err), os.Remove(next))
	}
	return nil
}
