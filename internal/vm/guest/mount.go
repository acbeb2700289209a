// SPDX-License-Identifier: BSD-3-Clause

package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/xdpctl/xdpctl-nl/internal/vm"
)

// mount is one mount of the guest.
type mount struct {
	fstype, dir, data string
	flags             uintptr
	optional          bool // the kernel may have been built without it
}

// mount mounts it below root.
func (m *mount) mount(root string) error {
	dir := filepath.Join(root, m.dir)
	if m.fstype == "tmpfs" || m.fstype == "devpts" {
		os.MkdirAll(dir, 0o755)
	}
	err := syscall.Mount(m.fstype, dir, m.fstype, m.flags, m.data)
	if err != nil && !m.optional {
		return fmt.Errorf("mount %s on %s: %w", m.fstype, dir, err)
	}
	return nil
}

// earlyMounts are what the initramfs needs.
var earlyMounts = []mount{
	{fstype: "proc", dir: "/proc"},
	{fstype: "sysfs", dir: "/sys"},
	{fstype: "devtmpfs", dir: "/dev"},
}

// lateMounts are what the command needs.
var lateMounts = []mount{
	{fstype: "devpts", dir: "/dev/pts", data: "mode=620,ptmxmode=666", optional: true},
	{fstype: "tmpfs", dir: "/dev/shm", data: "mode=1777"},
	{fstype: "tmpfs", dir: "/run", data: "mode=755"},
	{fstype: "tmpfs", dir: "/tmp", data: "mode=1777"},
	{fstype: "bpf", dir: "/sys/fs/bpf", data: "mode=700"},
	{fstype: "debugfs", dir: "/sys/kernel/debug", optional: true},
	{fstype: "tracefs", dir: "/sys/kernel/tracing", optional: true},
	{fstype: "cgroup2", dir: "/sys/fs/cgroup", optional: true},
}

// mountRoot mounts the host's root, moves it to / and covers what the host shall
// keep for itself.
func mountRoot(job *vm.Job) error {
	const root = "/root"
	// Loose caching: the files of a running test do not change on the host.
	const options = "trans=virtio,version=9p2000.L,msize=262144,cache=loose"
	err := retry(10*time.Second, func() error {
		return syscall.Mount("root", root, "9p", 0, options)
	})
	if err != nil {
		return fmt.Errorf("mount the host's root: %w", err)
	}
	for _, m := range earlyMounts {
		if err := syscall.Mount(m.dir, root+m.dir, "", syscall.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s: %w", m.dir, err)
		}
	}
	// Not a mere chroot: in one, nobody can make a user namespace.
	if err := os.Chdir(root); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	if err := syscall.Mount(".", "/", "", syscall.MS_MOVE, ""); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	if err := syscall.Chroot("."); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	return cover(job)
}

// cover mounts the late mounts, and brings back the binds of the job.
func cover(job *vm.Job) error {
	var kept []*os.File
	for _, path := range job.Binds {
		f, err := os.OpenFile(path, oPath, 0)
		if err != nil {
			return fmt.Errorf("keep %s: %w", path, err)
		}
		defer f.Close()
		kept = append(kept, f)
	}
	for _, m := range lateMounts {
		if err := m.mount(""); err != nil {
			return err
		}
	}
	for _, f := range kept {
		if err := bindTo(f); err != nil {
			return fmt.Errorf("keep %s: %w", f.Name(), err)
		}
	}
	for link, target := range map[string]string{
		"/dev/fd":     "/proc/self/fd",
		"/dev/stdin":  "/proc/self/fd/0",
		"/dev/stdout": "/proc/self/fd/1",
		"/dev/stderr": "/proc/self/fd/2",
		"/dev/ptmx":   "pts/ptmx",
	} {
		os.Remove(link)
		if err := os.Symlink(target, link); err != nil {
			return fmt.Errorf("populate /dev: %w", err)
		}
	}
	os.MkdirAll("/run/netns", 0o755)
	os.MkdirAll("/run/lock", 0o1777)
	return moduleTree(job)
}

// bindTo mounts an open file where it was, below a mount that covers it now.
func bindTo(f *os.File) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	path := f.Name()
	if fi.IsDir() {
		err = os.MkdirAll(path, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
		err = os.WriteFile(path, nil, 0o644)
	}
	if err != nil {
		return err
	}
	source := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	return syscall.Mount(source, path, "", syscall.MS_BIND|syscall.MS_REC, "")
}

// moduleTree puts the modules of a kernel that is not installed on the host
// where modprobe looks for them.
func moduleTree(job *vm.Job) error {
	if job.ModuleTree == "" {
		return nil
	}
	tree, err := os.OpenFile(job.ModuleTree, oPath, 0)
	if err != nil {
		return fmt.Errorf("mount modules: %w", err)
	}
	defer tree.Close()
	if err := syscall.Mount("tmpfs", "/lib/modules", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount modules: %w", err)
	}
	dir := filepath.Join("/lib/modules", filepath.Base(job.ModuleTree))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("mount modules: %w", err)
	}
	source := fmt.Sprintf("/proc/self/fd/%d", tree.Fd())
	if err := syscall.Mount(source, dir, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount modules: %w", err)
	}
	return nil
}
