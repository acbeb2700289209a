// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// What is asked of families nlctrl, netdev and ethtool here.
const (
	netdevDevGet     = 1
	netdevDevIfindex = 1

	ethtoolStrsetGet   = 1
	ethtoolChannelsGet = 17
	ethtoolChannelsSet = 18
	ethtoolHeader      = 1
	ethtoolHeaderIndex = 1
	ethtoolHeaderName  = 2
	ethtoolRxCount     = 6
)

// dialKernel returns a Conn to the kernel.
func dialKernel(tb testing.TB) *Conn {
	tb.Helper()
	c, err := Dial(Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

// dialNetNS returns a Conn in a network namespace of its own, which takes root.
func dialNetNS(tb testing.TB) (*Conn, *testutil.NetNS) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("not root, and so no network namespace can be made")
	}
	ns := testutil.NewNetNS(tb)
	c, err := Dial(Options{NetNS: ns.FD()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c, ns
}

// family returns a family that the kernel has to have.
func family(tb testing.TB, c *Conn, name string) *Family {
	tb.Helper()
	f, err := c.Family(tb.Context(), name)
	if name == "netdev" && errors.Is(err, os.ErrNotExist) && !testutil.KernelAtLeast(6, 3) {
		tb.Skipf("kernel %s is older than family netdev", testutil.Release())
	}
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func ethtoolRequest(f *Family, cmd uint8, fill func(b []byte) []byte) Request {
	return Request{Op: "ethtool", Family: f, Command: cmd, Attrs: AppendNested(nil, ethtoolHeader, fill)}
}

func TestKernelFamily(t *testing.T) {
	c := dialKernel(t)
	got := family(t, c, "nlctrl")
	want := &Family{
		ID: unix.GENL_ID_CTRL, Name: "nlctrl", Version: 2,
		Ops: []Op{
			{ID: unix.CTRL_CMD_GETFAMILY, Flags: OpDo | OpDump | OpPolicies},
			{ID: unix.CTRL_CMD_GETPOLICY, Flags: OpDump | OpPolicies},
		},
		Groups: []Group{{ID: ctrlNotifyGroup, Name: "notify"}},
	}
	got.MaxAttr = 0 // was told up to Linux 6.1
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("nlctrl (-want +got):\n%s", diff)
	}
	if got := want.Ops[0].Flags.String(); got != "do,dump,haspol" {
		t.Errorf("got flags %q", got)
	}
	if got := (OpAdmin | OpAdminInNets | 0x1000).String(); got != "admin-perm,uns-admin-perm,0x1000" {
		t.Errorf("got flags %q", got)
	}

	_, err := c.Family(t.Context(), "no-such-family")
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got error %v, want %v", err, os.ErrNotExist)
	}
	_, err = c.Family(t.Context(), "a-name-longer-than-there-can-be")
	var e *Error
	if !errors.As(err, &e) || e.Attr != ".family-name" || e.Policy == nil || e.Policy.Type != unix.NL_ATTR_TYPE_NUL_STRING {
		t.Errorf("got error %v, want one that names the attribute and its policy", err)
	}

	list, err := c.Families(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range list {
		names = append(names, f.Name)
		one := family(t, c, f.Name)
		if diff := cmp.Diff(one, f); diff != "" {
			t.Errorf("%s (-one +listed):\n%s", f.Name, diff)
		}
	}
	if !slices.Contains(names, "nlctrl") || !slices.Contains(names, "ethtool") {
		t.Errorf("got families %v", names)
	}
}

func TestKernelPolicies(t *testing.T) {
	c := dialKernel(t)
	ops, err := c.Policies(t.Context(), family(t, c, "nlctrl"))
	if err != nil {
		t.Fatal(err)
	}
	index := slices.IndexFunc(ops, func(op OpPolicy) bool { return op.Op == unix.CTRL_CMD_GETFAMILY })
	if index < 0 || ops[index].Do == nil {
		t.Fatalf("got %+v", ops)
	}
	set := *ops[index].Do
	set.Index = 0
	want := PolicySet{Attrs: []AttrPolicy{
		{unix.CTRL_ATTR_FAMILY_ID, Policy{Type: unix.NL_ATTR_TYPE_U16, MinValue: ptr(uint64(0)), MaxValue: ptr(uint64(65535))}},
		{unix.CTRL_ATTR_FAMILY_NAME, Policy{Type: unix.NL_ATTR_TYPE_NUL_STRING, MaxLength: ptr(uint32(15))}},
	}}
	if diff := cmp.Diff(want, set); diff != "" {
		t.Errorf("policies of getfamily (-want +got):\n%s", diff)
	}

	ethtool := family(t, c, "ethtool")
	if ops, err = c.Policies(t.Context(), ethtool); err != nil {
		t.Fatal(err)
	}
	for _, op := range ops {
		if op.Op != ethtoolStrsetGet {
			continue
		}
		header := op.Do.Attrs[0]
		if header.Attr != ethtoolHeader || header.Type != unix.NL_ATTR_TYPE_NESTED || header.Nest == nil {
			t.Fatalf("got policy %+v of the header", header)
		}
		if p := header.Nest.Attrs[0]; p.Attr != ethtoolHeaderIndex || p.Type != unix.NL_ATTR_TYPE_U32 {
			t.Errorf("got policy %+v of the ifindex in the header", p)
		}
	}

	gone := *ethtool
	gone.ID = 0x3ff
	if _, err := c.Policies(t.Context(), &gone); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got error %v, want %v", err, os.ErrNotExist)
	}
}

// All families can be told of in full, whichever the kernel has.
func TestKernelAllPolicies(t *testing.T) {
	c := dialKernel(t)
	list, err := c.Families(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		ops, err := c.Policies(t.Context(), f)
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
		for _, op := range ops {
			for _, set := range []*PolicySet{op.Do, op.Dump} {
				if set == nil {
					continue
				}
				for _, p := range set.Attrs {
					if strings.HasPrefix(p.Type.String(), "#") {
						t.Errorf("%s: policy %s of attribute %d", f.Name, &p.Policy, p.Attr)
					}
				}
			}
		}
	}
}

func TestKernelExtack(t *testing.T) {
	c, _ := dialNetNS(t)
	ethtool := family(t, c, "ethtool")
	tests := []struct {
		name string
		req  Request
		want Error
	}{
		{
			"in a nest", ethtoolRequest(ethtool, ethtoolChannelsGet, func(b []byte) []byte {
				return AppendUint32(b, ethtoolHeaderIndex, 4711)
			}),
			Error{Errno: unix.ENODEV, Message: "no device matches ifindex", Offset: 24, Attr: ".1.1"},
		},
		{
			"a nest", ethtoolRequest(ethtool, ethtoolChannelsGet, func(b []byte) []byte { return b }),
			Error{Errno: unix.EINVAL, Message: "neither ifindex nor name specified", Offset: 20, Attr: ".1"},
		},
		{
			"policy", ethtoolRequest(ethtool, ethtoolChannelsGet, func(b []byte) []byte {
				return AppendString(b, ethtoolHeaderName, strings.Repeat("x", 200))
			}),
			Error{
				Errno: unix.EINVAL, Offset: 24, Attr: ".1.2",
				Policy: &Policy{Type: unix.NL_ATTR_TYPE_NUL_STRING, MaxLength: ptr(uint32(127))},
			},
		},
		{
			"unknown command", Request{Op: "ethtool", Family: ethtool, Command: 255},
			Error{Errno: unix.EOPNOTSUPP},
		},
		{
			"unknown family", Request{Op: "ethtool", Family: &Family{ID: 0x3fe}, Command: 1},
			Error{Errno: unix.ENOENT},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.Op = "ethtool"
			var got *Error
			if err := c.Do(t.Context(), tt.req, nil); !errors.As(err, &got) {
				t.Fatalf("got error %v, want an *Error", err)
			}
			if got.Policy != nil && tt.want.Policy != nil {
				got.Message = "" // is not the same on all kernels
			}
			if diff := cmp.Diff(&tt.want, got); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestKernelMissingAttribute(t *testing.T) {
	c, _ := dialNetNS(t)
	req := Request{Family: family(t, c, "netdev"), Command: netdevDevGet}
	want := &Error{Op: "netdev command 1", Errno: unix.EINVAL, MissType: netdevDevIfindex, MissAttr: ".1"}
	var got *Error
	if err := c.Do(t.Context(), req, nil); !errors.As(err, &got) {
		t.Fatalf("got error %v, want an *Error", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

func TestKernelPermission(t *testing.T) {
	c, ns := dialNetNS(t)
	ns.AddVeth("veth0", "veth1", testutil.VethOptions{})
	req := ethtoolRequest(family(t, c, "ethtool"), ethtoolChannelsSet, func(b []byte) []byte {
		return AppendString(b, ethtoolHeaderName, "veth0")
	})
	req.Attrs = AppendUint32(req.Attrs, ethtoolRxCount, 1)
	if err := c.Do(t.Context(), req, nil); err != nil {
		t.Error("with capabilities:", err)
	}
	var err error
	testutil.WithoutCaps(t, ns, testutil.AllCaps(), func() {
		var c *Conn
		if c, err = Dial(Options{}); err != nil {
			return
		}
		defer c.Close()
		err = c.Do(t.Context(), req, nil)
	})
	if !errors.Is(err, os.ErrPermission) {
		t.Errorf("without: got error %v, want %v", err, os.ErrPermission)
	}
}

// ifindexes lists the netdevs that family netdev tells of.
func ifindexes(tb testing.TB, c *Conn, f *Family) []uint32 {
	tb.Helper()
	var list []uint32
	cur := c.Dump(tb.Context(), Request{Op: "dev-get", Family: f, Command: netdevDevGet})
	defer cur.Close()
	for cur.Next() {
		err := attrs(cur.Message().Attrs, func(typ uint16, data []byte) error {
			if typ == netdevDevIfindex {
				list = append(list, ne.Uint32(data))
			}
			return nil
		})
		if err != nil {
			tb.Fatal(err)
		}
		// A socket that is made now must be in the namespace as well.
		err = c.Do(tb.Context(), Request{
			Op: "dev-get", Family: f, Command: netdevDevGet,
			Attrs: AppendUint32(nil, netdevDevIfindex, list[len(list)-1]),
		}, nil)
		if err != nil {
			tb.Error(err)
		}
	}
	if err := cur.Err(); err != nil {
		tb.Fatal(err)
	}
	return list
}

func TestKernelNetNS(t *testing.T) {
	c, ns := dialNetNS(t)
	f := family(t, c, "netdev")
	var want []uint32
	for i := range 40 {
		a, b := ns.AddVeth(fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i), testutil.VethOptions{})
		want = append(want, uint32(a), uint32(b))
	}
	want = append(want, uint32(ns.Index("lo")))
	slices.Sort(want)

	var inside *Conn
	ns.Do(func() {
		var err error
		if inside, err = Dial(Options{}); err != nil {
			t.Fatal(err)
		}
	})
	defer inside.Close()
	named, err := Dial(Options{NetNSName: ns.Path()})
	if err != nil {
		t.Fatal(err)
	}
	defer named.Close()
	for name, c := range map[string]*Conn{"fd": c, "path": named, "thread": inside} {
		// None of the sockets that there are, so that more have to be made.
		held, err := c.get()
		if err != nil {
			t.Fatal(err)
		}
		got := ifindexes(t, c, f)
		c.put(held, true)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: netdevs (-want +got):\n%s", name, diff)
		}
	}
}

func TestDialErrors(t *testing.T) {
	f, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, tt := range map[string]struct {
		o   Options
		err error
	}{
		"no such name": {Options{NetNSName: "no-such-namespace"}, os.ErrNotExist},
		"no such path": {Options{NetNSName: "/no/such/namespace"}, os.ErrNotExist},
		"bad fd":       {Options{NetNS: 1 << 20}, unix.EBADF},
		"no namespace": {Options{NetNS: int(f.Fd())}, nil},
		"other kind":   {Options{NetNSName: "/proc/self/ns/uts"}, nil},
		"socket":       {Options{Socket: func() (Socket, error) { return nil, unix.ECONNREFUSED }}, unix.ECONNREFUSED},
	} {
		c, err := Dial(tt.o)
		if err == nil {
			c.Close()
			t.Errorf("%s: got no error", name)
			continue
		}
		if tt.err != nil && !errors.Is(err, tt.err) {
			t.Errorf("%s: got error %v, want %v", name, err, tt.err)
		}
	}
}
