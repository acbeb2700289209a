// SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"io"
	"strings"
	"testing"
)

func TestBrief(t *testing.T) {
	tests := []struct {
		name, in, want string
		fails          bool
	}{
		{
			name: "pass",
			in: `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"A"}
{"Action":"output","Package":"p","Test":"A","Output":"=== RUN A\n"}
{"Action":"pass","Package":"p","Test":"A","Elapsed":0}
{"Action":"skip","Package":"p","Test":"B","Elapsed":0}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"pass","Package":"p","Elapsed":1.25}
`,
			want: "ok   p 1.3s\n1 passed, 0 failed, 1 skipped\n",
		},
		{
			name: "fail",
			in: `{"Action":"output","Package":"p","Test":"A","Output":"a.go:1: wrong\n"}
{"Action":"fail","Package":"p","Test":"A"}
{"Action":"output","Package":"p","Output":"FAIL\n"}
{"Action":"fail","Package":"p","Elapsed":2}
`,
			want:  "a.go:1: wrong\nFAIL\nFAIL p 2s\n0 passed, 1 failed, 0 skipped\n",
			fails: true,
		},
		{
			name: "harness",
			in: `{"Action":"pass","Package":"p","Test":"A"}
{"Action":"output","Package":"p","Output":"vmrun: check failed\n"}
{"Action":"fail","Package":"p","Elapsed":2}
`,
			want:  "vmrun: check failed\nFAIL p 2s\n1 passed, 1 failed, 0 skipped\n",
			fails: true,
		},
		{
			name: "panic",
			in: `{"Action":"output","Package":"p","Test":"A","Output":"panic: x\n"}
{"Action":"fail","Package":"p","Elapsed":2}
`,
			want:  "panic: x\nFAIL p 2s\n0 passed, 1 failed, 0 skipped\n",
			fails: true,
		},
		{
			name: "build",
			in: `{"ImportPath":"p","Action":"build-output","Output":"p.go:1: wrong\n"}
{"ImportPath":"p","Action":"build-fail"}
{"Action":"fail","Package":"p","Elapsed":0,"FailedBuild":"p"}
`,
			want:  "p.go:1: wrong\nFAIL p 0s\n0 passed, 1 failed, 0 skipped\n",
			fails: true,
		},
		{name: "nothing", in: "no packages\n", want: "no packages\n0 passed, 0 failed, 0 skipped\n", fails: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			b := &brief{w: &out, log: io.Discard, output: make(map[string]*strings.Builder)}
			err := b.read(strings.NewReader(tt.in))
			if (err != nil) != tt.fails {
				t.Errorf("error: %v", err)
			}
			if out.String() != tt.want {
				t.Errorf("got:\n%s\nwant:\n%s", out.String(), tt.want)
			}
		})
	}
}
