// SPDX-License-Identifier: BSD-3-Clause

// Brief reads what go test -json says and prints what matters of it: one line a
// package, the output of what failed, and a last line
//
//	N passed, N failed, N skipped
//
// It exits with status 1 if anything failed or nothing was tested.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

func main() {
	log := flag.String("log", "", "append all output to `file`")
	flag.Parse()
	if err := run(*log); err != nil {
		fmt.Fprintf(os.Stderr, "brief: %v\n", err)
		os.Exit(1)
	}
}

func run(log string) error {
	b := &brief{w: os.Stdout, log: io.Discard, output: make(map[string]*strings.Builder)}
	if log != "" {
		f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		defer f.Close()
		b.log = f
	}
	return b.read(os.Stdin)
}

// event is a line of go test -json.
type event struct {
	Action     string
	Package    string
	ImportPath string // of a build
	Test       string
	Elapsed    float64
	Output     string
}

// brief is what is known so far.
type brief struct {
	w, log io.Writer

	// output of tests, packages and builds that have not ended yet.
	output map[string]*strings.Builder

	passed, failed, skipped int
	ended                   int // packages that ended
	broken                  int // packages that failed, though none of their tests did
	failures                map[string]int
}

func (b *brief) read(r io.Reader) error {
	b.failures = make(map[string]int)
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 16<<20)
	for scanner.Scan() {
		var e event
		if err := json.Unmarshal(scanner.Bytes(), &e); err != nil {
			// What go itself says about packages is not JSON.
			fmt.Fprintf(b.w, "%s\n", scanner.Bytes())
			fmt.Fprintf(b.log, "%s\n", scanner.Bytes())
			continue
		}
		b.event(&e)
	}
	if err := scanner.Err(); err != nil {
		return err
	}
	fmt.Fprintf(b.w, "%d passed, %d failed, %d skipped\n", b.passed, b.failed+b.broken, b.skipped)
	switch {
	case b.failed+b.broken > 0:
		return fmt.Errorf("%d failed", b.failed+b.broken)
	case b.ended == 0:
		return fmt.Errorf("nothing was tested")
	}
	return nil
}

func (b *brief) event(e *event) {
	key := e.Package + " " + e.Test + e.ImportPath
	switch e.Action {
	case "output", "build-output":
		if b.output[key] == nil {
			b.output[key] = &strings.Builder{}
		}
		b.output[key].WriteString(e.Output)
		io.WriteString(b.log, e.Output)
	case "build-fail":
		b.flush(key)
	case "pass", "fail", "skip":
		if e.Test != "" {
			b.test(e, key)
		} else {
			b.pkg(e, key)
		}
		delete(b.output, key)
	}
}

func (b *brief) test(e *event, key string) {
	switch e.Action {
	case "pass":
		b.passed++
	case "skip":
		b.skipped++
	case "fail":
		b.failed++
		b.failures[e.Package]++
		b.flush(key)
	}
}

func (b *brief) pkg(e *event, key string) {
	b.ended++
	words := map[string]string{"pass": "ok  ", "fail": "FAIL", "skip": "none"}
	if e.Action == "fail" && b.failures[e.Package] == 0 {
		b.broken++
	}
	if e.Action == "fail" {
		b.unfinished(e.Package)
		b.flush(key)
	}
	if e.Action != "skip" {
		took := time.Duration(e.Elapsed * float64(time.Second)).Round(100 * time.Millisecond)
		fmt.Fprintf(b.w, "%s %s %v\n", words[e.Action], e.Package, took)
	}
}

// unfinished prints what the tests said that were running when their package
// came to a sudden end.
func (b *brief) unfinished(pkg string) {
	for key := range b.output {
		if test, ok := strings.CutPrefix(key, pkg+" "); ok && test != "" {
			b.flush(key)
		}
	}
}

// flush prints the output kept under key.
func (b *brief) flush(key string) {
	if out := b.output[key]; out != nil {
		io.WriteString(b.w, out.String())
		delete(b.output, key)
	}
}
