// SPDX-License-Identifier: BSD-3-Clause

// Xdpctl-nl controls XDP: statistics, programs and capabilities of netdevs.
package main

import (
	"os"

	"github.com/xdpctl/xdpctl-nl/cmd/xdpctl-nl/cli"
)

func main() {
	os.Exit(cli.Run(os.Args[1:], os.Stdout, os.Stderr))
}
