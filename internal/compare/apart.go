// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/genl"
	"github.com/xdpctl/xdpctl-nl/native"
)

// roleEnv is in the environment of the processes that Run starts, and says what
// they are. They have a network namespace and mounts of their own, so that what
// they make is gone with them, whatever ends them.
const (
	roleEnv     = "XDPCTL_COMPARE"
	roleMeasure = "measure"
	roleServe   = "serve"
)

// hooked tells that Main was called, without which the program that is started
// again would be itself.
var hooked bool

// Main is to be called first by a program that calls [Run], which runs the program
// again. It returns at once unless this is such a run; then it never does.
func Main() {
	hooked = true
	role, ok := os.LookupEnv(roleEnv)
	if !ok {
		return
	}
	os.Unsetenv(roleEnv)
	err := fmt.Errorf("%s=%s makes no sense", roleEnv, role)
	switch role {
	case roleMeasure:
		err = measureMain()
	case roleServe:
		err = serveMain()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// again is a command that is this program in a role.
func again(ctx context.Context, role string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{"xdpctl-compare-" + role}
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	return cmd
}

// start starts a command that works for what is measured.
func start(cmd *exec.Cmd, unit string) error {
	if unit == Instructions {
		return startSeeded(cmd)
	}
	return cmd.Start()
}

// measureApart does run in a process of its own.
func measureApart(ctx context.Context, o Options) (*Result, error) {
	if !hooked {
		return nil, errors.New("compare: the program does not call compare.Main")
	}
	in, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	cmd := again(ctx, roleMeasure)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS}
	cmd.Stdin = bytes.NewReader(in)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, io.Writer(&stderr)
	if o.Progress != nil {
		cmd.Stderr = &splitter{o.Progress, &stderr, nil}
	}
	if err = start(cmd, o.Unit); err == nil {
		err = cmd.Wait()
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, unix.EPERM) && os.Geteuid() != 0:
		return nil, fmt.Errorf("compare: a network namespace of its own: %w", err)
	case err != nil:
		return nil, fmt.Errorf("compare: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	r := new(Result)
	if err := json.Unmarshal(stdout.Bytes(), r); err != nil {
		return nil, fmt.Errorf("compare: read result: %w", err)
	}
	return r, nil
}

// progressMark begins a line that tells what is measured.
const progressMark = "\x01"

// splitter sends lines of progress one way and the others another.
type splitter struct {
	progress func(string)
	rest     *bytes.Buffer
	begun    []byte
}

func (s *splitter) Write(b []byte) (int, error) {
	s.begun = append(s.begun, b...)
	for {
		line, after, ok := bytes.Cut(s.begun, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		if text, ok := strings.CutPrefix(string(line), progressMark); ok {
			s.progress(text)
		} else {
			s.rest.Write(append(line, '\n'))
		}
		s.begun = after
	}
}

// measureMain is the process that measures.
func measureMain() error {
	var o Options
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		return fmt.Errorf("read options: %w", err)
	}
	if err := unix.Mount("bpf", native.DefaultBPFFS, "bpf", 0, "mode=0700"); err != nil {
		return fmt.Errorf("mount bpffs: %w", err)
	}
	r, err := run(context.Background(), o)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// serveAddress is where the server listens, which only its network namespace
// sees.
const serveAddress = "@xdpctl-compare"

// served is package native behind a server of the family.
type served struct {
	control *native.Control
	genl    *genl.Server
	family  *family.Server
}

func serveNative() (*served, error) {
	c, err := native.Open(native.Options{})
	if err != nil {
		return nil, err
	}
	// As xdpctl-nl serve does.
	if err := c.CountExceptions(context.Background()); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	s := &served{control: c, genl: genl.NewServer(genl.ServerOptions{})}
	if s.family, err = family.Serve(s.genl, c, family.ServeOptions{}); err != nil {
		return nil, errors.Join(err, s.genl.Close(), c.Close())
	}
	return s, nil
}

func (s *served) Close() error {
	return errors.Join(s.family.Close(), s.genl.Close(), s.control.Close())
}

// serveMain is the process that serves, until standard input ends. A line there has it
// collect its garbage, and say so.
func serveMain() error {
	// To wait for a line must not take one of the runtime's processors, which its
	// monitor would take back some day.
	if err := unix.SetNonblock(unix.Stdin, true); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	stdin := os.NewFile(uintptr(unix.Stdin), "stdin")
	s, err := serveNative()
	if err != nil {
		return err
	}
	l, err := genl.ListenUnix(serveAddress, genl.UnixOptions{})
	if err != nil {
		return errors.Join(err, s.Close())
	}
	done := make(chan error, 1)
	go func() { done <- s.genl.ServeUnix(l) }()
	fmt.Println(serveAddress)
	for asked := bufio.NewScanner(stdin); asked.Scan(); {
		runtime.GC()
		fmt.Println("collected")
	}
	err = l.Close()
	if serr := <-done; !errors.Is(serr, os.ErrClosed) {
		err = errors.Join(err, serr)
	}
	return errors.Join(err, s.Close())
}

// server is the process that serves.
type server struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

// startServer starts the server. Where instructions are counted it collects its garbage
// when it is told.
func startServer(ctx context.Context, unit string) (*server, error) {
	s := &server{cmd: again(ctx, roleServe)}
	s.cmd.Stderr = os.Stderr
	if unit == Instructions {
		s.cmd.Env = append(s.cmd.Env, "GOGC=off", fmt.Sprintf("GOMEMLIMIT=%d", memoryLimit))
	}
	stdin, err := s.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.stdin, s.stdout = stdin, bufio.NewReader(stdout)
	if err := start(s.cmd, unit); err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	if _, err := s.stdout.ReadString('\n'); err != nil {
		return nil, errors.Join(fmt.Errorf("start server: %w", err), s.Close())
	}
	return s, nil
}

// collect has it collect its garbage.
func (s *server) collect() error {
	if _, err := io.WriteString(s.stdin, "\n"); err != nil {
		return fmt.Errorf("have the server collect its garbage: %w", err)
	}
	if _, err := s.stdout.ReadString('\n'); err != nil {
		return fmt.Errorf("have the server collect its garbage: %w", err)
	}
	return nil
}

func (s *server) Close() error {
	s.stdin.Close()
	return s.cmd.Wait()
}
