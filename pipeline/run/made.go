package run

import (
	"context"
	"sync/atomic"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// made is what a worker has made, on its way into the store.
type made struct {
	outputs map[string]*artifacts.Manifest
	files   []artifacts.Part // of outputs that were read into memory, to be stored with the record
	bytes   int64            // that these take of the room
}

// smallOutput is up to how many bytes an output is read into memory rather than moved: then its bytes are flushed with its record
// and those of other stages, and cost no flush of their own.
const smallOutput = 256 << 10

// maxRoom bounds the bytes of outputs in memory of all stages that wait to be published.
const maxRoom = 16 << 20

// room is what is taken of that.
type room struct{ bytes atomic.Int64 }

func (r *room) take(n int64) bool {
	if r.bytes.Add(n) <= maxRoom {
		return true
	}
	r.bytes.Add(-n)
	return false
}

func (r *room) free(m *made) { r.bytes.Add(-m.bytes) }

// read gives no Manifest of an output that has to be moved.
func (b *builder) read(ctx context.Context, m *made, dir, typ string, labels map[string]string) (*artifacts.Manifest, error) {
	if !b.room.take(smallOutput) {
		return nil, nil
	}
	out, files, err := b.o.Adopter.ReadTree(ctx, dir, typ, labels, smallOutput)
	var size int64
	for _, f := range files {
		size += f.Size
		m.files = append(m.files, artifacts.Part{Payload: f})
	}
	m.bytes += size
	b.room.bytes.Add(size - smallOutput)
	return out, err
}
