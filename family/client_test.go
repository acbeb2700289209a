// SPDX-License-Identifier: BSD-3-Clause

package family

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/genl"
	"github.com/xdpctl/xdpctl-nl/internal/genltest"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

func TestMain(m *testing.M) { testutil.WatchFDs(m) }

// fakeKernel answers for nlctrl, and has answer answer for the family.
type fakeKernel struct {
	id     atomic.Uint32 // of the family; 0: it is not there
	finds  atomic.Int32  // how often it was looked for
	answer func(r genltest.Request) [][]byte
}

// dialFake returns a Client to a fake kernel, in which the family has id 32.
func dialFake(tb testing.TB, answer func(r genltest.Request) [][]byte) (*Client, *fakeKernel) {
	tb.Helper()
	k := &fakeKernel{answer: answer}
	k.id.Store(32)
	f := genltest.New(tb, k.serve)
	c, err := Dial(Options{DumpTries: 3, Socket: func() (genl.Socket, error) { return f.Dial() }})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c, k
}

func (k *fakeKernel) serve(r genltest.Request) [][]byte {
	id := uint16(k.id.Load())
	switch {
	case r.Type == unix.GENL_ID_CTRL && r.Body[0] == unix.CTRL_CMD_GETFAMILY && id != 0:
		k.finds.Add(1)
		b := genl.AppendUint16(nil, unix.CTRL_ATTR_FAMILY_ID, id)
		b = genl.AppendString(b, unix.CTRL_ATTR_FAMILY_NAME, FamilyName)
		b = genl.AppendUint32(b, unix.CTRL_ATTR_VERSION, FamilyVersion)
		return [][]byte{r.Reply(0, b...), r.Ack(0, nil)}
	case r.Type == id && id != 0:
		return k.answer(r)
	}
	k.finds.Add(1)
	return [][]byte{r.Ack(unix.ENOENT, nil)}
}

// ok acknowledges a request or ends a dump.
func ok(r genltest.Request) []byte {
	if r.Flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP {
		return r.Done(0, 0, nil)
	}
	return r.Ack(0, nil)
}

// entry answers every lookup and update with an entry, every dump with two.
func entry(r genltest.Request) [][]byte {
	key := genl.AppendUint32(genl.AppendUint32(nil, 1, 7), AttrProgQueue, 3)
	var attrs []byte
	switch r.Body[0] {
	case CmdTypeGet:
		attrs = genl.AppendString(genl.AppendUint32(nil, AttrTypeID, 1), AttrTypeName, "xdp_stats")
	case CmdStatsGet, CmdQstatsGet:
		attrs = appendU64[uint64](key, AttrStatsDrop, 1<<40)
	case CmdProgGet, CmdProgSet:
		attrs = genl.AppendUint32(key, AttrProgProgID, 42)
	case CmdCapsGet:
		attrs = genl.AppendString(genl.AppendUint32(nil, AttrCapsIfindex, 7), AttrCapsDriver, "veth")
	case CmdAttrGet, CmdAttrSet:
		attrs = genl.AppendUint32(genl.AppendUint32(nil, AttrAttrIfindex, 7), AttrAttrEnableMeter, 1)
	case CmdPortGet, CmdPortSet:
		attrs = genl.AppendUint32(genl.AppendUint32(nil, AttrPortPort, 1023), AttrPortIfindex, 7)
	case CmdProgDel, CmdAttrDel, CmdPortDel:
		return [][]byte{ok(r)}
	}
	if r.Flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP {
		m := r.Reply(unix.NLM_F_MULTI, attrs...)
		return [][]byte{genltest.Join(m, m), ok(r)}
	}
	if r.Flags&unix.NLM_F_ACK == 0 {
		return [][]byte{r.Reply(0, attrs...)}
	}
	return [][]byte{r.Reply(0, attrs...), ok(r)}
}

// method is a method of a Client, by the operation that it comes down to.
type method struct {
	op   string
	dump bool
	call func(ctx context.Context, c *Client) error
}

func lookup[K, V any](table func(*Client) Table[K, V], k K) func(context.Context, *Client) error {
	return func(ctx context.Context, c *Client) error {
		return table(c).Lookup(ctx, &k, new(V))
	}
}

func update[K, V any](table func(*Client) Table[K, V], k K, v V, how Update) func(context.Context, *Client) error {
	return func(ctx context.Context, c *Client) error {
		before := fmt.Sprint(k, v)
		err := table(c).Update(ctx, &k, &v, how)
		if after := fmt.Sprint(k, v); after != before {
			return fmt.Errorf("changed the caller's %s to %s", before, after)
		}
		return err
	}
}

func remove[K, V any](table func(*Client) Table[K, V], k K) func(context.Context, *Client) error {
	return func(ctx context.Context, c *Client) error { return table(c).Delete(ctx, &k) }
}

func iterate[K, V any](table func(*Client) Table[K, V], filter *K) func(context.Context, *Client) error {
	return func(ctx context.Context, c *Client) error {
		n := 0
		for _, err := range All(ctx, table(c), filter) {
			if err != nil {
				return err
			}
			n++
		}
		if n != 0 && n != 2 {
			return fmt.Errorf("got %d entries", n)
		}
		return nil
	}
}

// methods are those that make requests, in the order of testdata/requests.txt.
func methods() []method {
	stats, qstats, prog, caps := (*Client).Stats, (*Client).Qstats, (*Client).Prog, (*Client).Caps
	attr, port := (*Client).Attr, (*Client).Port
	whole := ProgKey{Ifindex: 7, Queue: QueueAll}
	var native, replace, auto Prog
	native.SetFD(5)
	native.SetMode(ModeNative)
	replace.SetFD(5)
	replace.SetExpectedProgID(42)
	replace.SetMode(ModeGeneric)
	auto.SetFD(5)
	auto.SetProgID(9) // is told, and never sent
	var choosy Prog
	choosy.SetFD(5)
	choosy.SetRequiredFeatures(XDPActBasic | XDPActRXSG)
	choosy.SetRequiredRXMetadataFeatures(XDPRXMetadataHash)
	choosy.SetRequiredActions(ActionDrop | ActionTX)
	var redirect, md, meter Attr
	redirect.SetCommand(CommandSetupRedirect)
	redirect.SetRingsNum(4)
	redirect.SetRingsSize(512)
	redirect.SetPlaceholderProgID(9)
	md.SetCommand(CommandSetupMD)
	md.SetEnableMD(1)
	meter.SetCommand(CommandSetupMeter)
	meter.SetEnableMeter(0)
	meter.SetFD(5)
	var bind Port
	bind.SetIfindex(7)
	bind.SetDevmapID(9)
	return []method{
		{"type-get", true, func(ctx context.Context, c *Client) error { _, err := c.Types(ctx); return err }},
		{"stats-get", false, lookup(stats, StatsKey{7})},
		{"stats-get", true, iterate(stats, nil)},
		{"stats-get", true, iterate(stats, &StatsKey{7})},
		{"qstats-get", false, lookup(qstats, QstatsKey{7, 3})},
		{"qstats-get", true, iterate(qstats, nil)},
		{"qstats-get", true, iterate(qstats, &QstatsKey{7, 3})},
		{"prog-get", false, lookup(prog, whole)},
		{"prog-get", true, iterate(prog, nil)},
		{"prog-get", true, iterate(prog, &whole)},
		{"prog-set", false, update(prog, whole, native, UpdateNoexist)},
		{"prog-set", false, update(prog, ProgKey{7, 3}, replace, UpdateExist)},
		{"prog-set", false, update(prog, whole, auto, UpdateAny)},
		{"prog-set", false, update(prog, ProgKey{7, 3}, choosy, UpdateAny)},
		{"prog-del", false, remove(prog, whole)},
		{"caps-get", false, lookup(caps, CapsKey{7})},
		{"caps-get", true, iterate(caps, nil)},
		{"caps-get", true, iterate(caps, &CapsKey{7})},
		{"attr-get", false, lookup(attr, AttrKey{7})},
		{"attr-get", true, iterate(attr, nil)},
		{"attr-get", true, iterate(attr, &AttrKey{7})},
		{"attr-set", false, update(attr, AttrKey{7}, redirect, UpdateAny)},
		{"attr-set", false, update(attr, AttrKey{7}, md, UpdateAny)},
		{"attr-set", false, update(attr, AttrKey{7}, meter, UpdateAny)},
		{"attr-del", false, remove(attr, AttrKey{7})},
		{"port-get", false, lookup(port, PortKey{0})},
		{"port-get", true, iterate(port, nil)},
		{"port-get", true, iterate(port, &PortKey{1023})},
		{"port-set", false, update(port, PortKey{0}, bind, UpdateNoexist)},
		{"port-del", false, remove(port, PortKey{1023})},
	}
}

// The requests are those that the kernel's own YNL library makes of the spec:
// testdata/requests.py prints them, and says how it is run. It asks for an
// acknowledgement of everything; lookups can do without.
func TestClientRequests(t *testing.T) {
	file, err := os.ReadFile("testdata/requests.txt")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range strings.Lines(string(file)) {
		if f := strings.Fields(line); f[0] != "#" {
			want = append(want, f[0]+" "+f[1]+" "+f[3])
		}
	}
	sent := make(chan string, len(want)+1)
	c, _ := dialFake(t, func(r genltest.Request) [][]byte {
		how := "do"
		if r.Flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP {
			how = "dump"
		}
		raw := append([]byte(nil), r.Raw...)
		clear(raw[8:12])
		if how == "do" && strings.HasSuffix(OpName(r.Body[0]), "-get") {
			if r.Flags&unix.NLM_F_ACK != 0 {
				t.Errorf("%s asks for an acknowledgement", OpName(r.Body[0]))
			}
			raw[6] |= unix.NLM_F_ACK
		}
		sent <- how + " " + OpName(r.Body[0]) + " " + hex.EncodeToString(raw)
		return entry(r)
	})
	var got []string
	for _, m := range methods() {
		if err := m.call(t.Context(), c); err != nil {
			t.Errorf("%s: %v", m.op, err)
		}
		got = append(got, <-sent)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// Every errno comes back from every method, as an *Error that names the
// operation and matches the portable error.
func TestClientErrors(t *testing.T) {
	errnos := map[syscall.Errno]error{
		unix.EPERM:      os.ErrPermission,
		unix.EACCES:     os.ErrPermission,
		unix.ENOENT:     os.ErrNotExist,
		unix.EEXIST:     os.ErrExist,
		unix.EOPNOTSUPP: errors.ErrUnsupported,
		unix.ENODEV:     unix.ENODEV,
		unix.EBUSY:      unix.EBUSY,
		unix.EBADF:      unix.EBADF,
		unix.EINVAL:     unix.EINVAL,
		unix.ERANGE:     unix.ERANGE,
		unix.EXDEV:      unix.EXDEV,
		unix.ENOMEM:     unix.ENOMEM,
	}
	for errno, match := range errnos {
		t.Run(errno.Error(), func(t *testing.T) {
			c, _ := dialFake(t, func(r genltest.Request) [][]byte {
				return [][]byte{r.Ack(errno, genl.AppendString(nil, unix.NLMSGERR_ATTR_MSG, "because"))}
			})
			for _, m := range methods() {
				err := m.call(t.Context(), c)
				var e *Error
				if !errors.As(err, &e) {
					t.Errorf("%s: got error %v, want an *Error", m.op, err)
					continue
				}
				if diff := cmp.Diff(&Error{Op: m.op, Errno: errno, Message: "because"}, e); diff != "" {
					t.Errorf("%s: error (-want +got):\n%s", m.op, diff)
				}
				if !errors.Is(err, match) || !errors.Is(err, errno) {
					t.Errorf("%s: error %v does not match %v and %v", m.op, err, match, errno)
				}
				if want := m.op + ": " + errno.Error() + ": because"; err.Error() != want {
					t.Errorf("got text %q, want %q", err, want)
				}
			}
		})
	}
}

// A dump that fails after some entries fails, and so does one that is always
// interrupted.
func TestClientDumpErrors(t *testing.T) {
	answers := map[string]struct {
		answer func(r genltest.Request) [][]byte
		err    error
	}{
		"in the middle": {func(r genltest.Request) [][]byte {
			return append(entry(r)[:1], r.Done(0, unix.ENOMEM, nil))
		}, unix.ENOMEM},
		"interrupted": {func(r genltest.Request) [][]byte {
			return append(entry(r)[:1], r.Done(unix.NLM_F_DUMP_INTR, 0, nil))
		}, genl.ErrDumpInterrupted},
		"truncated attribute": {func(r genltest.Request) [][]byte {
			return [][]byte{r.Reply(unix.NLM_F_MULTI, 9, 0, 1, 0), ok(r)}
		}, ErrMalformed},
		"attribute of another length": {func(r genltest.Request) [][]byte {
			return [][]byte{r.Reply(unix.NLM_F_MULTI, 6, 0, 1, 0, 1, 0, 0, 0), ok(r)}
		}, ErrMalformed},
	}
	for name, tt := range answers {
		t.Run(name, func(t *testing.T) {
			c, _ := dialFake(t, tt.answer)
			for _, m := range methods() {
				if !m.dump {
					continue
				}
				err := m.call(t.Context(), c)
				if !errors.Is(err, tt.err) || !strings.HasPrefix(fmt.Sprint(err), m.op+": ") {
					t.Errorf("%s: got error %v, want %v", m.op, err, tt.err)
				}
			}
		})
	}
}

func TestClientMalformedReply(t *testing.T) {
	for name, answer := range map[string]func(r genltest.Request) [][]byte{
		"none":                        func(r genltest.Request) [][]byte { return [][]byte{ok(r)} },
		"truncated attribute":         func(r genltest.Request) [][]byte { return [][]byte{r.Reply(0, 9, 0, 1, 0), ok(r)} },
		"attribute of another length": func(r genltest.Request) [][]byte { return [][]byte{r.Reply(0, 4, 0, 1, 0), ok(r)} },
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := dialFake(t, answer)
			for _, m := range methods() {
				if m.dump || !strings.HasSuffix(m.op, "-get") {
					continue
				}
				err := m.call(t.Context(), c)
				if !errors.Is(err, ErrMalformed) && !errors.Is(err, genl.ErrMalformed) || !strings.HasPrefix(fmt.Sprint(err), m.op+": ") {
					t.Errorf("%s: got error %v, want that it is malformed", m.op, err)
				}
			}
		})
	}
}

func TestClientExtack(t *testing.T) {
	tlvs := genl.AppendString(nil, unix.NLMSGERR_ATTR_MSG, "integer out of range")
	tlvs = genl.AppendUint32(tlvs, unix.NLMSGERR_ATTR_OFFS, 20)
	tlvs = genl.AppendNested(tlvs, 4 /* NLMSGERR_ATTR_POLICY */, func(b []byte) []byte {
		b = appendU64[uint64](b, unix.NL_POLICY_TYPE_ATTR_MIN_VALUE_U, 1)
		b = appendU64[uint64](b, unix.NL_POLICY_TYPE_ATTR_MAX_VALUE_U, 0xffffffff)
		return genl.AppendUint32(b, unix.NL_POLICY_TYPE_ATTR_TYPE, unix.NL_ATTR_TYPE_U32)
	})
	tlvs = genl.AppendUint32(tlvs, 5 /* NLMSGERR_ATTR_MISS_TYPE */, uint32(AttrStatsQueue))
	c, _ := dialFake(t, func(r genltest.Request) [][]byte { return [][]byte{r.Ack(unix.ERANGE, tlvs)} })

	low, high := uint64(1), uint64(0xffffffff)
	want := &Error{
		Op: "stats-get", Errno: unix.ERANGE, Message: "integer out of range",
		Attr: ".ifindex", MissAttr: ".queue",
		Policy: &genl.Policy{Type: unix.NL_ATTR_TYPE_U32, MinValue: &low, MaxValue: &high},
	}
	var got *Error
	err := c.Stats().Lookup(t.Context(), &StatsKey{}, new(Stats))
	if !errors.As(err, &got) {
		t.Fatalf("got error %v, want an *Error", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
	text := "stats-get: numerical result out of range: integer out of range " +
		"(attribute .ifindex, want u32 in 1..4294967295) (attribute .queue is missing)"
	if err.Error() != text {
		t.Errorf("got text %q, want %q", err, text)
	}
}

// What a control type lacks is refused without asking.
func TestClientUnsupported(t *testing.T) {
	c, _ := dialFake(t, func(r genltest.Request) [][]byte {
		t.Errorf("%s was sent", OpName(r.Body[0]))
		return nil
	})
	ctx := t.Context()
	for op, err := range map[string]error{
		"stats-set":  c.Stats().Update(ctx, &StatsKey{}, &Stats{}, UpdateAny),
		"stats-del":  c.Stats().Delete(ctx, &StatsKey{}),
		"qstats-set": c.Qstats().Update(ctx, &QstatsKey{}, &Qstats{}, UpdateAny),
		"qstats-del": c.Qstats().Delete(ctx, &QstatsKey{}),
		"caps-set":   c.Caps().Update(ctx, &CapsKey{}, &Caps{}, UpdateAny),
		"caps-del":   c.Caps().Delete(ctx, &CapsKey{}),
	} {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: got error %v, want %v", op, err, errors.ErrUnsupported)
		}
		if diff := cmp.Diff(error(&Error{Op: op, Errno: unix.EOPNOTSUPP}), err); diff != "" {
			t.Errorf("%s: error (-want +got):\n%s", op, diff)
		}
	}
	if _, err := c.Subscribe(ctx); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("subscribe: got error %v, want %v", err, errors.ErrUnsupported)
	}
}

func TestClientValues(t *testing.T) {
	c, _ := dialFake(t, entry)
	got, err := collect(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	// As a program in JSON has it, with the names of the spec.
	want := `{"types":[{"id":"xdp-stats","name":"xdp_stats"},{"id":"xdp-stats","name":"xdp_stats"}],` +
		`"stats":{"drop":1099511627776},"prog":{"prog-id":42},"caps":{"driver":"veth"},` +
		`"attr":{"enable-meter":1},"port":{"ifindex":7},` +
		`"list":[{"ifindex":7,"queue":3,"drop":1099511627776},{"ifindex":7,"queue":3,"drop":1099511627776}]}`
	b, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	if c.Name() != "netlink" || c.Family().ID != 32 || c.Conn() == nil {
		t.Errorf("got door %q and family %+v", c.Name(), c.Family())
	}
}

// collected is one of each.
type collected struct {
	Types []Type                     `json:"types"`
	Stats Stats                      `json:"stats"`
	Prog  Prog                       `json:"prog"`
	Caps  Caps                       `json:"caps"`
	Attr  Attr                       `json:"attr"`
	Port  Port                       `json:"port"`
	List  []Entry[QstatsKey, Qstats] `json:"list"`
}

func collect(ctx context.Context, c *Client) (*collected, error) {
	got := &collected{Prog: Prog{Present: ^uint64(0), LinkID: 9}} // to be overwritten whole
	var err error
	if got.Types, err = c.Types(ctx); err != nil {
		return nil, err
	}
	err = errors.Join(
		c.Stats().Lookup(ctx, &StatsKey{7}, &got.Stats),
		c.Prog().Lookup(ctx, &ProgKey{7, 3}, &got.Prog),
		c.Caps().Lookup(ctx, &CapsKey{7}, &got.Caps),
		c.Attr().Lookup(ctx, &AttrKey{7}, &got.Attr),
		c.Port().Lookup(ctx, &PortKey{1023}, &got.Port),
	)
	for e, lerr := range All(ctx, c.Qstats(), nil) {
		err = errors.Join(err, lerr)
		got.List = append(got.List, e)
	}
	return got, err
}

// The module may go, and come back as another family.
func TestClientReload(t *testing.T) {
	c, k := dialFake(t, entry)
	all := func(check func(op string, err error)) {
		t.Helper()
		for _, m := range methods() {
			check(m.op, m.call(t.Context(), c))
		}
	}
	k.id.Store(0)
	all(func(op string, err error) {
		if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "modprobe xdpctl") {
			t.Errorf("%s: got error %v, want one that says what to do", op, err)
		}
	})
	for _, id := range []uint32{33, 34} {
		k.id.Store(id)
		finds := k.finds.Load()
		all(func(op string, err error) {
			if err != nil {
				t.Errorf("%s: %v", op, err)
			}
		})
		// Once by the request to the old id, once after that.
		if n := k.finds.Load() - finds; n != 2 {
			t.Errorf("looked for the family %d times, want 2", n)
		}
	}
}

// An entry that is not there is no reason to look for the family if the family
// says so itself.
func TestClientNotExist(t *testing.T) {
	c, k := dialFake(t, func(r genltest.Request) [][]byte {
		return [][]byte{r.Ack(unix.ENOENT, genl.AppendString(nil, unix.NLMSGERR_ATTR_MSG, "no such netdev"))}
	})
	finds := k.finds.Load()
	err := c.Stats().Lookup(t.Context(), &StatsKey{7}, new(Stats))
	if diff := cmp.Diff(error(&Error{Op: "stats-get", Errno: unix.ENOENT, Message: "no such netdev"}), err); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
	if n := k.finds.Load() - finds; n != 0 {
		t.Errorf("looked for the family %d times", n)
	}
}

func TestDialNotLoaded(t *testing.T) {
	k := &fakeKernel{}
	f := genltest.New(t, k.serve)
	_, err := Dial(Options{Socket: func() (genl.Socket, error) { return f.Dial() }})
	want := `family xdpctl: no such file or directory: kernel module xdpctl is not loaded: ` +
		`load it with "modprobe xdpctl", or with "insmod xdpctl.ko" where it was built`
	if !errors.Is(err, os.ErrNotExist) || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
}

func TestClientContext(t *testing.T) {
	c, _ := dialFake(t, entry)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, m := range methods() {
		if err := m.call(ctx, c); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got error %v, want %v", m.op, err, context.Canceled)
		}
		if err := m.call(t.Context(), c); err != nil {
			t.Errorf("%s: after that: %v", m.op, err)
		}
	}
	c.Close()
	for _, m := range methods() {
		if err := m.call(t.Context(), c); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: got error %v, want %v", m.op, err, os.ErrClosed)
		}
	}
}

func TestClientConcurrent(t *testing.T) {
	c, _ := dialFake(t, entry)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				for _, m := range methods() {
					if err := m.call(t.Context(), c); err != nil {
						t.Errorf("%s: %v", m.op, err)
					}
				}
			}
		})
	}
	wg.Wait()
}
