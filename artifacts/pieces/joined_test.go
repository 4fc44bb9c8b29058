package pieces_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts/pieces"
)

// TestJoinedFilesMoveFewBorders: one small file more among thousands costs the pieces around it, not all that follow.
func TestJoinedFilesMoveFewBorders(t *testing.T) {
	var files []pieces.Source
	for i := range 1500 {
		files = append(files, source(fmt.Sprintf("f/%04d", i), noise(uint64(i+1), 2000)))
	}
	d := newDepot()
	m := d.cut(t, pieces.Packer{}, files...)
	if n := len(m.Pieces); n < 8 || n > 60 {
		t.Errorf("%d files of 2000 bytes have become %d pieces", len(files), n)
	}
	if len(d.order) != 1 {
		t.Errorf("3 MB of small files have become %d packs", len(d.order))
	}
	for _, p := range m.Pieces {
		if p.Raw > 1<<20 {
			t.Errorf("a joined piece of %d bytes", p.Raw)
		}
	}
	files = slices.Insert(files, 734, source("f/0733a", noise(99_999, 2000)))
	before := len(d.where)
	d.cut(t, pieces.Packer{Known: d.knowing}, files...)
	if n := len(d.where) - before; n < 1 || n > 3 {
		t.Errorf("one file more has made %d new pieces", n)
	}
}

// TestALittleOfBothIsOnePack: a model has a few small files beside its weights, which should not cost a request of their own.
func TestALittleOfBothIsOnePack(t *testing.T) {
	d := newDepot()
	d.cut(t, pieces.Packer{}, source("config.json", text(900)), source("tokenizer.json", text(2<<20)), source("weights.bin", bf16(1, 1<<20)))
	if len(d.order) != 1 {
		t.Errorf("%d packs", len(d.order))
	}
	big := newDepot()
	big.cut(t, pieces.Packer{}, source("config.json", text(900)), source("weights.bin", noise(2, 4<<20-1)), source("weights2.bin", noise(3, 13<<20)))
	if len(big.order) < 2 {
		t.Errorf("%d packs of 17 MiB", len(big.order))
	}
}

// TestSmallFilesHavePacksOfTheirOwn: who fetches a few of them fetches whole packs.
func TestSmallFilesHavePacksOfTheirOwn(t *testing.T) {
	large := source("large.bin", noise(1, 15<<20))
	files := []pieces.Source{large}
	for i := range 15 {
		files = append(files, source(fmt.Sprint("small", i), noise(uint64(i+2), 200_000)))
	}
	d := newDepot()
	m := d.cut(t, pieces.Packer{}, files...)
	of := make(map[uint32]bool) // packs, by whether they have the large file
	for _, s := range files {
		f, _ := m.File(s.Blob.Digest)
		for _, e := range m.Of(f) {
			pack, is := m.Pieces[e.Piece].Pack, f.Digest == large.Blob.Digest
			if was, ok := of[pack]; ok && was != is {
				t.Fatal("a pack has both")
			}
			of[pack] = is
		}
	}
	if len(of) < 2 {
		t.Errorf("%d packs", len(of))
	}
}
