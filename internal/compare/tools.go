// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/xdpctl/xdpctl-nl/family"
)

// tool is a program that is run for each request.
type tool struct {
	name, beside string
	args         []string
	missing      string // why it is not there
}

// toolList are the tools.
func (r *runner) toolList() []*tool {
	stats, prog, caps := family.CtrlTypeXDPStats.Desc().Name, family.CtrlTypeXDPProg.Desc().Name, family.CtrlTypeXDPCaps.Desc().Name
	index := strconv.FormatUint(uint64(r.bed.veth), 10)
	list := []*tool{
		{name: "ip -s -j link", beside: stats, args: []string{"ip", "-s", "-j", "link", "show", "dev", vethName}},
		{name: "bpftool net", beside: prog, args: []string{"bpftool", "-j", "net", "show", "dev", vethName}},
		{name: "ethtool -S", beside: stats, args: []string{"ethtool", "-S", vethName}},
		{name: "pyroute2", beside: prog, args: []string{"python3", "-c",
			"from pyroute2 import IPRoute\nwith IPRoute() as ip: ip.get_links(" + index + ")"}},
		{name: "ynl netdev", beside: caps, args: r.ynl("netdev", "dev-get", index)},
	}
	for _, t := range list {
		t.missing = t.why()
	}
	return list
}

// ynl is the command line of the YNL tools, nil without them.
func (r *runner) ynl(spec, op, index string) []string {
	if r.o.YNL == "" {
		return nil
	}
	return []string{"python3", filepath.Join(r.o.YNL, "tools", "net", "ynl", "cli.py"),
		"--spec", filepath.Join(r.o.YNL, "Documentation", "netlink", "specs", spec+".yaml"), "--no-schema", "--do", op, "--json", `{"ifindex": ` + index + `}`}
}

// why a tool is not there, empty if it is.
func (t *tool) why() string {
	if t.args == nil {
		return "no kernel source with the YNL tools was given"
	}
	if _, err := exec.LookPath(t.args[0]); err != nil {
		return t.args[0] + " is not installed"
	}
	out, err := exec.Command(t.args[0], t.args[1:]...).CombinedOutput()
	if err == nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return fmt.Sprintf("%s: %v: %s", t.name, err, lines[len(lines)-1])
}

// tools measures tools, a few runs of each.
func (r *runner) tools(context.Context) error {
	var there []*tool
	for _, t := range r.toolList() {
		if t.missing != "" {
			r.result.Cells = append(r.result.Cells, &Cell{
				Type: t.name, Op: opLookup, Way: Peer, Layer: Tool, Beside: t.beside, Skipped: t.missing,
			})
			continue
		}
		there = append(there, t)
	}
	if len(there) == 0 {
		return nil
	}
	c, err := newCounter()
	if err != nil {
		return err
	}
	counts := make([]calls, len(there))
	for i, t := range there {
		if counts[i], err = t.count(c); err != nil {
			break
		}
	}
	if cerr := c.Close(); err != nil || cerr != nil {
		return fmt.Errorf("count system calls of tools: %w", firstOf(err, cerr))
	}
	for i, t := range there {
		r.progress("%s", t.name)
		cell, err := t.measure(&r.o)
		if err != nil {
			return err
		}
		cell.SystemCalls, cell.Sent, cell.Received = float64(counts[i].Calls), int(counts[i].Sent), int(counts[i].Received)
		r.result.Cells = append(r.result.Cells, cell)
	}
	return nil
}

func firstOf(errs ...error) error {
	i := slices.IndexFunc(errs, func(err error) bool { return err != nil })
	return errs[i]
}

// toolRuns is how often a tool is run, if that costs no more than toolBudgets of
// what another operation may cost, or else fewRuns.
const (
	toolRuns    = 30
	fewRuns     = 3
	toolBudgets = 10
)

// run runs a tool, and returns what it costs: where instructions are counted those
// of its processes, since there is more to wait for than the clock can tell.
func (t *tool) run(unit string) (float64, error) {
	cmd := exec.Command(t.args[0], t.args[1:]...)
	start := wall.now()
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%s: %w", strings.Join(t.args, " "), err)
	}
	if unit == Instructions {
		return float64(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()), nil
	}
	return float64(wall.now() - start), nil
}

func (t *tool) measure(o *Options) (*Cell, error) {
	s := &samples{}
	for spent := 0.; len(s.Singles) < toolRuns && (len(s.Singles) < fewRuns || spent < o.Budget*toolBudgets); {
		cost, err := t.run(o.Unit)
		if err != nil {
			return nil, err
		}
		s.Singles = append(s.Singles, cost)
		spent += cost
	}
	s.Batches = slices.Clone(s.Singles)
	cell := &Cell{Type: t.name, Op: opLookup, Way: Peer, Layer: Tool, Beside: t.beside, NotMeasured: []string{"allocs"}}
	cell.fill(s)
	return cell, nil
}

// count counts the system calls of a tool, from where it begins: the shell before
// it waits until its process is known. Processes that the tool starts are not
// counted.
func (t *tool) count(c *counter) (n calls, err error) {
	cmd := exec.Command("sh", append([]string{"-c", `read go; exec "$@"`, "sh"}, t.args...)...)
	cmd.Env = os.Environ()
	in, err := cmd.StdinPipe()
	if err != nil {
		return n, err
	}
	if err := cmd.Start(); err != nil {
		return n, err
	}
	pid := cmd.Process.Pid
	if err := c.watch(pid); err != nil {
		in.Close()
		cmd.Wait()
		return n, err
	}
	_, err = io.WriteString(in, "go\n")
	in.Close()
	if werr := cmd.Wait(); err == nil {
		err = werr
	}
	if err != nil {
		return n, fmt.Errorf("%s: %w", t.name, err)
	}
	if n, err = c.of(pid); err != nil {
		return n, err
	}
	return n, c.forget(pid)
}
