// SPDX-License-Identifier: BSD-3-Clause

package loader

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// Whatever is wrong, nothing is left.
func TestNothingLeft(t *testing.T) {
	p := bpffs(t)
	// Others may work on this machine: what counts is what has these names.
	names := []string{"never_pinned", "points", "inner", "outer", "steps", "last", "visits",
		"unchecked", "print", "count", "step0", "step1", "end", "entry"}
	if err := os.Mkdir(p.Root+"/dir", 0o700); err != nil {
		t.Fatal(err)
	}
	before := settled(t, names)
	for name, tt := range refusedLoads(t, p) {
		t.Run(name, func(t *testing.T) {
			pins := tt.pins
			if pins.Root == "" {
				pins.Root = p.Root
			}
			tt.o.Pinning = &pins
			_, err := tt.spec.Load(context.Background(), tt.o)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if tt.err != nil && !errors.Is(err, tt.err) {
				t.Errorf("%v is not %v", err, tt.err)
			}
			wantTree(t, p, "dir")
			after := ""
			for range 50 {
				time.Sleep(lookEvery)
				if after = objects(t, names); after == before {
					break
				}
			}
			if after != before {
				t.Errorf("maps and programs are %s, were %s", after, before)
			}
		})
	}
}

// refusedLoad is a load that fails, and how.
type refusedLoad struct {
	spec *Spec
	o    LoadOptions
	pins Pinning // with that of the test for root
	want string  // how the error begins
	err  error
}

// refusedLoads are all ways in which a load can fail. Root has a directory dir.
func refusedLoads(t *testing.T, p *Pinning) map[string]refusedLoad {
	t.Helper()
	bad := mustOpen(t, "legacy_tail")
	bad.Collection.Maps["steps"].MaxEntries = 1
	broken := mustOpen(t, "legacy_tail")
	broken.Collection.Programs["end"].Instructions = broken.Collection.Programs["end"].Instructions[:1]
	newHelper := mustOpen(t, "object")
	newHelper.Collection.Programs["count"].Instructions = asm.Instructions{
		asm.BuiltinFunc(9999).Call().WithSymbol("count"), asm.Mov.Imm(asm.R0, 2), asm.Return(),
	}
	// Nothing fills a BPF file system, but it can refuse to take more.
	closed := t.TempDir()
	if err := unix.Mount("bpf", closed, "bpf", unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(closed, unix.MNT_DETACH) })
	return map[string]refusedLoad{
		"verifier": {mustOpen(t, "refused"), LoadOptions{}, Pinning{},
			"load refused.bpf.o: program unchecked: permission denied", unix.EACCES},
		"license": {mustOpen(t, "unlicensed"), LoadOptions{}, Pinning{},
			"load unlicensed.bpf.o: program print: invalid argument", unix.EINVAL},
		"tail call out of range": {bad, LoadOptions{}, Pinning{},
			"load legacy_tail.bpf.o: step1 belongs at 1 of map steps, which has 1 entries: argument list too long", unix.E2BIG},
		"tail call refused":  {broken, LoadOptions{}, Pinning{}, "load legacy_tail.bpf.o: program end: ", nil},
		"no program":         {mustOpen(t, "object"), LoadOptions{Programs: []string{"x"}}, Pinning{}, `load object.bpf.o: program "x": file does not exist`, os.ErrNotExist},
		"no BPF file system": {mustOpen(t, "object"), LoadOptions{}, Pinning{Root: "/proc"}, "load object.bpf.o: /proc is no BPF file system; mount one with: mount -t bpf bpf /proc: no such file or directory", unix.ENOENT},
		"directory there":    {mustOpen(t, "object"), LoadOptions{PinPrograms: p.Root}, Pinning{Maps: map[string]Pin{"points": {Kind: PinPath, Path: p.Root + "/dir"}}}, "load object.bpf.o: map points: open what is pinned at " + p.Root + "/dir: ", nil},
		"pin outside": {mustOpen(t, "object"), LoadOptions{PinPrograms: p.Root + "/new/deep"}, Pinning{Maps: map[string]Pin{"points": {Kind: PinPath, Path: "/proc/points"}}},
			"load object.bpf.o: map points: pin at /proc/points: ", nil},
		"file system that takes no more":      {mustOpen(t, "object"), LoadOptions{}, Pinning{Root: closed}, "load object.bpf.o: map points: pin at " + closed + "/points: read-only file system", unix.EROFS},
		"program where nothing more is taken": {mustOpen(t, "object"), LoadOptions{PinPrograms: closed + "/new"}, Pinning{}, "load object.bpf.o: program count: make directory: mkdir " + closed + "/new: read-only file system", unix.EROFS},
		"helper of a kernel to come":          {newHelper, LoadOptions{}, Pinning{}, "load object.bpf.o: program count: invalid argument", unix.EINVAL},
		"program pin outside":                 {mustOpen(t, "object"), LoadOptions{PinPrograms: "/proc"}, Pinning{}, "load object.bpf.o: program count: pin at /proc/count: ", nil},
	}
}

// objects counts the maps and programs in the kernel that have these names.
func objects(t *testing.T, names []string) string {
	t.Helper()
	count := map[string]int{}
	var id ebpf.MapID
	for next, err := ebpf.MapGetNextID(id); err == nil; next, err = ebpf.MapGetNextID(id) {
		id = next
		if m, err := ebpf.NewMapFromID(id); err == nil {
			if info, err := m.Info(); err == nil {
				count["map "+info.Name]++
			}
			m.Close()
		}
	}
	var pid ebpf.ProgramID
	for next, err := ebpf.ProgramGetNextID(pid); err == nil; next, err = ebpf.ProgramGetNextID(pid) {
		pid = next
		if p, err := ebpf.NewProgramFromID(pid); err == nil {
			if info, err := p.Info(); err == nil {
				count["program "+info.Name]++
			}
			p.Close()
		}
	}
	var list []string
	for _, name := range names {
		for _, kind := range []string{"map ", "program "} {
			if n := count[kind+name]; n > 0 {
				list = append(list, fmt.Sprint(kind, name, " ", n))
			}
		}
	}
	return fmt.Sprint(list)
}

// lookEvery is how often to look whether the kernel has freed what it frees later.
// Not more often: a program array that is opened while it is being emptied can lose
// its way and stay for good.
const lookEvery = 200 * time.Millisecond

// settled is [objects] once the kernel has freed what it frees later.
func settled(t *testing.T, names []string) string {
	t.Helper()
	last, same := "", 0
	for range 50 {
		time.Sleep(lookEvery)
		if now := objects(t, names); now != last {
			last, same = now, 0
		} else if same++; same == 3 {
			break
		}
	}
	return last
}

// A program that is pinned already is refused before others notice: what is in a
// program array that they use stays there.
func TestProgramPinned(t *testing.T) {
	p := bpffs(t)
	s := mustOpen(t, "legacy_tail")
	o := LoadOptions{Pinning: p, PinPrograms: p.Root + "/tail"}
	obj := mustLoad(t, s, o)
	before := lookup[uint32](t, obj.Maps["steps"], 1)
	_, err := s.Load(t.Context(), o)
	want := "load legacy_tail.bpf.o: program end: pin at " + o.PinPrograms + "/end: file exists"
	if !errors.Is(err, os.ErrExist) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if after := lookup[uint32](t, obj.Maps["steps"], 1); after != before || before == 0 {
		t.Errorf("program %d is in the array, was %d", after, before)
	}
}

// A file system that takes no pins leaves nothing behind.
func TestReadOnly(t *testing.T) {
	p := bpffs(t)
	if err := unix.Mount("", p.Root, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"object", "legacy_tail"} {
		_, err := mustOpen(t, name).Load(context.Background(), LoadOptions{Pinning: p})
		if !errors.Is(err, unix.EROFS) {
			t.Errorf("%s: got %v, want EROFS", name, err)
		}
	}
	wantTree(t, p)
}

// Who has no permission is told so, and leaves nothing behind.
func TestNoPermission(t *testing.T) {
	if os.Getenv("LOADER_UNPRIVILEGED") != "" {
		_, err := mustOpen(t, "object").Load(context.Background(), LoadOptions{Pinning: &Pinning{Root: os.Getenv("LOADER_UNPRIVILEGED")}})
		fmt.Printf("%v %v\n", errors.Is(err, os.ErrPermission), err)
		return
	}
	p := bpffs(t)
	if err := os.Chmod(p.Root, 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	// A place that everybody can reach, with what the test reads.
	dir, err := os.MkdirTemp("/tmp", "loader")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	object, err := os.ReadFile("testdata/object.bpf.o")
	if err := errors.Join(err, os.Chmod(dir, 0o755), os.Mkdir(dir+"/testdata", 0o755), os.Mkdir(dir+"/bpf", 0o755),
		os.WriteFile(dir+"/test", self, 0o755), os.WriteFile(dir+"/testdata/object.bpf.o", object, 0o644),
		unix.Mount(p.Root, dir+"/bpf", "", unix.MS_BIND, "")); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir+"/bpf", unix.MNT_DETACH)
	c := exec.Command(dir+"/test", "-test.run", "^TestNoPermission$")
	c.Dir, c.Env = dir, append(os.Environ(), "LOADER_UNPRIVILEGED="+dir+"/bpf")
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := c.CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "true load object.bpf.o: ") {
		t.Errorf("error %v, output %s", err, out)
	}
	wantTree(t, p)
}
