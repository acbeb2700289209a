// SPDX-License-Identifier: BSD-3-Clause

package skel

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/link"
)

// attachProbe attaches a program of the sections that are probes.
func attachProbe(kind, rest string, p *Program) (link.Link, error) {
	switch kind {
	case "kprobe", "kretprobe":
		symbol, offset, err := symbolOffset(rest)
		if err != nil {
			return nil, err
		}
		opts := &link.KprobeOptions{Offset: offset}
		if kind == "kretprobe" {
			return link.Kretprobe(symbol, p.Prog, opts)
		}
		return link.Kprobe(symbol, p.Prog, opts)
	case "ksyscall":
		// The library knows the prefix of the architecture.
		return link.Kprobe("sys_"+rest, p.Prog, nil)
	case "kretsyscall":
		return link.Kretprobe("sys_"+rest, p.Prog, nil)
	case "kprobe.multi", "kretprobe.multi", "kprobe.session":
		return attachKprobes(kind, rest, p)
	case "uprobe.multi", "uretprobe.multi", "uprobe.session":
		return attachUprobes(kind, rest, p)
	case "usdt":
		return nil, fmt.Errorf("section %s: USDT, for which libbpf reads notes in the program to be traced and fills maps of the object: %w", p.Spec.SectionName, errors.ErrUnsupported)
	case "uprobe", "uretprobe":
		return attachUprobe(kind, rest, p)
	}
	return nil, nil
}

// attachUprobe attaches to PATH:FUNCTION+OFFSET.
func attachUprobe(kind, rest string, p *Program) (link.Link, error) {
	path, function, ok := strings.Cut(rest, ":")
	if !ok {
		return nil, nil
	}
	symbol, offset, err := symbolOffset(function)
	if err != nil {
		return nil, err
	}
	if path, err = findBinary(path); err != nil {
		return nil, err
	}
	exe, err := link.OpenExecutable(path)
	if err != nil {
		return nil, err
	}
	opts := &link.UprobeOptions{Offset: offset}
	if kind == "uretprobe" {
		return exe.Uretprobe(symbol, p.Prog, opts)
	}
	return exe.Uprobe(symbol, p.Prog, opts)
}

// symbolOffset parses NAME+OFFSET.
func symbolOffset(s string) (string, uint64, error) {
	symbol, offset, ok := strings.Cut(s, "+")
	if !ok {
		return s, 0, nil
	}
	n, err := strconv.ParseUint(offset, 0, 64)
	if err != nil {
		return "", 0, fmt.Errorf("offset %q: %w", offset, err)
	}
	return symbol, n, nil
}

// findBinary finds a program or library that is not named by its whole path, in
// the directories where libbpf looks.
func findBinary(name string) (string, error) {
	if strings.Contains(name, "/") {
		return "/" + strings.TrimPrefix(name, "/"), nil
	}
	dirs := filepath.SplitList(os.Getenv("PATH"))
	dirs = append(dirs, "/usr/bin", "/usr/sbin")
	if strings.Contains(name, ".so") {
		libs, _ := filepath.Glob("/usr/lib/*-linux-gnu*")
		dirs = append(append(filepath.SplitList(os.Getenv("LD_LIBRARY_PATH")), "/usr/lib64", "/usr/lib", "/lib64", "/lib"), libs...)
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return path, nil
		}
	}
	return "", fmt.Errorf("find %s: %w", name, os.ErrNotExist)
}
