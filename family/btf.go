// SPDX-License-Identifier: BSD-3-Clause

package family

// btfMagic is the first word of BTF: the magic number, of 16 bits, and two bytes,
// version 1 and no flags, in the order of the machine.
func btfMagic(b []byte) []byte { return append(ne.AppendUint16(b, 0xeb9f), 1, 0) }

// BTF returns the BTF that describes the keys and values of all control types, as
// the kernel module has it, in the byte order of the machine.
func BTF() []byte {
	b := btfMagic(nil)
	for _, w := range btfWords {
		b = ne.AppendUint32(b, w)
	}
	return append(b, btfStrings...)
}

// BTFTypes returns the ids of the types of the key and the value in [BTF].
func (d *TypeDesc) BTFTypes() (key, value uint32) {
	ids := btfIDs[d.Type]
	return ids.key, ids.value
}
