// SPDX-License-Identifier: BSD-3-Clause

// Command specgen writes the files that are generated from the specification of
// the family. It is run by go generate.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/xdpctl/xdpctl-nl/internal/specgen"
)

func main() {
	specPath := flag.String("spec", "family/xdpctl.yaml", "read the specification from `FILE`")
	root := flag.String("root", ".", "write below `DIR`, the root of the repository")
	flag.Parse()

	if err := run(*specPath, *root); err != nil {
		fmt.Fprintln(os.Stderr, "specgen:", err)
		os.Exit(1)
	}
}

func run(specPath, root string) error {
	spec, err := specgen.LoadSpec(specPath)
	if err != nil {
		return err
	}
	f, err := specgen.NewFamily(spec, specgen.SpecPath)
	if err != nil {
		return err
	}
	files, err := specgen.Generate(f)
	if err != nil {
		return err
	}
	return specgen.Write(root, files)
}
