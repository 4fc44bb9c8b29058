package pieces_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/pieces"
)

// inMemory is a file of bytes.
type inMemory struct{ *bytes.Reader }

func (inMemory) Close() error { return nil }

func source(name string, b []byte) pieces.Source {
	return pieces.Source{
		Blob: artifacts.Blob{Digest: artifacts.Sum(b), Size: int64(len(b))},
		Name: name,
		Open: func() (pieces.File, error) { return inMemory{bytes.NewReader(b)}, nil },
	}
}

// depot is what has become of packs.
type depot struct {
	packs map[artifacts.Digest][]byte
	mu    sync.Mutex // guards where, which is asked while it is filled
	where map[artifacts.Digest]pieces.Loc
	order []artifacts.Digest
}

func newDepot() *depot {
	return &depot{packs: make(map[artifacts.Digest][]byte), where: make(map[artifacts.Digest]pieces.Loc)}
}

func (d *depot) emit(p pieces.Pack) error {
	body, err := p.Open()
	if err != nil {
		return err
	}
	b, err := io.ReadAll(body)
	if err = errors.Join(err, body.Close()); err != nil {
		return err
	}
	d.packs[p.Digest] = b
	d.order = append(d.order, p.Digest)
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range p.Pieces {
		d.where[p.Pieces[i].Digest] = p.Loc(i)
	}
	p.Release()
	p.Release()
	return nil
}

func (d *depot) read(p pieces.PackRef, off, n uint32) ([]byte, error) {
	b, ok := d.packs[p.Digest]
	if !ok || len(b) != int(p.Size) {
		return nil, fmt.Errorf("pack %s of %d bytes: %w", p.Digest.Short(), p.Size, artifacts.ErrMissing)
	}
	return b[off : off+n], nil
}

// cut cuts files into the depot. It checks that the packs are nothing but their pieces, under their right names, and that the map, also one
// that was written and read, gives each file back.
func (d *depot) cut(t testing.TB, p pieces.Packer, files ...pieces.Source) *pieces.Map {
	t.Helper()
	p.Emit = d.emit
	m, err := p.Tree(t.Context(), files)
	if err != nil {
		t.Fatal(err)
	}
	for digest, b := range d.packs {
		if artifacts.Sum(b) != digest {
			t.Fatalf("pack %s has other bytes", digest.Short())
		}
	}
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	m, err = pieces.DecodeMap(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range files {
		f, ok := m.File(s.Blob.Digest)
		if !ok || f.Size != s.Blob.Size {
			t.Fatalf("%s: the map has %+v, %v", s.Name, f, ok)
		}
		var got bytes.Buffer
		if err := m.Join(&got, f, d.read); err != nil {
			t.Fatalf("%s: %v", s.Name, err)
		}
		if artifacts.Sum(got.Bytes()) != s.Blob.Digest {
			t.Fatalf("%s came back as other bytes", s.Name)
		}
	}
	return m
}

func noise(seed uint64, n int) []byte {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

// bf16 are normally distributed numbers, as weights are.
func bf16(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, seed))
	b := make([]byte, 0, 2*n)
	for range n {
		b = binary.LittleEndian.AppendUint16(b, uint16(math.Float32bits(float32(r.NormFloat64()*0.02))>>16))
	}
	return b
}

func text(n int) []byte {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "line %d of a file that says much the same over and over\n", i*i)
	}
	return []byte(b.String()[:n])
}

func TestFilesComeBack(t *testing.T) {
	d := newDepot()
	files := []pieces.Source{
		source("a/empty", nil),
		source("a/one", []byte{7}),
		source("b/again", []byte{7}),
		source("b/almost large", noise(1, 256<<10-1)),
		source("b/large", noise(2, 256<<10)),
		source("b/numbers", bf16(3, 1<<20)),
		source("b/text", text(2<<20)),
		source("b/zeros", make([]byte, 12<<20)),
	}
	m := d.cut(t, pieces.Packer{Workers: 3}, files...)
	if len(m.Files) != len(files)-1 {
		t.Errorf("%d files in the map; want each digest once: %d", len(m.Files), len(files)-1)
	}
	stored := 0
	for _, b := range d.packs {
		stored += len(b)
	}
	if stored > 3<<20 {
		t.Errorf("%d bytes are stored: zeros and text should have become small", stored)
	}
	newDepot().cut(t, pieces.Packer{}, source("one coded piece", text(10_000))) // whose pack has another name than it
	if m := newDepot().cut(t, pieces.Packer{}); len(m.Files) != 0 {
		t.Errorf("an empty tree has %d files", len(m.Files))
	}
}

// TestPacksDependOnFilesOnly: a push that goes on after a kill finds the packs that are there under the names that it makes again.
func TestPacksDependOnFilesOnly(t *testing.T) {
	files := []pieces.Source{source("r", noise(1, 33<<20)), source("r2", noise(1, 33<<20)), source("s", text(3<<20)), source("z", make([]byte, 5<<20))}
	for i := range 200 {
		files = append(files, source(fmt.Sprintf("small/%d", i), noise(uint64(i+10), 30_000)))
	}
	var want *depot
	for _, workers := range []int{1, 5} {
		d := newDepot()
		d.cut(t, pieces.Packer{Workers: workers}, files...)
		if want == nil {
			want = d
		}
		if !slices.Equal(want.order, d.order) || len(d.order) < 4 {
			t.Errorf("%d workers made packs %v, one made %v", workers, d.order, want.order)
		}
	}
}

// TestSoundFilesBecomeTheSame: whether the whole file is hashed beside its pieces says nothing of what they are.
func TestSoundFilesBecomeTheSame(t *testing.T) {
	files := []pieces.Source{
		source("dense", noise(1, 40<<20)), source("large text", text(9<<20)), source("one piece", noise(2, 200_000)), source("none", nil),
		source("m.safetensors", safetensors(tensorOf("BF16", bf16(3, 3<<20)), tensorOf("U8", noise(4, 9<<20)), tensorOf("U8", noise(5, 4<<20)))),
	}
	whole := newDepot()
	want, _ := whole.cut(t, pieces.Packer{}, files...).Encode()
	for i := range files {
		files[i].Sound = true
	}
	sound := newDepot()
	got, _ := sound.cut(t, pieces.Packer{}, files...).Encode()
	if !bytes.Equal(got, want) || !slices.Equal(whole.order, sound.order) {
		t.Errorf("packs %v, and %v of files that are sound", whole.order, sound.order)
	}
	short := files[0]
	short.Blob.Size++
	p := pieces.Packer{Emit: newDepot().emit}
	if m, err := p.Tree(t.Context(), []pieces.Source{short}); !errors.Is(err, artifacts.ErrDamaged) {
		t.Errorf("%v, %v of a file that is shorter than it should be", m, err)
	}
}

func TestPackOfOneRawPieceIsThePiece(t *testing.T) {
	for name, b := range map[string][]byte{"small": noise(4, 1000), "large": noise(5, 300_000), "dense": noise(6, 33<<20)} {
		d := newDepot()
		m := d.cut(t, pieces.Packer{}, source(name+".bin", b))
		alone := 0
		for _, p := range m.Pieces {
			if pack := m.Packs[p.Pack]; p.Codec != pieces.Raw {
				t.Errorf("%s: codec %d for noise", name, p.Codec)
			} else if p.Stored == pack.Size {
				alone++
				if p.Digest != pack.Digest {
					t.Errorf("%s: piece %s is pack %s", name, p.Digest.Short(), pack.Digest.Short())
				}
			}
		}
		if alone != len(m.Packs) || alone != len(m.Pieces) {
			t.Errorf("%s: %d of %d pieces are one of %d packs", name, alone, len(m.Pieces), len(m.Packs))
		}
	}
}

func TestKnownPiecesAreNotEmitted(t *testing.T) {
	old := newDepot()
	weights, words := bf16(5, 1<<20), text(2<<20)
	before := old.cut(t, pieces.Packer{}, source("a.bin", weights), source("b.txt", words), source("c", noise(6, 100_000)))
	d := newDepot()
	maps.Copy(d.packs, old.packs)
	changed := append(slices.Clone(weights), noise(7, 300_000)...)
	asked := 0
	known := func(digest artifacts.Digest) (pieces.Loc, bool) {
		asked++
		l, ok := old.where[digest]
		return l, ok
	}
	m := d.cut(t, pieces.Packer{Known: known}, source("a.bin", changed), source("b.txt", words), source("c", noise(6, 100_000)))
	if len(d.order) != 1 || asked < 3 {
		t.Fatalf("%d packs were emitted, and %d pieces asked for; want the one with the file's new end", len(d.order), asked)
	}
	sum := 0
	for _, p := range m.Pieces {
		if m.Packs[p.Pack].Digest == d.order[0] {
			sum += int(p.Raw)
		}
	}
	if sum == 0 || sum > 5<<20 {
		t.Errorf("%d bytes were new to a depot that has all but 300,000", sum)
	}
	all := newDepot()
	maps.Copy(all.packs, old.packs)
	again := all.cut(t, pieces.Packer{Known: known}, source("b.txt", words), source("a.bin", weights), source("c", noise(6, 100_000)))
	if len(all.order) != 0 {
		t.Errorf("%d packs were emitted of what is known", len(all.order))
	}
	one, _ := before.Encode()
	two, _ := again.Encode()
	if !bytes.Equal(one, two) {
		t.Error("the same files in the same packs have two maps")
	}
}

// TestLiesAreNotKnown: a place that cannot be, or is of a piece of another size, is none.
func TestLiesAreNotKnown(t *testing.T) {
	b := noise(8, 300_000)
	for _, l := range []pieces.Loc{
		{},
		{Pack: artifacts.Sum(b), PackSize: 300_000, Stored: 299_999, Raw: 299_999},
		{Pack: artifacts.Sum(b), PackSize: 299_999, Stored: 300_000, Raw: 300_000},
		{Pack: artifacts.Sum(b), PackSize: 300_000, Stored: 200_000, Raw: 300_000, Codec: 9},
	} {
		d := newDepot()
		d.cut(t, pieces.Packer{Known: func(artifacts.Digest) (pieces.Loc, bool) { return l, true }}, source("x", b))
		if len(d.order) != 1 {
			t.Errorf("%+v was believed", l)
		}
	}
}

func TestDamagedPacksAreNamed(t *testing.T) {
	for name, b := range map[string][]byte{"as it is": noise(1, 300_000), "coded": bf16(2, 200_000)} {
		s := source("x.bin", b)
		d := newDepot()
		m := d.cut(t, pieces.Packer{}, s)
		pack := d.packs[d.order[0]]
		pack[len(pack)/2] ^= 4
		f, _ := m.File(s.Blob.Digest)
		err := m.Join(io.Discard, f, d.read)
		if !errors.Is(err, artifacts.ErrDamaged) || !strings.Contains(err.Error(), "pack "+d.order[0].Short()) {
			t.Errorf("%s: %v", name, err)
		}
		delete(d.packs, d.order[0])
		if err := m.Join(io.Discard, f, d.read); !errors.Is(err, artifacts.ErrMissing) || !strings.Contains(err.Error(), "pack "+d.order[0].Short()) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWrongFilesAreDamaged(t *testing.T) {
	for name, b := range map[string][]byte{
		"joined":     noise(1, 100_000),
		"one piece":  noise(2, 256<<10),
		"content":    text(2 << 20),
		"dense":      noise(3, 32<<20),
		"tensors":    safetensors(tensorOf("BF16", bf16(4, 200_000)), tensorOf("BF16", bf16(5, 300_000))),
		"only bytes": {1},
		"no bytes":   {},
	} {
		s := source(name+".safetensors", b)
		for what, broken := range map[string]func(*pieces.Source){
			"flipped": func(s *pieces.Source) {
				other := append(slices.Clone(b), 0)
				other[len(b)*9/10] ^= 1
				s.Open = source("", other).Open
				if len(b) == 0 {
					s.Blob.Digest = artifacts.Sum(other)
				}
			},
			"short": func(s *pieces.Source) { s.Blob.Size++ },
		} {
			wrong := s
			broken(&wrong)
			p := pieces.Packer{Emit: newDepot().emit}
			if m, err := p.Tree(t.Context(), []pieces.Source{wrong}); !errors.Is(err, artifacts.ErrDamaged) {
				t.Errorf("%s, %s: %v, %v", name, what, m, err)
			}
		}
	}
}

func TestFailuresEndTheTree(t *testing.T) {
	full := errors.New("the place is full")
	var files []pieces.Source
	for i := range 20 {
		files = append(files, source(fmt.Sprint(i), noise(uint64(i), 4<<20)))
	}
	calls := 0
	p := pieces.Packer{Workers: 2, Emit: func(pieces.Pack) error {
		if calls++; calls == 3 {
			return full
		}
		return nil
	}}
	if _, err := p.Tree(t.Context(), files); !errors.Is(err, full) || calls != 3 {
		t.Errorf("%v after %d packs", err, calls)
	}

	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("the person has had enough")
	once := sync.OnceFunc(func() { cancel(stop) })
	p = pieces.Packer{Emit: func(pieces.Pack) error { once(); return nil }}
	if _, err := p.Tree(ctx, files); !errors.Is(err, stop) {
		t.Errorf("%v; want the context's cause", err)
	}

	gone := errors.New("no such file")
	files[7].Open = func() (pieces.File, error) { return nil, gone }
	d := newDepot()
	p = pieces.Packer{Emit: d.emit}
	if _, err := p.Tree(t.Context(), append([]pieces.Source{source("before", noise(77, 300_000))}, files[7:]...)); !errors.Is(err, gone) || len(d.order) != 0 {
		t.Errorf("%v after %d packs; want what Open said, and none", err, len(d.order))
	}
}

// TestOnePackOfTwoCuts: noise is stored as it is, so that a large file and small ones of the same bytes have one pack of different pieces. What
// has both has a map all the same.
func TestOnePackOfTwoCuts(t *testing.T) {
	b := noise(1, 4<<20)
	var small []pieces.Source
	for i := range len(b) >> 17 {
		small = append(small, source(fmt.Sprintf("s/%02d", i), b[i<<17:(i+1)<<17]))
	}
	d := newDepot()
	d.cut(t, pieces.Packer{}, source("x.bin", b))
	d.cut(t, pieces.Packer{}, small...)
	if len(d.order) != 2 || d.order[0] != d.order[1] {
		t.Fatalf("packs %v; want one, twice", d.order)
	}
	m := d.cut(t, pieces.Packer{Known: d.knowing}, append(small, source("x.bin", b))...)
	overlap := 0
	for i, p := range m.Pieces {
		for _, q := range m.Pieces[:i] {
			if p.Pack == q.Pack && p.Offset < q.Offset+q.Stored && q.Offset < p.Offset+p.Stored {
				overlap++
			}
		}
	}
	if overlap == 0 {
		t.Error("nothing overlaps: the test shows nothing")
	}
}
