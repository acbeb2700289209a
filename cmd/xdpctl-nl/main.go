// SPDX-License-Identifier: BSD-3-Clause

// Xdpctl-nl controls XDP: statistics, programs and capabilities of netdevs.
package main

import (
	"os"
	"runtime/debug"

	"github.com/xdpctl/xdpctl-nl/cmd/xdpctl-nl/cli"
	"github.com/xdpctl/xdpctl-nl/internal/compare"
)

// gcPercent lets most runs of the tool end before there is any garbage worth
// collecting: to load an object takes a third less time so.
const gcPercent = 1000

func main() {
	compare.Main()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	os.Exit(cli.Run(os.Args[1:], os.Stdout, os.Stderr))
}
