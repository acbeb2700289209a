// SPDX-License-Identifier: BSD-3-Clause

package guest

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

const kmemleakFile = "/sys/kernel/debug/kmemleak"

// kmemleakPause is a little more than the age at which the kernel takes an
// object for a leak.
const kmemleakPause = 5500 * time.Millisecond

// clearKmemleak makes the kernel forget what it lost while it booted.
// Without kmemleak it does nothing.
func clearKmemleak() error {
	for _, order := range []string{"scan=off", "scan", "clear"} {
		if err := orderKmemleak(order); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// orderKmemleak tells kmemleak what to do. The error matches os.ErrNotExist on a
// kernel without it.
func orderKmemleak(order string) error {
	f, err := os.OpenFile(kmemleakFile, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("tell kmemleak to %s: %w", order, err)
	}
	defer f.Close()
	if _, err := f.WriteString(order); err != nil {
		return fmt.Errorf("tell kmemleak to %s: %w", order, err)
	}
	return nil
}

// kmemleak returns the leaks that the kernel knows of after two scans.
func kmemleak(syms symbols) ([]string, error) {
	for i := range 2 {
		if i > 0 {
			time.Sleep(kmemleakPause)
		}
		err := orderKmemleak("scan")
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
	}
	data, err := os.ReadFile(kmemleakFile)
	if err != nil {
		return nil, fmt.Errorf("read leaks: %w", err)
	}
	return parseKmemleak(string(data), syms), nil
}

// parseKmemleak splits the file into reports and names the functions of modules
// that are gone.
func parseKmemleak(text string, syms symbols) []string {
	var list []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "unreferenced object ") {
			list = append(list, "")
		}
		if len(list) > 0 {
			list[len(list)-1] += syms.annotate(line)
		}
	}
	return list
}

// symbol is a symbol of a module.
type symbol struct {
	addr uint64
	name string
}

// symbols are the symbols of a module by address.
type symbols []symbol

// parseSymbols returns the symbols of modules whose names begin with prefix from
// the contents of /proc/kallsyms.
func parseSymbols(kallsyms, prefix string) symbols {
	var list symbols
	for line := range strings.Lines(kallsyms) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[3], "["+prefix) {
			continue
		}
		addr, err := strconv.ParseUint(f[0], 16, 64)
		if err != nil {
			continue
		}
		list = append(list, symbol{addr, f[2] + " " + f[3]})
	}
	slices.SortFunc(list, func(a, b symbol) int {
		if a.addr < b.addr {
			return -1
		}
		return 1
	})
	return list
}

// symbolReach is how far behind a symbol an address may lie and still belong to it.
const symbolReach = 16 << 10

// annotate appends to a line that ends with a bare address what lies there.
func (s symbols) annotate(line string) string {
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return line
	}
	text, ok := strings.CutPrefix(fields[len(fields)-1], "0x")
	addr, err := strconv.ParseUint(text, 16, 64)
	if !ok || err != nil {
		return line
	}
	i, exact := slices.BinarySearchFunc(s, addr, func(e symbol, a uint64) int {
		switch {
		case e.addr < a:
			return -1
		case e.addr > a:
			return 1
		}
		return 0
	})
	if !exact {
		i--
	}
	if i < 0 || addr-s[i].addr > symbolReach {
		return line
	}
	return fmt.Sprintf("%s %s+%#x\n", strings.TrimRight(line, "\n"), s[i].name, addr-s[i].addr)
}
