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
	var show showing
	c := a.command(spec{
		use: "compare [ --types LIST ] [ --sizes LIST ] [ --quick ] [ --instructions ] [ --bench-c FILE ] [ --ynl DIR ] " +
			"[ --from LIST ] [ --csv ] [ --report DIR ] [ --against FILE ]",
		short: "Measure netlink, control maps and servers against each other",
		long: "Every operation of every control type is done by each way that there is: the\nkernel's family and its control maps where the module is loaded, the embedded\nserver, and a server in another process; in C, in Go without and with packages, and\nbeside what others have for the same information. The answers are compared first:\none that differs is an error, and nothing is measured.\n\n" +
			"It takes root, some minutes, and a network namespace of its own, of which nothing\nis left. Netdevs of others are not touched. Figures of a machine that does something\nelse meanwhile say little. In a guest under QEMU's -icount, --instructions says so.\n\n" +
			"Iteration is over 10, 100, 1000 and 4000 netdevs, or those of --sizes: three\nnumbers or more, ascending, with commas between. What is measured in C takes the\nprogram of --bench-c, build/bench-c of the source; the YNL tools take a kernel\nsource, --ynl. What is not there is left out, with the reason. Option -v tells what\nis being done.\n\n" +
			"Results are printed as text, or as CSV or JSON. A --report is a page with plots, and\nneeds nothing else to be read. With --from nothing is measured: results are those\nthat -j wrote to files. With --against, counts of instructions are held against those\nof an earlier run: 1 % is what figures in C and raw Go may differ by, 5 % the rest.",
		example: "xdpctl-nl compare\nxdpctl-nl -j compare --sizes 10,100,1000\nxdpctl-nl compare --from results.json --report page",
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
			return a.compare(ctx, o, show)
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
	f.StringSliceVar(&show.from, "from", nil, "show results of a `LIST` of files, instead of measuring")
	f.BoolVar(&show.csv, "csv", false, "print CSV")
	f.StringVar(&show.report, "report", "", "write a page with plots to `DIR`")
	f.StringVar(&show.against, "against", "", "hold figures against the results of a `FILE`")
	if err := errors.Join(c.MarkFlagFilename("bench-c"), c.MarkFlagDirname("ynl"), c.MarkFlagFilename("from", "json"),
		c.MarkFlagDirname("report"), c.MarkFlagFilename("against", "json")); err != nil {
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

// showing is what is to be done with results.
type showing struct {
	from    []string
	csv     bool
	report  string
	against string
}

// check finds what cannot be, before anything is measured.
func (s *showing) check(a *app) error {
	switch {
	case s.csv && a.asJSON():
		return usagef("compare: both CSV and JSON")
	case len(s.from) > 1 && (s.csv || a.asJSON()):
		return usagef("compare: CSV and JSON are of one file of results")
	case len(s.from) > 1 && s.against != "":
		return usagef("compare: one file of results is held against another")
	}
	return nil
}

// compare measures, or reads results, and shows them.
func (a *app) compare(ctx context.Context, o compare.Options, show showing) error {
	if a.server != "" || a.netnsName != "" || a.via != "auto" {
		return usagef("compare: it asks every server, in a network namespace of its own")
	}
	if err := show.check(a); err != nil {
		return err
	}
	var before []*compare.Result
	var err error
	if show.against != "" {
		if before, err = compare.ReadResults([]string{show.against}); err != nil {
			return err
		}
	}
	var results []*compare.Result
	if len(show.from) > 0 {
		results, err = compare.ReadResults(show.from)
	} else {
		results, err = a.measure(ctx, o)
	}
	if err != nil {
		return err
	}
	if err := a.show(results, show); err != nil {
		return err
	}
	if before != nil {
		return compare.WriteAgainst(a.stderr, before[0], results[0])
	}
	return nil
}

// measure finds what it needs, and measures.
func (a *app) measure(ctx context.Context, o compare.Options) ([]*compare.Result, error) {
	for _, path := range []*string{&o.C, &o.YNL} {
		if *path == "" {
			continue
		}
		abs, err := filepath.Abs(*path)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(abs); err != nil {
			return nil, fmt.Errorf("find what to measure: %w", err)
		}
		*path = abs
	}
	if a.verbose {
		o.Progress = func(what string) { fmt.Fprintln(a.stderr, what) }
	}
	r, err := compare.Run(ctx, o)
	return []*compare.Result{r}, err
}

// show prints results, and writes their report.
func (a *app) show(results []*compare.Result, show showing) error {
	for i, r := range results {
		var err error
		switch {
		case a.asJSON():
			err = a.printJSON(r)
		case show.csv:
			err = compare.WriteCSV(a.stdout, r)
		default:
			if i > 0 {
				fmt.Fprintln(a.stdout)
			}
			err = compare.WriteText(a.stdout, r)
		}
		if err != nil {
			return err
		}
	}
	if show.report != "" {
		return compare.WriteReport(show.report, results)
	}
	return nil
}
