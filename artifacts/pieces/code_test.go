package pieces

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/huff0"
	"github.com/klauspost/compress/zstd"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// normal are n numbers as weights are, of so many bytes each: bf16, float32 or float64.
func normal(width, n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(width)))
	var b []byte
	for range n {
		x := r.NormFloat64() * 0.02
		switch width {
		case 2:
			b = binary.LittleEndian.AppendUint16(b, uint16(math.Float32bits(float32(x))>>16))
		case 4:
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(x)))
		default:
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
		}
	}
	return b
}

func TestGrouping(t *testing.T) {
	got := make([]byte, 7)
	group(got, []byte{1, 2, 3, 4, 5, 6, 7}, 2)
	if want := []byte{2, 4, 6, 1, 3, 5, 7}; !bytes.Equal(got, want) {
		t.Errorf("width 2: %v, want %v", got, want)
	}
	got = make([]byte, 10)
	group(got, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 4)
	if want := []byte{4, 8, 3, 7, 2, 6, 1, 5, 9, 10}; !bytes.Equal(got, want) {
		t.Errorf("width 4: %v, want %v", got, want)
	}
	for _, width := range []int{1, 2, 4, 8} {
		for n := range 70 {
			src := random(n)
			flat, back, want := make([]byte, n), make([]byte, n), make([]byte, 0, n)
			for k := width - 1; k >= 0; k-- {
				for i := range n / width {
					want = append(want, src[i*width+k])
				}
			}
			want = append(want, src[n/width*width:]...)
			group(flat, src, width)
			ungroup(back, flat, width)
			if !bytes.Equal(flat, want) || !bytes.Equal(back, src) {
				t.Fatalf("width %d, %d bytes: %v, back %v, of %v", width, n, flat, back, src)
			}
		}
	}
}

func TestCoding(t *testing.T) {
	c := coders.Get().(*coder)
	words := []byte(strings.Repeat("much the same in every line\n", 40_000))
	for name, x := range map[string]struct {
		raw   []byte
		width int
		codec Codec
		most  float64 // of the raw size
	}{
		"random":              {random(300_000), 1, Raw, 1},
		"random of two":       {random(300_000), 2, Raw, 1},
		"text":                {words, 1, Zstd, 0.01},
		"text of two":         {words, 2, Grouped2, 0.01},
		"zeros":               {make([]byte, 4<<20), 4, Grouped4, 0.001},
		"bf16":                {normal(2, 200_000), 2, Grouped2, 0.68},
		"bf16, cut at a byte": {normal(2, 200_000)[:399_999], 2, Grouped2, 0.68},
		"float32":             {normal(4, 100_000), 4, Grouped4, 0.86},
		"float64":             {normal(8, 50_000), 8, Grouped8, 0.93},
		"a byte":              {[]byte{1}, 1, Raw, 1},
		"a byte of eight":     {[]byte{1}, 8, Raw, 1},
		"one value":           {bytes.Repeat([]byte{9}, 5000), 1, Zstd, 0.02},
		"a middle unlike all": {slices.Concat(random(1_500_000), make([]byte, 70_000), random(1_500_000)), 1, Raw, 1},
		"zeros in the middle": {slices.Concat(random(400_000), make([]byte, 70_000), random(400_000)), 1, Zstd, 0.93},
	} {
		stored, codec, err := c.encode(x.raw, x.width)
		if err != nil {
			t.Fatal(err)
		}
		if ratio := float64(len(stored)) / float64(len(x.raw)); codec != x.codec || ratio > x.most {
			t.Errorf("%s: codec %d and %.3f of the size; want codec %d and %.3f", name, codec, ratio, x.codec, x.most)
		}
		got, err := Decode(make([]byte, len(x.raw)), codec, stored)
		if err != nil || !bytes.Equal(got, x.raw) {
			t.Errorf("%s comes back as other bytes, %v", name, err)
		}
	}
}

// TestLiterals: the frames are those of RFC 8878, for which another's decoder stands, at every size at which something begins.
func TestLiterals(t *testing.T) {
	s := &huff0.Scratch{Reuse: huff0.ReusePolicyNone}
	d, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	skewed := normal(2, 200_000)
	flat := make([]byte, len(skewed))
	group(flat, skewed, 2)
	for _, n := range []int{1, 2, 255, 256, 1023, 1024, 1025, 1 << 14, 1<<16 - 1, 1 << 17, 1<<17 + 1, 1<<17 + 1024, 200_000} {
		for _, src := range [][]byte{flat[:n], make([]byte, n), random(n)} {
			for _, planes := range [][]int{nil, {n}, {0, n}, {n / 2, n - n/2}, {n / 3, 0, n - n/3}} {
				got, err := literals(nil, src, s, slices.Clone(planes)...)
				if err != nil {
					t.Fatal(err)
				}
				var h zstd.Header
				if err := h.Decode(got); err != nil || !h.SingleSegment || h.HasCheckSum || h.FrameContentSize != uint64(n) {
					t.Fatalf("%d bytes in planes of %v: header %+v, %v", n, planes, h, err)
				}
				if back, err := d.DecodeAll(got, nil); err != nil || !bytes.Equal(back, src) {
					t.Fatalf("%d bytes in planes of %v: %v", n, planes, err)
				}
				if len(got) > n+9+3*(n/blockSize+4) {
					t.Fatalf("%d bytes in planes of %v take %d", n, planes, len(got))
				}
			}
		}
	}
}

// TestNoiseIsTriedNowAndThen: blocks behind noise are taken as they are for a while, and not for long.
func TestNoiseIsTriedNowAndThen(t *testing.T) {
	s := &huff0.Scratch{Reuse: huff0.ReusePolicyNone}
	noise, dull := random(25*blockSize), make([]byte, 25*blockSize)
	for i := range dull {
		dull[i] = byte(i) & 7 * byte(i>>3&1)
	}
	for name, c := range map[string]struct {
		src    []byte
		planes []int
		most   int // blocks' worth of bytes
	}{
		"noise":                 {noise, nil, 26},
		"dull behind it":        {slices.Concat(noise, dull), nil, 25 + mostUntried + 10},
		"dull in another plane": {slices.Concat(noise, dull), []int{len(noise), len(dull)}, 25 + 10},
		"noise behind it":       {slices.Concat(dull, noise), nil, 25 + 10},
	} {
		got, err := literals(nil, c.src, s, c.planes...)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) > c.most*blockSize {
			t.Errorf("%s: %d bytes, %d blocks' worth", name, len(got), len(got)/blockSize)
		}
		if back, err := unframe(make([]byte, len(c.src)), got); err != nil || !bytes.Equal(back, c.src) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	frame := func(src []byte, opts ...zstd.EOption) []byte {
		e, err := zstd.NewWriter(nil, append([]zstd.EOption{zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true)}, opts...)...)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		return e.EncodeAll(src, nil)
	}
	zeros := make([]byte, 1<<20)
	for name, x := range map[string]struct {
		codec  Codec
		raw    int
		stored []byte
	}{
		"raw of another size": {Raw, 3, []byte{1, 2}},
		"no raw bytes":        {Raw, 0, nil},
		"no frame":            {Zstd, 3, []byte("abc")},
		"nothing":             {Zstd, 3, nil},
		"a larger frame":      {Zstd, 1<<20 - 1, frame(zeros)},
		"a smaller frame":     {Grouped2, 1<<20 + 1, frame(zeros)},
		"a cut frame":         {Zstd, 1 << 20, frame(zeros)[:30]},
		"a checksum":          {Zstd, 1 << 20, frame(zeros, zstd.WithEncoderCRC(true))},
		"a window":            {Zstd, 1 << 20, frame(zeros, zstd.WithSingleSegment(false), zstd.WithWindowSize(1<<16))},
		"two frames":          {Zstd, 1 << 20, append(frame(zeros), frame(zeros)...)},
		"skippable":           {Zstd, 4, []byte{0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0}},
	} {
		if got, err := Decode(make([]byte, x.raw), x.codec, x.stored); !errors.Is(err, artifacts.ErrDamaged) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if _, err := Decode(make([]byte, 3), codecs, []byte{1, 2, 3}); !errors.Is(err, ErrNewer) {
		t.Errorf("codec %d: %v", codecs, err)
	}
}

// FuzzDecodePiece: what comes out has the size that was asked for, or is damage.
func FuzzDecodePiece(f *testing.F) {
	c := coders.Get().(*coder)
	for _, width := range []int{1, 2, 4, 8} {
		raw := normal(2, 5000)
		for _, how := range []method{searched, literalsOnly} {
			stored, err := c.frame(nil, raw, width, how)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(byte(codecOf(width)), uint32(len(raw)), stored)
		}
	}
	f.Add(byte(Raw), uint32(3), []byte("abc"))
	f.Fuzz(func(t *testing.T, codec byte, n uint32, stored []byte) {
		n %= MaxPiece + 1
		got, err := Decode(make([]byte, n), Codec(codec), stored)
		if err == nil && len(got) != int(n) {
			t.Fatalf("%d bytes, not %d", len(got), n)
		}
		if err != nil && errors.Is(err, artifacts.ErrDamaged) == errors.Is(err, ErrNewer) {
			t.Fatalf("%v is neither damage nor newer", err)
		}
	})
}

func BenchmarkGroup(b *testing.B) {
	for _, width := range []int{2, 4, 8} {
		src := random(4 << 20)
		dst := make([]byte, len(src))
		b.Run(fmt.Sprint(width), func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				group(dst, src, width)
			}
		})
		b.Run(fmt.Sprint(width, "back"), func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				ungroup(dst, src, width)
			}
		})
	}
}

// BenchmarkCode shows what each way of coding 4 MiB costs, and by how much they shrink.
func BenchmarkCode(b *testing.B) {
	for _, x := range []struct {
		name  string
		raw   []byte
		width int
	}{{"bf16", normal(2, 2<<20), 2}, {"float32", normal(4, 1<<20), 4}, {"random", random(4 << 20), 1}} {
		c := coders.Get().(*coder)
		flat := make([]byte, len(x.raw))
		group(flat, x.raw, x.width)
		for how, name := range map[method]string{searched: "searched", literalsOnly: "literals"} {
			b.Run(x.name+"/"+name, func(b *testing.B) {
				b.SetBytes(int64(len(x.raw)))
				buf := make([]byte, 0, 2*len(flat))
				for b.Loop() {
					out, err := c.frame(buf, flat, x.width, how)
					if err != nil {
						b.Fatal(err)
					}
					b.ReportMetric(float64(len(out))/float64(len(flat)), "ratio")
				}
			})
		}
		b.Run(x.name+"/encode", func(b *testing.B) {
			b.SetBytes(int64(len(x.raw)))
			for b.Loop() {
				out, codec, err := c.encode(x.raw, x.width)
				if err != nil {
					b.Fatal(err)
				}
				if codec != Raw {
					give(out)
				}
			}
		})
		stored, codec, err := c.encode(x.raw, x.width)
		if err != nil {
			b.Fatal(err)
		}
		dst := make([]byte, len(x.raw))
		b.Run(x.name+"/decode", func(b *testing.B) {
			b.SetBytes(int64(len(x.raw)))
			for b.Loop() {
				if _, err := Decode(dst, codec, stored); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
