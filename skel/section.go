// SPDX-License-Identifier: BSD-3-Clause

package skel

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Section is a section of global variables, and memory for it that stays where
// it is until the process ends.
//
// Before Load the memory is private; what is in it initialises the map. From
// Load to Close it is the memory of the map. After Close it is private again,
// with what the map had at last. A kernel that cannot map the map leaves it
// private: see [Section.Mapped].
type Section struct {
	name     string
	mem      []byte // whole pages
	size     int
	constant bool

	mu    sync.Mutex
	state sectionState
	m     *ebpf.Map // of stateCalls
}

type sectionState int

const (
	statePrivate sectionState = iota
	stateMapped
	stateCalls // loaded, and reached by calls only
	stateClosed
)

// newSection makes the memory of a section.
func newSection(name string, init []byte, size int, constant bool) (*Section, error) {
	page := os.Getpagesize()
	mem, err := anonymous((max(size, 1) + page - 1) / page * page)
	if err != nil {
		return nil, fmt.Errorf("section %s: %w", name, err)
	}
	copy(mem, init)
	return &Section{name: name, mem: mem, size: size, constant: constant}, nil
}

func anonymous(size int) ([]byte, error) {
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("get memory: %w", err)
	}
	return unsafe.Slice((*byte)(p), size), nil
}

// Mapped tells whether fields are the memory of the map. While they are not,
// after Load, fields keep what they were initialised with, and only accessors
// (the fields of Vars) reach the map.
func (s *Section) Mapped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == stateMapped
}

// bytes are the variables.
func (s *Section) bytes() []byte { return s.mem[:s.size] }

func (s *Section) pointer() unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(s.mem)) }

// load puts the map m, made of what is in the section, in its place.
func (s *Section) load(m *ebpf.Map) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Flags()&unix.BPF_F_MMAPABLE == 0 {
		s.m, s.state = m, stateCalls
		return nil
	}
	prot := unix.PROT_READ
	if !s.constant {
		prot |= unix.PROT_WRITE
	}
	if _, err := unix.MmapPtr(m.FD(), 0, s.pointer(), uintptr(len(s.mem)), prot, unix.MAP_SHARED|unix.MAP_FIXED); err != nil {
		return fmt.Errorf("section %s: map memory: %w", s.name, err)
	}
	s.state = stateMapped
	return nil
}

// unload puts a private copy in the place of the map. The section is as it was
// before load, or, if it is to be closed, can no longer be changed through
// accessors.
func (s *Section) unload(closed bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	switch s.state {
	case stateMapped:
		err = s.snapshot()
	case stateCalls:
		err = s.read()
	}
	if err != nil && !closed {
		return err
	}
	s.m = nil
	switch {
	case closed:
		s.state = stateClosed
	case s.state != stateClosed:
		s.state = statePrivate
	}
	return err
}

// snapshot moves a copy over the mapping. Whoever reads meanwhile reads the one
// or the other.
func (s *Section) snapshot() error {
	cpy, err := anonymous(len(s.mem))
	if err != nil {
		return fmt.Errorf("section %s: keep last values: %w", s.name, err)
	}
	copyShared(unsafe.Pointer(unsafe.SliceData(cpy)), s.pointer(), s.size)
	from, n := unsafe.Pointer(unsafe.SliceData(cpy)), uintptr(len(cpy))
	if _, err := unix.MremapPtr(from, n, s.pointer(), n, unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED); err != nil {
		return errors.Join(fmt.Errorf("section %s: keep last values: %w", s.name, err), unix.MunmapPtr(from, n))
	}
	return nil
}

// read copies the map to the memory. The caller holds the lock.
func (s *Section) read() error {
	value, err := s.value()
	if err != nil {
		return err
	}
	copyShared(s.pointer(), unsafe.Pointer(unsafe.SliceData(value)), s.size)
	return nil
}

// value is the value of the map.
func (s *Section) value() ([]byte, error) {
	value := make([]byte, max(s.size, 1))
	var zero uint32
	if err := s.m.Lookup(unsafe.Pointer(&zero), unsafe.Pointer(unsafe.SliceData(value))); err != nil {
		return nil, fmt.Errorf("section %s: %w", s.name, err)
	}
	return value, nil
}

// refresh reads the map again where fields are not its memory.
func (s *Section) refresh() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != stateCalls {
		return nil
	}
	return s.read()
}

// get copies a variable.
func (s *Section) get(dst unsafe.Pointer, off, size int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == stateCalls && !s.constant {
		value, err := s.value()
		if err != nil {
			return err
		}
		copyShared(dst, unsafe.Pointer(&value[off]), size)
		return nil
	}
	copyShared(dst, unsafe.Add(s.pointer(), off), size)
	return nil
}

// set changes a variable.
func (s *Section) set(src unsafe.Pointer, off, size int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.state == stateClosed:
		return fmt.Errorf("section %s: %w", s.name, ErrClosed)
	case s.constant && s.state != statePrivate:
		return fmt.Errorf("section %s: %w", s.name, ErrReadOnly)
	case s.state != stateCalls:
		copyShared(unsafe.Add(s.pointer(), off), src, size)
		return nil
	}
	value, err := s.value()
	if err != nil {
		return err
	}
	copyShared(unsafe.Pointer(&value[off]), src, size)
	var zero uint32
	if err := s.m.Update(unsafe.Pointer(&zero), unsafe.Pointer(unsafe.SliceData(value)), ebpf.UpdateAny); err != nil {
		return fmt.Errorf("section %s: %w", s.name, err)
	}
	return nil
}
