// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/ctlmap"
	"github.com/xdpctl/xdpctl-nl/family"
)

func (a *app) mapObject() *cobra.Command {
	return a.object("map", "Control maps",
		"A control map is a BPF map whose entries are those of a control type. It can be\nused by whatever can use a BPF map; list, create and pin print the bpftool(8)\ncommand that does the same.",
		a.mapList(), a.mapCreate(), a.mapPin(), a.mapDump())
}

func (a *app) mapList() *cobra.Command {
	return a.command(spec{
		use:     "list",
		short:   "List the control maps that there are",
		example: "xdpctl-nl map list",
		run:     func(context.Context) error { return a.listMaps() },
	})
}

func (a *app) listMaps() error {
	maps := []ordered{}
	err := ctlmap.Maps(func(_ *ebpf.Map, info *ctlmap.Info) error {
		if a.asJSON() {
			maps = append(maps, mapJSON(info))
		} else {
			a.printf("%s\n", mapText(info))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if a.asJSON() {
		return a.printJSON(maps)
	}
	a.printf("# %s\n", bpftool("map", "show"))
	return nil
}

func mapText(i *ctlmap.Info) string {
	var b line
	b.add(fmt.Sprintf("%d:", i.ID))
	if d := i.Type(); d != nil {
		b.add("type", d.Name)
	}
	if i.Name != "" {
		b.add("name", i.Name)
	}
	b.add("key", number(i.KeySize), "value", number(i.ValueSize), "ifindex", number(i.Ifindex), "netns", strconv.FormatUint(i.NetnsIno, 10))
	if i.BTFID != 0 {
		b.add("btf", number(i.BTFID))
	}
	return b.String()
}

func mapJSON(i *ctlmap.Info) ordered {
	o := ordered{{"id", i.ID}}
	if d := i.Type(); d != nil {
		o = append(o, member{"type", d.Name})
	}
	o = append(o, ordered{
		{"name", i.Name}, {"key-size", i.KeySize}, {"value-size", i.ValueSize},
		{"ifindex", i.Ifindex}, {"netns", i.NetnsIno},
	}...)
	if i.BTFID != 0 {
		o = append(o, ordered{{"btf-id", i.BTFID}, {"btf-key-type-id", i.BTFKeyID}, {"btf-value-type-id", i.BTFValueID}}...)
	}
	return append(o, member{"bpftool", bpftool("map", "show", "id", number(i.ID))})
}

func number(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// bpftool is the bpftool command of these words.
func bpftool(words ...string) string {
	for i, w := range words {
		if strings.ContainsAny(w, " \t\"'$&;|<>()*?[]\\`") {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return "bpftool " + strings.Join(words, " ")
}

// inNetns is a command that has to run in the netns to work in. It is not run
// by `ip netns exec`, which mounts another /sys, where nothing is pinned.
func (a *app) inNetns(command string) string {
	switch {
	case a.netnsName == "":
		return command
	case strings.Contains(a.netnsName, "/"):
		return "nsenter --net=" + a.netnsName + " " + command
	}
	return "nsenter --net=" + netnsDir + "/" + a.netnsName + " " + command
}

func (a *app) mapCreate() *cobra.Command {
	var typ, pin, dev string
	return a.command(spec{
		use:     "create TYPE [ pin PATH ] [ dev CONTROL ]",
		short:   "Create a control map and pin it",
		long:    "Types are those of type show. A control map outlives this tool only where it is\npinned: if not said otherwise, as /sys/fs/bpf/NAME.",
		example: "xdpctl-nl map create xdp-stats\nxdpctl-nl map create xdp-prog pin /sys/fs/bpf/prog",
		words: words{
			{arg: "TYPE", help: "the control type of its entries", need: true, set: setString(&typ), complete: typeNames},
			{name: "pin", arg: "PATH", help: "pin it there", set: setString(&pin)},
			{name: "dev", arg: "CONTROL", help: "on this control device, if there are many", set: setString(&dev), complete: a.completeDev},
		},
		run: func(ctx context.Context) error { return a.createMap(ctx, typ, pin, dev) },
	})
}

func typeNames() []string {
	var names []string
	for _, d := range family.Descs() {
		names = append(names, d.Name)
	}
	return names
}

func (a *app) createMap(ctx context.Context, typ, pin, dev string) error {
	if err := a.needKernel("map create"); err != nil {
		return err
	}
	layout, err := a.layout(ctx, typ)
	if err != nil {
		return err
	}
	if pin == "" {
		pin = filepath.Join(pinRoot, layout.Name)
	}
	if err := checkPin(pin); err != nil {
		return err
	}
	fd, err := a.netnsFD()
	if err != nil {
		return err
	}
	opts := ctlmap.DeviceOptions{NetNS: fd, Name: dev}
	control, err := ctlmap.FindDevice(opts)
	if err != nil {
		return a.noDevice(err)
	}
	m, err := ctlmap.CreateMap(ctlmap.MapOptions{Layout: layout, DeviceOptions: opts})
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.Pin(pin); err != nil {
		return fmt.Errorf("pin map at %s: %w", pin, err)
	}
	return a.printPinned(m, pin, a.inNetns(bpftool("map", "create", pin, "type", "hash",
		"key", number(layout.KeySize), "value", number(layout.ValueSize),
		"entries", number(m.MaxEntries()), "name", layout.Name, "dev", control.Name)))
}

// layout finds what a control type needs of its map: as this tool was made, or
// else as the kernel tells.
func (a *app) layout(ctx context.Context, typ string) (ctlmap.Layout, error) {
	for _, name := range []string{typ, "xdp-" + typ} {
		if l, err := ctlmap.FindLayout(name); err == nil {
			return l, nil
		}
	}
	unknown := usagef("%q is no control type; expected %s", typ, strings.Join(typeNames(), ", "))
	ctl, err := a.control()
	if err != nil {
		return ctlmap.Layout{}, unknown
	}
	types, err := ctl.Types(ctx)
	if err != nil {
		return ctlmap.Layout{}, unknown
	}
	for i := range types {
		t := &types[i]
		if name := t.Name.String(); name == typ || strings.ReplaceAll(name, "_", "-") == typ {
			return ctlmap.Layout{Name: name, KeySize: t.KeySize, ValueSize: t.ValueSize}, nil
		}
	}
	return ctlmap.Layout{}, unknown
}

// checkPin tells early what the kernel says less clearly.
func checkPin(path string) error {
	dir := filepath.Dir(path)
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("pin at %s: %w", path, err)
	}
	if st.Type != unix.BPF_FS_MAGIC {
		return &hinted{fmt.Errorf("pin at %s: %s is no BPF file system", path, dir),
			"Mount one with: mount -t bpf bpf " + pinRoot}
	}
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("pin at %s: %w", path, os.ErrExist)
	}
	return nil
}

func (a *app) printPinned(m *ebpf.Map, path, command string) error {
	info, err := ctlmap.MapInfo(m)
	if err != nil {
		return err
	}
	if a.asJSON() {
		o := mapJSON(info)
		o[len(o)-1] = member{"pinned", path}
		return a.printJSON(append(o, member{"bpftool", command}))
	}
	a.printf("%s pinned %s\n# %s\n", mapText(info), path, command)
	return nil
}

// mapRef is a map that exists: one of the two is set.
type mapRef struct {
	id     *uint32
	pinned string
}

func (r *mapRef) words() words {
	return words{
		{name: "id", arg: "N", help: "the map with this id", group: "map", need: true, set: setOptional(&r.id, 1)},
		{name: "pinned", arg: "PATH", help: "the map pinned there", group: "map", need: true, set: setString(&r.pinned)},
	}
}

func (r *mapRef) open() (*ebpf.Map, error) {
	if r.id == nil {
		return ctlmap.OpenMap(r.pinned)
	}
	m, err := ebpf.NewMapFromID(ebpf.MapID(*r.id))
	if err != nil {
		return nil, fmt.Errorf("open map with id %d: %w", *r.id, err)
	}
	return m, nil
}

func (r *mapRef) bpftool() []string {
	if r.id == nil {
		return []string{"pinned", r.pinned}
	}
	return []string{"id", number(*r.id)}
}

func (a *app) mapPin() *cobra.Command {
	var ref mapRef
	var path string
	return a.command(spec{
		use:     "pin { id N | pinned PATH } path PATH",
		short:   "Pin a control map",
		example: "xdpctl-nl map pin id 12 path /sys/fs/bpf/stats",
		words:   append(ref.words(), word{name: "path", arg: "PATH", help: "pin it there", need: true, set: setString(&path)}),
		run: func(context.Context) error {
			m, err := ref.open()
			if err != nil {
				return err
			}
			defer m.Close()
			if err := checkPin(path); err != nil {
				return err
			}
			// A map that knows of a pin would be moved from it.
			c, err := m.Clone()
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.Pin(path); err != nil {
				return fmt.Errorf("pin map at %s: %w", path, err)
			}
			words := append([]string{"map", "pin"}, ref.bpftool()...)
			return a.printPinned(c, path, bpftool(append(words, path)...))
		},
	})
}

func (a *app) mapDump() *cobra.Command {
	var ref mapRef
	return a.command(spec{
		use:     "dump { pinned PATH | id N }",
		short:   "Print the entries of a map by its BTF",
		long:    "Fields that this tool has never heard of are printed too. What is not present is\nleft out.",
		example: "xdpctl-nl map dump pinned /sys/fs/bpf/xdp_stats\nxdpctl-nl -j map dump id 12",
		words:   ref.words(),
		run: func(context.Context) error {
			m, err := ref.open()
			if err != nil {
				return err
			}
			defer m.Close()
			return a.dumpMap(m)
		},
	})
}

func (a *app) dumpMap(m *ebpf.Map) error {
	d, err := ctlmap.NewDumper(m)
	if errors.Is(err, errors.ErrUnsupported) {
		return &hinted{err, "See its bytes with: bpftool map dump"}
	}
	if err != nil {
		return err
	}
	d.Spelling = ctlmap.SpellSpec
	entries := []json.RawMessage{}
	err = ctlmap.Walk(m, func(key, value []byte) error {
		if a.asJSON() {
			b, err := d.AppendJSON(nil, key, value)
			entries = append(entries, b)
			return err
		}
		b, err := d.AppendText(nil, key, value)
		if err == nil {
			_, err = a.stdout.Write(b)
		}
		return err
	})
	if err != nil {
		return err
	}
	if a.asJSON() {
		return a.printJSON(entries)
	}
	return nil
}
