// SPDX-License-Identifier: BSD-3-Clause

// Command demo shows the whole of xdpctl at work: it makes veth pairs in two
// network namespaces, attaches a program that passes, drops, transmits,
// redirects, aborts and returns an invalid code, sends a known number of
// frames for each, and reads the statistics through netlink, through the
// control map, and with bpftool.
//
// That is run as root in a virtual machine. With -native it is run on any machine:
// there is no module then, and the server in the tool itself is asked, and two that
// listen on sockets. Nothing is changed outside of namespaces of its own.
//
// It is run from the root of the repository, and exits 0 only if all answers
// agree, field by field, with each other and with the numbers of frames sent.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/apart"
	"github.com/xdpctl/xdpctl-nl/tests/traffic"
)

// frames is how many of each verdict are sent. No two sums of different
// verdicts are equal, so that a frame counted as something else shows.
var frames = traffic.Counts{
	traffic.Pass:     100,
	traffic.Drop:     210,
	traffic.Tx:       330,
	traffic.Redirect: 460,
	traffic.Aborted:  50,
	traffic.Invalid:  7,
}

// errDisagree is the failure that the demo is there to find.
var errDisagree = errors.New("the doors do not agree")

type options struct {
	build   string
	native  bool
	timeout time.Duration
}

func main() {
	var opts options
	flag.StringVar(&opts.build, "build", "build", "`directory` of xdpctl-nl and RELEASE/xdpctl.ko")
	flag.BoolVar(&opts.native, "native", false, "without the module, on this machine")
	flag.DurationVar(&opts.timeout, "timeout", 5*time.Minute, "give up after this time")
	flag.Parse()

	if err := run(opts); err != nil {
		fmt.Fprintf(os.Stderr, "\ndemo: %v\n", err)
		os.Exit(1)
	}
}

func run(opts options) error {
	if opts.native {
		if err := apart.Enter(); err != nil {
			return err
		}
	}
	build, err := filepath.Abs(opts.build)
	if err != nil {
		return err
	}
	if err := os.Setenv("PATH", build+":"+os.Getenv("PATH")); err != nil {
		return err
	}
	release, err := kernelRelease()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), opts.timeout)
	defer cancel()

	d := &demo{shell: shell{out: os.Stdout}, release: release}
	if opts.native {
		return d.withoutModule(ctx)
	}
	d.module = filepath.Join(opts.build, release, "xdpctl.ko")
	return d.withModule(ctx)
}

func kernelRelease() (string, error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return "", fmt.Errorf("uname: %w", err)
	}
	return unix.ByteSliceToString(uts.Release[:]), nil
}
