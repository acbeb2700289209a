// SPDX-License-Identifier: BSD-3-Clause

package tools

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

const modprobeFile = "/proc/sys/kernel/modprobe"

// TestAutoload names the family and the link kind while the module is not
// loaded, but installed where modprobe finds it.
func TestAutoload(t *testing.T) {
	installModule(t)
	l := &lab{T: t, ns: testutil.NewNetNS(t), prog: testutil.NewXDP(t, "tools_pass", 2)}
	for _, args := range [][]string{
		{"genl", "ctrl", "get", "name", "xdpctl"},
		{"ip", "link", "add", "type", "xdpctl"},
	} {
		if err := testutil.UnloadModule(time.Minute); err != nil {
			t.Fatal(err)
		}
		if loaded() {
			t.Fatal("the module is loaded still")
		}
		l.run(args...)
		if !loaded() {
			t.Errorf("%s did not load the module", strings.Join(args, " "))
		}
	}
	l.run("ip", "link", "del", "xdpctl0")
	if err := testutil.UnloadModule(time.Minute); err != nil {
		t.Fatal(err)
	}
	c, err := family.Dial(family.Options{NetNS: l.ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func loaded() bool {
	_, err := os.Stat("/sys/module/xdpctl")
	return err == nil
}

// installModule installs the module into a directory of its own, and lets the
// kernel look for modules there until the test ends, with the module loaded.
func installModule(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	tree := filepath.Join(dir, "lib", "modules", testutil.Release())
	if err := os.MkdirAll(filepath.Join(tree, "updates"), 0o755); err != nil {
		t.Fatal(err)
	}
	path, err := testutil.ModulePath()
	if err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "updates", "xdpctl.ko"), image, 0o644); err != nil {
		t.Fatal(err)
	}
	l := &lab{T: t, ns: testutil.NewNetNS(t), prog: testutil.NewXDP(t, "tools_pass", 2)}
	l.run("depmod", "-b", dir, testutil.Release())
	script := filepath.Join(dir, "modprobe")
	text := fmt.Sprintf("#!/bin/sh\nexec /sbin/modprobe -d %s \"$@\"\n", dir)
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(modprobeFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(modprobeFile, []byte(script), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		os.WriteFile(modprobeFile, old, 0)
		if !loaded() {
			if err := testutil.LoadModule(); err != nil && !errors.Is(err, unix.EEXIST) {
				t.Error(err)
			}
		}
	})
}
