/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * Map definitions as loaders before BTF read them, for the objects of the tests.
 * ELF_MAP_SIZE is how many bytes of the definition the object has.
 */
#ifndef BPF_ELF_H
#define BPF_ELF_H

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#ifndef ELF_MAP_SIZE
#define ELF_MAP_SIZE	36
#endif

enum { PIN_NONE, PIN_OBJECT_NS, PIN_GLOBAL_NS };

struct bpf_elf_map {
	__u32 type;
	__u32 size_key;
	__u32 size_value;
	__u32 max_elem;
#if ELF_MAP_SIZE >= 20
	__u32 flags;
#endif
#if ELF_MAP_SIZE >= 24
	__u32 id;
#endif
#if ELF_MAP_SIZE >= 28
	__u32 pinning;
#endif
#if ELF_MAP_SIZE >= 32
	__u32 inner_id;
#endif
#if ELF_MAP_SIZE >= 36
	__u32 inner_idx;
#endif
};

/* bpf_helpers.h does not like the section any more. */
#define MAP		struct bpf_elf_map __attribute__((section("maps"), used))
#define ENTRY(name)	__attribute__((section(name), used))

#define STR_(x)		#x
#define STR(x)		STR_(x)
#define TAIL(id, key)	ENTRY(STR(id) "/" STR(key))

#define KV_PAIR(name, key_type, value_type)				\
	struct ____btf_map_##name { key_type key; value_type value; };	\
	struct ____btf_map_##name					\
		__attribute__((section(".maps." #name), used))		\
		____btf_map_##name = {}

#endif /* BPF_ELF_H */
