// SPDX-License-Identifier: BSD-3-Clause

package loader

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
)

// BPFFS is where the BPF file system is, unless the configuration says otherwise.
const BPFFS = "/sys/fs/bpf"

// Files of the configuration that [LoadPinning] reads: first iproute2's, which has
// nothing but what the pinning values of objects mean.
const (
	IprouteConfig = "/etc/iproute2/bpf_pinning"
	Config        = "/etc/xdpctl/pinning.conf"
	// ConfigDir has drop-ins, *.conf, read in the order of their names.
	ConfigDir = "/etc/xdpctl/pinning.conf.d"
)

// PinKind is in which of the name spaces a map is pinned.
type PinKind int

const (
	// PinNone is not at all.
	PinNone PinKind = iota
	// PinByName is by its name in the directory for that: LIBBPF_PIN_BY_NAME.
	PinByName
	// PinObject is for its object alone: PIN_OBJECT_NS of iproute2.
	PinObject
	// PinGlobal is for all objects: PIN_GLOBAL_NS of iproute2.
	PinGlobal
	// PinValue is another value of struct bpf_elf_map, which configuration
	// gives a directory. Without one, the map is not pinned.
	PinValue
	// PinPath is at one path.
	PinPath
)

// Pin says where a map is pinned.
type Pin struct {
	Kind  PinKind
	Value uint32 // of PinValue
	Path  string // of PinPath
}

// String returns the pin as the configuration has it.
func (p Pin) String() string {
	switch p.Kind {
	case PinByName:
		return "by-name"
	case PinObject:
		return "object"
	case PinGlobal:
		return "global"
	case PinValue:
		return strconv.FormatUint(uint64(p.Value), 10)
	case PinPath:
		return p.Path
	}
	return "none"
}

// ParsePin reads a pin as the configuration has it: none, by-name, object, global,
// a pinning value, or a path, which begins with a slash.
func ParsePin(s string) (Pin, error) {
	for k := PinNone; k <= PinGlobal; k++ {
		if s == (Pin{Kind: k}).String() {
			return Pin{Kind: k}, nil
		}
	}
	if strings.HasPrefix(s, "/") {
		if err := checkPath(s); err != nil {
			return Pin{}, err
		}
		return Pin{Kind: PinPath, Path: filepath.Clean(s)}, nil
	}
	if v, ok := cNumber(s); ok {
		return legacyPin(v), nil
	}
	return Pin{}, fmt.Errorf("%q is neither none, by-name, object, global, a number nor an absolute path", s)
}

// legacyPin is a pinning value of struct bpf_elf_map.
func legacyPin(v uint32) Pin {
	switch v {
	case 0:
		return Pin{}
	case 1:
		return Pin{Kind: PinObject}
	case 2:
		return Pin{Kind: PinGlobal}
	}
	return Pin{Kind: PinValue, Value: v}
}

// Pinning is the configuration of pinning. The zero value is that of a machine
// without any.
type Pinning struct {
	// Root is where the BPF file system is, [BPFFS] if empty.
	Root string
	// Directory is where maps are pinned by name, Root if empty.
	Directory string
	// Values are the directories, below Root, of pinning values above 2.
	Values map[uint32]string
	// Maps are the pins of single maps, whatever their object says.
	Maps map[string]Pin
}

// LoadPinning reads the configuration of the system. Files that are not there are
// no error, lines that make no sense are.
func LoadPinning() (*Pinning, error) {
	return loadPinning(IprouteConfig, Config, ConfigDir)
}

func loadPinning(iproute, config, dir string) (*Pinning, error) {
	p := &Pinning{}
	if err := p.readFile(iproute, p.ReadIproute); err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.conf"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	for _, f := range append([]string{config}, files...) {
		if err := p.readFile(f, p.Read); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *Pinning) readFile(path string, read func(io.Reader) error) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read configuration of pinning: %w", err)
	}
	defer f.Close()
	if err := read(f); err != nil {
		return fmt.Errorf("read configuration of pinning %s: %w", path, err)
	}
	return nil
}

// lines calls f with the words of each line, without comments.
func lines(r io.Reader, f func(words []string) error) error {
	sc := bufio.NewScanner(r)
	for n := 1; sc.Scan(); n++ {
		text, _, _ := strings.Cut(sc.Text(), "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		if err := f(words); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return sc.Err()
}

// ReadIproute reads /etc/iproute2/bpf_pinning: a number and a directory on each
// line. The numbers 0 to 2 are those of iproute2 itself and do not count.
func (p *Pinning) ReadIproute(r io.Reader) error {
	return lines(r, func(words []string) error {
		if len(words) < 2 {
			return fmt.Errorf("%q is not a number and a directory", strings.Join(words, " "))
		}
		return p.setValue(words[0], words[1])
	})
}

func (p *Pinning) setValue(number, dir string) error {
	v, ok := cNumber(number)
	if !ok {
		return fmt.Errorf("%q is not a pinning value", number)
	}
	if err := checkPath(dir); err != nil {
		return err
	}
	if legacyPin(v).Kind != PinValue {
		return nil
	}
	if p.Values == nil {
		p.Values = map[uint32]string{}
	}
	p.Values[v] = strings.Trim(filepath.Clean(dir), "/")
	return nil
}

// Read reads a configuration file of xdpctl. What it says goes before what was
// read before:
//
//	bpffs DIRECTORY         where the BPF file system is
//	directory DIRECTORY     where maps are pinned by name
//	value NUMBER DIRECTORY  what a pinning value means, below the BPF file system
//	map NAME PIN            where one map is pinned, see [ParsePin]
func (p *Pinning) Read(r io.Reader) error {
	return lines(r, func(words []string) error {
		want := map[string]int{"bpffs": 2, "directory": 2, "value": 3, "map": 3}[words[0]]
		switch {
		case want == 0:
			return fmt.Errorf("%q is none of bpffs, directory, value, map", words[0])
		case len(words) != want:
			return fmt.Errorf("%q takes %s", words[0], plural(want-1, "word"))
		}
		return p.set(words)
	})
}

func (p *Pinning) set(words []string) error {
	switch words[0] {
	case "bpffs", "directory":
		if !filepath.IsAbs(words[1]) {
			return fmt.Errorf("%q is not an absolute path", words[1])
		}
		if err := checkPath(words[1]); err != nil {
			return err
		}
		if words[0] == "bpffs" {
			p.Root = filepath.Clean(words[1])
		} else {
			p.Directory = filepath.Clean(words[1])
		}
		return nil
	case "value":
		return p.setValue(words[1], words[2])
	}
	pin, err := ParsePin(words[2])
	if err != nil {
		return err
	}
	if p.Maps == nil {
		p.Maps = map[string]Pin{}
	}
	p.Maps[words[1]] = pin
	return nil
}

// checkPath refuses paths that lead out of where they begin.
func checkPath(path string) error {
	if slices.Contains(strings.Split(path, "/"), "..") {
		return fmt.Errorf("path %q has .. in it", path)
	}
	if strings.ContainsRune(path, 0) || strings.Trim(path, "/.") == "" {
		return fmt.Errorf("path %q leads nowhere", path)
	}
	return nil
}

func (p *Pinning) root() string {
	if p.Root != "" {
		return p.Root
	}
	return BPFFS
}

// subdirs are the directories that iproute2 has for types of programs.
var subdirs = map[ebpf.ProgramType]string{
	ebpf.SchedCLS: "tc", ebpf.SchedACT: "tc", ebpf.XDP: "xdp",
	ebpf.LWTIn: "ip", ebpf.LWTOut: "ip", ebpf.LWTXmit: "ip", ebpf.LWTSeg6Local: "ip",
}

// iprouteDir is the directory of iproute2's for a type of program. That for XDP and
// that for light-weight tunnels are links to tc, unless somebody made them
// directories.
func (p *Pinning) iprouteDir(typ ebpf.ProgramType) string {
	sub := subdirs[typ]
	if sub == "" {
		sub = "tc"
	}
	dir := filepath.Join(p.root(), sub)
	if st, err := os.Lstat(dir); err == nil && st.IsDir() {
		return dir
	}
	return filepath.Join(p.root(), "tc")
}

// of is the pin of a map.
func (p *Pinning) of(s *Spec, name string) Pin {
	if pin, ok := p.Maps[name]; ok {
		return pin
	}
	return s.Pins[name]
}

// ProgramDir is where the programs of an object belong if nobody says: in a
// directory of its name, beside the maps that are pinned by name. An object
// without a name has none.
func (p *Pinning) ProgramDir(s *Spec) string {
	name, _, _ := strings.Cut(s.Name, ".")
	if name == "" {
		return ""
	}
	return filepath.Join(p.byName(), name)
}

// byName is where maps are pinned by name.
func (p *Pinning) byName() string { return cmp.Or(p.Directory, p.root()) }

// Path returns where a map of an object would be pinned, or an empty path if it
// would not. The type is that of the program that is loaded: iproute2 has
// directories by types.
func (p *Pinning) Path(s *Spec, typ ebpf.ProgramType, name string) (string, error) {
	pin := p.of(s, name)
	if pin.Kind == PinNone {
		return "", nil
	}
	if pin.Kind != PinPath && (strings.ContainsAny(name, "./") || name == "") {
		return "", fmt.Errorf("map %q: no pin can have this name", name)
	}
	switch pin.Kind {
	case PinByName:
		return filepath.Join(p.byName(), name), nil
	case PinObject:
		return filepath.Join(p.iprouteDir(typ), s.UID, name), nil
	case PinGlobal:
		return filepath.Join(p.iprouteDir(typ), "globals", name), nil
	case PinValue:
		if sub, ok := p.Values[pin.Value]; ok {
			return filepath.Join(p.root(), sub, name), nil
		}
		return "", nil
	}
	return pin.Path, nil
}

// Layout is whose a pin is, by where it is.
type Layout string

const (
	LayoutIprouteGlobal Layout = "iproute2 global"
	LayoutIprouteObject Layout = "iproute2 object"
	LayoutLibxdp        Layout = "libxdp dispatcher"
	LayoutOther         Layout = "other"
)

// Layout tells whose a pin is: iproute2's are in tc/globals and in tc/SHA-1, those
// of libxdp in xdp/dispatch-IFINDEX-ID. The directory xdp can be a link to tc, so
// that each can be in either.
func (p *Pinning) Layout(path string) Layout {
	rel, err := filepath.Rel(p.root(), filepath.Clean(path))
	if err != nil {
		return LayoutOther
	}
	parts := strings.Split(rel, "/")
	if len(parts) < 2 || !slices.Contains([]string{"tc", "xdp", "ip"}, parts[0]) {
		return LayoutOther
	}
	switch dir := parts[1]; {
	case dir == "globals":
		return LayoutIprouteGlobal
	case len(dir) == 40 && strings.Trim(dir, "0123456789abcdef") == "":
		return LayoutIprouteObject
	case isDispatcherDir(dir):
		return LayoutLibxdp
	}
	return LayoutOther
}

// isDispatcherDir tells whether a directory is libxdp's of one dispatcher.
func isDispatcherDir(name string) bool {
	var ifindex, id uint32
	n, err := fmt.Sscanf(name, "dispatch-%d-%d", &ifindex, &id)
	return n == 2 && err == nil && name == fmt.Sprintf("dispatch-%d-%d", ifindex, id)
}
