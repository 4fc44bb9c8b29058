package numbers

import (
	"encoding/binary"
	"math"
	"slices"
)

// format is how a dtype writes its numbers. Every one is exact in a float64 but for integers of 64 bits.
type format struct {
	width int // bytes
	read  func(into []float64, from []byte)
	// apart is how far the numbers of a and b are from each other, where that cannot be told from what read gives.
	apart func(into []float64, a, b []byte)
}

// formats are those of the dtypes whose numbers stand one by one. Of any other only the bytes are compared.
var formats = map[string]format{
	"F64": {8, readF64, nil}, "F32": {4, readF32, nil}, "F16": {2, readF16, nil}, "BF16": {2, readBF16, nil},
	"F8_E4M3": {1, reads(e4m3), nil}, "F8_E5M2": {1, reads(e5m2), nil},
	"BOOL": {1, reads(func(b byte) float64 { return float64(b) }), nil},
	"U8":   {1, reads(func(b byte) float64 { return float64(b) }), nil},
	"I8":   {1, reads(func(b byte) float64 { return float64(int8(b)) }), nil},
	"U16":  {2, readInts(u16), nil}, "I16": {2, readInts(func(p []byte) int16 { return int16(u16(p)) }), nil},
	"U32": {4, readInts(u32), nil}, "I32": {4, readInts(func(p []byte) int32 { return int32(u32(p)) }), nil},
	"U64": {8, readInts(u64), apart64(u64)}, "I64": {8, readInts(i64), apart64(i64)},
}

var u16, u32, u64 = binary.LittleEndian.Uint16, binary.LittleEndian.Uint32, binary.LittleEndian.Uint64

func i64(p []byte) int64 { return int64(u64(p)) }

func readF64(into []float64, from []byte) {
	for i := range into {
		into[i] = math.Float64frombits(binary.LittleEndian.Uint64(from[8*i:]))
	}
}

func readF32(into []float64, from []byte) {
	for i := range into {
		into[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(from[4*i:])))
	}
}

func readBF16(into []float64, from []byte) {
	for i := range into {
		into[i] = float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(from[2*i:])) << 16))
	}
}

func readF16(into []float64, from []byte) {
	for i := range into {
		into[i] = half(binary.LittleEndian.Uint16(from[2*i:]))
	}
}

// half is a number of IEEE 754's binary16.
func half(bits uint16) float64 {
	sign, exponent, fraction := uint32(bits>>15)<<31, uint32(bits>>10&0x1f), uint32(bits&0x3ff)
	switch exponent {
	case 0:
		return math.Copysign(float64(fraction)*0x1p-24, float64(math.Float32frombits(sign|0x3f800000)))
	case 0x1f:
		return float64(math.Float32frombits(sign | 0x7f800000 | fraction<<13))
	default:
		return float64(math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13))
	}
}

// e5m2 is the first half of a binary16.
func e5m2(b byte) float64 { return half(uint16(b) << 8) }

// e4m3 has no infinity; its one NaN is all ones but for the sign.
func e4m3(b byte) float64 {
	exponent, fraction := int(b>>3&0xf), float64(b&7)
	var v float64
	switch {
	case b&0x7f == 0x7f:
		return math.NaN()
	case exponent == 0:
		v = math.Ldexp(fraction, -9)
	default:
		v = math.Ldexp(8+fraction, exponent-10)
	}
	if b&0x80 != 0 {
		return -v
	}
	return v
}

// reads looks the numbers of one byte up.
func reads(number func(byte) float64) func([]float64, []byte) {
	var table [256]float64
	for i := range table {
		table[i] = number(byte(i))
	}
	return func(into []float64, from []byte) {
		for i := range into {
			into[i] = table[from[i]]
		}
	}
}

func readInts[T uint16 | int16 | uint32 | int32 | uint64 | int64](number func([]byte) T) func([]float64, []byte) {
	return func(into []float64, from []byte) {
		width := len(from) / max(len(into), 1)
		for i := range into {
			into[i] = float64(number(from[i*width:]))
		}
	}
}

// apart64 takes the difference before it is rounded: as float64, 2^53 and 2^53+1 are the same.
func apart64[T uint64 | int64](number func([]byte) T) func(into []float64, a, b []byte) {
	return func(into []float64, a, b []byte) {
		for i := range into {
			x, y := number(a[8*i:]), number(b[8*i:])
			into[i] = float64(uint64(max(x, y)) - uint64(min(x, y)))
		}
	}
}

// turn makes numbers little-endian that are not.
func turn(p []byte, width int) {
	for at := 0; at+width <= len(p); at += width {
		slices.Reverse(p[at : at+width])
	}
}
