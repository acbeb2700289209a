// SPDX-License-Identifier: BSD-3-Clause

// Package shim runs tools written by others, in Python, against a server on a
// unix socket, to which netlink_unix.py leads them. It needs neither module nor
// virtual machine.
package shim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/genl"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

func TestMain(m *testing.M) { testutil.WatchFDs(m) }

// The numbers of testdata/shim.yaml.
const (
	thingGet = 1
	thingSet = 2
	thingNtf = 3
	fileGet  = 4

	attrID     = 1
	attrName   = 2
	attrColour = 3
	attrFD     = 4
	attrSize   = 5
)

// thing is what the family is about.
type thing struct {
	name   string
	colour uint32
}

// shop has things.
type shop struct {
	*testing.T
	path   string
	family *genl.ServedFamily
	joined chan struct{} // told when somebody listens

	mu     sync.Mutex
	things map[uint32]thing
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{T: t, joined: make(chan struct{}, 1), things: map[uint32]thing{1: {"one", 0}, 7: {"seven", 1}}}
	one, isNumber := uint64(1), genl.Policy{Type: unix.NL_ATTR_TYPE_U32}
	id := genl.AttrPolicy{Attr: attrID, Policy: genl.Policy{Type: unix.NL_ATTR_TYPE_U32, MinValue: &one}}
	s.family = &genl.ServedFamily{
		Name: "shim", Version: 1,
		Groups: []genl.ServedGroup{{Name: "events"}},
		Ops: []genl.ServedOp{
			{
				Command: thingGet, Policy: &genl.PolicySet{Attrs: []genl.AttrPolicy{id}},
				Do: genl.HandlerFunc(s.get), Dump: genl.DumpFunc(s.list),
			},
			{
				Command: thingSet, Flags: genl.OpAdminInNets, Do: genl.HandlerFunc(s.set),
				Policy: &genl.PolicySet{Attrs: []genl.AttrPolicy{
					id,
					{Attr: attrName, Policy: genl.Policy{Type: unix.NL_ATTR_TYPE_NUL_STRING}},
					{Attr: attrColour, Policy: isNumber},
				}},
			},
			{
				Command: fileGet, FDs: []uint16{attrFD}, Do: genl.HandlerFunc(size),
				Policy: &genl.PolicySet{Attrs: []genl.AttrPolicy{{Attr: attrFD, Policy: isNumber}}},
			},
		},
		Listeners: func(_ string, n int) error {
			if n > 0 {
				s.joined <- struct{}{}
			}
			return nil
		},
	}
	srv := genl.NewServer(genl.ServerOptions{})
	if err := srv.Register(s.family); err != nil {
		t.Fatal(err)
	}
	s.path = filepath.Join(t.TempDir(), "socket")
	l, err := genl.ListenUnix(s.path, genl.UnixOptions{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- srv.ServeUnix(l) }()
	t.Cleanup(func() {
		srv.Close()
		<-done
	})
	return s
}

func (s *shop) attrs(b []byte, id uint32) []byte {
	v := s.things[id]
	b = genl.AppendUint32(b, attrID, id)
	b = genl.AppendString(b, attrName, v.name)
	return genl.AppendUint32(b, attrColour, v.colour)
}

func (s *shop) get(w *genl.ReplyWriter, r *genl.ServerRequest) error {
	id, ok := r.Uint32(attrID)
	if !ok {
		return r.Missing(attrID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.things[id]; !ok {
		return &genl.Error{Errno: unix.ENOENT, Message: fmt.Sprintf("no thing %d", id), Offset: r.Offset(attrID)}
	}
	return w.Reply(s.attrs(w.Buffer(), id))
}

func (s *shop) list(*genl.ServerRequest) (genl.DumpCursor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var msgs [][]byte
	for _, id := range slices.Sorted(maps.Keys(s.things)) {
		msgs = append(msgs, s.attrs(nil, id))
	}
	return genl.DumpSlice(msgs...), nil
}

func (s *shop) set(w *genl.ReplyWriter, r *genl.ServerRequest) error {
	id, _ := r.Uint32(attrID)
	name, _ := r.Attr(attrName)
	colour, _ := r.Uint32(attrColour)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.things[id] = thing{unix.ByteSliceToString(name), colour}
	return w.Notify("events", thingNtf, s.attrs(nil, id))
}

func size(w *genl.ReplyWriter, r *genl.ServerRequest) error {
	fd, ok := r.FD(attrFD)
	var st unix.Stat_t
	if !ok || unix.Fstat(fd, &st) != nil {
		return &genl.Error{Errno: unix.EBADF, Offset: r.Offset(attrFD)}
	}
	return w.Reply(genl.AppendAttr(w.Buffer(), attrSize, []byte{byte(st.Size), 0, 0, 0, 0, 0, 0, 0}))
}

// python runs a program in Python through the shim.
func (s *shop) python(fds []*os.File, args ...string) (stdout, stderr string, err error) {
	interpreter := "/usr/bin/python3" // whose packages make deps installs
	if _, err := os.Stat(interpreter); err != nil {
		interpreter = "python3"
	}
	cmd := exec.Command(interpreter, slices.Concat([]string{"-B", "netlink_unix.py", s.path}, args)...)
	cmd.ExtraFiles = fds
	cmd.Env = os.Environ()
	for i := range fds {
		cmd.Env = append(cmd.Env, fmt.Sprintf("XDPCTL_FDS=%d", 3+i))
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// source is a file of the kernel source that make deps fetches.
func source(tb testing.TB, path ...string) string {
	tb.Helper()
	file := filepath.Join(slices.Concat([]string{testutil.CacheDir(), "src", "linux-source-6.12"}, path)...)
	if _, err := os.Stat(file); err != nil {
		tb.Skipf("%v: make deps fetches it", err)
	}
	return file
}

func (s *shop) ynl(fds []*os.File, args ...string) (stdout, stderr string, err error) {
	s.Helper()
	return s.python(fds, slices.Concat([]string{
		source(s, "tools", "net", "ynl", "cli.py"), "--spec", filepath.Join("testdata", "shim.yaml"),
		"--schema", source(s, "Documentation", "netlink", "genetlink.yaml"), "--output-json",
	}, args)...)
}

type object = map[string]any

func parse[T any](tb testing.TB, text string) (v T) {
	tb.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		tb.Fatalf("parse %q: %v", text, err)
	}
	return v
}

// TestYNL drives the family with the kernel's YNL command line as it is.
func TestYNL(t *testing.T) {
	s := newShop(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("twelve bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()

	one := object{"id": 1.0, "name": "one", "colour": "red"}
	for name, tt := range map[string]struct {
		args []string
		want any
		says []string // when it is refused
	}{
		"do":      {args: []string{"--do", "thing-get", "--json", `{"id": 1}`}, want: one},
		"dump":    {args: []string{"--dump", "thing-get"}, want: []any{one, object{"id": 7.0, "name": "seven", "colour": "green"}}},
		"file":    {args: []string{"--do", "file-get", "--json", `{"fd": 3}`}, want: object{"size": 12.0}},
		"refused": {args: []string{"--do", "thing-get", "--json", `{"id": 2}`}, says: []string{"No such file or directory", "no thing 2", "'bad-attr': '.id'"}},
		"policy":  {args: []string{"--do", "thing-get", "--json", `{"id": 0}`}, says: []string{"integer out of range", "'bad-attr': '.id'", "'min-value': 1"}},
		"missing": {args: []string{"--do", "thing-get"}, says: []string{"Invalid argument", "'miss-type': 'id'"}},
		"unknown": {args: []string{"--do", "thing-get", "--json", `{"id": 1, "name": "x"}`}, says: []string{"Unknown attribute type", "'bad-attr': '.name'"}},
		"several": {args: []string{"--multi", "thing-get", `{"id": 1}`, "--multi", "thing-get", `{"id": 7}`}, want: []any{one, object{"id": 7.0, "name": "seven", "colour": "green"}}},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, err := s.ynl([]*os.File{f}, tt.args...)
			for _, what := range tt.says {
				if err == nil || !strings.Contains(stdout+stderr, what) {
					t.Errorf("does not say %q, error %v:\n%s%s", what, err, stdout, stderr)
				}
			}
			if tt.says != nil {
				return
			}
			if err != nil {
				t.Fatalf("%v:\n%s%s", err, stdout, stderr)
			}
			if diff := cmp.Diff(tt.want, parse[any](t, stdout)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestYNLSubscribe has the YNL command line listen.
func TestYNLSubscribe(t *testing.T) {
	s := newShop(t)
	source(t)
	type result struct {
		stdout, stderr string
		err            error
	}
	listening := make(chan result)
	go func() {
		var r result
		r.stdout, r.stderr, r.err = s.ynl(nil, "--subscribe", "events", "--sleep", "2")
		listening <- r
	}()
	select {
	case <-s.joined:
	case <-time.After(time.Minute):
		t.Fatal("nobody joins")
	}
	var want []object
	for i := range 5 {
		name := fmt.Sprint("n", i)
		c, err := genl.Dial(genl.Options{Transport: func() (genl.Transport, error) { return genl.DialUnix(s.path) }})
		if err != nil {
			t.Fatal(err)
		}
		f, err := c.Family(t.Context(), "shim")
		if err != nil {
			t.Fatal(err)
		}
		err = c.Do(t.Context(), genl.Request{
			Op: "thing-set", Family: f, Command: thingSet,
			Attrs: genl.AppendUint32(genl.AppendString(genl.AppendUint32(nil, attrID, 3), attrName, name), attrColour, 2),
		}, nil)
		c.Close()
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, object{"name": "thing-ntf", "msg": object{"id": 3.0, "name": name, "colour": "blue"}})
	}
	r := <-listening
	if r.err != nil {
		t.Fatalf("%v:\n%s%s", r.err, r.stdout, r.stderr)
	}
	if diff := cmp.Diff(want, parse[[]object](t, r.stdout)); diff != "" {
		t.Errorf("notifications (-want +got):\n%s", diff)
	}
}

// TestPyroute2 drives the family with pyroute2.
func TestPyroute2(t *testing.T) {
	s := newShop(t)
	if _, _, err := s.python(nil, filepath.Join("testdata", "has_pyroute2.py")); err != nil {
		t.Skip("no pyroute2: make deps installs it")
	}
	stdout, stderr, err := s.python(nil, filepath.Join("testdata", "pyroute2_client.py"))
	if err != nil {
		t.Fatalf("%v:\n%s%s", err, stdout, stderr)
	}
	thing := func(id, colour float64, name string) any { return object{"id": id, "name": name, "colour": colour} }
	want := object{
		"do":      []any{thing(2, 2, "two")},
		"dump":    []any{thing(1, 0, "one"), thing(2, 2, "two"), thing(7, 1, "seven")},
		"refused": float64(unix.ENOENT),
	}
	if diff := cmp.Diff(want, parse[object](t, stdout)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
