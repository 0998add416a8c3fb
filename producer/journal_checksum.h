/* journal_checksum.h: the checksums in a journal's file, by the file's version.
 *
 * Version 1: four lanes of multiplications and rotations. Version 2: four CRC-32C, each of every
 * fourth word of eight bytes, by the processor's instruction where there is one. Counted with
 * callgrind for a body of 440 bytes: 120 instructions, XXH3 443, version 1 317. */
#ifndef BLOTTER_PRODUCER_JOURNAL_CHECKSUM_H
#define BLOTTER_PRODUCER_JOURNAL_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

uint64_t journal_checksum_1(const void *bytes, size_t length);
uint64_t journal_checksum_2(const void *bytes, size_t length);

/* Computes the checksum of that version of the format. Any thread. */
static inline uint64_t journal_checksum(uint32_t version, const void *bytes, size_t length)
{
    return version == 1 ? journal_checksum_1(bytes, length) : journal_checksum_2(bytes, length);
}

/* Computes version 2's of six words, as if they lay behind each other in memory. */
uint64_t journal_checksum_of_words(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                                   uint64_t f);

/* Computes version 2's without the instruction; both give the same number. For tests. */
uint64_t journal_checksum_by_table(const void *bytes, size_t length);

/* Mixes a word into a lane of version 1. */
static inline uint64_t journal_checksum_mix(uint64_t lane, uint64_t word)
{
    lane = (lane ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return lane << 29 | lane >> 35;
}

#endif
