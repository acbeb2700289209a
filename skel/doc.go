// SPDX-License-Identifier: BSD-3-Clause

// Package skel is what generated skeletons of BPF objects run on.
//
// "xdpctl-nl gen skeleton FILE" writes a Go type for a BPF object, with a field
// for every map, program, link and section of global variables. The generated
// functions are to be called in this order:
//
//	s, err := OpenCounter()      // fields can be changed
//	err = s.Load(nil)            // the object is in the kernel
//	err = s.Attach(ctx)          // its programs run
//	err = s.Close()              // all is undone, in reverse
//
// See docs/skeleton.md. This package is made for generated code; of what is in
// it, others want the types of fields, [Options] and the errors.
package skel

import "errors"

// Version1 is named by generated code, so that it compiles only with a package
// that it works with.
const Version1 = 1

// Errors of skeletons.
var (
	// ErrMismatch tells that an object is not the one that the code was
	// generated from.
	ErrMismatch = errors.New("object is not the one that the skeleton was generated from")
	// ErrLoaded tells that a change comes too late, after Load.
	ErrLoaded = errors.New("already loaded")
	// ErrNotLoaded tells that something wants Load before it.
	ErrNotLoaded = errors.New("not loaded")
	// ErrClosed tells that the skeleton was closed.
	ErrClosed = errors.New("closed")
	// ErrReadOnly tells that a constant was to be set after Load.
	ErrReadOnly = errors.New("constants cannot be set after load")
)
