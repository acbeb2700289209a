// SPDX-License-Identifier: BSD-3-Clause

package testutil

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ModulePath is the module built for the running kernel.
func ModulePath() (string, error) {
	if path := os.Getenv("XDPCTL_KO"); path != "" {
		return path, nil
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, "build", Release(), "xdpctl.ko"), nil
}

// LoadModule loads the module.
func LoadModule(params ...string) error {
	path, err := ModulePath()
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("load module: %w", err)
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), strings.Join(params, " "), 0); err != nil {
		return fmt.Errorf("load module %s: %w", path, err)
	}
	return nil
}

// TryUnloadModule makes one attempt at unloading the module. It fails with
// EWOULDBLOCK while the module is in use.
func TryUnloadModule() error {
	return unix.DeleteModule("xdpctl", unix.O_NONBLOCK)
}

// UnloadModule unloads the module, which may stay in use for up to d.
func UnloadModule(d time.Duration) error {
	var err error
	Wait(d, func() bool {
		err = TryUnloadModule()
		return err == nil || !errors.Is(err, unix.EAGAIN)
	})
	if err != nil {
		refs, _ := ModuleRefs()
		return fmt.Errorf("unload module (%d references): %w", refs, err)
	}
	return nil
}

// ModuleRefs is the number of references to the module.
func ModuleRefs() (int, error) {
	b, err := os.ReadFile("/sys/module/xdpctl/refcnt")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

// ModuleOnly tells whether only the module is to be tested: a debug kernel finds
// faults of the kernel's, and takes long.
func ModuleOnly() bool { return os.Getenv("XDPCTL_BACKENDS") == "module" }
