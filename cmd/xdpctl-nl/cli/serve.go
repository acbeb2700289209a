// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/genl"
)

// serving is what serve was asked for.
type serving struct {
	address string // unix:PATH
	group   string
	mode    *uint32
}

func (a *app) serveCommand() *cobra.Command {
	var s serving
	return a.command(spec{
		use:   "serve [ unix:PATH ] [ group GROUP ] [ mode MODE ]",
		short: "Answer on a socket for other users and containers",
		long: "Whoever can connect to the socket can read; only root, the user who runs this,\nand the members of GROUP can change things. What is served is the kernel's family\nwhere it is there, and else the embedded server; --server kernel and --server\nembedded insist on either. Netdevs are those of the network namespace that this\nis run in, or of option -n, whoever asks from wherever.\n\n" +
			"It listens on unix:" + defaultSocket + " if not said otherwise, until it gets SIGTERM or\nSIGINT. A socket that was left behind is replaced; one on which another server\nlistens is not. Started by systemd with a socket, it answers on that.\n\n" +
			"Ask it with --server unix:PATH.",
		example: "xdpctl-nl serve\nxdpctl-nl -n blue serve unix:/run/blue.sock group netops mode 0660",
		words: words{
			{arg: "unix:PATH", help: "the socket", set: s.setAddress},
			{name: "group", arg: "GROUP", help: "this group owns the socket, and its members can change things", set: setString(&s.group)},
			{name: "mode", arg: "MODE", help: "permissions of the socket, as chmod(1) has them in octal; 0666 if not given", set: setMode(&s.mode)},
		},
		run: func(ctx context.Context) error { return a.serve(ctx, &s) },
	})
}

func (s *serving) setAddress(v string) error {
	if path, ok := strings.CutPrefix(v, serverUnix); !ok || path == "" {
		return errors.New("expected unix: and a path")
	}
	s.address = v
	return nil
}

// setMode reads permissions in octal.
func setMode(p **uint32) func(string) error {
	return func(s string) error {
		n, err := strconv.ParseUint(s, 8, 32)
		if err != nil || n > 0o777 {
			return fmt.Errorf("%q are no permissions in octal", s)
		}
		m := uint32(n)
		*p = &m
		return nil
	}
}

// serve answers until ctx is done.
func (a *app) serve(ctx context.Context, s *serving) error {
	may := access{uid: os.Geteuid(), gid: -1}
	if s.group != "" {
		gid, err := groupID(s.group)
		if err != nil {
			return err
		}
		may.gid = gid
	}
	// There is no need to go through the codecs to a server in this process.
	a.machine.embedded = a.machine.native
	ctl, err := a.control()
	if err != nil {
		return err
	}
	devs, err := a.netdevs()
	if err != nil {
		return err
	}
	l, err := a.listen(s, may.gid)
	if err != nil {
		return err
	}
	if err := a.listening(l); err != nil {
		return errors.Join(err, l.Close())
	}
	defer context.AfterFunc(ctx, func() { notify(a.getenv, "STOPPING=1") })()
	return a.machine.answer(ctx, l, ctl, devs, may.change)
}

// listen takes the socket that systemd passes on, or makes one.
func (a *app) listen(s *serving, gid int) (*genl.UnixListener, error) {
	l, err := inherited(a.getenv)
	if err != nil {
		return nil, err
	}
	if l != nil {
		if s.address != "" || s.mode != nil {
			return nil, errors.Join(usagef("systemd made the socket: its unit says path and mode"), l.Close())
		}
		return l, nil
	}
	o := genl.UnixOptions{GID: max(gid, 0)}
	if s.mode != nil {
		o.Mode = fs.FileMode(*s.mode)
	}
	path := defaultSocket
	if s.address != "" {
		path = strings.TrimPrefix(s.address, serverUnix)
	}
	l, err = genl.ListenUnix(path, o)
	if errors.Is(err, unix.EADDRINUSE) {
		err = &hinted{err, "If that is a server, ask it with: xdpctl-nl --server " + serverUnix + path}
	}
	return l, err
}

// listening says that the server can be asked.
func (a *app) listening(l *genl.UnixListener) error {
	if err := notify(a.getenv, "READY=1"); err != nil {
		return err
	}
	if a.asJSON() {
		return a.printJSON(ordered{{"listening", serverUnix + l.Path()}, {"server", a.ctl.server}})
	}
	a.printf("Listening on %s%s, server %s\n", serverUnix, l.Path(), a.ctl.server)
	return nil
}

// groupID is the number of a group, by its name or its number.
func groupID(s string) (int, error) {
	g, err := user.LookupGroup(s)
	if err != nil {
		n, perr := strconv.ParseUint(s, 10, 31)
		if perr != nil {
			return 0, fmt.Errorf("group %q does not exist", s)
		}
		return int(n), nil
	}
	return strconv.Atoi(g.Gid)
}

// access says who may do what on a socket.
type access struct {
	uid int // of the server
	gid int // -1: no group
}

// change tells whether p may change things. To read, it is enough to be able to
// connect.
func (a access) change(p genl.Peer) bool {
	if p.UID == 0 || int(p.UID) == a.uid {
		return true
	}
	return a.gid >= 0 && (int(p.GID) == a.gid || slices.Contains(p.Groups, uint32(a.gid)))
}
