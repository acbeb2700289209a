// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// UnixOptions say how to [ListenUnix].
type UnixOptions struct {
	// Mode are the permissions of the socket's file: who may write to it
	// may connect. If 0, 0666: what a client may do is decided by who it is
	// ([ServerOptions.Admin]).
	Mode fs.FileMode

	// UID and GID are who the file belongs to. If 0, they are not changed.
	UID, GID int
}

// UnixListener is a unix socket that clients of a [Server] connect to.
type UnixListener struct {
	path   string
	file   *os.File
	raw    syscall.RawConn
	lock   *os.File // nil for an abstract address
	closed atomic.Bool

	closing sync.Mutex
	gone    bool
}

// ListenUnix listens on a unix socket of type SOCK_SEQPACKET for
// [Server.ServeUnix]. A path that begins with @ is an abstract address. A file
// that was left behind by a process that was killed is replaced. Beside it is a
// file with .lock at the end of its name, so that two that start at once do not
// take each other's for one.
//
// Returns an error matching unix.EADDRINUSE if somebody listens there, or if
// there is a file that is no socket.
func ListenUnix(path string, o UnixOptions) (*UnixListener, error) {
	l, err := listenUnix(path, o)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

func listenUnix(path string, o UnixOptions) (_ *UnixListener, err error) {
	l := &UnixListener{path: path}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	abstract := strings.HasPrefix(path, "@")
	if !abstract {
		if l.lock, err = lockFile(path + ".lock"); err != nil {
			return nil, err
		}
		if err := removeStale(path); err != nil {
			l.path = "" // not ours to remove
			return nil, err
		}
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	l.file = os.NewFile(uintptr(fd), path)
	if l.raw, err = l.file.SyscallConn(); err != nil {
		return nil, err
	}
	if err := bindUnix(fd, path, abstract, o); err != nil {
		return nil, err
	}
	return l, os.NewSyscallError("listen", unix.Listen(fd, unix.SOMAXCONN))
}

// bindUnix makes the socket's file, which at no time may be written to by more
// than in the end. Nobody can connect before the socket listens.
func bindUnix(fd int, path string, abstract bool, o UnixOptions) error {
	if o.Mode == 0 {
		o.Mode = 0o666
	}
	if err := unix.Fchmod(fd, 0o600); err != nil {
		return os.NewSyscallError("fchmod", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if abstract {
		return nil
	}
	uid, gid := o.UID, o.GID
	if uid == 0 {
		uid = -1
	}
	if gid == 0 {
		gid = -1
	}
	if uid >= 0 || gid >= 0 {
		if err := os.Lchown(path, uid, gid); err != nil {
			return err
		}
	}
	return os.Chmod(path, o.Mode)
}

// UnixListenerOf makes a listener of a socket that somebody else has made, as
// systemd does, and listens on. The file stays the caller's, and need not stay
// open; that of the socket stays when the listener is closed.
//
// Returns an error matching unix.EPROTOTYPE if that is no unix socket of type
// SOCK_SEQPACKET that listens.
func UnixListenerOf(f *os.File) (*UnixListener, error) {
	l, err := unixListenerOf(int(f.Fd()), f.Name())
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", f.Name(), err)
	}
	return l, nil
}

func unixListenerOf(fd int, name string) (*UnixListener, error) {
	for option, want := range map[int]int{
		unix.SO_DOMAIN: unix.AF_UNIX, unix.SO_TYPE: unix.SOCK_SEQPACKET, unix.SO_ACCEPTCONN: 1,
	} {
		have, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, option)
		if err != nil {
			return nil, os.NewSyscallError("getsockopt", err)
		}
		if have != want {
			return nil, unix.EPROTOTYPE
		}
	}
	ours, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	// Before it becomes an os.File, which looks at that.
	err = unix.SetNonblock(ours, true)
	l := &UnixListener{file: os.NewFile(uintptr(ours), name)}
	if err == nil {
		l.raw, err = l.file.SyscallConn()
	}
	if err != nil {
		return nil, errors.Join(err, l.file.Close())
	}
	return l, nil
}

// lockFile makes a file and locks it, for as long as it is open. Who does so is
// the only one.
func lockFile(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		err = retryIntr(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
		if err != nil {
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, fmt.Errorf("somebody listens already: %w", unix.EADDRINUSE)
			}
			return nil, os.NewSyscallError("flock", err)
		}
		// It may have been removed between the two.
		if ours, err := f.Stat(); err == nil {
			if now, err := os.Lstat(path); err == nil && os.SameFile(ours, now) {
				return f, nil
			}
		}
		f.Close()
	}
}

// removeStale removes a socket that nobody listens on.
func removeStale(path string) error {
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case fi.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("there is a file that is no socket: %w", unix.EADDRINUSE)
	}
	f, err := connectUnix(path)
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return os.Remove(path)
	case err == nil:
		f.Close()
		fallthrough
	case errors.Is(err, unix.EPROTOTYPE), errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("somebody listens already: %w", unix.EADDRINUSE)
	}
	return err
}

// Path is what was listened on.
func (l *UnixListener) Path() string { return l.file.Name() }

// Close removes the socket's file, and ends [Server.ServeUnix].
func (l *UnixListener) Close() error {
	l.closed.Store(true)
	l.closing.Lock()
	defer l.closing.Unlock()
	if l.gone {
		return nil
	}
	l.gone = true
	var errs []error
	if l.file != nil {
		errs = append(errs, l.file.Close())
	}
	if l.lock != nil {
		if l.file != nil && l.path != "" {
			errs = append(errs, remove(l.path))
		}
		errs = append(errs, remove(l.lock.Name()), l.lock.Close())
	}
	return errors.Join(errs...)
}

// remove removes a file, if it is still there.
func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// accept waits for a client.
//
// Returns an error matching os.ErrClosed if the listener was closed.
func (l *UnixListener) accept() (*os.File, error) {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		fd, errno := -1, error(nil)
		err := l.raw.Read(func(listener uintptr) bool {
			fd, _, errno = unix.Accept4(int(listener), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			return errno != unix.EAGAIN
		})
		switch {
		case err != nil && l.closed.Load():
			return nil, os.ErrClosed
		case err != nil:
			return nil, err
		case errno == nil:
			return os.NewFile(uintptr(fd), "client of "+l.file.Name()), nil
		case errno == unix.EINTR, errno == unix.ECONNABORTED:
		case errno == unix.EMFILE, errno == unix.ENFILE, errno == unix.ENOMEM, errno == unix.ENOBUFS:
			time.Sleep(pause) // until somebody leaves
		default:
			return nil, os.NewSyscallError("accept4", errno)
		}
	}
}

// peerOf tells who connected.
func peerOf(raw syscall.RawConn) (p Peer, err error) {
	cerr := raw.Control(func(fd uintptr) {
		var c *unix.Ucred
		if c, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err != nil {
			return
		}
		p = Peer{PID: c.Pid, UID: c.Uid, GID: c.Gid}
		p.Groups, err = peerGroups(fd)
	})
	return p, errors.Join(cerr, os.NewSyscallError("getsockopt", err))
}

// peerGroups is SO_PEERGROUPS.
func peerGroups(fd uintptr) ([]uint32, error) {
	groups := make([]uint32, 16)
	for {
		size := uint32(4 * len(groups))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == unix.ERANGE && int(size/4) > len(groups):
			groups = make([]uint32, size/4)
		case errno == unix.ENODATA: // a kernel thread, or one that never had any
			return nil, nil
		case errno != 0:
			return nil, errno
		default:
			return groups[:size/4], nil
		}
	}
}

// AllowIDs is for [ServerOptions.Admin]: it allows what takes CAP_NET_ADMIN to
// these users, to members of these groups, to user 0, and to callers in the same
// process whose thread has CAP_NET_ADMIN.
func AllowIDs(uids, gids []uint32) func(Peer) bool {
	return func(p Peer) bool {
		if p.Local {
			return hasNetAdmin()
		}
		return p.UID == 0 || slices.Contains(uids, p.UID) || slices.Contains(gids, p.GID) ||
			slices.ContainsFunc(p.Groups, func(g uint32) bool { return slices.Contains(gids, g) })
	}
}
