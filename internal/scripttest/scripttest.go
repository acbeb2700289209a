// SPDX-License-Identifier: BSD-3-Clause

// Package scripttest runs the tool as its users do: scripts of command lines.
package scripttest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/xdpctl/xdpctl-nl/cmd/xdpctl-nl/cli"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// name is the name that test programs run themselves under to be the tool.
const name = "xdpctl-nl"

// IsTool tells whether the test program is run as the tool, or to start it.
func IsTool() bool {
	base := filepath.Base(os.Args[0])
	return base == name || base == activateName
}

// Main runs tests, or the tool.
func Main(m testscript.TestingM) {
	testscript.Main(m, map[string]func(){
		name:         func() { os.Exit(cli.Run(toolArgs(), os.Stdout, os.Stderr)) },
		activateName: activate,
	})
}

// toolArgs are the arguments of the tool. A server on a socket has a network
// namespace of its own, which scripts name for all servers.
func toolArgs() []string {
	args := os.Args[1:]
	if !strings.HasPrefix(os.Getenv("XDPCTL_SERVER"), "unix:") {
		return args
	}
	if len(args) > 1 && args[0] == "-n" {
		args = args[2:]
	}
	return args
}

// Way is a way to whoever answers.
type Way struct {
	Via    string // the door: netlink or map, which are conditions too
	Server string // embedded or socket; empty: the kernel

	// Skip are the scripts that make no sense this way.
	Skip []string
}

// Run runs the scripts in dirs one way. A script finds
//
//	$NS   a netns of its own, with veth0 and veth1, a pair, and, of the kernel, a control device
//	$VIA  the door
//	$MAP  the door map, of the kernel; else $VIA
//	$BPF  the directory of the project's BPF objects
//	$OBJ  that of the objects that the tests of the loader are made of
//	$PIN  a directory of its own in a BPF file system
//	$SOCK where the server listens, if it is one on a socket
//
// the conditions [netlink] and [map] for the door, [module], [embedded] and [socket]
// for who answers, [vm] for kernels of which it is known what they can do, and the
// commands
//
//	status N command...        the exit status of a command
//	eventually REGEXP command...   a command that prints a match in the end
//	json                       the last output is JSON, line by line
func Run(t *testing.T, w Way, dirs ...string) {
	var files []string
	for _, dir := range dirs {
		found, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
		if err != nil || len(found) == 0 {
			t.Fatalf("no scripts in %s: %v", dir, err)
		}
		for _, f := range found {
			if !w.skips(f) {
				files = append(files, f)
			}
		}
	}
	testscript.Run(t, testscript.Params{
		Files:               files,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               func(env *testscript.Env) error { return w.setup(t, env) },
		Condition:           w.condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": status, "eventually": eventually, "json": isJSON,
		},
	})
}

func (w *Way) skips(file string) bool {
	for _, s := range w.Skip {
		if strings.TrimSuffix(filepath.Base(file), ".txtar") == s {
			return true
		}
	}
	return false
}

func (w *Way) condition(cond string) (bool, error) {
	switch cond {
	case "netlink", "map":
		return cond == w.Via, nil
	case "module":
		return w.Server == "", nil
	case "vm":
		return testutil.InVM(), nil
	case "embedded", "socket":
		return cond == w.Server, nil
	}
	return false, fmt.Errorf("unknown condition %q", cond)
}

var scripts int

// setup makes what a script finds.
func (w *Way) setup(t *testing.T, env *testscript.Env) error {
	scripts++
	ns := fmt.Sprintf("cli%d", scripts)
	pin := "/sys/fs/bpf/" + ns
	env.Setenv("NS", ns)
	env.Setenv("VIA", w.Via)
	env.Setenv("PIN", pin)
	env.Setenv("MAP", w.Via)
	if w.Server == "" {
		env.Setenv("MAP", "map")
	}
	env.Setenv("BPF", testutil.Path(t, "bpf"))
	env.Setenv("OBJ", testutil.Path(t, "loader", "testdata"))
	env.Defer(func() {
		os.RemoveAll(pin)
		if out, err := exec.Command("ip", "netns", "del", ns).CombinedOutput(); err != nil {
			t.Errorf("delete netns: %v: %s", err, out)
		}
	})
	commands := []string{
		"ip netns add " + ns,
		"mkdir " + pin,
		"ip -n " + ns + " link set lo up",
		"ip -n " + ns + " link add veth0 type veth peer name veth1",
		"ip -n " + ns + " link set veth0 up",
		"ip -n " + ns + " link set veth1 up",
	}
	if w.Server == "" {
		commands = append(commands, "ip -n "+ns+" link add xdpctl0 type xdpctl")
	}
	for _, c := range commands {
		words := strings.Fields(c)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", c, err, out)
		}
	}
	return w.serve(t, env, ns)
}

// serve has a server answer, if it is not the kernel.
func (w *Way) serve(t *testing.T, env *testscript.Env, ns string) error {
	if w.Server == "" {
		return nil
	}
	tool := []string{name, "-n", ns, "--server", "embedded"}
	env.Defer(func() {
		clean := exec.Command(tool[0], append(tool[1:], "clean")...)
		if out, err := clean.CombinedOutput(); err != nil {
			t.Errorf("clean up: %v: %s", err, out)
		}
	})
	env.Setenv("XDPCTL_SERVER", w.Server)
	if w.Server != "socket" {
		return nil
	}
	sock := filepath.Join("/run", ns+".sock")
	env.Setenv("SOCK", sock)
	env.Setenv("XDPCTL_SERVER", "unix:"+sock)
	server := exec.Command(tool[0], append(tool[1:], "serve", "unix:"+sock)...)
	out, err := server.StdoutPipe()
	if err != nil {
		return err
	}
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		return err
	}
	env.Defer(func() {
		server.Process.Signal(os.Interrupt)
		if err := server.Wait(); err != nil {
			t.Errorf("server: %v", err)
		}
	})
	_, err = out.Read(make([]byte, 256)) // it listens
	return err
}
