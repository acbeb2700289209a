// SPDX-License-Identifier: BSD-3-Clause

// Package native is XDP control over what the kernel offers by itself, for
// machines where the kernel module xdpctl cannot be loaded: BPF links, rtnetlink,
// the netdev family, ethtool, tracing programs.
//
//	control, err := native.Open(native.Options{})
//	if err != nil {
//		return err
//	}
//	defer control.Close()
//
// A [Control] answers what the module answers, with the module's errnos and
// texts. Nothing runs in between: all that it remembers is pinned in bpffs, so
// that what was attached stays when the process ends, and any number of
// processes may use it at once. [Clean] removes every trace.
package native

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/netns"
)

// DefaultBPFFS is where bpffs is mounted unless [Options] say otherwise.
const DefaultBPFFS = "/sys/fs/bpf"

// Options say how to [Open].
type Options struct {
	// NetNS is a file descriptor of the network namespace that is meant. It
	// stays the caller's and need not stay open. If 0, that of the calling
	// thread.
	NetNS int

	// BPFFS is where bpffs is mounted; if empty, DefaultBPFFS.
	BPFFS string
}

// Control implements [family.Control] in a network namespace. It may be used by
// several goroutines at once.
type Control struct {
	ns     *os.File // the network namespace
	cookie uint64   // its cookie, by which state is kept
	state  state
	rtnl   rtnl
	eth    lazyEthtool
	events events
	sys    lazySysfs
	genl   lazyNetdev
	trace  tracing
	drv    drvCache

	stats  *table[family.StatsKey, family.Stats]
	qstats *table[family.QstatsKey, family.Qstats]
	prog   *table[family.ProgKey, family.Prog]
	caps   *table[family.CapsKey, family.Caps]
	attr   *table[family.AttrKey, family.Attr]
	port   *table[family.PortKey, family.Port]
}

var _ family.Control = (*Control)(nil)

// Open opens XDP control in a network namespace.
//
// Returns an error that names the mount if there is no bpffs.
func Open(o Options) (*Control, error) {
	c := &Control{}
	if err := c.open(o); err != nil {
		c.Close()
		return nil, fmt.Errorf("open native XDP control: %w", err)
	}
	c.stats = newTable(c, family.CtrlTypeXDPStats, c.statsOps())
	c.qstats = newTable(c, family.CtrlTypeXDPQstats, c.qstatsOps())
	c.prog = newTable(c, family.CtrlTypeXDPProg, c.progOps())
	c.caps = newTable(c, family.CtrlTypeXDPCaps, c.capsOps())
	c.attr = newTable(c, family.CtrlTypeXDPAttr, c.attrOps())
	c.port = newTable(c, family.CtrlTypeXDPPort, c.portOps())
	return c, nil
}

func (c *Control) open(o Options) (err error) {
	if o.NetNS != 0 {
		c.ns, err = netns.Dup(o.NetNS)
	} else {
		c.ns, err = netns.Open("")
	}
	if err != nil {
		return err
	}
	if err := c.inNetNS(func() (err error) {
		c.cookie, err = netnsCookie()
		return err
	}); err != nil {
		return err
	}
	if o.BPFFS == "" {
		o.BPFFS = DefaultBPFFS
	}
	return c.state.open(o.BPFFS, c.cookie)
}

// netnsCookie returns the cookie of the calling thread's network namespace, a
// number that no other has had or will have until the machine is started anew.
func netnsCookie() (uint64, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	v, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	return v, os.NewSyscallError("getsockopt SO_NETNS_COOKIE", err)
}

// inNetNS runs f on a thread in the network namespace.
func (c *Control) inNetNS(f func() error) error { return netns.Do(c.ns, f) }

// Stats implements family.Control.
func (c *Control) Stats() family.Table[family.StatsKey, family.Stats] { return c.stats }

// Qstats implements family.Control.
func (c *Control) Qstats() family.Table[family.QstatsKey, family.Qstats] { return c.qstats }

// Prog implements family.Control.
func (c *Control) Prog() family.Table[family.ProgKey, family.Prog] { return c.prog }

// Caps implements family.Control.
func (c *Control) Caps() family.Table[family.CapsKey, family.Caps] { return c.caps }

// Attr implements family.Control.
func (c *Control) Attr() family.Table[family.AttrKey, family.Attr] { return c.attr }

// Port implements family.Control.
func (c *Control) Port() family.Table[family.PortKey, family.Port] { return c.port }

// Name implements family.Control. It returns "native".
func (c *Control) Name() string { return "native" }

// Close implements family.Control.
func (c *Control) Close() error {
	var errs []error
	errs = append(errs, c.events.close(), c.rtnl.close(), c.eth.close(), c.sys.close(), c.genl.close(),
		c.trace.close())
	if c.ns != nil {
		errs = append(errs, c.ns.Close())
	}
	return errors.Join(errs...)
}
