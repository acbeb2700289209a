// SPDX-License-Identifier: BSD-3-Clause

package drvgen

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestGenerated compares with what is committed.
func TestGenerated(t *testing.T) {
	table, err := Parse(read(t, "../../kmod/drvtable.c"), read(t, "../../kmod/drvstats.h"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := table.Render()
	if err != nil {
		t.Fatal(err)
	}
	if want := read(t, "../../native/zz_drvtable.go"); !bytes.Equal(got, []byte(want)) {
		t.Error("native/zz_drvtable.go is out of date: run make generate")
	}
	// Whatever is a string in the table must be one in what was made of it.
	for line := range strings.Lines(read(t, "../../kmod/drvtable.c")) {
		_, s, ok := strings.Cut(line, `{ "`)
		if !ok {
			continue
		}
		s, _, _ = strings.Cut(s, `"`)
		if !bytes.Contains(got, []byte(`"`+s+`"`)) {
			t.Errorf("counter %q got lost", s)
		}
	}
}

// TestParseRefuses changes the table in ways that must not go unnoticed.
func TestParseRefuses(t *testing.T) {
	table, header := read(t, "../../kmod/drvtable.c"), read(t, "../../kmod/drvstats.h")
	for _, tc := range []struct{ name, old, new, want string }{
		{"helper", "return !generic && (!w->dev", "return (!w->dev", "exc_known has changed"},
		{"macro", "XDPCTL_RAW_##r", "XDPCTL_RAW2_##r", "macro RAW(r)"},
		{"counter", "RAW(FRAMES), DEV | RXQ", "RAW(FRAME), DEV | RXQ", "no counter FRAME"},
		{"flag", "RAW(FRAMES), DEV | RXQ", "RAW(FRAMES), DEV | RX", "no flag RX"},
		{"function", "static void mtk_derive", "static void mtk_other", "function mtk_other"},
		{"list", "fec_counters, 0, fec_derive", "fec_counter, 0, fec_derive", "no fec_counter"},
		{"call", "derive_diff(c, RAW(TX), RAW(TX_TRIED), RAW(TX_ERRORS));", "derive_dif(c, RAW(TX), RAW(TX_TRIED), RAW(TX_ERRORS));", `"derive_dif" is not understood`},
		{"statement", "derive_diff(c, RAW(TX), RAW(TX_TRIED), RAW(TX_ERRORS));", "while (n) n--;", `"while" is not understood`},
		{"assignment", "derive_diff(c, RAW(TX), RAW(TX_TRIED), RAW(TX_ERRORS));", "n = 1;", `"=", want ";"`},
		{"end", "	{ \"tx_queue_%u_xdp_xmit\", RAW(XMIT_PACKETS), DEV },\n	{ }\n", "	{ \"tx_queue_%u_xdp_xmit\", RAW(XMIT_PACKETS), DEV },\n", "does not end"},
		{"top", "const u32 xdpctl_n_drivers", "u32 xdpctl_n_drivers", `"u32" is not understood`},
		{"directive", "#define SLEEP", "#undef SLEEP", "unknown directive"},
	} {
		changed := strings.Replace(table, tc.old, tc.new, 1)
		if changed == table {
			t.Errorf("%s: %q is not in the table", tc.name, tc.old)
			continue
		}
		if _, err := Parse(changed, header); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
	}
}

func TestVectors(t *testing.T) {
	v, err := Vectors(read(t, "../../kmod/selftest/drvstats_test.c"))
	if err != nil {
		t.Fatal(err)
	}
	if len(v) < 10 || v[0].Name != "veth" || len(v[0].Strings) != 11 || v[0].Exceptions["MAP"]["ABORTED"] != 6 {
		t.Errorf("%d vectors, the first %+v", len(v), v[0])
	}
}
