// SPDX-License-Identifier: BSD-3-Clause

// Package cli runs the tool as its users do: scripts of command lines, over
// the module, through either door.
package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/xdpctl/xdpctl-nl/cmd/xdpctl-nl/cli"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// tool is the name that the tests run themselves under to be the tool.
const tool = "xdpctl-nl"

// module loads and unloads the module around the tests.
type module struct{ m *testing.M }

func (m module) Run() int {
	testutil.Main(m.m)
	return 0
}

func TestMain(m *testing.M) {
	if !testutil.InVM() && filepath.Base(os.Args[0]) != tool {
		testutil.Main(m) // which ends here, and has nothing to clean up
	}
	testscript.Main(module{m}, map[string]func(){
		tool: func() { os.Exit(cli.Run(os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs the scripts in testdata through each door. A script finds
//
//	$NS   a netns of its own, with a control device and veth0 and veth1, a pair
//	$VIA  the door, also as the conditions [netlink] and [map]
//	$BPF  the directory of the project's BPF objects
//	$PIN  a directory of its own in a BPF file system
//
// and the commands
//
//	status N command...        the exit status of a command
//	eventually REGEXP command...   a command that prints a match in the end
//	json                       the last output is JSON, line by line
func TestScripts(t *testing.T) {
	for _, via := range []string{"netlink", "map"} {
		t.Run(via, func(t *testing.T) {
			testscript.Run(t, testscript.Params{
				Dir:                 "testdata",
				RequireExplicitExec: true,
				RequireUniqueNames:  true,
				Setup:               func(env *testscript.Env) error { return setup(t, env, via) },
				Condition:           func(cond string) (bool, error) { return condition(cond, via) },
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"status": status, "eventually": eventually, "json": isJSON,
				},
			})
		})
	}
}

func condition(cond, via string) (bool, error) {
	switch cond {
	case "netlink", "map":
		return cond == via, nil
	}
	return false, fmt.Errorf("unknown condition %q", cond)
}

var scripts int

// setup makes what a script finds.
func setup(t *testing.T, env *testscript.Env, via string) error {
	scripts++
	ns := fmt.Sprintf("cli%d", scripts)
	pin := "/sys/fs/bpf/" + ns
	env.Setenv("NS", ns)
	env.Setenv("VIA", via)
	env.Setenv("PIN", pin)
	env.Setenv("BPF", testutil.Path(t, "bpf"))
	env.Defer(func() {
		os.RemoveAll(pin)
		if out, err := exec.Command("ip", "netns", "del", ns).CombinedOutput(); err != nil {
			t.Errorf("delete netns: %v: %s", err, out)
		}
	})
	for _, c := range []string{
		"ip netns add " + ns,
		"mkdir " + pin,
		"ip -n " + ns + " link set lo up",
		"ip -n " + ns + " link add xdpctl0 type xdpctl",
		"ip -n " + ns + " link add veth0 type veth peer name veth1",
		"ip -n " + ns + " link set veth0 up",
		"ip -n " + ns + " link set veth1 up",
	} {
		words := strings.Fields(c)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", c, err, out)
		}
	}
	return nil
}

// status runs a command and holds its exit status against the first argument.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("status %d, want %d", got, want)
	}
}

// eventually runs a command until its output matches.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: eventually REGEXP command...")
	}
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		out, err := exec.Command(args[1], args[2:]...).Output()
		ts.Check(err)
		if re.Match(out) {
			return
		}
	}
	ts.Fatalf("no output of %v matches %s", args[1:], args[0])
}

// isJSON checks that each line of the last output is JSON.
func isJSON(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: json")
	}
	out := ts.ReadFile("stdout")
	if strings.TrimSpace(out) == "" {
		ts.Fatalf("no output")
	}
	for l := range strings.Lines(out) {
		if !json.Valid([]byte(l)) {
			ts.Fatalf("not JSON: %s", l)
		}
	}
}
