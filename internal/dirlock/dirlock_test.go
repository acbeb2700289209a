// SPDX-License-Identifier: BSD-3-Clause

package dirlock

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestTake(t *testing.T) {
	dir := t.TempDir()
	unlock, err := Take(t.Context(), dir, unix.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Take(t.Context(), dir, unix.LOCK_SH|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("without a wait: got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	var path *fs.PathError
	if _, err := Take(ctx, dir, unix.LOCK_EX); !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &path) || path.Path != dir {
		t.Errorf("with a context that ends: got %v", err)
	}
	next := make(chan error, 1)
	go func() {
		unlock, err := Take(context.Background(), dir, unix.LOCK_EX)
		if err == nil {
			err = unlock()
		}
		next <- err
	}()
	if err := unlock(); err != nil {
		t.Error(err)
	}
	if err := <-next; err != nil {
		t.Errorf("once it is given back: %v", err)
	}
}

// A directory that is another by the time is not locked.
func TestTakeGone(t *testing.T) {
	dir := t.TempDir() + "/d"
	if _, err := Take(t.Context(), dir, unix.LOCK_EX); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	unlock, err := Take(t.Context(), dir, unix.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	waits := make(chan error, 1)
	go func() {
		_, err := Take(context.Background(), dir, unix.LOCK_EX)
		waits <- err
	}()
	time.Sleep(20 * time.Millisecond) // or it finds nothing at once, which is right as well
	if err := errors.Join(os.Remove(dir), unlock()); err != nil {
		t.Fatal(err)
	}
	if err := <-waits; !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
