// SPDX-License-Identifier: BSD-3-Clause

package guest

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/xdpctl/xdpctl-nl/internal/vm"
)

// releaseTime is how long what has no user any more may take to go: much of BPF
// is freed by RCU and by work queues.
const releaseTime = 5 * time.Second

// checks compares the kernel after the command with the kernel before it.
type checks struct {
	job      *vm.Job
	sequence uint64 // of the first record of the log after the start
	objects  map[bpfObject]string
}

// newChecks notes how the kernel is before the command.
func newChecks(job *vm.Job) (*checks, error) {
	c := &checks{job: job}
	records, err := readLog(0)
	if err != nil {
		return nil, err
	}
	if len(records) > 0 {
		c.sequence = records[len(records)-1].sequence + 1
	}
	if c.objects, err = bpfObjects(); err != nil {
		return nil, err
	}
	return c, clearKmemleak()
}

// after makes the checks and adds what they find to the result.
func (c *checks) after(res *vm.Result) {
	fail := func(format string, args ...any) {
		res.Failures = append(res.Failures, fmt.Sprintf(format, args...))
	}
	symbols := moduleSymbols()
	if err := rmmod(project, releaseTime); err != nil {
		fail("%v", err)
	}
	if c.job.LeakCheck {
		err := retry(releaseTime, func() error {
			now, err := bpfObjects()
			if err != nil {
				return err
			}
			if list := leaked(c.objects, now); len(list) > 0 {
				return errors.New("left behind: " + strings.Join(list, ", "))
			}
			return nil
		})
		if err != nil {
			fail("%v", err)
		}
	}
	leaks, err := kmemleak(symbols)
	if err != nil {
		fail("%v", err)
	}
	for _, l := range leaks {
		fail("%s", l)
	}
	records, err := readLog(c.sequence)
	if err != nil {
		fail("%v", err)
	}
	for _, r := range reports(records) {
		fail("the kernel reports:\n%s", r)
	}
	if taints, err := readUint("/proc/sys/kernel/tainted"); err != nil {
		fail("read taints: %v", err)
	} else if list := taintNames(taints); len(list) > 0 {
		fail("the kernel is tainted: %s", strings.Join(list, ", "))
	}
}

// taints are the reasons of a taint by bit. Those without a name are allowed: a
// module from outside the tree (O), and one without a signature (E).
var taints = []string{
	0: "proprietary module", 1: "module loaded by force", 2: "processor out of specification",
	3: "module unloaded by force", 4: "machine check", 5: "bad page", 6: "requested by user space",
	7: "oops or BUG", 8: "ACPI table overridden", 9: "warning", 10: "staging driver",
	11: "firmware workaround", 12: "", 13: "", 14: "soft lockup", 15: "live patch",
	16: "auxiliary", 17: "randomised structures", 18: "kernel test",
}

// taintNames names the bits that should not be set.
func taintNames(value uint64) []string {
	var list []string
	for bit := range 64 {
		if value>>bit&1 == 0 {
			continue
		}
		name := "unknown reason"
		if bit < len(taints) {
			name = taints[bit]
		}
		if name != "" {
			list = append(list, fmt.Sprintf("%s (bit %d)", name, bit))
		}
	}
	return list
}

// moduleSymbols returns where the project's modules lie in memory, for reports
// that are made when they are gone.
func moduleSymbols() symbols {
	data, err := os.ReadFile("/proc/kallsyms")
	if err != nil {
		return nil
	}
	return parseSymbols(string(data), project)
}
