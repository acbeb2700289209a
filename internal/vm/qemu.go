// SPDX-License-Identifier: BSD-3-Clause

package vm

import (
	"fmt"
	"strconv"
	"strings"
)

// File descriptors that QEMU inherits.
const (
	fdInitrd = 3 + iota
	fdConsole
	fdOutput
	fdControl
)

// commandLine is the kernel's command line. A warning, an oops and a lockdep
// report alike end the guest.
func commandLine(o *Options, k *Kernel) string {
	words := []string{
		"console=ttyS0", "loglevel=5", "log_buf_len=8M",
		"panic=-1", "oops=panic", "panic_on_warn=1",
		"net.ifnames=0", "mitigations=off",
	}
	if k.Debug {
		// Its ACPI interpreter is too slow under emulation, so it can be
		// reset, but not powered off.
		words = append(words, "acpi=off", "reboot=t")
	}
	if o.ICount {
		// Where code and data are, it costs the same each time.
		words = append(words, "nokaslr", "norandmaps")
	}
	return strings.Join(words, " ")
}

// qemuArgs returns the arguments of QEMU.
func qemuArgs(o *Options, k *Kernel) []string {
	// To emulate page tables of five levels takes a tenth more time.
	accel, cpu := "tcg,thread=single", "max,-la57"
	switch {
	case o.KVM:
		accel, cpu = "kvm", "host"
	case o.ICount:
		cpu = "max" // where time does not matter
	}
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-no-reboot",
		"-accel", accel, "-cpu", cpu,
		"-smp", strconv.Itoa(o.CPUs), "-m", strconv.Itoa(o.Memory),
		"-kernel", k.Image,
		"-initrd", fmt.Sprintf("/proc/self/fd/%d", fdInitrd),
		"-append", commandLine(o, k),
		"-chardev", fmt.Sprintf("socket,id=console,fd=%d", fdConsole),
		"-serial", "chardev:console",
		"-device", "virtio-serial-pci",
		"-chardev", fmt.Sprintf("socket,id=output,fd=%d", fdOutput),
		"-device", "virtserialport,chardev=output,name=" + PortOutput,
		"-chardev", fmt.Sprintf("socket,id=control,fd=%d", fdControl),
		"-device", "virtserialport,chardev=control,name=" + PortControl,
		"-virtfs", "local,path=/,mount_tag=root,security_model=none,multidevs=remap",
	}
	if o.ICount {
		// One instruction is one nanosecond, and idle time is skipped. What is
		// random is the same each time, as far as it can be.
		args = append(args, "-icount", "shift=0,sleep=off", "-seed", "1", "-rtc", "base=2026-01-01,clock=vm")
	}
	for i := range o.NICs {
		// Two at a time see each other. Native XDP wants the offloads off.
		args = append(args,
			"-netdev", fmt.Sprintf("hubport,id=h%d,hubid=%d", i, i/2),
			"-device", fmt.Sprintf("virtio-net-pci,netdev=h%d,mac=52:54:00:78:64:%02x,romfile=,"+
				"guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off", i, i+1))
	}
	return args
}
