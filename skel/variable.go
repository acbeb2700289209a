// SPDX-License-Identifier: BSD-3-Clause

package skel

import "unsafe"

// Var is a global variable that is read and written by accessors. They work at
// all times and on every kernel, by memory where the map is mapped, else by
// calls.
type Var[T any] struct {
	s   *Section
	off int
}

// Get reads the variable. A value of 4 or 8 bytes is read as a whole; of others,
// aligned words are.
//
// After Close it returns the last value.
func (v Var[T]) Get() (T, error) {
	var value T
	err := v.s.get(unsafe.Pointer(&value), v.off, int(unsafe.Sizeof(value)))
	return value, err
}

// Set writes the variable. By calls, it writes all of its section, so that what
// a program writes next to it at the same time can be lost.
//
// Returns [ErrReadOnly] for a constant after Load, and [ErrClosed] after Close.
func (v Var[T]) Set(value T) error {
	return v.s.set(unsafe.Pointer(&value), v.off, int(unsafe.Sizeof(value)))
}

// Store writes a constant, for generated setters. P is in s.
func Store[T any](s *Section, p *T, value T) error {
	off := int(uintptr(unsafe.Pointer(p)) - uintptr(s.pointer()))
	return s.set(unsafe.Pointer(&value), off, int(unsafe.Sizeof(value)))
}

// StoreAt is [Store] for what is not aligned.
func StoreAt[T any](s *Section, p *byte, value T) error {
	off := int(uintptr(unsafe.Pointer(p)) - uintptr(s.pointer()))
	return s.set(unsafe.Pointer(&value), off, int(unsafe.Sizeof(value)))
}
