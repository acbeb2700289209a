// SPDX-License-Identifier: BSD-3-Clause

package ethtool

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// guarded is memory that ends at a page which nobody may touch.
type guarded struct {
	mem []byte // the page after it is part of it
}

// get returns n bytes that end at the guard. They are valid until the next get.
func (g *guarded) get(n int) ([]byte, error) {
	page := os.Getpagesize()
	if len(g.mem)-page < n {
		if err := g.free(); err != nil {
			return nil, err
		}
		size := (n + page - 1) / page * page
		mem, err := unix.Mmap(-1, 0, size+page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			return nil, os.NewSyscallError("mmap", err)
		}
		g.mem = mem
		if err := unix.Mprotect(mem[size:], unix.PROT_NONE); err != nil {
			return nil, errors.Join(os.NewSyscallError("mprotect", err), g.free())
		}
	}
	end := len(g.mem) - page
	return g.mem[end-n : end : end], nil
}

func (g *guarded) free() error {
	if g.mem == nil {
		return nil
	}
	err := unix.Munmap(g.mem)
	g.mem = nil
	return os.NewSyscallError("munmap", err)
}

func isFault(err error) bool { return errors.Is(err, unix.EFAULT) }
