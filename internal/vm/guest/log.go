// SPDX-License-Identifier: BSD-3-Clause

package guest

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// record is one record of the kernel's log.
type record struct {
	facility int // 0 is the kernel
	sequence uint64
	text     string
}

// readLog returns the records of the kernel's log from a sequence number on.
func readLog(from uint64) ([]record, error) {
	fd, err := syscall.Open("/dev/kmsg", syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("read kernel log: %w", err)
	}
	defer syscall.Close(fd)
	var records []record
	buf := make([]byte, 16<<10)
	for {
		n, err := syscall.Read(fd, buf)
		switch {
		case errors.Is(err, syscall.EAGAIN):
			return records, nil
		case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.EINTR):
			// Records were overwritten; the next ones can be read.
			continue
		case err != nil:
			return records, fmt.Errorf("read kernel log: %w", err)
		}
		r, err := parseRecord(string(buf[:n]))
		if err != nil {
			return records, err
		}
		if r.sequence >= from {
			records = append(records, r)
		}
	}
}

// parseRecord parses a record as /dev/kmsg gives it.
func parseRecord(s string) (record, error) {
	prefix, rest, ok := strings.Cut(s, ";")
	fields := strings.Split(prefix, ",")
	if !ok || len(fields) < 3 {
		return record{}, fmt.Errorf("parse kernel log: unknown record %q", s)
	}
	priority, err := strconv.Atoi(fields[0])
	if err != nil {
		return record{}, fmt.Errorf("parse kernel log: %w", err)
	}
	sequence, err := strconv.ParseUint(fields[1], 10, 64)
	if err != nil {
		return record{}, fmt.Errorf("parse kernel log: %w", err)
	}
	// Lines with a leading space are properties of the device.
	text, _, _ := strings.Cut(rest, "\n")
	text = strings.Trim(strings.ReplaceAll(text, `\x0a`, "\n"), "\n")
	return record{facility: priority >> 3, sequence: sequence, text: text}, nil
}

// trouble matches the first line of what the kernel says when something is wrong.
var trouble = regexp.MustCompile(strings.Join([]string{
	`\bWARNING: `,
	`\bBUG: `, `\bkernel BUG at `, `\bBUG [\w-]+.*: `,
	`\bOops\b`, `general protection fault`, `\bKernel panic\b`, `unable to handle `,
	`\bINFO: (task|possible|trying to|rcu|lockdep|Slab|Object)\b`,
	`blocked for more than \d+ seconds`, `soft lockup`, `hard LOCKUP`, `detected stalls?\b`,
	`possible (circular|recursive|irq) lock`, `inconsistent lock state`, `suspicious RCU`,
	`held lock freed`, `lock held when returning`, `bad unlock balance`, `DEBUG_LOCKS_WARN_ON`,
	`possible deadlock`, `turning off the locking correctness validator`,
	`\bKASAN\b`, `\bUBSAN\b`, `\bKFENCE\b`, `\bKMSAN\b`, `\bKCSAN\b`,
	`\bODEBUG\b`, `\brefcount_t: `, `\bref_tracker: `, `leaked reference`,
	`list_(add|del) corruption`, `stack-protector`, `corrupted`,
	`unregister_netdevice: waiting for `,
	`page_pool_release_retry`, `scheduling while atomic`, `sleeping function called`,
	`page allocation stalls`, `Freeing of non`,
}, "|"))

// reportLines is how much of the log is shown with a report.
const reportLines = 60

// reports returns what the kernel has to complain about, with what it said next.
func reports(records []record) []string {
	var list []string
	for i := 0; i < len(records); i++ {
		r := records[i]
		if r.facility != 0 || !trouble.MatchString(r.text) {
			continue
		}
		var b strings.Builder
		last := min(i+reportLines, len(records))
		for ; i < last; i++ {
			fmt.Fprintf(&b, "  %s\n", strings.ReplaceAll(records[i].text, "\n", "\n  "))
		}
		i--
		list = append(list, b.String())
	}
	return list
}
