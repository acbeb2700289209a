// SPDX-License-Identifier: BSD-3-Clause

package testutil

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// census is what must be the same before and after a test run.
type census struct {
	ids map[string]map[uint32]bool // by kind of BPF object
	fds map[string]int             // by target
}

func takeCensus() (*census, error) {
	c := &census{ids: make(map[string]map[uint32]bool), fds: make(map[string]int)}
	for kind, list := range map[string]func() ([]uint32, error){
		"prog": ProgIDs,
		"map":  MapIDs,
		"link": LinkIDs,
		"btf":  btfIDs,
	} {
		ids, err := list()
		if err != nil {
			return nil, fmt.Errorf("list %s ids: %w", kind, err)
		}
		c.ids[kind] = make(map[uint32]bool)
		for _, id := range ids {
			c.ids[kind][id] = true
		}
	}
	ents, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	for _, e := range ents {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || strings.HasPrefix(target, "/proc/") {
			continue // the directory itself
		}
		if name, _, ok := strings.Cut(target, ":["); ok {
			target = name // sockets and pipes, whatever their number
		}
		c.fds[target]++
	}
	return c, nil
}

// beyond lists what c has and old does not.
func (c *census) beyond(old *census) []string {
	var out []string
	for kind, ids := range c.ids {
		for id := range ids {
			if !old.ids[kind][id] {
				out = append(out, fmt.Sprintf("%s %d", kind, id))
			}
		}
	}
	for target, n := range c.fds {
		// The runtime's poller comes with the first use and stays.
		if n > old.fds[target] && !strings.HasPrefix(target, "anon_inode:[event") &&
			!strings.HasPrefix(target, "anon_inode:[pidfd") && target != "anon_inode" {
			out = append(out, fmt.Sprintf("%d fd of %s", n-old.fds[target], target))
		}
	}
	return out
}

// btfIDs lists the BTF objects, without those of the kernel and its modules,
// which come with a netdev of a new kind.
func btfIDs() ([]uint32, error) {
	ids, err := bpfIDs(unix.BPF_BTF_GET_NEXT_ID)
	if err != nil {
		return nil, err
	}
	var out []uint32
	for _, id := range ids {
		fd, err := bpf(unix.BPF_BTF_GET_FD_BY_ID, &idAttr{id: id})
		if err != nil {
			continue // gone meanwhile
		}
		var info struct {
			btf         uint64
			size, id    uint32
			name        uint64
			len, kernel uint32
		}
		err = ObjInfo(fd, unsafe.Pointer(&info), unsafe.Sizeof(info))
		unix.Close(fd)
		if err == nil && info.kernel == 0 {
			out = append(out, id)
		}
	}
	return out, nil
}

var splat = regexp.MustCompile(`WARNING:|BUG:|Oops|Call Trace:|KASAN:|UBSAN:|INFO: task|` +
	`possible .*lock|suspicious RCU|sleeping function|refcount_t|unreferenced object|` +
	`ODEBUG:|general protection|unregister_netdevice: waiting|xdpctl.*leak`)

// KernelLog reads the kernel's messages from when it was opened.
type KernelLog struct{ fd int }

// OpenKernelLog starts at the end of the log.
func OpenKernelLog() (*KernelLog, error) {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open kernel log: %w", err)
	}
	if _, err := unix.Seek(fd, 0, unix.SEEK_END); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("seek kernel log: %w", err)
	}
	return &KernelLog{fd}, nil
}

// Close closes the log.
func (l *KernelLog) Close() error { return unix.Close(l.fd) }

// Lines returns what was logged since the last call.
func (l *KernelLog) Lines() []string {
	var out []string
	buf := make([]byte, 8192)
	for {
		n, err := unix.Read(l.fd, buf)
		if err == unix.EPIPE || err == unix.EINTR {
			continue // overwritten meanwhile
		}
		if err != nil || n <= 0 {
			return out
		}
		line := buf[:n]
		if i := bytes.IndexByte(line, ';'); i >= 0 {
			line = line[i+1:]
		}
		line, _, _ = bytes.Cut(line, []byte("\n"))
		out = append(out, string(line))
	}
}

// Splats returns all lines since the last call if one of them is a report of
// something wrong in the kernel, and nothing otherwise.
func (l *KernelLog) Splats() []string {
	lines := l.Lines()
	for _, line := range lines {
		if splat.MatchString(line) {
			return lines
		}
	}
	return nil
}
