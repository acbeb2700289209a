// SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/xdpctl/xdpctl-nl/tests/traffic"
)

const (
	frameLen = 60
	// skbLen is what a veth counts of a frame that came as an skb: all but
	// the Ethernet header. Of one that came as an xdp_frame it counts all.
	skbLen = frameLen - 14
)

// expectation is what a netdev must have counted after the frames were sent.
// A counter that is not in want must be 0 where it is told, and those in need
// must be told.
type expectation struct {
	ns, dev string
	want    stats
	need    []string
}

func expectations(n traffic.Counts) []expectation {
	tx, redirect := n[traffic.Tx], n[traffic.Redirect]
	return []expectation{
		{right, "in", stats{
			"packets": n.Total(), "bytes": n.Total() * skbLen,
			"aborted": n[traffic.Aborted], "drop": n[traffic.Drop], "invalid": n[traffic.Invalid],
			"pass": n[traffic.Pass], "redirect": redirect, "tx": tx,
			"exception-aborted": n[traffic.Aborted], "exception-invalid": n[traffic.Invalid],
		}, []string{"packets", "aborted", "drop", "invalid", "pass", "redirect", "tx",
			"exception-aborted", "exception-invalid"}},
		{right, "out", stats{"xmit-packets": redirect, "xmit-bytes": redirect * frameLen},
			[]string{"xmit-packets"}},
		{left, "in", stats{"packets": tx, "bytes": tx * frameLen, "pass": tx},
			[]string{"packets", "pass"}},
		{left, "out", stats{"packets": redirect, "bytes": redirect * frameLen, "pass": redirect},
			[]string{"packets", "pass"}},
	}
}

// door is a way to ask.
type door struct {
	name    string // at the head of its column
	command func(ns string) string
	parse   func([]byte) (answer, error)
}

// toolDoor is a door that xdpctl-nl asks at with these options.
func toolDoor(name string, options func(ns string) string) door {
	return door{name, func(ns string) string { return "xdpctl-nl " + options(ns) + " -j stats show" }, parseTool}
}

// moduleDoors are the three ways to ask the module.
var moduleDoors = []door{
	toolDoor("netlink", func(ns string) string { return "-n " + ns + " --via netlink" }),
	toolDoor("map", func(ns string) string { return "-n " + ns + " --via map" }),
	{"bpftool", func(ns string) string { return "bpftool -j map dump pinned " + pin(ns) }, parseBpftool},
}

// names are the names of doors.
func names(doors []door) []string {
	var list []string
	for _, o := range doors {
		list = append(list, o.name)
	}
	return list
}

// ask asks for the statistics of all netdevs of namespace ns.
func (d *demo) ask(ns string, o door) (answer, error) {
	command := o.command(ns)
	out, err := d.quiet(command)
	if err != nil {
		return nil, err
	}
	a, err := o.parse(out)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", command, err)
	}
	return a, nil
}

// compare asks for everything at all doors and prints it side by side.
func (d *demo) compare(context.Context) error {
	d.note(`All four netdevs side by side. A counter that is not known is absent
at every door; it is not 0.`)
	answers := map[string][]answer{}
	for _, ns := range []string{right, left} {
		for _, o := range d.doors {
			a, err := d.ask(ns, o)
			if err != nil {
				return err
			}
			answers[ns] = append(answers[ns], a)
		}
	}

	d.row("", "", "frames", names(d.doors), "")
	checked, wrong := 0, 0
	for _, e := range expectations(frames) {
		index, err := d.ifindex(e.ns, e.dev)
		if err != nil {
			return err
		}
		c, w := d.compareDev(e, uint32(index), answers[e.ns])
		checked, wrong = checked+c, wrong+w
	}
	for _, ns := range []string{right, left} {
		for _, diff := range differences(names(d.doors), answers[ns]) {
			fmt.Fprintf(d.out, "%s: %s\n", ns, diff)
			wrong++
		}
	}
	if wrong != 0 {
		fmt.Fprintf(d.out, "\nDISAGREE: %d differences.\n", wrong)
		return errDisagree
	}
	fmt.Fprintf(d.out, "\nAGREE: %s say the same of every netdev, and each of the %d\n"+
		"counters above is what the %d frames sent must have made it.\n", list(names(d.doors)), checked, frames.Total())
	return nil
}

// row prints one line of the table.
func (d *demo) row(where, name, want string, cells []string, mark string) {
	line := fmt.Sprintf("%-13s%-19s%8s", where, name, want)
	for _, c := range cells {
		line += fmt.Sprintf("%10s", c)
	}
	fmt.Fprintln(d.out, line+mark)
}

// compareDev prints the counters of one netdev that are told or must be, and
// returns how many there are and how many of them are wrong. Those that are 0
// as they must be share a line at the end.
func (d *demo) compareDev(e expectation, index uint32, answers []answer) (checked, wrong int) {
	where := e.ns + " " + e.dev
	zero := 0
	for _, name := range counterNames() {
		cells, told, right := make([]string, len(answers)), false, true
		for i, a := range answers {
			got, ok := a[index][name]
			cells[i] = "-"
			if ok {
				cells[i] = strconv.FormatUint(got, 10)
			}
			told = told || ok
			right = right && ok && got == e.want[name]
		}
		if !told && !slices.Contains(e.need, name) {
			continue
		}
		checked++
		if right && e.want[name] == 0 {
			zero++
			continue
		}
		mark := ""
		if !right {
			wrong++
			mark = "  <-- differs"
		}
		d.row(where, name, strconv.FormatUint(e.want[name], 10), cells, mark)
		where = ""
	}
	if zero != 0 {
		d.row(where, fmt.Sprintf("%d others", zero), "0", slices.Repeat([]string{"0"}, len(answers)), "")
	}
	return checked, wrong
}

// differences says where the answers of the doors are not the same, for all
// netdevs and counters.
func differences(doors []string, answers []answer) []string {
	var diffs []string
	first := answers[0]
	for i, a := range answers[1:] {
		indexes := maps.Clone(first)
		maps.Copy(indexes, a)
		for _, index := range slices.SortedFunc(maps.Keys(indexes), cmp.Compare[uint32]) {
			if x, y := first[index], a[index]; (x == nil) != (y == nil) || !maps.Equal(x, y) {
				diffs = append(diffs, fmt.Sprintf("ifindex %d: %s says %v, %s says %v",
					index, doors[0], x, doors[i+1], y))
			}
		}
	}
	return diffs
}

// list is words as a sentence has them.
func list(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}
