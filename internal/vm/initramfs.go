// SPDX-License-Identifier: BSD-3-Clause

package vm

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
)

// bootModules are what a distribution kernel needs to reach the host's root, to
// talk to the host, and to have netdevs without asking for a module.
var bootModules = []string{"virtio_pci", "virtio_console", "9pnet_virtio", "9p", "virtio_net", "veth"}

// writeInitramfs writes the initramfs of a guest: the program init, which is
// this one, the modules of the kernel, and the job.
func writeInitramfs(w io.Writer, k *Kernel, job *Job) error {
	init, err := initProgram()
	if err != nil {
		return err
	}
	a := newArchive(w)
	for _, dir := range []string{"/proc", "/sys", "/dev", "/root"} {
		a.dir(dir)
	}
	a.char("/dev/console", 5, 1)
	a.file("/init", modeExec, init)

	if !k.Debug {
		files, err := moduleFiles(k.Release, bootModules)
		if err != nil {
			return err
		}
		for i, file := range files {
			data, err := readModule(file)
			if err != nil {
				return err
			}
			name := fmt.Sprintf("/modules/%02d-%s", i, moduleBase(file))
			a.file(name, modeFile, data)
			job.Modules = append(job.Modules, name)
		}
	}
	data, err := json.Marshal(job)
	if err != nil {
		return fmt.Errorf("encode job: %w", err)
	}
	a.file(JobPath, modeFile, data)
	return a.close()
}

// initProgram returns the running program, which is its own init in the guest.
func initProgram() ([]byte, error) {
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return nil, fmt.Errorf("read init: %w", err)
	}
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("read init: %w", err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return nil, errors.New("read init: this program is not static, build it with CGO_ENABLED=0")
		}
	}
	return data, nil
}

// moduleFiles returns the files of the modules and of all that they depend on,
// in load order.
func moduleFiles(release string, modules []string) ([]string, error) {
	var files []string
	seen := make(map[string]bool)
	for _, m := range modules {
		out, err := exec.Command("modprobe", "--set-version", release, "--show-depends", m).Output()
		if err != nil {
			return nil, fmt.Errorf("find module %s of %s: %w", m, release, withStderr(err))
		}
		for _, file := range parseDepends(string(out)) {
			if !seen[file] {
				seen[file] = true
				files = append(files, file)
			}
		}
	}
	return files, nil
}

// withStderr adds to an error of exec what the program said.
func withStderr(err error) error {
	if ee := (*exec.ExitError)(nil); errors.As(err, &ee) && len(ee.Stderr) > 0 {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(ee.Stderr))
	}
	return err
}

// parseDepends returns the files in the output of modprobe --show-depends.
func parseDepends(out string) []string {
	var files []string
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "insmod" {
			files = append(files, f[1])
		}
	}
	return files
}

// moduleBase is the name of a module's file without its compression.
func moduleBase(file string) string {
	return strings.TrimSuffix(path.Base(file), ".xz")
}

// readModule reads a module. The kernel may be unable to decompress it.
func readModule(file string) ([]byte, error) {
	var data []byte
	var err error
	switch path.Ext(file) {
	case ".ko":
		data, err = os.ReadFile(file)
	case ".xz":
		data, err = exec.Command("xz", "-dc", file).Output()
	default:
		err = errors.New("unknown compression " + strconv.Quote(path.Ext(file)))
	}
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", file, withStderr(err))
	}
	return data, nil
}
