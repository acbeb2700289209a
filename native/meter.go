// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/cilium/ebpf"

	"github.com/xdpctl/xdpctl-nl/loader"
)

// The meter counts the verdicts of the program on a netdev, as kmod/meter.c does:
// by a tap, an fexit program on that program. Where the kernel allows no such
// thing, it counts what the program counts itself, if loader.AddMeter has made
// it one that does.
//
// While one program takes the place of another both have a tap, and a tap goes
// when its program has no frame of the netdev any more. So no verdict is missed,
// and none counted twice: a program has one tap for a netdev, and one that counts
// itself counts what it returns, so that the dispatcher does not count what comes
// from the programs of RX queues.
const (
	pinMeter = "meter"      // per-CPU array by RX queue, and one more for any other; its pin turns the meter on
	pinTap   = "meter-tap-" // and the id of a program: the link of its tap
	pinOwn   = "meter-map-" // and the id of the map in which programs count themselves
)

// meterCounters are the verdicts that a meter has counted.
type meterCounters struct {
	queues []loader.MeterVerdicts // by RX queue that the netdev was made with
	all    loader.MeterVerdicts   // of all queues, and of any other
}

func addVerdicts(to *loader.MeterVerdicts, v loader.MeterVerdicts) {
	to.Aborted += v.Aborted
	to.Drop += v.Drop
	to.Pass += v.Pass
	to.TX += v.TX
	to.Redirect += v.Redirect
	to.Invalid += v.Invalid
}

// isMetered tells whether the meter of a netdev is on.
func (c *Control) isMetered(ifindex uint32) (bool, error) {
	_, err := os.Stat(filepath.Join(c.state.dev(ifindex), pinMeter))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	out, err := isOut(filepath.Join(c.state.dev(ifindex), beaconDev))
	return !out, err
}

// meterPins lists the pins of a kind in the directory of a netdev, by id.
func (c *Control) meterPins(ifindex uint32, kind string) (map[uint32]string, error) {
	dir := c.state.dev(ifindex)
	list, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	pins := map[uint32]string{}
	for _, e := range list {
		rest, ok := strings.CutPrefix(e.Name(), kind)
		if !ok {
			continue
		}
		if id, err := strconv.ParseUint(rest, 10, 32); err == nil {
			pins[uint32(id)] = filepath.Join(dir, e.Name())
		}
	}
	return pins, nil
}

func (c *Control) tapPin(ifindex, prog uint32) string {
	return filepath.Join(c.state.dev(ifindex), pinTap+strconv.FormatUint(uint64(prog), 10))
}

func (c *Control) ownPin(ifindex, id uint32) string {
	return filepath.Join(c.state.dev(ifindex), pinOwn+strconv.FormatUint(uint64(id), 10))
}

// isCounted tells whether the verdicts of what is on a netdev are counted. What
// somebody else put there is not, and a netdev that runs a program itself hides
// frames from the host.
func (c *Control) isCounted(dev *netdev) (bool, error) {
	_, id := dev.xdp.host()
	switch {
	case dev.xdp.hw != 0:
		return false, nil
	case id == 0:
		return true, nil
	}
	return c.isTapped(dev.index, id)
}

// isTapped tells whether the verdicts of a program are counted for a netdev.
func (c *Control) isTapped(ifindex, id uint32) (bool, error) {
	if _, err := os.Stat(c.tapPin(ifindex, id)); err == nil {
		return true, nil
	}
	pins, err := c.meterPins(ifindex, pinOwn)
	if err != nil || len(pins) == 0 {
		return false, err
	}
	prog, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer prog.Close()
	info, err := prog.Info()
	if err != nil {
		return false, err
	}
	ids, _ := info.MapIDs()
	for _, id := range ids {
		if pins[uint32(id)] != "" {
			return true, nil
		}
	}
	return false, nil
}

// meterCounters reads the meter of a netdev. It returns nil if it is off, or does
// not count the verdicts of what is on the netdev.
func (c *Control) meterCounters(ifindex uint32) (*meterCounters, error) {
	on, err := c.isMetered(ifindex)
	if err != nil || !on {
		return nil, err
	}
	dev, err := c.netdev(ifindex)
	if err != nil {
		return nil, err
	}
	counted, err := c.isCounted(dev)
	if err != nil || !counted {
		return nil, err
	}
	m, err := c.meterRead(dev)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // it is turned off just now
	}
	if err != nil {
		return nil, fmt.Errorf("read meter: %w", err)
	}
	return m, nil
}

func (c *Control) meterRead(dev *netdev) (*meterCounters, error) {
	array, err := ebpf.LoadPinnedMap(filepath.Join(c.state.dev(dev.index), pinMeter), nil)
	if err != nil {
		return nil, err
	}
	defer array.Close()
	m := &meterCounters{queues: make([]loader.MeterVerdicts, dev.maxRX)}
	take := func(queue uint32, percpu []loader.MeterVerdicts) {
		for _, v := range percpu {
			addVerdicts(&m.all, v)
			if uint64(queue) < uint64(len(m.queues)) {
				addVerdicts(&m.queues[queue], v)
			}
		}
	}
	var percpu []loader.MeterVerdicts
	for queue := range array.MaxEntries() {
		if err := array.Lookup(queue, &percpu); err != nil {
			return nil, err
		}
		take(queue, percpu)
	}
	pins, err := c.meterPins(dev.index, pinOwn)
	if err != nil {
		return nil, err
	}
	for _, path := range pins {
		own, err := ebpf.LoadPinnedMap(path, nil)
		if err != nil {
			return nil, err
		}
		err = eachOwn(dev, func(k loader.MeterKey) error {
			err := own.Lookup(k, &percpu)
			if errors.Is(err, ebpf.ErrKeyNotExist) {
				return nil
			}
			if err == nil {
				take(k.Queue, percpu)
			}
			return err
		})
		if err := errors.Join(err, own.Close()); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// eachOwn calls f with the keys under which a program counts itself on a netdev,
// that of all other queues last.
func eachOwn(dev *netdev, f func(loader.MeterKey) error) error {
	for queue := range dev.maxRX {
		if err := f(loader.MeterKey{Ifindex: dev.index, Queue: queue}); err != nil {
			return err
		}
	}
	return f(loader.MeterKey{Ifindex: dev.index, Queue: loader.MeterOther})
}

// meterSet turns the meter of a netdev on or off. Given is the program that the
// caller says is there, or nil.
func (c *Control) meterSet(_ context.Context, dev *netdev, on bool, given *ebpf.Program) error {
	if !on {
		return c.meterForget(dev.index)
	}
	if dev.kind == "bond" {
		return refuse(syscall.EOPNOTSUPP, "",
			"the program of a bond runs on the netdevs below it, each of which would need a meter")
	}
	for range retryLimit {
		err := c.meterOn(dev.index, given)
		if !errors.Is(err, errMeterChanged) {
			return err
		}
	}
	return refuse(syscall.EINTR, "", "")
}

// retryLimit is how often a change begins anew since somebody else has put another
// program on the netdev.
const retryLimit = 100

var errMeterChanged = errors.New("the program of the netdev has changed")

func (c *Control) meterOn(ifindex uint32, given *ebpf.Program) error {
	dev, err := c.attrDev(ifindex)
	if err != nil {
		return err
	}
	is, err := c.isMetered(ifindex)
	if err != nil {
		return err
	}
	if is {
		if counted, err := c.isCounted(dev); err != nil || counted {
			return err
		}
	} else if err := c.meterForget(ifindex); err != nil {
		return err // what an interrupted change has left
	}
	_, id := dev.xdp.host()
	prog, err := c.meterTarget(dev, id, given)
	if err != nil {
		return err
	}
	if prog != nil {
		defer prog.Close()
	}
	if err := c.traceOn(); err != nil {
		return err
	}
	if _, err := c.claimDev(ifindex); err != nil {
		return err
	}
	array, err := c.meterArray(dev, is)
	if err != nil {
		return errors.Join(err, c.settingsTidy(ifindex))
	}
	defer array.Close()
	if prog != nil {
		err = errors.Join(c.tap(dev, array, prog), c.tapInner(dev))
	}
	if err == nil {
		err = c.meterSettle(ifindex, id, array, is)
	}
	if err != nil && !is {
		err = errors.Join(err, c.meterForget(ifindex))
	}
	return errors.Join(err, c.settingsTidy(ifindex))
}

// meterSettle ends turning on a meter, if the netdev still has the program.
func (c *Control) meterSettle(ifindex, id uint32, array *ebpf.Map, is bool) error {
	now, err := c.attrDev(ifindex)
	if err != nil {
		return err
	}
	if _, other := now.xdp.host(); other != id {
		return errMeterChanged
	}
	if is {
		return c.meterDrop(ifindex, id)
	}
	if err := array.Pin(filepath.Join(c.state.dev(ifindex), pinMeter)); err != nil {
		return err
	}
	step("pin meter")
	return nil
}

// meterArray opens the counters of a meter, or makes new ones, which are not
// pinned yet.
func (c *Control) meterArray(dev *netdev, is bool) (*ebpf.Map, error) {
	if is {
		return ebpf.LoadPinnedMap(filepath.Join(c.state.dev(dev.index), pinMeter), nil)
	}
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "xdpctl_meter", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 48, MaxEntries: dev.maxRX + 1,
		Key: btfQueue, Value: loader.MeterVerdictsType(),
	})
	if err != nil {
		var errno syscall.Errno
		if !errors.As(err, &errno) {
			return nil, err
		}
		return nil, refuse(errno, "", "the counters of the meter cannot be made")
	}
	return m, nil
}

// meterTarget opens the program on a netdev; nil if there is none. One that
// somebody else attached the caller must have given.
func (c *Control) meterTarget(dev *netdev, id uint32, given *ebpf.Program) (*ebpf.Program, error) {
	if id == 0 {
		return nil, nil
	}
	ours, err := c.isOurs(dev)
	if err != nil {
		return nil, err
	}
	if !ours {
		if given == nil {
			return nil, refuse(syscall.EINVAL, "",
				"program %d was attached by somebody else: give its file descriptor as well (fd)", id)
		}
		info, err := given.Info()
		if err != nil {
			return nil, err
		}
		if other, _ := info.ID(); uint32(other) != id {
			return nil, refuse(syscall.EINVAL, "", "program %d is given, but program %d is attached", other, id)
		}
		return given.Clone()
	}
	prog, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
	if errors.Is(err, os.ErrNotExist) {
		return nil, errMeterChanged
	}
	return prog, err
}

// tapInner has the programs that the dispatcher on a netdev calls counted, where
// that takes more than a tap on the dispatcher.
func (c *Control) tapInner(dev *netdev) error {
	if hasFexit() {
		return nil
	}
	_, a, err := c.attachmentOf(dev.index)
	if err != nil {
		return err
	}
	defer a.close()
	if a == nil || a.array == 0 {
		return nil
	}
	for _, id := range append(slices.Clone(a.queues), a.prog) {
		if id == 0 {
			continue
		}
		prog, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
		if errors.Is(err, os.ErrNotExist) {
			return errMeterChanged
		}
		if err != nil {
			return err
		}
		err = c.tapOwn(dev, prog)
		prog.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// isOurs tells whether it is us who put there what is on a netdev.
func (c *Control) isOurs(dev *netdev) (bool, error) {
	_, a, err := c.attachmentOf(dev.index)
	if err != nil {
		return false, err
	}
	defer a.close()
	return a != nil && !a.lost, nil
}

// meterForget turns the meter of a netdev off, and removes what an interrupted
// change has left of one.
func (c *Control) meterForget(ifindex uint32) error {
	err := unpin(filepath.Join(c.state.dev(ifindex), pinMeter))
	taps, tapErr := c.meterPins(ifindex, pinTap)
	err = errors.Join(err, tapErr)
	for _, path := range taps {
		err = errors.Join(err, unpin(path))
	}
	own, ownErr := c.meterPins(ifindex, pinOwn)
	err = errors.Join(err, ownErr)
	for _, path := range own {
		err = errors.Join(err, forgetOwn(path, ifindex))
	}
	return err
}

// meterDrop removes the taps of all programs but the one that is on the netdev,
// when no frame is in them any more. Programs that count themselves are left on:
// they have what they counted.
func (c *Control) meterDrop(ifindex, keep uint32) error {
	taps, err := c.meterPins(ifindex, pinTap)
	if err != nil {
		return err
	}
	delete(taps, keep)
	return unpinUnused(slices.Sorted(maps.Values(taps)))
}

// meterNext has the meter of a netdev, if it is on, count the verdicts of a
// program that is to be put there, so that none is missed when it is. Then
// meterFollow is due, whether it has been put there or not. It is called under the
// lock.
//
// Refuses with EOPNOTSUPP what cannot be counted.
func (c *Control) meterNext(ifindex uint32, prog *ebpf.Program) error {
	on, err := c.isMetered(ifindex)
	if err != nil || !on {
		return err
	}
	dev, err := c.netdev(ifindex)
	if err != nil {
		return err
	}
	array, err := c.meterArray(dev, true)
	if err != nil {
		return err
	}
	defer array.Close()
	return c.tap(dev, array, prog)
}

// meterInner is meterNext for a program that the dispatcher is to call.
func (c *Control) meterInner(ifindex uint32, prog *ebpf.Program) error {
	on, err := c.isMetered(ifindex)
	if err != nil || !on || hasFexit() {
		return err
	}
	dev, err := c.netdev(ifindex)
	if err != nil {
		return err
	}
	return c.tapOwn(dev, prog)
}

// testMeterFollow, if it is set, takes the place of meterFollow. For tests.
var testMeterFollow func(ifindex uint32) error

// meterFollow has the meter of a netdev, if it is on, let go of the programs that
// are not there any more. It is called under the lock, after whatever changes the
// program on the netdev.
func (c *Control) meterFollow(_ context.Context, ifindex uint32) error {
	if testMeterFollow != nil {
		return testMeterFollow(ifindex)
	}
	on, err := c.isMetered(ifindex)
	if err != nil || !on {
		return err
	}
	dev, err := c.netdev(ifindex)
	if errors.Is(err, syscall.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	_, id := dev.xdp.host()
	return c.meterDrop(ifindex, id)
}
