// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xdpctl/xdpctl-nl/family"
)

// parsed is what the words of testWords were given.
type parsed struct {
	Type, Dev, Device, Obj, Prog string
	ID                           *uint32
	Queues, Replace              bool
	Mode                         family.Mode
	Interval                     time.Duration
	Count                        int
}

func testWords(p *parsed) words {
	return words{
		{arg: "TYPE", set: setString(&p.Type), need: true},
		{name: "dev", arg: "IF", set: setString(&p.Dev)},
		{name: "device", arg: "IF", set: setString(&p.Device)},
		{name: "queues", set: setTrue(&p.Queues)},
		{name: "obj", arg: "FILE", group: "program", need: true, set: setString(&p.Obj)},
		{name: "id", arg: "N", group: "program", need: true, set: setOptional(&p.ID, 1)},
		{name: "prog", arg: "NAME", after: "obj", set: setString(&p.Prog)},
		{name: "mode", arg: "MODE", set: setChoice(&p.Mode, []string{"native", "generic", "auto"}, family.ModeNative, family.ModeGeneric, 0)},
		{name: "interval", arg: "SECONDS", set: setSeconds(&p.Interval)},
		{name: "count", arg: "N", set: setNumber(&p.Count, 1, 100)},
	}
}

func TestWords(t *testing.T) {
	five := uint32(5)
	tests := []struct {
		args string
		want parsed
		err  string
	}{
		{args: "t obj x", want: parsed{Type: "t", Obj: "x"}},
		{args: "t id 5", want: parsed{Type: "t", ID: &five}},
		{args: "t id 0x5", want: parsed{Type: "t", ID: &five}},
		{args: "t id 5 dev a device b", want: parsed{Type: "t", ID: &five, Dev: "a", Device: "b"}},
		{args: "t id 5 q c 3", want: parsed{Type: "t", ID: &five, Queues: true, Count: 3}},
		{args: "t obj x prog y", want: parsed{Type: "t", Obj: "x", Prog: "y"}},
		{args: "t prog y obj x", want: parsed{Type: "t", Obj: "x", Prog: "y"}},
		{args: "t id 5 mode generic", want: parsed{Type: "t", ID: &five, Mode: family.ModeGeneric}},
		{args: "t id 5 interval .25", want: parsed{Type: "t", ID: &five, Interval: 250 * time.Millisecond}},

		{args: "", err: `TYPE is missing`},
		{args: "t", err: `obj FILE, or id N is missing`},
		{args: "t devv x", err: `"devv" is not a keyword; expected dev, device, queues, obj, id, prog, mode, interval, count`},
		{args: "t d x", err: `"d" is ambiguous: dev, device`},
		{args: "t dev", err: `"dev" needs a value: dev IF`},
		{args: "t dev a dev b", err: `"dev" is there twice`},
		{args: "t obj x id 5", err: `"obj" and "id" exclude each other`},
		{args: "t id 5 prog y", err: `"prog" makes sense with "obj" only`},
		{args: "t id 0", err: `id N: "0" is not a number from 1 to 4294967295`},
		{args: "t id 4294967296", err: `id N: "4294967296" is not a number from 1 to 4294967295`},
		{args: "t id x", err: `id N: "x" is not a number from 1 to 4294967295`},
		{args: "t id -1", err: `id N: "-1" is not a number from 1 to 4294967295`},
		{args: "t id 5 count 101", err: `count N: "101" is not a number from 1 to 100`},
		{args: "t id 5 mode offload", err: `mode MODE: "offload" is none of native, generic, auto`},
		{args: "t id 5 interval 0", err: `interval SECONDS: "0" is not a number of seconds from 0.001 to 1000000`},
		{args: "t id 5 interval NaN", err: `interval SECONDS: "NaN" is not a number of seconds from 0.001 to 1000000`},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			var got parsed
			err := testWords(&got).parse(strings.Fields(tt.args))
			if tt.err != "" {
				var ue *usageError
				if !errors.As(err, &ue) || err.Error() != tt.err {
					t.Errorf("got error %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	var got parsed
	if err := testWords(&got).parse([]string{"t", "id", "5", ""}); err == nil || err.Error() != `"" is not a keyword; `+testWords(&got).expected() {
		t.Errorf("empty word: got %v", err)
	}
	if err := testWords(&got).parse([]string{"t", "id", "5", "dev", ""}); err == nil {
		t.Error("an empty value was taken")
	}
	if err := (words{}).parse([]string{"x"}); err == nil || err.Error() != `"x" is not a keyword; expected nothing more` {
		t.Errorf("no words: got %v", err)
	}
}

func FuzzWords(f *testing.F) {
	f.Add("t id 5 dev a")
	f.Add("t obj x prog y queues")
	f.Fuzz(func(t *testing.T, s string) {
		args := strings.Split(s, " ")
		var p parsed
		ws := testWords(&p)
		ws.completions(args)
		err := ws.parse(args)
		var ue *usageError
		if err != nil && !errors.As(err, &ue) {
			t.Errorf("%q: error %v is none of usage", s, err)
		}
	})
}
