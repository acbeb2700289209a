// SPDX-License-Identifier: BSD-3-Clause

// Package cli is the command line of xdpctl-nl.
//
// [Run] is all of the tool. A command is a word table and a function (see
// [app.command]); cobra makes the tree, help, completion and man pages of
// them. Help and syntax errors come before any socket is opened.
package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/netns"
)

//go:generate go run ../genman ../../../docs/man

// Exit statuses, as ip(8) has them.
const (
	exitOK      = 0
	exitSyntax  = 1
	exitRefused = 2
)

// Version is the version of the tool. The linker can set it; if it is empty,
// it is that of the module.
var Version string

// Run runs the tool with the arguments after its name, and returns its exit
// status.
func Run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	return newApp(stdout, stderr).run(ctx, args)
}

// Command is the tree of commands, for who makes documents of it.
func Command() *cobra.Command {
	return newApp(io.Discard, io.Discard).root()
}

// app is one run of the tool.
type app struct {
	stdout, stderr io.Writer

	// Options.
	server       string
	serverByEnv  bool
	via          string
	json, pretty bool
	verbose      bool
	netnsName    string

	// The machine. Tests have another.
	machine     machine
	getenv      func(string) string
	openControl func(a *app) (opened, error)
	openNetdevs func(ns *os.File) (netdevs, error)
	describe    func(ctx context.Context, a *app, name string) (*familyInfo, error)
	now         func() time.Time
	exec        func(ctx context.Context, run func(context.Context) error) error

	// What is open.
	ns   *os.File
	devs netdevs
	ctl  opened
}

func newApp(stdout, stderr io.Writer) *app {
	return &app{
		stdout: stdout, stderr: stderr,
		machine: realMachine(), getenv: os.Getenv,
		openControl: openDoor, openNetdevs: openNetdevs, describe: describeFamily,
		now:  time.Now,
		exec: func(ctx context.Context, run func(context.Context) error) error { return run(ctx) },
	}
}

// run parses and runs a command line.
func (a *app) run(ctx context.Context, args []string) int {
	cobra.EnablePrefixMatching = true
	root := a.root()
	root.SetArgs(args)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := root.ExecuteContext(ctx)
	a.close()
	return a.fail(err)
}

func (a *app) close() {
	if a.devs != nil {
		a.devs.Close()
	}
	if a.ctl.Control != nil {
		a.ctl.Close()
	}
	if a.ns != nil {
		a.ns.Close()
	}
}

// runError is an error of a command that was understood.
type runError struct{ err error }

func (e *runError) Error() string { return e.err.Error() }
func (e *runError) Unwrap() error { return e.err }

// spec is a command: how it is called and what it does.
type spec struct {
	use     string // as in "show [ dev IF ]"
	short   string // one line
	long    string // more lines, after short
	example string // one call a line, without indent
	words   words
	run     func(ctx context.Context) error
}

// command makes a command of its spec.
func (a *app) command(s spec) *cobra.Command {
	c := &cobra.Command{
		Use:                   s.use,
		Short:                 s.short,
		Long:                  longHelp(s),
		Example:               indent(s.example),
		Args:                  cobra.ArbitraryArgs,
		DisableFlagsInUseLine: true,
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 && args[0] == "help" {
			return c.Help()
		}
		if err := a.checkOptions(); err != nil {
			return err
		}
		if err := s.words.parse(args); err != nil {
			return err
		}
		if err := a.exec(c.Context(), s.run); err != nil {
			return &runError{err}
		}
		return nil
	}
	c.ValidArgsFunction = func(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		comps := s.words.completions(args)
		if s.words.expects(args, "LIST") {
			return listCompletions(comps, begun), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		}
		if comps == nil && s.words.expects(args, "PATH", "FILE") {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return comps, cobra.ShellCompDirectiveNoFileComp
	}
	return c
}

func longHelp(s spec) string {
	long := s.short + "."
	if s.long != "" {
		long += "\n\n" + s.long
	}
	if len(s.words) > 0 {
		long += "\n\nKeywords:\n\n" + strings.TrimRight(s.words.help(), "\n")
	}
	return long
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n  ")
}

// object makes an object, a command that has commands. Without one, the first
// is meant.
func (a *app) object(use, short, long string, commands ...*cobra.Command) *cobra.Command {
	o := &cobra.Command{
		Use:                   use,
		Short:                 short,
		Long:                  strings.TrimSpace(short + ".\n\n" + long),
		Args:                  cobra.ArbitraryArgs,
		DisableFlagsInUseLine: true,
	}
	for _, c := range commands {
		o.AddCommand(c)
		o.Example += c.Example + "\n"
	}
	o.Example = strings.TrimRight(o.Example, "\n")
	o.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			first := commands[0]
			first.SetContext(c.Context())
			return first.RunE(first, nil)
		case args[0] == "help":
			return c.Help()
		}
		return usagef("command %q is unknown or ambiguous; try: %s help", args[0], c.CommandPath())
	}
	return o
}

// root makes the tree.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "xdpctl-nl [ OPTIONS ] OBJECT { COMMAND | help }",
		Short: "Control XDP on netdevs",
		Long: `Control XDP on netdevs: statistics, programs, capabilities, settings and ports,
over generic netlink or over BPF control maps.

Who answers is the kernel where the module xdpctl is loaded or can be, and else a
server of the same family in this process, which needs nothing but root and
bpffs: --server kernel and --server embedded insist on either. With --server
unix:PATH it is the process that listens there, see serve. If --server is not
given, the environment variable XDPCTL_SERVER counts. Option -V says which it is.

Commands and keywords can be shortened as long as they are unambiguous.

Exit status is 0 on success, 1 if the command line makes no sense, and 2 if
what it asks for was refused or failed. With -j errors are JSON objects too.
The names in JSON are those of the family's specification; new ones can come,
old ones stay.`,
		Example:       "  xdpctl-nl stats show dev eth0\n  xdpctl-nl prog attach dev eth0 obj prog.o\n  xdpctl-nl -j -p caps show",
		Args:          cobra.ArbitraryArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	showVersion := false
	root.RunE = func(c *cobra.Command, args []string) error {
		if showVersion {
			return a.exec(c.Context(), a.printVersion)
		}
		if len(args) == 0 {
			return usagef("which object? try: %s help", c.CommandPath())
		}
		return usagef("object %q is unknown or ambiguous; try: %s help", args[0], c.CommandPath())
	}
	f := root.PersistentFlags()
	f.SortFlags = false
	f.StringVar(&a.server, "server", "", "the `SERVER`: kernel, embedded, or unix:PATH")
	f.StringVar(&a.via, "via", "auto", "the `DOOR` of the kernel: netlink, map, or auto, which is netlink where the family is there")
	f.BoolVarP(&a.json, "json", "j", false, "print JSON")
	f.BoolVarP(&a.pretty, "pretty", "p", false, "print JSON for humans")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "print all that the verifier says of a program that it refuses")
	f.StringVarP(&a.netnsName, "netns", "n", "", "work in another `NETNS`, named as ip-netns(8) does, or by its path")
	root.Flags().BoolVarP(&showVersion, "version", "V", false, "print the version, and which server answers")
	root.SetUsageTemplate(usageTemplate)
	root.RegisterFlagCompletionFunc("server", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{serverKernel, serverEmbedded, serverUnix + defaultSocket}, cobra.ShellCompDirectiveNoFileComp
	})
	root.RegisterFlagCompletionFunc("via", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"netlink", "map", "auto"}, cobra.ShellCompDirectiveNoFileComp
	})
	root.RegisterFlagCompletionFunc("netns", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return netnsNames(), cobra.ShellCompDirectiveNoFileComp
	})
	root.AddCommand(a.statsObject(), a.progObject(), a.objObject(), a.capsObject(), a.attrObject(),
		a.redirectObject(), a.metadataObject(), a.meterObject(), a.portObject(), a.typeObject(), a.mapObject(), a.monitorCommand(), a.familyObject(),
		a.genObject(), a.serveCommand(), a.cleanCommand(), a.compareCommand())
	return root
}

// usageTemplate follows the long help.
const usageTemplate = `Usage: {{if .HasParent}}{{.Root.Name}} [ OPTIONS ]{{slice .CommandPath (len .Root.Name)}}{{slice .Use (len .Name)}}{{else}}{{.Use}}{{end}}
{{- if .HasAvailableSubCommands}}{{if .HasParent}} { COMMAND | help }

Commands:{{else}}

Objects:{{end}}
{{- range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}
{{- if .HasExample}}

Examples:
{{.Example}}{{end}}
{{- if not .HasParent}}

Options:
{{.Flags.FlagUsages | trimTrailingWhitespaces}}{{end}}
`

func version() string {
	if Version != "" {
		return Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// netnsDir is where ip-netns(8) keeps the namespaces that have a name.
const netnsDir = "/run/netns"

// netnsNames are the network namespaces that have names.
func netnsNames() []string {
	entries, err := os.ReadDir(netnsDir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// checkOptions checks the options that all commands have.
func (a *app) checkOptions() error {
	switch a.via {
	case "netlink", "map", "auto":
		return a.chooseServer()
	}
	return usagef("--via %s: expected netlink, map or auto", a.via)
}

// netns is the netns to work in, nil if it is the caller's.
func (a *app) netns() (*os.File, error) {
	if a.netnsName == "" || a.ns != nil {
		return a.ns, nil
	}
	ns, err := netns.Open(a.netnsName)
	if err != nil {
		return nil, err
	}
	a.ns = ns
	return ns, nil
}

// netnsFD is the netns as options of packages have it.
func (a *app) netnsFD() (int, error) {
	ns, err := a.netns()
	if ns == nil || err != nil {
		return 0, err
	}
	return int(ns.Fd()), nil
}

// netdevs are those of the netns to work in, or of the server if that is another
// process.
func (a *app) netdevs() (netdevs, error) {
	if a.devs != nil {
		return a.devs, nil
	}
	devs, err := a.findNetdevs()
	if err != nil {
		return nil, err
	}
	a.devs = devs
	return devs, nil
}

func (a *app) findNetdevs() (netdevs, error) {
	if strings.HasPrefix(a.server, serverUnix) {
		if _, err := a.control(); err != nil {
			return nil, err
		}
		if conn := a.ctl.client(); conn != nil {
			return openServedNetdevs(context.Background(), conn)
		}
	}
	ns, err := a.netns()
	if err != nil {
		return nil, err
	}
	return a.openNetdevs(ns)
}

// control is the door.
func (a *app) control() (family.Control, error) {
	if a.ctl.Control != nil {
		return a.ctl, nil
	}
	c, err := a.openControl(a)
	if err != nil {
		return nil, err
	}
	a.ctl = c
	return c, nil
}

// noDevice adds to the error of a netns without a control device how to come
// by one.
func (a *app) noDevice(err error) error {
	switch {
	case err == nil, !errors.Is(err, os.ErrNotExist):
		return err
	case a.netnsName == "":
		return &hinted{err, "Load the kernel module with: modprobe xdpctl"}
	case strings.Contains(a.netnsName, "/"):
		return &hinted{err, "Make one there with: " + a.inNetns("ip link add type xdpctl")}
	}
	return &hinted{err, "Make one there with: ip -n " + a.netnsName + " link add type xdpctl"}
}
