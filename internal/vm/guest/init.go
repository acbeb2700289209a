// SPDX-License-Identifier: BSD-3-Clause

// Package guest is process 1 of a guest of package vm.
package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/xdpctl/xdpctl-nl/internal/vm"
)

// project is the name of the module whose remains are looked for.
const project = "xdpctl"

// Main is the whole life of a guest: it mounts the host's root, runs the command
// of the job, checks the kernel, reports and ends the machine. It does not
// return.
func Main() {
	job, err := boot()
	if err != nil {
		logf("%v", err)
		end(job)
	}
	h, err := openHost()
	if err != nil {
		logf("%v", err)
		end(job)
	}
	res, err := serve(h, job)
	if err != nil {
		h.send(&vm.Message{Error: err.Error()})
	} else {
		h.send(&vm.Message{Result: res})
	}
	h.waitEnd()
	end(job)
}

// serve runs the command of the job and makes the checks.
func serve(h *host, job *vm.Job) (*vm.Result, error) {
	c, err := newChecks(job)
	if err != nil {
		return nil, err
	}
	if job.Insmod != "" {
		if err := insmod(job.Insmod); err != nil {
			return nil, err
		}
	}
	h.send(&vm.Message{Started: true})
	res := &vm.Result{}
	if res.Status, res.Output, err = h.run(job); err != nil {
		return nil, err
	}
	c.after(res)
	syscall.Sync()
	return res, nil
}

// logf writes a line to the kernel's log, and so to the console.
func logf(format string, args ...any) {
	line := fmt.Sprintf("<3>vmrun: "+format+"\n", args...)
	if err := os.WriteFile("/dev/kmsg", []byte(line), 0); err != nil {
		os.Stderr.WriteString(line)
	}
}

// end ends the machine.
func end(job *vm.Job) {
	syscall.Sync()
	cmd := syscall.LINUX_REBOOT_CMD_POWER_OFF
	if job == nil || job.Restart {
		cmd = syscall.LINUX_REBOOT_CMD_RESTART
	}
	syscall.Reboot(cmd)
	select {}
}

// boot loads the modules, mounts the host's root and makes it the root.
func boot() (*vm.Job, error) {
	for _, m := range earlyMounts {
		if err := m.mount(""); err != nil {
			return nil, err
		}
	}
	job := &vm.Job{}
	data, err := os.ReadFile(vm.JobPath)
	if err != nil {
		return nil, fmt.Errorf("read job: %w", err)
	}
	if err := json.Unmarshal(data, job); err != nil {
		return nil, fmt.Errorf("read job: %w", err)
	}
	for _, file := range job.Modules {
		if err := insmod(file); err != nil {
			return job, err
		}
	}
	if err := mountRoot(job); err != nil {
		return job, err
	}
	if err := loopbackUp(); err != nil {
		return job, err
	}
	return job, nil
}

// insmod loads a module from its file. One that is there already is no error.
func insmod(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("load module: %w", err)
	}
	defer f.Close()
	if err := finitModule(int(f.Fd())); err != nil && !errors.Is(err, syscall.EEXIST) {
		return fmt.Errorf("load module %s: %w", file, err)
	}
	return nil
}

// rmmod unloads a module and waits for its users up to the limit.
// One that is not there is no error.
func rmmod(name string, limit time.Duration) error {
	return retry(limit, func() error {
		err := deleteModule(name)
		if errors.Is(err, syscall.ENOENT) {
			return nil
		}
		if err != nil {
			refs, _ := os.ReadFile(filepath.Join("/sys/module", name, "refcnt"))
			return fmt.Errorf("unload module %s, which has %s references: %w",
				name, strings.TrimSpace(string(refs)), err)
		}
		return nil
	})
}

// retry calls f until it succeeds or the limit is over, and returns the last error.
func retry(limit time.Duration, f func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := f()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// portPath returns the device of the virtio-serial port called name.
func portPath(name string) (string, error) {
	const class = "/sys/class/virtio-ports"
	entries, err := os.ReadDir(class)
	if err != nil {
		return "", fmt.Errorf("find port %s: %w", name, err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(class, e.Name(), "name"))
		if err == nil && strings.TrimSpace(string(data)) == name {
			return "/dev/" + e.Name(), nil
		}
	}
	return "", fmt.Errorf("find port %s: %w", name, os.ErrNotExist)
}

// readUint reads a number from a file of proc or sysfs.
func readUint(file string) (uint64, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
}
