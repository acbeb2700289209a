// SPDX-License-Identifier: BSD-3-Clause

package vm

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
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
	// Debug says that this is a debug kernel, which has everything that the
	// guest needs built in.
	Debug bool
}

// BuildDir is what modules for the kernel are built against.
func (k *Kernel) BuildDir() string {
	if k.ModuleTree != "" {
		return filepath.Join(k.ModuleTree, "build")
	}
	return filepath.Join("/lib/modules", k.Release, "build")
}

// CacheDir is the directory of everything big that is downloaded or derived.
func CacheDir() string {
	if dir := os.Getenv("XDPCTL_CACHE"); dir != "" {
		return dir
	}
	return "/var/cache/xdpctl"
}

// FindKernel returns the kernel called name: a release, or the beginning of one
// up to a dot or dash ("6.12"), which stands for the newest of the ordinary
// kernels of the distribution for which modules can be built. "debug" stands for
// the debug kernel built last.
//
// It returns an error matching os.ErrNotExist if there is none.
func FindKernel(name string) (*Kernel, error) {
	installed, err := findKernels("/boot/vmlinuz-*")
	if err != nil {
		return nil, err
	}
	built, err := findKernels(filepath.Join(CacheDir(), "debug/*/vmlinuz-*"))
	if err != nil {
		return nil, err
	}
	for _, k := range built {
		k.Debug = true
		k.ModuleTree = filepath.Join(filepath.Dir(k.Image), "lib/modules", k.Release)
	}
	if k := choose(name, installed, built); k != nil {
		return k, nil
	}
	return nil, fmt.Errorf("find kernel %q in /boot and %s: %w", name, CacheDir(), os.ErrNotExist)
}

// findKernels returns the kernels whose images match pattern, oldest image first.
func findKernels(pattern string) ([]*Kernel, error) {
	images, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("find kernels: %w", err)
	}
	slices.SortStableFunc(images, func(a, b string) int { return modTime(a).Compare(modTime(b)) })
	kernels := make([]*Kernel, 0, len(images))
	for _, image := range images {
		_, release, _ := strings.Cut(filepath.Base(image), "-")
		kernels = append(kernels, &Kernel{Release: release, Image: image})
	}
	return kernels, nil
}

func modTime(file string) time.Time {
	fi, err := os.Stat(file)
	if err != nil {
		return time.Time{}
	}
	return fi.ModTime()
}

// choose returns the kernel that name means, nil if there is none.
func choose(name string, installed, built []*Kernel) *Kernel {
	if name == "" {
		return nil
	}
	var best *Kernel
	for _, k := range slices.Concat(installed, built) {
		if k.Release == name || k.Debug && name == "debug" {
			best = k
		}
	}
	if best != nil {
		return best
	}
	for _, k := range installed {
		if matchRelease(k.Release, name) && (best == nil || better(k, best)) {
			best = k
		}
	}
	return best
}

// better says whether a is the better choice for a name that means both.
func better(a, b *Kernel) bool {
	if x, y := ordinary(a), ordinary(b); x != y {
		return x
	}
	if x, y := buildable(a), buildable(b); x != y {
		return x
	}
	return compareReleases(a.Release, b.Release) > 0
}

// ordinary says whether a kernel is none of a special flavour.
func ordinary(k *Kernel) bool {
	return !strings.Contains(k.Release, "-rt-") && !strings.Contains(k.Release, "-cloud-")
}

// buildable says whether modules can be built for a kernel.
func buildable(k *Kernel) bool {
	_, err := os.Stat(k.BuildDir())
	return err == nil
}

// matchRelease says whether name is release or a beginning of it that ends
// between two of its parts.
func matchRelease(release, name string) bool {
	rest, ok := strings.CutPrefix(release, name)
	if !ok {
		return false
	}
	return rest == "" || strings.ContainsAny(rest[:1], ".-+")
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
