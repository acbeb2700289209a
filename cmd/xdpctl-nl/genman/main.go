// SPDX-License-Identifier: BSD-3-Clause

// Genman writes the man pages of xdpctl-nl into a directory, a page a command.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra/doc"

	"github.com/xdpctl/xdpctl-nl/cmd/xdpctl-nl/cli"
)

// date is that of the pages, which must not change from one day to the next.
var date = time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: genman DIR")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintf(os.Stderr, "genman: %v\n", err)
		os.Exit(1)
	}
}

// write replaces the pages in dir.
func write(dir string) error {
	old, err := filepath.Glob(filepath.Join(dir, "xdpctl-nl*.8"))
	if err != nil {
		return err
	}
	for _, page := range old {
		if err := os.Remove(page); err != nil {
			return err
		}
	}
	root := cli.Command()
	root.DisableAutoGenTag = true
	return doc.GenManTree(root, &doc.GenManHeader{
		Section: "8", Date: &date, Source: "xdpctl-nl", Manual: "XDP control",
	}, dir)
}
