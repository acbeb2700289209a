// SPDX-License-Identifier: BSD-3-Clause

package family

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/genl"
)

// memory is a control type in memory.
type memory[K comparable, V any] struct {
	mu    sync.Mutex
	m     map[K]V
	set   func(ctx context.Context, k *K, v *V, how Update) error
	less  func(a, b K) int
	first func(k *K) uint32
}

func (t *memory[K, V]) Lookup(_ context.Context, k *K, v *V) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	got, ok := t.m[*k]
	if !ok {
		return &Error{Op: "get", Errno: unix.ENOENT, Message: "not in memory"}
	}
	*v = got
	return nil
}

func (t *memory[K, V]) Update(ctx context.Context, k *K, v *V, how Update) error {
	if t.set == nil {
		return &Error{Op: "set", Errno: unix.EOPNOTSUPP}
	}
	return t.set(ctx, k, v, how)
}

func (t *memory[K, V]) Delete(_ context.Context, k *K) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.m, *k)
	return nil
}

func (t *memory[K, V]) Cursor(_ context.Context, filter *K) Cursor[K, V] {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := &memoryCursor[K, V]{t: t}
	for k := range t.m {
		if filter == nil || t.first(&k) == t.first(filter) {
			c.keys = append(c.keys, k)
		}
	}
	slices.SortFunc(c.keys, t.less)
	return c
}

type memoryCursor[K comparable, V any] struct {
	t    *memory[K, V]
	keys []K
}

func (c *memoryCursor[K, V]) Next(k *K, v *V) bool {
	if len(c.keys) == 0 {
		return false
	}
	*k, c.keys = c.keys[0], c.keys[1:]
	return c.t.Lookup(context.Background(), k, v) == nil
}

func (c *memoryCursor[K, V]) Err() error   { return nil }
func (c *memoryCursor[K, V]) Close() error { return nil }

// memoryControl is a Control of which two tables are in memory, and whose
// subscribers are told by hand.
type memoryControl struct {
	Control
	stats memory[StatsKey, Stats]
	prog  memory[ProgKey, Prog]

	mu   sync.Mutex
	subs []chan Event
	deaf error // instead of a subscription
}

func (c *memoryControl) Stats() Table[StatsKey, Stats]    { return &c.stats }
func (c *memoryControl) Qstats() Table[QstatsKey, Qstats] { return &memory[QstatsKey, Qstats]{} }
func (c *memoryControl) Prog() Table[ProgKey, Prog]       { return &c.prog }
func (c *memoryControl) Caps() Table[CapsKey, Caps]       { return &memory[CapsKey, Caps]{} }
func (c *memoryControl) Attr() Table[AttrKey, Attr]       { return &memory[AttrKey, Attr]{} }
func (c *memoryControl) Port() Table[PortKey, Port]       { return &memory[PortKey, Port]{} }

func (c *memoryControl) Types(context.Context) ([]Type, error) {
	var t Type
	t.SetID(CtrlTypeXDPStats)
	t.SetName("xdp_stats")
	return []Type{t}, nil
}

func (c *memoryControl) Subscribe(context.Context) (Subscription, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deaf != nil {
		return nil, c.deaf
	}
	ch := make(chan Event, 16)
	c.subs = append(c.subs, ch)
	return &memorySubscription{ch}, nil
}

// tell tells all subscribers; of nothing, that they miss something.
func (c *memoryControl) tell(ev Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range c.subs {
		ch <- ev
	}
}

type memorySubscription struct{ ch chan Event }

func (s *memorySubscription) Recv(ctx context.Context) (Event, error) {
	select {
	case ev := <-s.ch:
		if ev.Op == "" {
			return ev, unix.ENOBUFS
		}
		return ev, nil
	case <-ctx.Done():
		return Event{}, ctx.Err()
	}
}

func (s *memorySubscription) Close() error { return nil }

// serveMemory serves a control in memory, and returns a client of it.
func serveMemory(t *testing.T) (*memoryControl, *Client) {
	t.Helper()
	c := &memoryControl{}
	c.stats = memory[StatsKey, Stats]{
		m:     make(map[StatsKey]Stats),
		less:  func(a, b StatsKey) int { return cmp.Compare(a.Ifindex, b.Ifindex) },
		first: func(k *StatsKey) uint32 { return k.Ifindex },
	}
	c.prog = memory[ProgKey, Prog]{
		m: make(map[ProgKey]Prog),
		less: func(a, b ProgKey) int {
			return cmp.Or(cmp.Compare(a.Ifindex, b.Ifindex), cmp.Compare(a.Queue, b.Queue))
		},
		first: func(k *ProgKey) uint32 { return k.Ifindex },
	}
	return c, serveControl(t, c)
}

// serveControl serves a control, and returns a client of it.
func serveControl(t *testing.T, c Control) *Client {
	t.Helper()
	s := genl.NewServer(genl.ServerOptions{})
	served, err := Serve(s, c, ServeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	client, err := Dial(Options{Transport: s.Dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(client.Close(), served.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	})
	return client
}

func TestServerReads(t *testing.T) {
	c, client := serveMemory(t)
	ctx := t.Context()
	want := make(map[uint32]uint64)
	for i := range uint32(300) {
		var v Stats
		v.SetPackets(uint64(i) << 33)
		c.stats.m[StatsKey{i + 1}] = v
		want[i+1] = v.Packets
	}
	got := make(map[uint32]uint64)
	last := uint32(0)
	for e, err := range All(ctx, client.Stats(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Key.Ifindex <= last {
			t.Errorf("netdev %d after %d", e.Key.Ifindex, last)
		}
		last = e.Key.Ifindex
		got[last] = e.Value.Packets
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("dump, -want +got:\n%s", diff)
	}
	var v Stats
	if err := client.Stats().Lookup(ctx, &StatsKey{7}, &v); err != nil || v.Packets != 6<<33 {
		t.Errorf("lookup: %+v, %v", v, err)
	}
	err := client.Stats().Lookup(ctx, &StatsKey{1000}, &v)
	if diff := gocmp.Diff(&Error{Op: "stats-get", Errno: unix.ENOENT, Message: "not in memory"}, err); diff != "" {
		t.Errorf("lookup of none, -want +got:\n%s", diff)
	}
	types, err := client.Types(ctx)
	if err != nil || len(types) != 1 || types[0].Name.String() != "xdp_stats" {
		t.Errorf("types: %v, %v", types, err)
	}
}

// TestServerFilter dumps the programs of a netdev, and of one queue, which only
// netlink can ask for.
func TestServerFilter(t *testing.T) {
	c, client := serveMemory(t)
	for _, k := range []ProgKey{{1, 0}, {2, 0}, {2, 1}, {2, QueueAll}, {3, 1}} {
		c.prog.m[k] = Prog{}
	}
	for _, tc := range []struct {
		attrs []byte
		want  []ProgKey
	}{
		{nil, []ProgKey{{1, 0}, {2, 0}, {2, 1}, {2, QueueAll}, {3, 1}}},
		{genl.AppendUint32(nil, AttrProgIfindex, 2), []ProgKey{{2, 0}, {2, 1}, {2, QueueAll}}},
		{genl.AppendUint32(nil, AttrProgQueue, 1), []ProgKey{{2, 1}, {3, 1}}},
		{genl.AppendUint32(genl.AppendUint32(nil, AttrProgIfindex, 3), AttrProgQueue, 0), nil},
	} {
		cur := client.Conn().Dump(t.Context(), genl.Request{Family: client.Family(), Command: CmdProgGet, Attrs: tc.attrs})
		var got []ProgKey
		for cur.Next() {
			var k ProgKey
			if err := k.DecodeAttrs(cur.Message().Attrs); err != nil {
				t.Fatal(err)
			}
			got = append(got, k)
		}
		if diff := gocmp.Diff(tc.want, got); diff != "" || cur.Err() != nil {
			t.Errorf("filter %x: %v, -want +got:\n%s", tc.attrs, cur.Err(), diff)
		}
	}
}

// countedGeneration is a control whose generation is asked for. It changes when it
// is asked for the changeAt-th time.
type countedGeneration struct {
	*memoryControl
	asked, changeAt uint32
}

func (c *countedGeneration) Generation(context.Context) (uint32, error) {
	c.asked++
	if c.changeAt != 0 && c.asked >= c.changeAt {
		return 2, nil
	}
	return 1, nil
}

// TestServerGeneration dumps what takes many parts. However many, the generation
// is asked for twice, before the first and when the end is read, which is apart. What
// changed in between is told.
func TestServerGeneration(t *testing.T) {
	for _, n := range []uint32{1, 2, 3000} {
		memory, _ := serveMemory(t)
		for i := range n {
			memory.stats.m[StatsKey{Ifindex: i + 1}] = Stats{}
		}
		c := &countedGeneration{memoryControl: memory}
		client := serveControl(t, c)
		dump := func() (got uint32, err error) {
			cur := client.Stats().Cursor(t.Context(), nil)
			defer cur.Close()
			for cur.Next(&StatsKey{}, &Stats{}) {
				got++
			}
			return got, cur.Err()
		}
		if got, err := dump(); got != n || err != nil || c.asked != 2 {
			t.Errorf("got %d of %d entries, the generation was asked for %d times, error %v", got, n, c.asked, err)
		}
		c.asked, c.changeAt = 0, 2
		// The client dumps once more when it is told.
		if got, err := dump(); got != n || err != nil || c.asked != 4 {
			t.Errorf("with a change: got %d of %d entries, asked %d times, error %v", got, n, c.asked, err)
		}
	}
}

func TestServerUpdate(t *testing.T) {
	c, client := serveMemory(t)
	ctx := t.Context()
	type call struct {
		Key ProgKey
		FD  uint32
		How Update
	}
	var calls []call
	c.prog.set = func(_ context.Context, k *ProgKey, v *Prog, how Update) error {
		calls = append(calls, call{*k, v.FD, how})
		if k.Ifindex == 9 {
			return &Error{Op: "prog-set", Errno: unix.EINVAL, Message: "no", Attr: ".mode"}
		}
		if k.Ifindex == 8 {
			return &Error{Op: "prog-set", Errno: unix.EINVAL, Message: "command is missing", MissAttr: ".fd"}
		}
		if k.Ifindex == 7 {
			return fmt.Errorf("the machine: %w", unix.EIO)
		}
		c.prog.m[*k] = Prog{}
		return nil
	}
	set := func(ifindex, queue uint32) error {
		var v Prog
		v.SetFD(5)
		v.SetMode(ModeNative)
		return client.Prog().Update(ctx, &ProgKey{ifindex, queue}, &v, UpdateExist)
	}
	if err := set(1, QueueAll); err != nil {
		t.Error(err)
	}
	for ifindex, want := range map[uint32]*Error{
		9: {Op: "prog-set", Errno: unix.EINVAL, Message: "no", Attr: ".mode"},
		8: {Op: "prog-set", Errno: unix.EINVAL, Message: "command is missing", MissAttr: ".fd"},
		7: {Op: "prog-set", Errno: unix.EIO, Message: "the machine: input/output error"},
	} {
		if diff := gocmp.Diff(want, set(ifindex, 0)); diff != "" {
			t.Errorf("update of %d, -want +got:\n%s", ifindex, diff)
		}
	}
	if diff := gocmp.Diff(call{ProgKey{1, QueueAll}, 5, UpdateExist}, calls[0]); diff != "" {
		t.Errorf("call, -want +got:\n%s", diff)
	}
	// The queue may be left out, the netdev may not.
	f := client.Family()
	do := func(attrs []byte) error {
		return client.Conn().Do(ctx, genl.Request{Op: "prog-set", Family: f, Command: CmdProgSet, Attrs: attrs, Names: AttrSetProg}, nil)
	}
	if err := do(genl.AppendUint32(nil, AttrProgIfindex, 3)); err != nil || calls[len(calls)-1].Key != (ProgKey{3, QueueAll}) {
		t.Errorf("without a queue: %v, %+v", err, calls[len(calls)-1])
	}
	var e *genl.Error
	if err := do(nil); !errors.As(err, &e) || e.Errno != unix.EINVAL || e.MissAttr != ".ifindex" {
		t.Errorf("without a netdev: %v", err)
	}
}

// TestServerNotifies tells of a change twice: by the call that makes it and by
// the subscription, which here takes no notice of WithNotify.
func TestServerNotifies(t *testing.T) {
	c, client := serveMemory(t)
	ctx := t.Context()
	sub, err := client.Subscribe(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	c.prog.set = func(ctx context.Context, k *ProgKey, v *Prog, _ Update) error {
		now := Prog{}
		now.SetProgID(42)
		if _, f := NotifyFrom(ctx); f != nil {
			f(Event{Op: "prog-ntf", Type: CtrlTypeXDPProg, Key: k, Value: &now})
		}
		return nil
	}
	if err := client.Prog().Update(ctx, &ProgKey{1, 2}, &Prog{}, UpdateAny); err != nil {
		t.Fatal(err)
	}
	exc := Exception{}
	exc.SetIfindex(4)
	c.tell(Event{Op: "exception-ntf", Value: &exc})
	c.tell(Event{})
	now := &Prog{}
	now.SetProgID(42)
	for _, want := range []Event{
		{Op: "prog-ntf", Type: CtrlTypeXDPProg, Key: &ProgKey{1, 2}, Value: now},
		{Op: "exception-ntf", Value: &exc},
	} {
		got, err := sub.Recv(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("event, -want +got:\n%s", diff)
		}
	}
	if _, err := sub.Recv(ctx); !errors.Is(err, syscall.ENOBUFS) {
		t.Errorf("overrun: %v", err)
	}
}

// TestServerDeaf listens where there is nothing to be heard, and again when there
// is.
func TestServerDeaf(t *testing.T) {
	c, client := serveMemory(t)
	c.deaf = fmt.Errorf("watch: %w", unix.EOPNOTSUPP)
	if _, err := client.Subscribe(t.Context()); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Fatalf("got %v, want %v", err, unix.EOPNOTSUPP)
	}
	c.deaf = nil
	sub, err := client.Subscribe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	c.tell(Event{})
	if _, err := sub.Recv(t.Context()); !errors.Is(err, unix.ENOBUFS) {
		t.Errorf("got %v, want %v", err, unix.ENOBUFS)
	}
}
