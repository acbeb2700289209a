// SPDX-License-Identifier: BSD-3-Clause

package netns

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

func TestMain(m *testing.M) { testutil.WatchFDs(m) }

func TestOpen(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	f, err := Open("")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dup, err := Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer dup.Close()
	for _, f := range []*os.File{f, dup} {
		if here, err := IsCurrent(f); err != nil || !here {
			t.Errorf("%s: got %v and error %v, want that the thread is there", f.Name(), here, err)
		}
	}

	for name, match := range map[string]error{
		"no-such-namespace":  os.ErrNotExist,
		"/no/such/namespace": os.ErrNotExist,
		"/proc/self/ns/uts":  errNoNetNS,
		"/proc/self/exe":     errNoNetNS,
		"/proc/self":         errNoNetNS,
	} {
		if f, err := Open(name); !errors.Is(err, match) {
			t.Errorf("%s: got %v and error %v, want %v", name, f, err, match)
		}
	}
	if _, err := Dup(1 << 20); !errors.Is(err, unix.EBADF) {
		t.Errorf("got error %v, want %v", err, unix.EBADF)
	}
}

func TestDo(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root, and so no network namespace can be made")
	}
	ns := testutil.NewNetNS(t)
	f, err := Open(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	here, err := IsCurrent(f)
	if err != nil || here {
		t.Errorf("before: got %v and error %v, want another namespace", here, err)
	}
	errDone := errors.New("done")
	inside := func() error {
		if here, err := IsCurrent(f); err != nil || !here {
			t.Errorf("inside: got %v and error %v, want the namespace", here, err)
		}
		return errDone
	}
	err = Do(f, func() error {
		if err := Do(f, inside); err != errDone {
			t.Errorf("got error %v, want that of the function", err)
		}
		return inside()
	})
	if err != errDone {
		t.Errorf("got error %v, want that of the function", err)
	}
	if here, err := IsCurrent(f); err != nil || here {
		t.Errorf("after: got %v and error %v, want another namespace", here, err)
	}
	var here2 bool
	testutil.WithoutCaps(t, testutil.NewNetNS(t), testutil.AllCaps(), func() {
		err = Do(f, func() error { here2 = true; return nil })
	})
	if !errors.Is(err, os.ErrPermission) || here2 {
		t.Errorf("without capabilities: got error %v, want %v", err, os.ErrPermission)
	}
}
