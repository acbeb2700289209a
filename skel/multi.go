// SPDX-License-Identifier: BSD-3-Clause

package skel

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
)

// tracefs is where the kernel says which of its functions can be probed.
var tracefs = []string{"/sys/kernel/tracing/", "/sys/kernel/debug/tracing/"}

// attachKprobes attaches to the functions of the kernel that match a pattern.
func attachKprobes(kind, pattern string, p *Program) (link.Link, error) {
	opts := link.KprobeMultiOptions{Session: kind == "kprobe.session"}
	var err error
	if strings.ContainsAny(pattern, "*?") {
		err = findFunctions(pattern, &opts)
	} else {
		opts.Symbols = []string{pattern}
	}
	if err != nil {
		return nil, fmt.Errorf("section %s: %w", p.Spec.SectionName, err)
	}
	if kind == "kretprobe.multi" {
		return link.KretprobeMulti(p.Prog, opts)
	}
	return link.KprobeMulti(p.Prog, opts)
}

// findFunctions finds what matches a pattern: by addresses from 6.5 on, before that
// by names, of which the kernel knows only those that are not in modules.
func findFunctions(pattern string, opts *link.KprobeMultiOptions) error {
	f, err := openTracefs("available_filter_functions_addrs")
	addresses := err == nil
	if errors.Is(err, fs.ErrNotExist) {
		f, err = openTracefs("available_filter_functions")
	}
	if err != nil {
		return fmt.Errorf("find functions of the kernel: %w", err)
	}
	defer f.Close()
	return readFunctions(f, pattern, addresses, opts)
}

func openTracefs(name string) (*os.File, error) {
	var errs []error
	for _, dir := range tracefs {
		f, err := os.Open(dir + name)
		if err == nil {
			return f, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// readFunctions reads lines of a name, with an address before it or not, and the
// module after it.
func readFunctions(r io.Reader, pattern string, addresses bool, opts *link.KprobeMultiOptions) error {
	for lines := bufio.NewScanner(r); ; {
		if !lines.Scan() {
			if lines.Err() != nil {
				return fmt.Errorf("find functions of the kernel: %w", lines.Err())
			}
			break
		}
		words := strings.Fields(lines.Text())
		var address uint64
		if addresses && len(words) > 0 {
			var err error
			if address, err = strconv.ParseUint(words[0], 16, 64); err != nil {
				return fmt.Errorf("find functions of the kernel: address %q: %w", words[0], err)
			}
			words = words[1:]
		}
		if len(words) == 0 || !addresses && len(words) > 1 || strings.HasPrefix(words[0], "__ftrace_invalid_address___") {
			continue
		}
		switch found, err := path.Match(pattern, words[0]); {
		case err != nil:
			return fmt.Errorf("pattern %q: %w", pattern, err)
		case found && addresses:
			opts.Addresses = append(opts.Addresses, uintptr(address))
		case found:
			opts.Symbols = append(opts.Symbols, words[0])
		}
	}
	// A name that many functions have stands for one of them.
	slices.Sort(opts.Symbols)
	opts.Symbols = slices.Compact(opts.Symbols)
	if len(opts.Addresses)+len(opts.Symbols) == 0 {
		return fmt.Errorf("function that matches %s: %w", pattern, os.ErrNotExist)
	}
	return nil
}

// attachUprobes attaches to the functions of PATH:PATTERN.
func attachUprobes(kind, rest string, p *Program) (link.Link, error) {
	file, pattern, ok := strings.Cut(rest, ":")
	if !ok {
		return nil, nil
	}
	if kind == "uprobe.session" {
		return nil, fmt.Errorf("section %s: the library attaches no sessions of uprobes: %w", p.Spec.SectionName, errors.ErrUnsupported)
	}
	file, err := findBinary(file)
	if err != nil {
		return nil, err
	}
	symbols := []string{pattern}
	if strings.ContainsAny(pattern, "*?") {
		if symbols, err = findSymbols(file, pattern); err != nil {
			return nil, fmt.Errorf("section %s: %w", p.Spec.SectionName, err)
		}
	}
	exe, err := link.OpenExecutable(file)
	if err != nil {
		return nil, err
	}
	attach := exe.UprobeMulti
	if kind == "uretprobe.multi" {
		attach = exe.UretprobeMulti
	}
	l, err := attach(symbols, p.Prog, nil)
	if err != nil {
		// Kernels without it say of everything that it is invalid.
		if lack := features.HaveBPFLinkUprobeMulti(); errors.Is(lack, ebpf.ErrNotSupported) {
			return nil, lack
		}
		return nil, err
	}
	return l, nil
}

// findSymbols finds the functions in a program or library that match a pattern.
func findSymbols(file, pattern string) ([]string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	static, err := f.Symbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	dynamic, err := f.DynamicSymbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	var names []string
	for _, s := range append(static, dynamic...) {
		if elf.ST_TYPE(s.Info) != elf.STT_FUNC || s.Value == 0 {
			continue
		}
		found, err := path.Match(pattern, s.Name)
		if err != nil {
			return nil, fmt.Errorf("pattern %q: %w", pattern, err)
		}
		if found {
			names = append(names, s.Name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("function in %s that matches %s: %w", file, pattern, os.ErrNotExist)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
