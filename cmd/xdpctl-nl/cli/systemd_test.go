// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"net"
	"path/filepath"
	"testing"
)

// TestInherited takes nothing that was meant for another process.
func TestInherited(t *testing.T) {
	for _, env := range []map[string]string{{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}} {
		if l, err := inherited(func(k string) string { return env[k] }); l != nil || err != nil {
			t.Errorf("%v: got %v, %v", env, l, err)
		}
	}
}

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := notify(func(string) string { return path }, "READY=1"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64)
	n, err := l.Read(buf)
	if err != nil || string(buf[:n]) != "READY=1" {
		t.Errorf("got %q, %v", buf[:n], err)
	}
	if err := notify(func(string) string { return "" }, "READY=1"); err != nil {
		t.Error(err)
	}
}
