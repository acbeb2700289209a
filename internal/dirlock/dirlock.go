// SPDX-License-Identifier: BSD-3-Clause

// Package dirlock has locks between processes: flock(2) of a directory.
package dirlock

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a lock is waited for. Nobody holds one longer than it takes
// to change something, unless he is stopped.
const patience = time.Minute

// Take takes a lock on a directory: how is LOCK_EX or LOCK_SH, with LOCK_NB if it is
// not to be waited for. The wait ends with ctx, too.
//
// Returns an error matching fs.ErrNotExist if the directory is not there, or not
// any more when the lock has been taken, os.ErrDeadlineExceeded if somebody else
// does not give it back, or the cause of ctx.
func Take(ctx context.Context, path string, how int) (unlock func() error, err error) {
	d, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience,
		fmt.Errorf("another process has held the lock for %v: %w", patience, os.ErrDeadlineExceeded))
	defer cancel()
	taken := make(chan error, 1)
	if err := flock(d, how|unix.LOCK_NB); err != unix.EWOULDBLOCK || how&unix.LOCK_NB != 0 {
		taken <- err
	} else {
		go func() { taken <- flock(d, how) }()
	}
	select {
	case err = <-taken:
	case <-ctx.Done():
		// It may still come, and then goes with the directory.
		go func() {
			<-taken
			d.Close()
		}()
		return nil, &os.PathError{Op: "flock", Path: path, Err: context.Cause(ctx)}
	}
	var have, want unix.Stat_t
	if err != nil {
		err = &os.PathError{Op: "flock", Path: path, Err: err}
	} else if err = unix.Fstat(int(d.Fd()), &have); err == nil {
		err = unix.Stat(path, &want)
	}
	if err == nil && have.Ino != want.Ino {
		err = unix.ENOENT
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d.Close, nil
}

// flock takes a lock on an open file.
func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			return err
		}
	}
}
