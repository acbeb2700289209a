// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/xdpctl/xdpctl-nl/internal/skelgen"
)

func (a *app) genObject() *cobra.Command {
	return a.object("gen", "Generated code",
		"Code for BPF objects. Neither a socket nor root is needed.",
		a.genSkeleton())
}

func (a *app) genSkeleton() *cobra.Command {
	var r skelgen.Request
	c := a.command(spec{
		use:   "skeleton FILE [ --package P ] [ --name N ] [ --out FILE ] [ --inline ]",
		short: "Write a Go skeleton of a BPF object",
		long: "A skeleton is a Go type with a field for every map, program, link and section of\n" +
			"global variables of the object, and functions to open, load, attach and close it.\n\n" +
			"The package is that of --package, or, under go generate, the one there. The type is\n" +
			"named after FILE, or by --name. The code goes to --out, or to the standard output.\n" +
			"It embeds FILE where it is in the directory of the code or below it; elsewhere, or\n" +
			"with --inline, it contains the object.",
		example: "xdpctl-nl gen skeleton counter.bpf.o --package main --out counter_skel.go",
		words: words{
			{arg: "FILE", help: "the object, as clang writes it", need: true, set: setString(&r.File)},
		},
		run: func(context.Context) error {
			if r.Package == "" {
				return usagef("--package is missing, and this is not go generate")
			}
			return skelgen.Write(r, a.stdout)
		},
	})
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&r.Package, "package", os.Getenv("GOPACKAGE"), "the `PACKAGE` of the code")
	f.StringVar(&r.Name, "name", "", "the `NAME` of the type")
	f.StringVar(&r.Out, "out", "", "write to `FILE`")
	f.BoolVar(&r.Inline, "inline", false, "let the code contain the object")
	// What the environment says is no matter of the manual.
	f.Lookup("package").DefValue = ""
	return c
}
