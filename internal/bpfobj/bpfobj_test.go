// SPDX-License-Identifier: BSD-3-Clause

package bpfobj

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
)

func object(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("../skeltest/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestKconfig(t *testing.T) {
	b := object(t, "kconfig.bpf.o")
	if _, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(b)); err == nil {
		t.Error("the library reads weak variables by now")
	}
	before := bytes.Clone(b)
	o, err := Read(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, before) {
		t.Error("the object was changed")
	}
	want := map[string]bool{
		"CONFIG_HZ": true, "CONFIG_VETH": true, "CONFIG_DEFAULT_HOSTNAME": true,
		"CONFIG_NO_SUCH_NUMBER": true, "CONFIG_NO_SUCH_BOOL": true,
	}
	if diff := cmp.Diff(want, o.Weak); diff != "" {
		t.Errorf("weak, -want +got:\n%s", diff)
	}
	ds, ok := o.Spec.Maps[KconfigData].Value.(*btf.Datasec)
	if !ok || len(ds.Vars) != 7 {
		t.Fatalf("section %v", ds)
	}
	for _, v := range ds.Vars {
		if v := v.Type.(*btf.Var); v.Linkage != btf.GlobalVar {
			t.Errorf("%s is %v", v.Name, v.Linkage)
		}
	}
}

func TestStructOps(t *testing.T) {
	for name, noLink := range map[string]bool{"opslink.bpf.o": false, "opsupdate.bpf.o": true} {
		o, err := Read(object(t, name))
		if err != nil {
			t.Fatal(err)
		}
		m := o.Spec.Maps["counting"]
		if m == nil || o.NoLink["counting"] != noLink || m.Flags&linkFlag == 0 != noLink {
			t.Errorf("%s: %v, without a link: %v", name, m, o.NoLink)
		}
		want := []string{"cc_ssthresh", "cc_cong_avoid", "cc_undo_cwnd", "cc_init"}
		if diff := cmp.Diff(want, o.Order); diff != "" {
			t.Errorf("%s: order, -want +got:\n%s", name, diff)
		}
	}
}

func TestRefused(t *testing.T) {
	big := bytes.Clone(object(t, "vars.bpf.o"))
	big[5] = 2 // ELFDATA2MSB
	// The headers read the other way round.
	binary.BigEndian.PutUint32(big[0x14:], 1)
	if _, err := Read(big); err == nil {
		t.Error("a big-endian object was read")
	}
	optional := bytes.Replace(object(t, "opslink.bpf.o"), []byte(".struct_ops.link\x00"), []byte("?.struct_ops.lin\x00"), -1)
	if _, err := Read(optional); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("optional struct_ops: %v", err)
	}
	if _, err := Read(nil); err == nil {
		t.Error("nothing was read")
	}
}
