// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Setters: each gives a word's set function, which stores the value in p.

func setString(p *string) func(string) error {
	return func(s string) error {
		if s == "" {
			return usagef("the empty string is no value")
		}
		*p = s
		return nil
	}
}

func setTrue(p *bool) func(string) error {
	return func(string) error {
		*p = true
		return nil
	}
}

// setNumber stores a number from lo to hi.
func setNumber[T ~uint32 | ~int](p *T, lo, hi uint64) func(string) error {
	return func(s string) error {
		n, err := strconv.ParseUint(s, 0, 64)
		if err != nil || n < lo || n > hi {
			return usagef("%q is not a number from %d to %d", s, lo, hi)
		}
		*p = T(n)
		return nil
	}
}

// setOptional stores a number of 32 bits where nil means that there is none.
func setOptional(p **uint32, lo uint64) func(string) error {
	return func(s string) error {
		*p = new(uint32)
		return setNumber(*p, lo, math.MaxUint32)(s)
	}
}

// setSeconds stores a time in seconds, which need not be a whole number.
func setSeconds(p *time.Duration) func(string) error {
	return func(s string) error {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || !(f >= 0.001 && f <= 1e6) {
			return usagef("%q is not a number of seconds from 0.001 to 1000000", s)
		}
		*p = time.Duration(f * float64(time.Second))
		return nil
	}
}

// setChoice stores the value that a name stands for.
func setChoice[T any](p *T, names []string, values ...T) func(string) error {
	return func(s string) error {
		i := slices.Index(names, s)
		if i < 0 {
			return usagef("%q is none of %s", s, strings.Join(names, ", "))
		}
		*p = values[i]
		return nil
	}
}

// list is a completion that is always the same.
func list(s ...string) func() []string {
	return func() []string { return s }
}
