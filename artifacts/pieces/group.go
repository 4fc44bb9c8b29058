package pieces

import "encoding/binary"

// group writes the bytes of src into dst, of the same length, by significance: the last byte of each little-endian element of so many
// bytes (its sign and exponent) first, then the last but one of each, and so on. Bytes behind the last whole element follow as they are.
func group(dst, src []byte, width int) {
	n := len(src) / width
	copy(dst[n*width:], src[n*width:])
	switch width {
	case 2:
		group2(dst[:n], dst[n:2*n], src[:2*n])
	case 4:
		a, b, c, d := dst[:n], dst[n:2*n], dst[2*n:3*n], dst[3*n:4*n]
		src = src[:4*n]
		for i := range a {
			v := binary.LittleEndian.Uint32(src[4*i:])
			a[i], b[i], c[i], d[i] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
		}
	default:
		for k := range width {
			plane, from := dst[k*n:(k+1)*n], width-1-k
			for i := range plane {
				plane[i] = src[i*width+from]
			}
		}
	}
}

// ungroup is the inverse of group.
func ungroup(dst, src []byte, width int) {
	n := len(src) / width
	copy(dst[n*width:], src[n*width:])
	switch width {
	case 2:
		ungroup2(dst[:2*n], src[:n], src[n:2*n])
	case 4:
		a, b, c, d := src[:n], src[n:2*n], src[2*n:3*n], src[3*n:4*n]
		dst = dst[:4*n]
		for i := range a {
			binary.LittleEndian.PutUint32(dst[4*i:], uint32(a[i])<<24|uint32(b[i])<<16|uint32(c[i])<<8|uint32(d[i]))
		}
	default:
		for k := range width {
			plane, to := src[k*n:(k+1)*n], width-1-k
			for i := range plane {
				dst[i*width+to] = plane[i]
			}
		}
	}
}

// group2 takes eight elements a step: most of what is stored are such tensors, and byte by byte takes three times as long.
func group2(high, low, src []byte) {
	i := 0
	for ; i+8 <= len(high); i += 8 {
		a, b := binary.LittleEndian.Uint64(src[2*i:]), binary.LittleEndian.Uint64(src[2*i+8:])
		binary.LittleEndian.PutUint64(low[i:], even(a)|even(b)<<32)
		binary.LittleEndian.PutUint64(high[i:], even(a>>8)|even(b>>8)<<32)
	}
	for ; i < len(high); i++ {
		low[i], high[i] = src[2*i], src[2*i+1]
	}
}

func ungroup2(dst, high, low []byte) {
	i := 0
	for ; i+8 <= len(high); i += 8 {
		h, l := binary.LittleEndian.Uint64(high[i:]), binary.LittleEndian.Uint64(low[i:])
		binary.LittleEndian.PutUint64(dst[2*i:], spread(l)|spread(h)<<8)
		binary.LittleEndian.PutUint64(dst[2*i+8:], spread(l>>32)|spread(h>>32)<<8)
	}
	for ; i < len(high); i++ {
		dst[2*i], dst[2*i+1] = low[i], high[i]
	}
}

// even brings bytes 0, 2, 4 and 6 together at the lower end.
func even(x uint64) uint64 {
	x &= 0x00ff00ff00ff00ff
	x = (x | x>>8) & 0x0000ffff0000ffff
	return (x | x>>16) & 0x00000000ffffffff
}

// spread is the inverse of even.
func spread(x uint64) uint64 {
	x &= 0x00000000ffffffff
	x = (x | x<<16) & 0x0000ffff0000ffff
	return (x | x<<8) & 0x00ff00ff00ff00ff
}
