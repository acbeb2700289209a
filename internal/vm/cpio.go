// SPDX-License-Identifier: BSD-3-Clause

package vm

import (
	"bufio"
	"fmt"
	"io"
	"path"
)

// Modes of the entries of an archive.
const (
	modeDir  = 0o040755
	modeFile = 0o100644
	modeExec = 0o100755
	modeChar = 0o020600
)

// archive writes a cpio archive in the "newc" format, which the kernel unpacks
// as initramfs. The first error sticks and is returned by close.
type archive struct {
	w    *bufio.Writer
	off  int64
	ino  int
	dirs map[string]bool
	err  error
}

func newArchive(w io.Writer) *archive {
	return &archive{w: bufio.NewWriter(w), dirs: map[string]bool{"/": true}}
}

// dir adds a directory and the directories above it, each once.
func (a *archive) dir(name string) {
	name = path.Clean("/" + name)
	if a.dirs[name] {
		return
	}
	a.dir(path.Dir(name))
	a.dirs[name] = true
	a.entry(name, modeDir, 0, 0, nil)
}

// file adds a regular file and the directories above it.
func (a *archive) file(name string, mode uint32, data []byte) {
	a.dir(path.Dir(name))
	a.entry(name, mode, 0, 0, data)
}

// char adds a character device and the directories above it.
func (a *archive) char(name string, major, minor int) {
	a.dir(path.Dir(name))
	a.entry(name, modeChar, major, minor, nil)
}

// close writes the trailer and returns the first error.
func (a *archive) close() error {
	a.entry("TRAILER!!!", 0, 0, 0, nil)
	if a.err != nil {
		return fmt.Errorf("write initramfs: %w", a.err)
	}
	if err := a.w.Flush(); err != nil {
		return fmt.Errorf("write initramfs: %w", err)
	}
	return nil
}

func (a *archive) entry(name string, mode uint32, major, minor int, data []byte) {
	name = path.Clean("/" + name)[1:]
	a.ino++
	nlink := 1
	if mode&modeDir == modeDir {
		nlink = 2
	}
	fields := []int{a.ino, int(mode), 0, 0, nlink, 0, len(data), 0, 0, major, minor, len(name) + 1, 0}
	header := []byte("070701")
	for _, f := range fields {
		header = fmt.Appendf(header, "%08x", uint32(f))
	}
	a.write(header)
	a.write([]byte(name + "\x00"))
	a.align()
	a.write(data)
	a.align()
}

func (a *archive) write(b []byte) {
	if a.err != nil {
		return
	}
	n, err := a.w.Write(b)
	a.off += int64(n)
	a.err = err
}

func (a *archive) align() {
	a.write(make([]byte, -a.off&3))
}
