// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/xdpctl/xdpctl-nl/native"
)

func (a *app) cleanCommand() *cobra.Command {
	all := false
	return a.command(spec{
		use:   "clean [ all ]",
		short: "Remove every trace of the embedded server",
		long: "What it attached is detached, what it set is set back, and what it pinned in bpffs\nis removed, for the network namespace that this is run in, or that of option -n;\nwith all for every network namespace, with the programs that count exceptions.\n\n" +
			"Nothing is asked: frames pass without a program from then on. What the kernel\nmodule or others attached is not touched. Each thing that was removed is a line,\nor with -j a string in the array removed; to remove what is not there is no error.",
		example: "xdpctl-nl clean\nxdpctl-nl -n blue clean\nxdpctl-nl -j clean all",
		words: words{
			{name: "all", help: "of all network namespaces", set: setTrue(&all)},
		},
		run: func(ctx context.Context) error { return a.clean(ctx, all) },
	})
}

// clean removes what the embedded server has left, and says what that was, also
// if there is more that it cannot remove.
func (a *app) clean(ctx context.Context, all bool) error {
	if a.server != "" && a.server != serverEmbedded {
		return usagef("clean: it is the embedded server that leaves something, not server %s", a.server)
	}
	fd, err := a.netnsFD()
	if err != nil {
		return err
	}
	removed, err := a.machine.clean(ctx, fd, all)
	if a.asJSON() {
		if removed == nil {
			removed = []string{}
		}
		if perr := a.printJSON(ordered{{"removed", removed}}); perr != nil {
			return perr
		}
		return a.embeddedError(err)
	}
	for _, what := range removed {
		a.printf("removed %s\n", what)
	}
	return a.embeddedError(err)
}

func cleanUp(ctx context.Context, netns int, all bool) (removed []string, err error) {
	return native.Clean(ctx, native.CleanOptions{Options: native.Options{NetNS: netns}, All: all})
}
