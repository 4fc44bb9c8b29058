package pieces_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/pieces"
)

var update = flag.Bool("update", false, "write testdata/map.hex anew: only with a new number of the format")

// digest is one whose order among others is plain to see.
func digest(n byte) artifacts.Digest {
	d := artifacts.Digest{n}
	d[31] = n
	return d
}

// example has two packs, of which a piece lies alone in the second; a file of two pieces, one of a part of a piece, and an empty one.
func example() *pieces.Map {
	return &pieces.Map{
		Packs: []pieces.PackRef{{digest(0xa1), 1000}, {digest(0xa0), 5 << 20}},
		Pieces: []pieces.Piece{
			{digest(0xb2), 0, 600, 400, 4000, pieces.Grouped2},
			{digest(0xb1), 1, 0, 5 << 20, 5 << 20, pieces.Raw},
			{digest(0xb0), 0, 0, 500, 1000, pieces.Zstd},
		},
		Extents: []pieces.Extent{{0, 0, 4000}, {1, 0, 5 << 20}, {2, 100, 300}},
		Files: []pieces.FileRef{
			{digest(0x01), 4000 + 5<<20, 0, 2},
			{digest(0x02), 300, 2, 1},
			{artifacts.Sum(nil), 0, 3, 0},
		},
	}
}

func TestMapGolden(t *testing.T) {
	got, err := example().Encode()
	if err != nil {
		t.Fatal(err)
	}
	const name = "testdata/map.hex"
	if *update {
		if err := os.WriteFile(name, []byte(hex.Dump(got)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if hex.Dump(got) != string(want) {
		t.Errorf("got\n%swant\n%s", hex.Dump(got), want)
	}
	m, err := pieces.DecodeMap(got)
	if err != nil {
		t.Fatal(err)
	}
	again, err := m.Encode()
	if err != nil || !bytes.Equal(again, got) {
		t.Errorf("%v: what was read is written otherwise", err)
	}
	if f, ok := m.File(digest(2)); !ok || f.Size != 300 || !slices.Equal(m.Of(f), []pieces.Extent{{2, 100, 300}}) {
		t.Errorf("%+v, %v", f, ok)
	}
	if f, ok := m.File(digest(3)); ok {
		t.Errorf("%+v is no file of it", f)
	}
	if l := m.Loc(2); l != (pieces.Loc{Pack: digest(0xa1), PackSize: 1000, Offset: 0, Stored: 500, Raw: 1000, Codec: pieces.Zstd}) {
		t.Errorf("%+v", l)
	}
}

// Where numbers stand in the encoded example.
const (
	countsAt  = 8
	packsAt   = 28
	piecesAt  = packsAt + 2*36
	extentsAt = piecesAt + 3*52
	filesAt   = extentsAt + 3*12
)

// sealed gives the example's bytes, changed, with the right sum at their end.
func sealed(t testing.TB, change func(b []byte) []byte) []byte {
	t.Helper()
	b, err := example().Encode()
	if err != nil {
		t.Fatal(err)
	}
	b = change(b[:len(b)-32])
	sum := artifacts.Sum(b)
	return append(b, sum[:]...)
}

func set(at int, n uint32) func([]byte) []byte {
	return func(b []byte) []byte {
		binary.LittleEndian.PutUint32(b[at:], n)
		return b
	}
}

func both(all ...func([]byte) []byte) func([]byte) []byte {
	return func(b []byte) []byte {
		for _, f := range all {
			b = f(b)
		}
		return b
	}
}

func TestDecodeMapRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func([]byte) []byte
		says   string
	}{
		"another magic":             {func(b []byte) []byte { b[0] = 'T'; return b }, "begins with"},
		"a pack more":               {set(countsAt, 3), "take"},
		"a piece more":              {set(countsAt+4, 4), "take"},
		"an extent less":            {set(countsAt+8, 2), "take"},
		"counts beyond any file":    {both(set(countsAt, 1<<32-1), set(countsAt+4, 1<<32-1), set(countsAt+8, 1<<32-1), set(countsAt+12, 1<<32-1)), "take"},
		"bytes behind the files":    {func(b []byte) []byte { return append(b, 0) }, "take"},
		"bytes less":                {func(b []byte) []byte { return b[:len(b)-4] }, "take"},
		"an empty pack":             {set(packsAt+32, 0), "pack 0 has 0"},
		"a pack too large":          {set(packsAt+36+32, 64<<20+1), "pack 1 has"},
		"a pack twice":              {func(b []byte) []byte { copy(b[packsAt+36:], b[packsAt:packsAt+32]); return b }, "pack is there twice"},
		"a piece in no pack":        {set(piecesAt+2*52+32, 2), "lies in pack 2 of 2"},
		"packs out of order":        {both(set(piecesAt+32, 1), set(piecesAt+36, 0)), "before any lies in pack 0"},
		"an unused pack":            {both(set(piecesAt+52+32, 0), set(piecesAt+52+36, 500), set(piecesAt+52+40, 100), set(piecesAt+52+44, 100)), "no piece lies in pack 1"},
		"a piece beyond its pack":   {set(piecesAt+36, 601), "400 bytes at 601 in a pack of 1000"},
		"an offset that wraps":      {set(piecesAt+36, 1<<32-1), "in a pack of 1000"},
		"nothing stored":            {set(piecesAt+40, 0), "stored in 0"},
		"more stored than raw":      {set(piecesAt+44, 400), "stored in 400"},
		"raw of another size":       {set(piecesAt+52+44, 5<<20-1), "stored in"},
		"an empty piece":            {set(piecesAt+44, 0), "a piece of 0"},
		"a piece too large":         {set(piecesAt+44, 16<<20+1), "a piece of"},
		"bytes that are zero":       {set(piecesAt+48, 2|1<<8), "must be zero"},
		"a piece twice":             {func(b []byte) []byte { copy(b[piecesAt+2*52:], b[piecesAt:piecesAt+32]); return b }, "piece is there twice"},
		"an extent of no piece":     {set(extentsAt+2*12, 3), "of piece 3 of 3"},
		"pieces out of order":       {set(extentsAt, 1), "before any is of piece 0"},
		"an unused piece":           {both(set(extentsAt+2*12, 1), set(extentsAt+2*12+4, 0)), "no extent is of piece 2"},
		"an empty extent":           {set(extentsAt+2*12+8, 0), "0 bytes at 100"},
		"an extent beyond":          {set(extentsAt+2*12+4, 701), "300 bytes at 701 of a piece of 1000"},
		"an extent that wraps":      {set(extentsAt+2*12+4, 1<<32-1), "of a piece of 1000"},
		"files out of order":        {func(b []byte) []byte { b[filesAt] = 3; return b }, "not behind"},
		"a file twice":              {func(b []byte) []byte { copy(b[filesAt+48:], b[filesAt:filesAt+32]); return b }, "not behind"},
		"a file of other size":      {set(filesAt+48+32, 299), "has extents of 300"},
		"a size beyond any":         {set(filesAt+48+36, 1<<31), "bytes"},
		"an empty file of a name":   {func(b []byte) []byte { b[filesAt+2*48+31] ^= 1; return b }, "of 0 bytes"},
		"extents of two files":      {set(filesAt+48+40, 1), "extents from"},
		"extents of no file":        {both(set(filesAt+48+44, 0), set(filesAt+48+32, 0)), "of 0 bytes"},
		"extents beyond":            {set(filesAt+48+44, 2), "extents from"},
		"an extent that goes on":    {both(set(countsAt+8, 4), goesOn), "goes on"},
		"extents that are left":     {leftOver, "belong to no file"},
		"a count of files too high": {set(countsAt+12, 4), "take"},
	} {
		m, err := pieces.DecodeMap(sealed(t, c.change))
		if !errors.Is(err, artifacts.ErrDamaged) || errors.Is(err, pieces.ErrNewer) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, %v; want damage, %q", name, m, err, c.says)
		}
	}
	for name, b := range map[string][]byte{
		"nothing":         nil,
		"a head only":     sealed(t, func(b []byte) []byte { return b[:27] }),
		"too long":        make([]byte, pieces.MaxMap+1),
		"a trailer":       func() []byte { b := sealed(t, both()); b[len(b)-1] ^= 1; return b }(),
		"a flipped bit":   func() []byte { b := sealed(t, both()); b[filesAt] ^= 1; return b }(),
		"a flipped codec": func() []byte { b := sealed(t, both()); b[piecesAt+48] = 77; return b }(),
	} {
		if m, err := pieces.DecodeMap(b); !errors.Is(err, artifacts.ErrDamaged) || errors.Is(err, pieces.ErrNewer) {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
}

// goesOn cuts the last extent of the second file in two.
func goesOn(b []byte) []byte {
	binary.LittleEndian.PutUint32(b[extentsAt+2*12+8:], 100)
	rest := binary.LittleEndian.AppendUint32(nil, 2)
	rest = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(rest, 200), 200)
	b = slices.Insert(b, extentsAt+3*12, rest...)
	binary.LittleEndian.PutUint32(b[filesAt+12+48+44:], 2)
	binary.LittleEndian.PutUint32(b[filesAt+12+2*48+40:], 4)
	return b
}

// leftOver takes the two last files away, but not their extent.
func leftOver(b []byte) []byte {
	binary.LittleEndian.PutUint32(b[countsAt+12:], 1)
	return b[:filesAt+48]
}

func TestNewerMapsAreNotDamaged(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"version": func(b []byte) []byte { b[7] = '2'; return b },
		"flags":   set(countsAt+16, 4),
		"codec":   set(piecesAt+48, 5),
	} {
		if m, err := pieces.DecodeMap(sealed(t, change)); !errors.Is(err, pieces.ErrNewer) || errors.Is(err, artifacts.ErrDamaged) {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
}

func TestEncodeRefusesWhatDecodeWould(t *testing.T) {
	m := example()
	m.Files[0].Size++
	if b, err := m.Encode(); err == nil {
		t.Errorf("%d bytes of a map that is none", len(b))
	}
}

// FuzzDecodeMap: what is accepted is exactly what Encode writes, and nothing takes more memory than the bytes are worth.
func FuzzDecodeMap(f *testing.F) {
	b, err := example().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[:len(b)-32])
	f.Add([]byte("tinfmap1"))
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	f.Fuzz(func(t *testing.T, b []byte) {
		sum := artifacts.Sum(b)
		b = append(slices.Clip(b), sum[:]...)
		metrics.Read(sample)
		before := sample[0].Value.Uint64()
		m, err := pieces.DecodeMap(b)
		metrics.Read(sample)
		if took := sample[0].Value.Uint64() - before; took > 4<<20+20*uint64(len(b)) {
			t.Fatalf("%d bytes were allocated for %d", took, len(b))
		}
		if err != nil {
			if errors.Is(err, artifacts.ErrDamaged) == errors.Is(err, pieces.ErrNewer) {
				t.Fatalf("%v is neither damage nor newer", err)
			}
			return
		}
		again, err := m.Encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("accepted what is written otherwise, %v", err)
		}
	})
}
