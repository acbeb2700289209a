// SPDX-License-Identifier: BSD-3-Clause

// Command drvgen writes native/zz_drvtable.go from what the module knows of
// drivers.
//
//	drvgen KMOD-DIRECTORY OUTPUT
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/xdpctl/xdpctl-nl/internal/drvgen"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: drvgen KMOD-DIRECTORY OUTPUT")
		os.Exit(1)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(kmod, output string) error {
	table, err := os.ReadFile(filepath.Join(kmod, "drvtable.c"))
	if err != nil {
		return err
	}
	header, err := os.ReadFile(filepath.Join(kmod, "drvstats.h"))
	if err != nil {
		return err
	}
	t, err := drvgen.Parse(string(table), string(header))
	if err != nil {
		return err
	}
	b, err := t.Render()
	if err != nil {
		return err
	}
	return os.WriteFile(output, b, 0o644)
}
