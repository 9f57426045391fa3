//! Scans text with AVX2 or AVX-512 on CPUs that support these and the related features. The features are detected at
//! run time. Finding fields takes a third less time with AVX2 and half the time with AVX-512.

use std::arch::x86_64::{
    __m256i, __m512i, _mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_extract_epi64, _mm_set_epi64x,
    _mm_set1_epi8, _mm256_cmpeq_epi8, _mm256_movemask_epi8, _mm256_set1_epi8, _mm256_setr_epi64x,
    _mm512_add_epi32, _mm512_castsi512_si128, _mm512_cmpeq_epi8_mask, _mm512_cvtepu8_epi32,
    _mm512_extracti32x4_epi32, _mm512_maskz_compress_epi8, _mm512_movepi8_mask, _mm512_set1_epi8,
    _mm512_set1_epi32, _mm512_setr_epi64,
};

use super::{BLOCK, Masks, Tile, write_positions};

/// Scans text if the CPU supports the required features. Returns whether it does.
type Scan = fn(&mut Tile, &[u8], usize) -> bool;

/// The implementations, from the fastest to the slowest.
pub(super) const IMPLEMENTATIONS: [Scan; 2] = [avx512, avx2];

#[allow(unsafe_code)]
fn avx512(tile: &mut Tile, text: &[u8], from: usize) -> bool {
    let available = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vbmi2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("popcnt")
        && is_x86_feature_detected!("pclmulqdq");
    if available {
        // SAFETY: all features that the function is compiled for were just detected. The function has no other safety
        // requirements.
        unsafe { scan_64(tile, text, from) }
    }
    available
}

#[allow(unsafe_code)]
fn avx2(tile: &mut Tile, text: &[u8], from: usize) -> bool {
    let available = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("popcnt")
        && is_x86_feature_detected!("pclmulqdq");
    if available {
        // SAFETY: as in `avx512`, all features were just detected, and there are no other requirements.
        unsafe { scan_32(tile, text, from) }
    }
    available
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,bmi1,popcnt,pclmulqdq")]
fn scan_64(tile: &mut Tile, text: &[u8], from: usize) {
    tile.scan_with(
        text,
        from,
        |block| masks_64(block),
        |bits| running_xor(bits),
        |bits, base, out| positions_64(bits, base, out),
    );
}

#[target_feature(enable = "avx2,bmi1,popcnt,pclmulqdq")]
fn scan_32(tile: &mut Tile, text: &[u8], from: usize) {
    tile.scan_with(text, from, |block| masks_32(block), |bits| running_xor(bits), write_positions);
}

#[inline]
#[target_feature(enable = "avx512bw")]
fn masks_64(block: &[u8; BLOCK]) -> Masks {
    let block = load_64(block);
    let equal = |byte: u8| _mm512_cmpeq_epi8_mask(block, _mm512_set1_epi8(byte.cast_signed()));
    Masks {
        quotes: equal(b'"'),
        spaces: equal(b' '),
        line_ends: equal(b'\n'),
        odd: _mm512_movepi8_mask(block),
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_64(bytes: &[u8; BLOCK]) -> __m512i {
    let (words, _) = bytes.as_chunks::<8>();
    let word = |index: usize| i64::from_le_bytes(words[index]);
    _mm512_setr_epi64(word(0), word(1), word(2), word(3), word(4), word(5), word(6), word(7))
}

/// Writes the positions of up to sixteen set bits in one step: compresses the indices of the set bits to the front, and
/// adds `base`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,bmi1,popcnt")]
fn positions_64(bits: u64, base: u32, out: &mut [u32; BLOCK]) {
    const NUMBERS: [u8; BLOCK] = {
        let mut numbers = [0; BLOCK];
        let mut number = 0;
        while number < BLOCK {
            numbers[number] = number as u8;
            number += 1;
        }
        numbers
    };
    if bits.count_ones() > 16 {
        return write_positions(bits, base, out);
    }
    let numbers = _mm512_maskz_compress_epi8(bits, load_64(&NUMBERS));
    let numbers = _mm512_cvtepu8_epi32(_mm512_castsi512_si128(numbers));
    let positions = _mm512_add_epi32(numbers, _mm512_set1_epi32(base.cast_signed()));
    let quarters = [
        _mm512_extracti32x4_epi32::<0>(positions),
        _mm512_extracti32x4_epi32::<1>(positions),
        _mm512_extracti32x4_epi32::<2>(positions),
        _mm512_extracti32x4_epi32::<3>(positions),
    ];
    for (out, quarter) in out.chunks_exact_mut(4).zip(quarters) {
        let halves = [_mm_cvtsi128_si64(quarter), _mm_extract_epi64::<1>(quarter)];
        for (out, half) in out.chunks_exact_mut(2).zip(halves) {
            out[0] = half as u32;
            out[1] = (half >> 32) as u32;
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn masks_32(block: &[u8; BLOCK]) -> Masks {
    let (halves, _) = block.as_chunks::<32>();
    let halves = [load_32(&halves[0]), load_32(&halves[1])];
    let mask = |[low, high]: [__m256i; 2]| {
        let bits = |half| u64::from(_mm256_movemask_epi8(half).cast_unsigned());
        bits(low) | bits(high) << 32
    };
    let equal = |byte: u8| {
        let byte = _mm256_set1_epi8(byte.cast_signed());
        mask(halves.map(|half| _mm256_cmpeq_epi8(half, byte)))
    };
    Masks { quotes: equal(b'"'), spaces: equal(b' '), line_ends: equal(b'\n'), odd: mask(halves) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_32(bytes: &[u8; 32]) -> __m256i {
    let (words, _) = bytes.as_chunks::<8>();
    let word = |index: usize| i64::from_le_bytes(words[index]);
    _mm256_setr_epi64x(word(0), word(1), word(2), word(3))
}

/// Computes the prefix XOR as the carry-less product of the bits and an all-ones word.
#[inline]
#[target_feature(enable = "pclmulqdq")]
fn running_xor(bits: u64) -> u64 {
    let bits = _mm_set_epi64x(0, bits.cast_signed());
    _mm_cvtsi128_si64(_mm_clmulepi64_si128(bits, _mm_set1_epi8(-1), 0)).cast_unsigned()
}
