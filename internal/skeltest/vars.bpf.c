// SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
//go:build ignore

/*
 * Global variables of every kind. Each run of touch writes those that programs
 * write, from those that they only read.
 */
#include <stdbool.h>
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

enum mode { MODE_IDLE, MODE_BUSY = 5 };
enum big { BIG_VALUE = 0x100000001ULL };
enum small { SMALL_ONE = 1 } __attribute__((packed));

struct inner {
	__u32 id;
	__u16 port;
	__u8 mac[6];
};

struct stats {
	__u64 packets;
	__u32 errors;
	__u16 last_port;
	bool active;
	char tag;
	enum mode mode;
	struct inner inner;
	struct inner more[2];
	union {
		__u64 whole;
		struct {
			__u32 low, high;
		};
		__u8 bytes[8];
	};
	union {
		__u32 number;
		struct inner as_inner;
	} choice;
	__s64 signed_total;
	void *pointer;
};

struct bits {
	__u32 low : 3;
	__s32 middle : 7;
	__u32 : 2;
	__u32 high : 20;
	__u8 after;
	bool flag : 1;
	__u64 wide : 40;
};

struct packed {
	__u8 kind;
	__u64 value;
	__u16 port;
} __attribute__((packed));

struct aligned {
	__u32 first;
} __attribute__((aligned(64)));

typedef struct {
	__s32 x, y;
} point_t;

/* .rodata */
const volatile __u32 step = 1;
const volatile bool enabled = true;
const volatile struct inner template = { .id = 7, .port = 80, .mac = { 1, 2, 3 } };
const volatile char label[8] = "skel";
const volatile enum mode wanted = MODE_BUSY;
const volatile struct bits const_bits = { .low = 5, .middle = -3, .high = 77 };

/* .data: the first two are only read. */
__u32 limit = 100;
struct inner source = { .id = 42, .port = 443 };
__u64 total = 1000;
__s32 balance = -1;
__u16 port = 8080;
bool ready;
enum mode state = MODE_BUSY;
enum big big = BIG_VALUE;
enum small little = SMALL_ONE;
double ratio = 0.5;
point_t where = { 3, -4 };

/* .bss */
__u64 runs;
__u32 histogram[4];
__u8 flags[3];
struct stats stats;
struct bits written_bits;
struct packed written_packed;
struct packed read_packed;
struct aligned over[2];
struct stats unused;
static __u64 hidden;
unsigned __int128 wide;
char name[16];
__s8 tiny;

/* Sections of their own. */
__u64 custom SEC(".data.custom") = 9;
const volatile __u64 fixed SEC(".rodata.fixed") = 11;

static __always_inline void touch_stats(void)
{
	__sync_fetch_and_add(&stats.packets, step);
	stats.errors = limit;
	stats.last_port = source.port;
	stats.active = enabled;
	stats.tag = 'x';
	stats.mode = wanted;
	stats.inner.id = source.id;
	stats.inner.mac[5] = template.mac[2];
	stats.more[1].port = template.port;
	stats.low = 1;
	stats.high = 2;
	stats.choice.as_inner.port = 99;
	stats.signed_total -= 2;
	stats.pointer = &stats;
}

static __always_inline void touch_bits(void)
{
	written_bits.low = const_bits.low;
	written_bits.middle = const_bits.middle;
	written_bits.high = const_bits.high;
	written_bits.after = 200;
	written_bits.flag = true;
	written_bits.wide = 0xabcdef0123ULL;
	written_packed.kind = read_packed.kind;
	written_packed.value = read_packed.value + 1;
	written_packed.port = read_packed.port;
}

SEC("xdp")
int touch(struct xdp_md *ctx)
{
	if (runs >= limit)
		return XDP_DROP;
	runs += step;
	hidden++;
	total += source.id;
	balance--;
	port++;
	ready = enabled;
	state = MODE_IDLE;
	little = SMALL_ONE;
	where.x++;
	histogram[runs & 3]++;
	flags[1] = 0xee;
	over[1].first = 5;
	custom += fixed;
	tiny = -5;
	name[0] = label[0];
	touch_stats();
	touch_bits();
	return hidden ? XDP_PASS : XDP_ABORTED;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
