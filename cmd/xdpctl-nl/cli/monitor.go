// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
)

func (a *app) monitorCommand() *cobra.Command {
	count := 0
	return a.command(spec{
		use:     "monitor [ count N ]",
		short:   "Show changes of XDP and its exceptions as they happen",
		long:    "Changes are those of programs, settings and ports; exceptions are frames that were\naborted or got an invalid action, told of at most ten times a second.\n\nEach change is a line with the time at which it was heard of; with -j it is an\nobject on a line of its own. If changes come too fast some are lost, which is\nsaid. Control maps tell of no changes, so this takes the netlink door.",
		example: "xdpctl-nl monitor\nxdpctl-nl -j monitor count 1",
		words: words{
			{name: "count", arg: "N", help: "end after so many changes", set: setNumber(&count, 1, math.MaxInt32)},
		},
		run: func(ctx context.Context) error { return a.monitor(ctx, count) },
	})
}

// monitor prints changes until ctx is done, which is no error.
func (a *app) monitor(ctx context.Context, count int) error {
	ctl, err := a.control()
	if err != nil {
		return err
	}
	progs := attachedProgs{}
	if err := progs.read(ctx, ctl); err != nil {
		return err
	}
	sub, err := ctl.Subscribe(ctx)
	if errors.Is(err, errors.ErrUnsupported) {
		return &hinted{err, "Take the netlink door: xdpctl-nl --via netlink monitor"}
	}
	if err != nil {
		return err
	}
	defer sub.Close()

	n := 0
	for ev, err := range family.Events(ctx, sub) {
		if ctx.Err() != nil {
			return nil
		}
		switch {
		case errors.Is(err, unix.ENOBUFS):
			err = errors.Join(a.printOverrun(), progs.read(ctx, ctl))
		case err == nil:
			err = a.printEvent(ev, progs)
			n++
		}
		if err != nil {
			return err
		}
		if n == count && count != 0 {
			return nil
		}
	}
	return nil
}

func (a *app) printEvent(ev family.Event, progs attachedProgs) error {
	now := a.now()
	if a.asJSON() {
		b, err := json.Marshal(ev)
		if err != nil {
			return fmt.Errorf("encode JSON: %w", err)
		}
		return a.printJSON(timed(now, b))
	}
	a.printf("[%s] %s\n", stamp(now), a.eventText(ev, progs))
	return nil
}

// timed puts the time before the members of an object.
func timed(t time.Time, object []byte) json.RawMessage {
	out := append([]byte(`{"time":"`+stamp(t)+`"`), ',')
	if string(object) == "{}" {
		return append(out[:len(out)-1], '}')
	}
	return append(out, object[1:]...)
}

// eventText is a change on one line. Changes that are not known here are given as
// JSON.
func (a *app) eventText(ev family.Event, progs attachedProgs) string {
	switch v := ev.Value.(type) {
	case *family.Prog:
		if k, ok := ev.Key.(*family.ProgKey); ok {
			return strings.TrimSpace(fmt.Sprintf("%s %s %s", a.label(k.Ifindex), progs.change(k, v), progText(k, v)))
		}
	case *family.Attr:
		if k, ok := ev.Key.(*family.AttrKey); ok {
			return fmt.Sprintf("%s settings %s", a.label(k.Ifindex), attrText(v))
		}
	case *family.Port:
		if k, ok := ev.Key.(*family.PortKey); ok {
			if !v.Has(family.AttrPortIfindex) {
				return a.portText(k, v) + " free"
			}
			return a.portText(k, v)
		}
	case *family.Exception:
		return fmt.Sprintf("%s exception %s", a.label(v.Ifindex), exceptionText(v))
	}
	b, err := json.Marshal(ev)
	if err != nil {
		return ev.Op
	}
	return string(b)
}

// exceptionText is exceptions on one line.
func exceptionText(v *family.Exception) string {
	var b line
	if v.Has(family.AttrExceptionAction) {
		b.add("action", actionText(v.Action))
	}
	if v.Has(family.AttrExceptionCount) {
		b.add("count", strconv.FormatUint(v.Count, 10))
	}
	if v.Has(family.AttrExceptionProgID) {
		b.add("id", decimal(v.ProgID))
	}
	if v.Has(family.AttrExceptionQueue) {
		b.add("queue", decimal(v.Queue))
	}
	return b.String()
}

// actionText is the name of an action, or the number of one that is invalid.
func actionText(n uint32) string {
	if n < 32 && family.Action(1)<<n <= family.ActionRedirect {
		return family.Action(1 << n).String()
	}
	return "invalid " + decimal(n)
}

// attachedProgs are the programs that are known to be attached, by which a
// replaced program is told from a new one. Notifications are the same for both.
type attachedProgs map[family.ProgKey]uint32

// read reads them anew.
func (p attachedProgs) read(ctx context.Context, ctl family.Control) error {
	clear(p)
	for e, err := range family.All(ctx, ctl.Prog(), nil) {
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		p[e.Key] = e.Value.ProgID
	}
	return nil
}

// change says what happened to an entry that is v now.
func (p attachedProgs) change(k *family.ProgKey, v *family.Prog) string {
	old, there := p[*k]
	switch {
	case !v.Has(family.AttrProgProgID):
		delete(p, *k)
		return "detached"
	case !there:
		p[*k] = v.ProgID
		return "attached"
	}
	p[*k] = v.ProgID
	if old == v.ProgID {
		return "changed"
	}
	return "replaced"
}

// printOverrun says that changes were lost.
func (a *app) printOverrun() error {
	now := a.now()
	if a.asJSON() {
		return a.printJSON(ordered{{"time", stamp(now)}, {"event", "overrun"}})
	}
	a.printf("[%s] changes were lost: they came too fast\n", stamp(now))
	return nil
}
