// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/xdpctl/xdpctl-nl/internal/compare"
)

func (a *app) compareCommand() *cobra.Command {
	var o compare.Options
	var sizes string
	var quick, instructions bool
	c := a.command(spec{
		use:   "compare [ --types LIST ] [ --sizes LIST ] [ --quick ] [ --instructions ] [ --bench-c FILE ] [ --ynl DIR ]",
		short: "Measure netlink, control maps and servers against each other",
		long: "Every operation of every control type is done by each way that there is: the\nkernel's family and its control maps where the module is loaded, the embedded\nserver, and a server in another process; in C, in Go without and with packages, and\nbeside what others have for the same information. The answers are compared first:\none that differs is an error, and nothing is measured.\n\n" +
			"It takes root, some minutes, and a network namespace of its own, of which nothing\nis left. Netdevs of others are not touched. Figures of a machine that does something\nelse meanwhile say little. In a guest under QEMU's -icount, --instructions says so.\n\n" +
			"Iteration is over 10, 100, 1000 and 4000 netdevs, or those of --sizes: three\nnumbers or more, ascending, with commas between. What is measured in C takes the\nprogram of --bench-c, build/bench-c of the source; the YNL tools take a kernel\nsource, --ynl. What is not there is left out, with the reason. Option -v tells what\nis being done.",
		example: "xdpctl-nl compare\nxdpctl-nl -j compare --sizes 10,100,1000",
		run: func(ctx context.Context) error {
			var err error
			if o.Sizes, err = parseSizes(sizes); err != nil {
				return err
			}
			if quick {
				o.Rounds, o.Budget = 1, quickBudget
			}
			if instructions {
				o.Unit = compare.Instructions
			}
			return a.compare(ctx, o)
		},
	})
	f := c.Flags()
	f.SortFlags = false
	f.StringSliceVar(&o.Types, "types", nil, "a `LIST` of control types; all if not given")
	f.StringVar(&sizes, "sizes", "", "iterate over so many netdevs, a `LIST` of numbers")
	f.BoolVar(&quick, "quick", false, "measure little, which says little")
	f.BoolVar(&instructions, "instructions", false, "a nanosecond is an instruction here")
	f.StringVar(&o.C, "bench-c", "", "`FILE` is the program for what is measured in C")
	f.StringVar(&o.YNL, "ynl", "", "`DIR` is a kernel source with the YNL tools")
	if err := errors.Join(c.MarkFlagFilename("bench-c"), c.MarkFlagDirname("ynl")); err != nil {
		panic(err)
	}
	return c
}

// parseSizes reads numbers with commas between; none if there are none.
func parseSizes(s string) (sizes []int, err error) {
	if s == "" {
		return nil, nil
	}
	for _, word := range strings.Split(s, ",") {
		n, err := strconv.Atoi(word)
		if err != nil {
			return nil, usagef("--sizes %s: %q is no number", s, word)
		}
		if n < 1 || len(sizes) > 0 && n <= sizes[len(sizes)-1] {
			return nil, usagef("--sizes %s: expected ascending numbers", s)
		}
		sizes = append(sizes, n)
	}
	if len(sizes) < 3 {
		return nil, usagef("--sizes %s: expected three or more", s)
	}
	return sizes, nil
}

// quickBudget is what the batches of an operation may cost where little is to be
// measured: a millisecond.
const quickBudget = 1_000_000

// compare measures, and prints the result.
func (a *app) compare(ctx context.Context, o compare.Options) error {
	if a.server != "" || a.netnsName != "" || a.via != "auto" {
		return usagef("compare: it asks every server, in a network namespace of its own")
	}
	for _, path := range []*string{&o.C, &o.YNL} {
		if *path == "" {
			continue
		}
		abs, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		if _, err := os.Stat(abs); err != nil {
			return fmt.Errorf("find what to measure: %w", err)
		}
		*path = abs
	}
	if a.verbose {
		o.Progress = func(what string) { fmt.Fprintln(a.stderr, what) }
	}
	r, err := compare.Run(ctx, o)
	if err != nil {
		return err
	}
	if a.asJSON() {
		return a.printJSON(r)
	}
	return compare.WriteText(a.stdout, r)
}
