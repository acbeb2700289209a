// SPDX-License-Identifier: BSD-3-Clause

package vm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Kernel is a kernel that a guest can be booted with.
type Kernel struct {
	// Release, as uname -r prints it.
	Release string
	// Image to boot.
	Image string
	// ModuleTree is the lib/modules/RELEASE directory of a kernel that is
	// not installed on the host. Empty for one that is.
	ModuleTree string
	// Debug says that this is the debug kernel, which has everything that
	// the guest needs built in.
	Debug bool
}

// CacheDir is the directory of everything big that is downloaded or derived.
func CacheDir() string {
	if dir := os.Getenv("XDPCTL_CACHE"); dir != "" {
		return dir
	}
	return "/var/cache/xdpctl"
}

// FindKernel returns the kernel called name: a release, or the beginning of one
// up to a dot or dash ("6.12"), which stands for the newest that there is. With
// debug it is looked for among the debug kernels in the cache, where name may be
// empty.
//
// It returns an error matching os.ErrNotExist if there is none.
func FindKernel(name string, debug bool) (*Kernel, error) {
	if debug {
		return findKernel(name, filepath.Join(CacheDir(), "debug"), true)
	}
	if name == "" {
		return nil, errors.New("find kernel: no release given")
	}
	return findKernel(name, "/boot", false)
}

func findKernel(name, dir string, debug bool) (*Kernel, error) {
	pattern, trim := "vmlinuz-*", "vmlinuz-"
	if debug {
		pattern = "*/vmlinuz-*"
	}
	images, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		return nil, fmt.Errorf("find kernel: %w", err)
	}
	byRelease := make(map[string]string)
	var releases []string
	for _, image := range images {
		release := strings.TrimPrefix(filepath.Base(image), trim)
		if !matchRelease(release, name) {
			continue
		}
		if old, ok := byRelease[release]; ok && !newer(image, old) {
			continue
		}
		byRelease[release] = image
		releases = append(releases, release)
	}
	if len(releases) == 0 {
		return nil, fmt.Errorf("find kernel %q in %s: %w", name, dir, os.ErrNotExist)
	}
	release := slices.MaxFunc(releases, compareReleases)
	k := &Kernel{Release: release, Image: byRelease[release], Debug: debug}
	if debug {
		tree := filepath.Join(filepath.Dir(k.Image), "lib/modules", release)
		if _, err := os.Stat(tree); err == nil {
			k.ModuleTree = tree
		}
	}
	return k, nil
}

// newer says whether file a was modified after file b.
func newer(a, b string) bool {
	fa, err := os.Stat(a)
	if err != nil {
		return false
	}
	fb, err := os.Stat(b)
	return err != nil || fa.ModTime().After(fb.ModTime())
}

// matchRelease says whether name is release or a beginning of it that ends
// between two of its parts.
func matchRelease(release, name string) bool {
	rest, ok := strings.CutPrefix(release, name)
	if !ok {
		return false
	}
	return name == "" || rest == "" || strings.ContainsAny(rest[:1], ".-+")
}

// compareReleases orders kernel releases: numbers by value, the rest by letters.
func compareReleases(a, b string) int {
	pa, pb := splitRelease(a), splitRelease(b)
	for i := 0; i < len(pa) && i < len(pb); i++ {
		na, ea := strconv.Atoi(pa[i])
		nb, eb := strconv.Atoi(pb[i])
		c := strings.Compare(pa[i], pb[i])
		if ea == nil && eb == nil {
			c = na - nb
		}
		if c != 0 {
			return c
		}
	}
	return len(pa) - len(pb)
}

func splitRelease(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(".-+", r) })
}
