// SPDX-License-Identifier: BSD-3-Clause

package skel

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/bpfobj"
)

// resolveKconfig fills in the section of kernel configuration.
func (o *Object) resolveKconfig(s *Section, override map[string]string) error {
	ds, ok := o.Spec.Maps[bpfobj.KconfigData].Value.(*btf.Datasec)
	if !ok {
		return fmt.Errorf("%s has no BTF: %w", bpfobj.Kconfig, errors.ErrUnsupported)
	}
	config := &kernelConfig{override: override}
	clear(s.bytes())
	for _, vsi := range ds.Vars {
		v, ok := vsi.Type.(*btf.Var)
		if !ok {
			return fmt.Errorf("%s: unexpected %s", bpfobj.Kconfig, vsi.Type)
		}
		text, found, err := config.lookup(v.Name)
		if err != nil {
			return err
		}
		size, err := btf.Sizeof(v.Type)
		if err != nil {
			return err
		}
		switch {
		case found:
			err = putConfig(s.bytes()[vsi.Offset:int(vsi.Offset)+size], v.Type, text)
		case !o.weak[v.Name]:
			err = fmt.Errorf("not set in the configuration of the kernel: %w", os.ErrNotExist)
		}
		if err != nil {
			return fmt.Errorf("%s: %s: %w", bpfobj.Kconfig, v.Name, err)
		}
	}
	return nil
}

// kernelConfig is the configuration of the kernel, read when it is needed.
type kernelConfig struct {
	override map[string]string
	values   map[string]string
}

func (c *kernelConfig) lookup(name string) (value string, found bool, err error) {
	if value, found = c.override[name]; found {
		return value, true, nil
	}
	switch name {
	case "LINUX_KERNEL_VERSION":
		version, err := features.LinuxVersionCode()
		return strconv.FormatUint(uint64(version), 10), true, err
	case "LINUX_HAS_BPF_COOKIE":
		err := features.HaveProgramHelper(ebpf.Kprobe, asm.FnGetAttachCookie)
		return yes(err == nil), true, nil
	case "LINUX_HAS_SYSCALL_WRAPPER":
		has, err := syscallWrapper()
		return yes(has), true, err
	}
	if !strings.HasPrefix(name, "CONFIG_") {
		return "", false, nil
	}
	if c.values == nil {
		if c.values, err = readConfig(); err != nil {
			return "", false, err
		}
	}
	value, found = c.values[name]
	return value, found, nil
}

func yes(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// readConfig reads the configuration of the running kernel.
func readConfig() (map[string]string, error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return nil, fmt.Errorf("configuration of the kernel: %w", err)
	}
	release := unix.ByteSliceToString(uts.Release[:])
	for _, path := range []string{"/proc/config.gz", "/boot/config-" + release, "/lib/modules/" + release + "/config"} {
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("configuration of the kernel: %w", err)
		}
		return parseConfig(b)
	}
	return nil, fmt.Errorf("configuration of the kernel %s is neither in /proc/config.gz nor below /boot or /lib/modules: %w", release, os.ErrNotExist)
}

func parseConfig(b []byte) (map[string]string, error) {
	var r io.Reader = bytes.NewReader(b)
	if bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("configuration of the kernel: %w", err)
		}
		r = z
	}
	values := make(map[string]string)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), "=")
		if ok && strings.HasPrefix(name, "CONFIG_") {
			values[name] = value
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("configuration of the kernel: %w", err)
	}
	return values, nil
}

// syscallWrapper tells whether the functions of syscalls have a prefix.
var syscallWrapper = sync.OnceValues(func() (bool, error) {
	prefix := map[string]string{"amd64": "__x64_", "arm64": "__arm64_", "s390x": "__s390x_", "riscv64": "__riscv_"}[runtime.GOARCH]
	if prefix == "" {
		return false, nil
	}
	f, err := os.Open("/proc/kallsyms")
	if err != nil {
		return false, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if strings.HasSuffix(lines.Text(), " "+prefix+"sys_bpf") {
			return true, nil
		}
	}
	return false, lines.Err()
})

// putConfig writes a value, as the kernel's configuration spells it, as libbpf
// does.
func putConfig(dst []byte, t btf.Type, text string) error {
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Array:
		s, err := strconv.Unquote(text)
		if err != nil {
			return fmt.Errorf("value %s is no text", text)
		}
		if len(dst) == 0 {
			return errors.New("no room")
		}
		copy(dst[:len(dst)-1], s)
		return nil
	case *btf.Enum:
		// enum libbpf_tristate
		v, ok := map[string]uint64{"n": 0, "y": 1, "m": 2}[text]
		if !ok {
			return fmt.Errorf("value %s is none of y, n and m", text)
		}
		return putInt(dst, v)
	case *btf.Int:
		return putConfigInt(dst, t, text)
	}
	return fmt.Errorf("type %v: %w", t, errors.ErrUnsupported)
}

func putConfigInt(dst []byte, t *btf.Int, text string) error {
	isChar := t.Encoding == btf.Char || t.Name == "char"
	if text == "y" || text == "n" || text == "m" {
		switch {
		case t.Encoding == btf.Bool && text != "m":
			return putInt(dst, map[string]uint64{"n": 0, "y": 1}[text])
		case isChar:
			return putInt(dst, uint64(text[0]))
		}
		return fmt.Errorf("value %s does not fit %s", text, t.Name)
	}
	bits := 8 * len(dst)
	if t.Encoding == btf.Signed {
		v, err := strconv.ParseInt(text, 0, 64)
		if err != nil || v>>(bits-1) != 0 && v>>(bits-1) != -1 {
			return fmt.Errorf("value %s does not fit %s", text, t.Name)
		}
		return putInt(dst, uint64(v))
	}
	v, err := strconv.ParseUint(text, 0, 64)
	if err != nil || bits < 64 && v>>bits != 0 || t.Encoding == btf.Bool && v > 1 {
		return fmt.Errorf("value %s does not fit %s", text, t.Name)
	}
	return putInt(dst, v)
}

func putInt(dst []byte, v uint64) error {
	if len(dst) > 8 {
		return fmt.Errorf("integer of %d bytes: %w", len(dst), errors.ErrUnsupported)
	}
	for i := range dst {
		dst[i] = byte(v >> (8 * i))
	}
	return nil
}

// mmapable tells whether the kernel can map arrays.
var mmapable = sync.OnceValue(func() bool {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1, Flags: unix.BPF_F_MMAPABLE})
	if err != nil {
		return false
	}
	m.Close()
	return true
})
