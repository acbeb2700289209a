// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
)

// monitor prints changes until ctx is done, which is no error.
func (a *app) monitor(ctx context.Context, count int) error {
	ctl, err := a.control()
	if err != nil {
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
			err = a.printOverrun()
		case err == nil:
			err = a.printEvent(ev)
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

func (a *app) printEvent(ev family.Event) error {
	now := a.now()
	if a.asJSON() {
		b, err := json.Marshal(ev)
		if err != nil {
			return fmt.Errorf("encode JSON: %w", err)
		}
		return a.printJSON(timed(now, b))
	}
	a.printf("[%s] %s\n", stamp(now), a.eventText(ev))
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

// eventText is a change on one line. Changes of control types that are not
// known here are given as JSON.
func (a *app) eventText(ev family.Event) string {
	k, ok := ev.Key.(*family.ProgKey)
	v, ok2 := ev.Value.(*family.Prog)
	if !ok || !ok2 {
		b, err := json.Marshal(ev)
		if err != nil {
			return ev.Op
		}
		return string(b)
	}
	what := "attached"
	if !v.Has(family.AttrProgProgID) {
		what = "detached"
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", a.label(k.Ifindex), what, progText(k, v)))
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
