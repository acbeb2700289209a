// SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// shell runs commands and shows them as a terminal would.
type shell struct {
	out io.Writer
}

// note prints lines of explanation.
func (s *shell) note(format string, args ...any) {
	text := strings.TrimRight(fmt.Sprintf(format, args...), "\n")
	fmt.Fprintln(s.out)
	for line := range strings.Lines(text) {
		fmt.Fprintf(s.out, "%s\n", strings.TrimRight("# "+line, " \n"))
	}
}

// do shows a command, runs it and shows what it prints.
func (s *shell) do(command string) error {
	out, err := s.read(command)
	s.out.Write(out)
	return err
}

// read shows a command, runs it and returns what it prints.
func (s *shell) read(command string) ([]byte, error) {
	fmt.Fprintf(s.out, "$ %s\n", command)
	return s.quiet(command)
}

// quiet runs a command without showing it.
func (s *shell) quiet(command string) ([]byte, error) {
	args := strings.Fields(command)
	cmd := exec.Command(args[0], args[1:]...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil {
		return out, nil
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return out, &commandError{command, err, out, stderr.Bytes()}
	}
	return nil, fmt.Errorf("%s: %w", command, err)
}

// all shows and runs commands, one a line, until one fails.
func (s *shell) all(commands string) error {
	for line := range strings.Lines(commands) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if err := s.do(line); err != nil {
			return err
		}
	}
	return nil
}

// commandError is that of a command that ended with another status than 0.
type commandError struct {
	command        string
	err            error
	stdout, stderr []byte
}

func (e *commandError) Error() string {
	return fmt.Sprintf("%s: %v: %s%s", e.command, e.err, e.stdout, e.stderr)
}

func (e *commandError) Unwrap() error { return e.err }
