// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/genl"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// TestServe serves until it is told to end, what the machine has.
func TestServe(t *testing.T) {
	for _, tt := range []struct {
		name, options, want string
		machine             fakeMachine
		asked               string
	}{
		{"kernel", "", "Listening on unix:PATH, server kernel\n", fakeMachine{}, "kernel"},
		{"native", "--server embedded", "Listening on unix:PATH, server embedded\n", fakeMachine{}, "native"},
		{"JSON", "-j --server embedded", `{"listening":"unix:PATH","server":"embedded"}` + "\n", fakeMachine{}, "native"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			m := tt.machine.machine()
			ctx, stop := context.WithCancel(context.Background())
			defer stop()
			m.answer = func(ctx context.Context, l *genl.UnixListener, _ family.Control, _ netdevs, change func(genl.Peer) bool) error {
				stop()
				if !change(genl.Peer{UID: 0}) || !change(genl.Peer{UID: uint32(os.Geteuid()), GID: 7}) || change(genl.Peer{UID: 12345, GID: 12345}) {
					t.Error("the wrong ones may change things")
				}
				return l.Close()
			}
			var stdout, stderr bytes.Buffer
			a := newApp(&stdout, &stderr)
			a.machine = m
			a.getenv = func(string) string { return "" }
			a.openNetdevs = func(*os.File) (netdevs, error) { return fakeNetdevs{}, nil }
			status := a.run(ctx, append(strings.Fields(tt.options), "serve", "unix:"+path, "mode", "0600"))
			got := result{status, strings.ReplaceAll(stdout.String(), path, "PATH"), stderr.String()}
			if diff := cmp.Diff(result{0, tt.want, ""}, got, cmp.AllowUnexported(result{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if got := strings.Join(tt.machine.asked, " "); got != tt.asked {
				t.Errorf("asked %q, want %q", got, tt.asked)
			}
			if _, err := os.Lstat(path); err == nil {
				t.Error("the socket was left behind")
			}
		})
	}
}

func TestServeTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := genl.ListenUnix(path, genl.UnixOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var m fakeMachine
	r := runOn(m.machine(), nil, "serve", "unix:"+path)
	want := result{2, "", "Error: listen on PATH: somebody listens already: address already in use\nIf that is a server, ask it with: xdpctl-nl --server unix:PATH\n"}
	r.stderr = strings.ReplaceAll(r.stderr, path, "PATH")
	if diff := cmp.Diff(want, r, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestServeRefused(t *testing.T) {
	var m fakeMachine
	for args, want := range map[string]result{
		"serve group nonesuch":          {2, "", "Error: group \"nonesuch\" does not exist\n"},
		"serve unix:/nonesuch/s":        {2, "", "Error: listen on /nonesuch/s: open /nonesuch/s.lock: no such file or directory\n"},
		"serve unix:/x unix:/y":         {1, "", "Error: \"unix:/y\" is not a keyword; expected group, mode\n"},
		"--server unix: serve":          {1, "", "Error: --server unix:: the path of a socket is missing\n"},
		"serve group a group b mode 1":  {1, "", "Error: \"group\" is there twice\n"},
		"serve group a mode 1777":       {1, "", "Error: mode MODE: \"1777\" are no permissions in octal\n"},
		"serve unix:/x mode 0660 group": {1, "", "Error: \"group\" needs a value: group GROUP\n"},
	} {
		t.Run(args, func(t *testing.T) {
			r := runOn(m.machine(), nil, strings.Fields(args)...)
			if diff := cmp.Diff(want, r, cmp.AllowUnexported(result{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestAccess(t *testing.T) {
	for _, tt := range []struct {
		name string
		a    access
		p    genl.Peer
		want bool
	}{
		{"root", access{1000, -1}, genl.Peer{UID: 0}, true},
		{"the server's user", access{1000, -1}, genl.Peer{UID: 1000, GID: 5}, true},
		{"another", access{0, -1}, genl.Peer{UID: 1000, GID: 1000}, false},
		{"in the group", access{0, 100}, genl.Peer{UID: 1000, GID: 100}, true},
		{"also in the group", access{0, 100}, genl.Peer{UID: 1000, GID: 1000, Groups: []uint32{4, 100}}, true},
		{"not in the group", access{0, 100}, genl.Peer{UID: 1000, GID: 1000, Groups: []uint32{4}}, false},
		{"no group", access{0, -1}, genl.Peer{UID: 1000, GID: 1<<32 - 1, Groups: []uint32{1<<32 - 1}}, false},
		{"root's group", access{0, 0}, genl.Peer{UID: 1000, GID: 0}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.a.change(tt.p); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// TestServed asks a server on a socket, with the tool on both ends.
func TestServed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var f fakeMachine
	m := f.machine()
	m.answer = answer
	served := make(chan result, 1)
	go func() {
		var stdout, stderr bytes.Buffer
		a := newApp(&stdout, &stderr)
		a.machine = m
		a.getenv = func(string) string { return "" }
		a.openNetdevs = func(*os.File) (netdevs, error) { return fakeNetdevs{}, nil }
		status := a.run(ctx, []string{"serve", "unix:" + path})
		served <- result{status, stdout.String(), stderr.String()}
	}()
	testutil.Eventually(t, 10*time.Second, "a socket", func() bool {
		_, err := os.Stat(path)
		return err == nil
	})

	// A client in another netns, which knows no netdevs.
	real := realMachine()
	ask := func(args ...string) result {
		var stdout, stderr bytes.Buffer
		a := newApp(&stdout, &stderr)
		a.machine = real
		a.getenv = func(string) string { return "" }
		a.openNetdevs = func(*os.File) (netdevs, error) { panic("the client's own netdevs") }
		status := a.run(context.Background(), append([]string{"--server", "unix:" + path}, args...))
		return result{status, stdout.String(), strings.ReplaceAll(stderr.String(), path, "PATH")}
	}
	for _, tt := range []struct {
		args string
		want result
	}{
		{"prog show", result{0, "2: veth0: id 1\n", ""}},
		{"prog show dev veth0", result{0, "2: veth0: id 1\n", ""}},
		{"prog show dev eth7", result{2, "", "Error: netdev \"eth7\" does not exist\n"}},
		{"-j prog detach dev veth0", result{0, `{"ifindex":2,"queue":4294967295}` + "\n", ""}},
		{"prog detach dev veth0", result{2, "", "Error: prog-del: no such file or directory: no program is attached\n"}},
	} {
		if diff := cmp.Diff(tt.want, ask(strings.Fields(tt.args)...), cmp.AllowUnexported(result{})); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tt.args, diff)
		}
	}
	if r := ask("family", "show"); r.status != 0 || !strings.HasSuffix(strings.SplitN(r.stdout, "\n", 2)[0], " server unix:"+path) {
		t.Errorf("family show: %+v", r)
	}
	stop()
	if r := <-served; r.status != 0 || r.stderr != "" {
		t.Errorf("the server ended with %+v", r)
	}
	want := result{2, "", "Error: dial unix socket: connect PATH: no such file or directory\nNo server listens there; start one with: xdpctl-nl serve unix:PATH\n"}
	got := ask("prog", "show")
	if got.status != want.status || !strings.HasSuffix(got.stderr, "start one with: xdpctl-nl serve unix:PATH\n") {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestServeFails ends when the socket does.
func TestServeFails(t *testing.T) {
	var f fakeMachine
	m := f.machine()
	m.answer = func(_ context.Context, l *genl.UnixListener, _ family.Control, _ netdevs, _ func(genl.Peer) bool) error {
		return errors.Join(os.ErrDeadlineExceeded, l.Close())
	}
	r := runOn(m, nil, "serve", "unix:"+filepath.Join(t.TempDir(), "s"))
	if r.status != exitRefused || !strings.Contains(r.stderr, "i/o timeout") {
		t.Errorf("got %+v", r)
	}
}
