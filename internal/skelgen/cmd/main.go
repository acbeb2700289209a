// SPDX-License-Identifier: BSD-3-Clause

// Command cmd is "xdpctl-nl gen skeleton" for the project's own programs, on
// whose skeletons the tool itself may depend.
//
//	go run ../internal/skelgen/cmd [ -name N ] [ -inline ] FILE OUT
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/xdpctl/xdpctl-nl/internal/skelgen"
)

func main() {
	r := skelgen.Request{Package: os.Getenv("GOPACKAGE")}
	flag.StringVar(&r.Name, "name", "", "the name of the type")
	flag.BoolVar(&r.Inline, "inline", false, "let the code contain the object")
	flag.Parse()
	if flag.NArg() != 2 {
		flag.Usage()
		os.Exit(2)
	}
	r.File, r.Out = flag.Arg(0), flag.Arg(1)
	if err := skelgen.Write(r, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
