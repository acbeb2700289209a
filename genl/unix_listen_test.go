// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestUnixListenerOf takes sockets that somebody else has made.
func TestUnixListenerOf(t *testing.T) {
	for _, tt := range []struct {
		name        string
		domain, typ int
		listens, ok bool
	}{
		{"unixpacket", unix.AF_UNIX, unix.SOCK_SEQPACKET, true, true},
		{"does not listen", unix.AF_UNIX, unix.SOCK_SEQPACKET, false, false},
		{"stream", unix.AF_UNIX, unix.SOCK_STREAM, true, false},
		{"internet", unix.AF_INET, unix.SOCK_STREAM, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fd, err := unix.Socket(tt.domain, tt.typ|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "s")
			f := os.NewFile(uintptr(fd), path)
			defer f.Close()
			if tt.domain == unix.AF_UNIX {
				err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
			}
			if tt.listens {
				err = errors.Join(err, unix.Listen(fd, 4))
			}
			if err != nil {
				t.Fatal(err)
			}
			l, err := UnixListenerOf(f)
			if !tt.ok {
				if !errors.Is(err, unix.EPROTOTYPE) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			srv := NewServer(ServerOptions{})
			done := make(chan error, 1)
			go func() { done <- srv.ServeUnix(l) }()
			c, err := Dial(Options{Transport: func() (Transport, error) { return DialUnix(path) }})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(c.Close(), l.Close(), srv.Close()); err != nil {
				t.Error(err)
			}
			if err := <-done; !errors.Is(err, os.ErrClosed) {
				t.Errorf("serving ended with %v", err)
			}
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("the socket's file: %v", err)
			}
		})
	}
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := UnixListenerOf(f); !errors.Is(err, unix.ENOTSOCK) {
		t.Errorf("/dev/null: got %v", err)
	}
}
