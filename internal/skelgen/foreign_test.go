// SPDX-License-Identifier: BSD-3-Clause

package skelgen

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// foreign are programs of the kernel's selftests, with what they have that
// others have not.
var foreign = []string{
	"bpf_cubic",                    // struct_ops with a link, weak .kconfig
	"bpf_dctcp",                    // two struct_ops
	"btf_dump_test_case_bitfields", // bitfields of every width
	"btf_dump_test_case_packing",   // packed structs
	"core_kern",                    // relocations
	"lsm",                          // LSM, fmod_ret, maps of all kinds
	"map_kptr",                     // kernel pointers in maps
	"strobemeta",                   // large structs
	"test_cls_redirect",            // tc, nested structs and unions
	"test_core_extern",             // .kconfig of every type
	"test_global_data",             // .data, .rodata, static variables
	"test_map_in_map",              // maps in maps
	"test_ringbuf",                 // ring buffer
	"test_sk_lookup",               // sk_lookup, sockmaps
	"test_skeleton",                // what bpftool's skeleton is tested with
	"test_xdp_vlan",                // XDP and tc
	"timer",                        // timers in maps
	"xdp_metadata",                 // kfuncs
	"xdp_synproxy_kern",            // XDP, kfuncs, large constants
	"bpf_iter_bpf_hash_map",        // iterators
}

// compiler compiles the selftests.
type compiler struct {
	*testing.T
	source, include string
}

// newCompiler skips the test where the source or a tool cannot be had.
func newCompiler(t *testing.T) *compiler {
	t.Helper()
	for _, tool := range []string{"clang", "bpftool"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	const vmlinux = "/sys/kernel/btf/vmlinux"
	if _, err := os.Stat(vmlinux); err != nil {
		t.Skip(err)
	}
	var stderr bytes.Buffer
	cmd := exec.Command("../../tests/vm/source.sh", "selftests")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("no source of the kernel: %v\n%s", err, stderr.Bytes())
	}
	c := &compiler{t, strings.TrimSpace(string(out)), t.TempDir()}
	header, err := exec.Command("bpftool", "btf", "dump", "file", vmlinux, "format", "c").Output()
	c.must(err)
	c.must(os.WriteFile(filepath.Join(c.include, "vmlinux.h"), header, 0o644))
	headers, err := filepath.Glob(filepath.Join(c.source, "tools/lib/bpf/*.h"))
	c.must(err)
	c.must(os.Mkdir(filepath.Join(c.include, "bpf"), 0o755))
	for _, h := range append([]string{"/usr/include/bpf/bpf_helper_defs.h"}, headers...) {
		b, err := os.ReadFile(h)
		c.must(err)
		c.must(os.WriteFile(filepath.Join(c.include, "bpf", filepath.Base(h)), b, 0o644))
	}
	return c
}

func (c *compiler) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// compile compiles one program. Some need a newer compiler.
func (c *compiler) compile(name, out string) error {
	selftests := filepath.Join(c.source, "tools/testing/selftests/bpf")
	cmd := exec.Command("clang", "-target", "bpf", "-D__TARGET_ARCH_x86", "-mcpu=v3", "-O2", "-g", "-w",
		"-I"+c.include, "-I"+selftests, "-I"+filepath.Join(selftests, "progs"),
		"-I"+filepath.Join(c.source, "tools/include/uapi"), "-idirafter", "/usr/include/x86_64-linux-gnu",
		"-c", filepath.Join(selftests, "progs", name+".c"), "-o", out)
	if msg, err := cmd.CombinedOutput(); err != nil {
		c.Logf("%s: %s", name, msg)
		return err
	}
	return nil
}

// TestForeign generates skeletons of objects that were not written for them, and
// builds them.
func TestForeign(t *testing.T) {
	if testing.Short() {
		t.Skip("it compiles for a minute")
	}
	c := newCompiler(t)
	m := newModule(t)
	built := 0
	for _, name := range foreign {
		base := filepath.Base(name)
		m.must(os.Mkdir(filepath.Join(m.dir, base), 0o755))
		object := filepath.Join(m.dir, base, base+".bpf.o")
		if c.compile(name, object) != nil {
			m.must(os.Remove(filepath.Dir(object)))
			continue
		}
		if err := Write(Request{File: object, Out: filepath.Join(m.dir, base, "skel.go"), Package: "foreign"}, nil); err != nil {
			t.Error(err)
			continue
		}
		built++
	}
	t.Logf("%d of %d", built, len(foreign))
	if built < 10 {
		t.Errorf("only %d objects could be had, want 10", built)
	}
	m.clean()
	if out, err := m.run("go", "build", "./..."); err != nil {
		t.Errorf("build: %v\n%s", err, out)
	}
}
