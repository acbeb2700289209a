// SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/compare"
)

// How operations are profiled. The kernel takes no smaller period than 10,000;
// a prime is in step with little.
const (
	profilePeriod = 20_011
	profileCost   = 1_000_000_000 // of all operations of a profile, about
	profileMany   = 100           // netdevs, for those that iterate
)

// profiled are operations of bench.c, those last that iterate.
var profiled = []struct {
	name string
	many bool
}{
	{name: statsGetOwn}, {name: "RTM_GETSTATS"}, {name: "ethtool CHANNELS_GET"},
	{name: lookupOwn}, {name: hashLookup}, {name: "ethtool -S ioctl"},
	{statsDump, true}, {mapIterate, true},
}

// profileMain takes samples with perf(1) by the clock, which under -icount counts
// instructions. They are taken where interrupts are on: what runs while they are
// off counts for whoever turns them on.
func profileMain(opts options) (err error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	release := unix.ByteSliceToString(uts.Release[:])
	r := &runner{raw: filepath.Join(opts.build, "bench-c")}
	for _, args := range [][]string{{"modprobe", "-a", "veth", "dummy"}, {"insmod", filepath.Join(opts.build, release, "xdpctl.ko")}} {
		if err := run(args[0], args[1:]...); err != nil {
			return err
		}
	}
	b, err := newBed()
	if err != nil {
		return err
	}
	names, err := readSymbols(r.raw)
	if err != nil {
		return err
	}
	p := &compare.Profile{Release: release, Period: profilePeriod}
	for _, o := range profiled {
		netdevs := 0
		if o.many {
			netdevs = profileMany
			if err := growTo(netdevs); err != nil {
				return err
			}
		}
		f, err := r.profile(b, names, o.name, netdevs)
		if err != nil {
			return fmt.Errorf("profile %s: %w", o.name, err)
		}
		p.Operations = append(p.Operations, f)
	}
	out, err := p.Marshal()
	if err != nil {
		return err
	}
	dir := filepath.Join(opts.build, "profile")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, release+".json"), out, 0o644); err != nil {
		return err
	}
	return p.WriteText(os.Stdout)
}

// profile measures an operation, and then takes samples of it.
func (r *runner) profile(b *bed, names symbols, name string, netdevs int) (*compare.ProfiledOperation, error) {
	what := []string{"op=" + name, fmt.Sprintf("control=%d", b.control), fmt.Sprintf("dev=%d", b.dummy), "veth=" + vethName}
	figures, err := r.c(append([]string{"measure"}, what...)...)
	if err != nil {
		return nil, err
	}
	if len(figures) != 1 {
		return nil, fmt.Errorf("%d figures", len(figures))
	}
	f := figures[0]
	count := int(profileCost / (f.Min * float64(f.Entries)))
	dir, err := os.MkdirTemp("", "profile")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	data := filepath.Join(dir, "perf.data")
	if err := run("perf", append([]string{"record", "-q", "-e", "cpu-clock", "-c", strconv.Itoa(profilePeriod), "-o", data,
		r.raw, "loop", fmt.Sprintf("count=%d", count)}, what...)...); err != nil {
		return nil, err
	}
	cmd := exec.Command("perf", "script", "-i", data, "-F", "ip")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("perf script: %w: %s", err, stderr.Bytes())
	}
	functions, err := names.count(bytes.NewReader(out))
	if err != nil {
		return nil, err
	}
	return compare.NewProfiledOperation(name, netdevs, f.Min, functions), nil
}

// symbol is where a function begins.
type symbol struct {
	addr uint64
	compare.Sampled
}

// symbols are in ascending order.
type symbols []symbol

// readSymbols reads those of a program and of the kernel.
func readSymbols(program string) (symbols, error) {
	f, err := elf.Open(program)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := f.Symbols()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", program, err)
	}
	var all symbols
	for _, s := range list {
		if elf.ST_TYPE(s.Info) == elf.STT_FUNC && s.Value != 0 {
			all = append(all, symbol{s.Value, compare.Sampled{Name: s.Name, User: true}})
		}
	}
	kernel, err := os.Open("/proc/kallsyms")
	if err != nil {
		return nil, err
	}
	defer kernel.Close()
	return all.addKernel(kernel)
}

// addKernel adds the lines of /proc/kallsyms, and sorts.
func (all symbols) addKernel(r io.Reader) (symbols, error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		// ADDRESS TYPE NAME [MODULE]
		w := strings.Fields(lines.Text())
		if len(w) < 3 || !strings.Contains("tTwW", w[1]) {
			continue
		}
		addr, err := strconv.ParseUint(w[0], 16, 64)
		if err != nil {
			return nil, fmt.Errorf("kallsyms: %w", err)
		}
		s := symbol{addr, compare.Sampled{Name: w[2]}}
		if len(w) > 3 {
			s.Module = strings.Trim(w[3], "[]")
		}
		all = append(all, s)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("kallsyms: %w", err)
	}
	slices.SortStableFunc(all, func(a, b symbol) int { return cmp.Compare(a.addr, b.addr) })
	if len(all) == 0 || all[len(all)-1].addr == 0 {
		return nil, errors.New("kallsyms: no addresses")
	}
	return all, nil
}

// count counts the samples of functions, by their addresses as perf script prints
// them. The pause between operations is none.
func (all symbols) count(r io.Reader) ([]compare.Sampled, error) {
	samples := make([]int, len(all))
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		addr, err := strconv.ParseUint(strings.TrimSpace(lines.Text()), 16, 64)
		if err != nil {
			return nil, fmt.Errorf("perf script: %w", err)
		}
		i, found := slices.BinarySearchFunc(all, addr, func(s symbol, a uint64) int { return cmp.Compare(s.addr, a) })
		if !found {
			i--
		}
		if i >= 0 && all[i].Name != "jitter" {
			samples[i]++
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("perf script: %w", err)
	}
	var functions []compare.Sampled
	for i, n := range samples {
		if n > 0 {
			f := all[i].Sampled
			f.Samples = n
			functions = append(functions, f)
		}
	}
	if len(functions) == 0 {
		return nil, errors.New("there are no samples")
	}
	return functions, nil
}
