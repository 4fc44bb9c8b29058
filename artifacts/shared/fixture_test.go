package shared_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/bucket"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
	"github.com/Ruihan11/tiny-infra/artifacts/mem"
	"github.com/Ruihan11/tiny-infra/artifacts/shared"
)

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// world is a bucket, and the requests that it was sent.
type world struct {
	under artifacts.Objects
	place *bucket.Place

	mu    sync.Mutex
	calls []call
	fault func(op, name string) error // asked after the call is noted; its error is the answer

	plain    bool                                                // writes with conditions are refused
	onTheWay func(name string, body io.ReadCloser) io.ReadCloser // set before anyone reads
}

type call struct{ op, name string }

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldOn(t, mem.NewBucket())
}

func newWorldOn(t testing.TB, under artifacts.Objects) *world {
	t.Helper()
	w := &world{under: under}
	w.place = must[*bucket.Place](t)(bucket.Create(context.Background(), w, bucket.Settings{
		Note: func(context.Context) (bucket.Format, error) {
			return bucket.Format{Conditions: bucket.Conditions{Create: true, Replace: true}, Listing: bucket.Ordered, Tinfra: "test"}, nil
		},
	}))
	return w
}

func (w *world) note(op, name string) error {
	w.mu.Lock()
	w.calls = append(w.calls, call{op, name})
	fault := w.fault
	w.mu.Unlock()
	if fault != nil {
		return fault(op, name)
	}
	return nil
}

// Read is what a network makes of it.
func (w *world) Read(ctx context.Context, name string, off, n int64) (io.ReadCloser, artifacts.Object, error) {
	if err := w.note("read", name); err != nil {
		return nil, artifacts.Object{}, err
	}
	body, o, err := w.under.Read(ctx, name, off, n)
	if err == nil && w.onTheWay != nil {
		body = w.onTheWay(name, body)
	}
	return body, o, err
}

func (w *world) Write(ctx context.Context, name string, b artifacts.Body, old *artifacts.Version) (artifacts.Object, error) {
	if err := w.note("write", name); err != nil {
		return artifacts.Object{}, err
	}
	if w.plain && old != nil {
		return artifacts.Object{}, fmt.Errorf("%w: conditions are not implemented", artifacts.ErrRefused)
	}
	return w.under.Write(ctx, name, b, old)
}

func (w *world) Walk(ctx context.Context, prefix, after string) iter.Seq2[artifacts.Object, error] {
	return w.under.Walk(ctx, prefix, after)
}

func (w *world) Remove(ctx context.Context, name string) error {
	if err := w.note("remove", name); err != nil {
		return err
	}
	return w.under.Remove(ctx, name)
}

func (w *world) fail(fault func(op, name string) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = fault
}

// since gives the requests since it was asked last.
func (w *world) since() []call {
	w.mu.Lock()
	defer w.mu.Unlock()
	calls := w.calls
	w.calls = nil
	return calls
}

func count(calls []call, op, prefix string) (n int) {
	for _, c := range calls {
		if c.op == op && strings.HasPrefix(c.name, prefix) {
			n++
		}
	}
	return n
}

func (w *world) names(t testing.TB, prefix string) []string {
	t.Helper()
	var names []string
	for o, err := range w.Walk(context.Background(), prefix, "") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, o.Name)
	}
	return names
}

func (w *world) bytes(t testing.TB, name string) []byte {
	t.Helper()
	r, _, err := w.under.Read(context.Background(), name, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return must[[]byte](t)(io.ReadAll(r))
}

// overwrite puts other bytes under a name, as a disk that decays or a person would.
func (w *world) overwrite(t testing.TB, name string, b []byte) {
	t.Helper()
	if _, err := w.under.Write(context.Background(), name, artifacts.Text(b), nil); err != nil {
		t.Fatal(err)
	}
}

// flip turns one bit in the middle of an object.
func (w *world) flip(t testing.TB, name string) {
	t.Helper()
	b := w.bytes(t, name)
	b[len(b)/2] ^= 0x10
	w.overwrite(t, name, b)
}

// machine is a cache folder and what joins it with the bucket.
type machine struct {
	t      testing.TB
	world  *world
	store  *disk.Store
	cache  *artifacts.Cache // of the folder alone
	remote *shared.Remote
	joined *artifacts.Cache // with what is elsewhere

	input artifacts.Digest // of what is made next; zero for one of its own
}

func (w *world) machine(t testing.TB) *machine {
	t.Helper()
	store := must[*disk.Store](t)(disk.Open(folder(t)))
	t.Cleanup(func() { store.Close() })
	m := &machine{t: t, world: w, store: store, cache: artifacts.NewCache(store, store)}
	m.again()
	return m
}

// folder is one in memory, where the system has such: nothing here is about what survives a loss of power, and 20,000 flushes of a busy
// disk take minutes.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "tinfra-shared-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// again is the same machine in another process.
func (m *machine) again() {
	m.join(m.world)
}

// join writes to one world and reads others besides.
func (m *machine) join(own *world, others ...*world) {
	o := shared.Options{Write: own.place, Local: m.store}
	for _, w := range others {
		o.Read = append(o.Read, w.place)
	}
	m.remote = shared.New(o)
	j := m.remote.Joined()
	m.joined = artifacts.NewCache(j, j).Beside(m.remote)
}

// result is what a stage made.
type result struct {
	key      artifacts.Key
	record   artifacts.Digest
	rec      *artifacts.Record
	out      *artifacts.Manifest
	manifest artifacts.Digest
}

func (m *machine) blob(text string) artifacts.Blob {
	m.t.Helper()
	return must[artifacts.Blob](m.t)(m.cache.PutBytes(context.Background(), artifacts.FileMediaType, []byte(text)))
}

// tree stores files, given as path=content.
func (m *machine) tree(files ...string) (*artifacts.Manifest, artifacts.Digest) {
	m.t.Helper()
	tree := &artifacts.Manifest{Type: "files"}
	all := make([]artifacts.Payload, len(files))
	for i, f := range slices.Sorted(slices.Values(files)) {
		path, text, _ := strings.Cut(f, "=")
		all[i] = artifacts.Payload{Blob: artifacts.Blob{Digest: artifacts.Sum([]byte(text)), Size: int64(len(text))}, Bytes: []byte(text)}
		tree.Files = append(tree.Files, artifacts.File{Path: path, Blob: all[i].Blob})
	}
	for part := range slices.Chunk(all, 500) {
		if err := errors.Join(m.store.StoreAll(context.Background(), []artifacts.Batch{{Blobs: part}})...); err != nil {
			m.t.Fatal(err)
		}
	}
	return tree, must[artifacts.Digest](m.t)(m.cache.PutManifest(context.Background(), tree))
}

// make runs a stage that another salt tells from others: action, record and all that they name are stored here.
func (m *machine) make(salt string, files ...string) result {
	m.t.Helper()
	return m.makeAt(salt, 1, files...)
}

func (m *machine) makeAt(salt string, minute int, files ...string) result {
	m.t.Helper()
	ctx := context.Background()
	in := m.input
	if in.IsZero() {
		_, in = m.tree("prompt.txt=a person's own words for " + salt)
	}
	_, worker := m.tree("worker.py=print()", "lib/a.py=# a")
	out, manifest := m.tree(files...)
	a := &artifacts.Action{
		Format: artifacts.ActionFormat, Kind: "test", Params: json.RawMessage("{}"), Worker: worker, Env: m.blob("an environment").Digest,
		Inputs: map[string]artifacts.Digest{"in": in}, Outputs: map[string]string{"out": "files"}, Salt: salt,
	}
	key := must[artifacts.Key](m.t)(m.cache.PutAction(ctx, a))
	at := time.Date(2026, 3, 4, 5, minute, 0, 0, time.UTC)
	rec := &artifacts.Record{
		Key: key, Outputs: map[string]artifacts.Digest{"out": manifest}, Log: m.blob("log of " + salt).Digest, Builder: "test",
		Started: at, Ended: at.Add(time.Second),
	}
	won, d, err := m.cache.Publish(ctx, rec)
	if err != nil {
		m.t.Fatal(err)
	}
	return result{key, d, won, out, manifest}
}

// share brings results to the bucket, all at once.
func (m *machine) share(all ...result) error {
	for _, one := range all {
		m.remote.Share(one.record)
	}
	return m.remote.Wait(context.Background())
}

func (m *machine) mustShare(all ...result) {
	m.t.Helper()
	if err := m.share(all...); err != nil {
		m.t.Fatal(err)
	}
}

// build stores a build of these results, which are its steps.
func (m *machine) build(recipe string, minute int, all ...result) artifacts.Digest {
	m.t.Helper()
	at := time.Date(2026, 3, 4, 6, minute, 0, 0, time.UTC)
	b := &artifacts.Build{
		ID: at.Format("20060102T150405Z") + "-0", Recipe: m.blob("recipe of " + recipe).Digest, RecipePath: recipe, Host: "lab",
		Lock: m.blob("lock of " + recipe).Digest, Modules: map[string]artifacts.Digest{"a.hcl": m.blob("module").Digest}, Started: at, Ended: at,
	}
	for i, one := range all {
		b.Steps = append(b.Steps, artifacts.Step{
			Address: fmt.Sprintf("test.s%d", i), Kind: "test", Key: one.key, Record: one.record, State: artifacts.Ran, Log: one.rec.Log,
		})
	}
	b.Steps = append(b.Steps, artifacts.Step{Address: "test.failed", Kind: "test", State: artifacts.Failed, Log: m.blob("it crashed").Digest})
	return must[artifacts.Digest](m.t)(m.cache.PutBuild(context.Background(), b))
}

// has fails where a tree's files are not on this machine, whole.
func (m *machine) has(tree *artifacts.Manifest) {
	m.t.Helper()
	for _, f := range tree.Files {
		b, err := m.cache.GetBytes(context.Background(), f.Digest)
		if err != nil || int64(len(b)) != f.Size {
			m.t.Fatalf("%s: %d bytes, %v", f.Path, len(b), err)
		}
	}
}

// clean fails where `cache verify` would find something on this machine.
func (m *machine) clean() {
	m.t.Helper()
	err := m.cache.Verify(context.Background(), m.store, func(p artifacts.Problem) { m.t.Errorf("%s %s: %s", p.Kind, p.Name, p.Detail) })
	if err != nil {
		m.t.Fatal(err)
	}
}

// noise is text that nothing compresses, and that a seed names.
func noise(seed uint64, n int) string {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 1})
	_, _ = r.Read(b)
	return string(b)
}

// weights are bf16 numbers, which compress a little.
func weights(seed uint64, n int) string {
	b := []byte(noise(seed, n))
	for i := 1; i < n; i += 2 {
		b[i] = 0x3c | b[i]&3
	}
	return string(b)
}

// tensor is a safetensors file of one.
func tensor(dtype, data string) string {
	n := len(data) / map[string]int{"BF16": 2, "U8": 1}[dtype]
	header := fmt.Sprintf(`{"w":{"dtype":%q,"shape":[%d],"data_offsets":[0,%d]}}`, dtype, n, len(data))
	return string([]byte{byte(len(header)), 0, 0, 0, 0, 0, 0, 0}) + header + data
}
