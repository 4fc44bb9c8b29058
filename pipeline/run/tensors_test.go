package run_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// safetensors is a file with this header and so many bytes of data.
func safetensors(header string, data int) string {
	return string(binary.LittleEndian.AppendUint64(nil, uint64(len(header)))) + header + strings.Repeat("x", data)
}

// gguf is a file with one tensor of four bytes, and so many bytes of data.
func gguf(data int) string {
	b := binary.LittleEndian.AppendUint32([]byte("GGUF"), 3)
	b = binary.LittleEndian.AppendUint64(b, 1) // tensors
	b = binary.LittleEndian.AppendUint64(b, 0) // metadata
	b = append(b, "\x01\x00\x00\x00\x00\x00\x00\x00w"...)
	b = append(b, make([]byte, 4+4+8)...) // no dimensions, F32, the offset
	return string(append(b, make([]byte, 64-len(b)+data)...))
}

const oneTensor = `{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`

func TestUnsoundTensorsAreNotPublished(t *testing.T) {
	two := `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}`
	for name, c := range map[string]struct {
		file, where string // "": out/files/model.safetensors
		prepare     string // of the worker
		says        []string
	}{
		"header of 2^63 bytes": {file: string(binary.LittleEndian.AppendUint64(nil, 1<<63)) + "{}",
			says: []string{"model.safetensors", "9223372036854775808 bytes"}},
		"overlap":   {file: safetensors(two, 6), says: []string{`tensors "a" and "b" overlap`}},
		"truncated": {file: safetensors(oneTensor, 3), says: []string{`"w" ends at byte`, "cut short"}},
		"empty":     {says: []string{"0 bytes are too few"}},
		"a pointer to the file": {file: "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n",
			says: []string{"not a sound safetensors file"}},
		"GGUF, truncated": {file: gguf(3), where: "model.gguf", says: []string{"out/files/model.gguf", "not a sound GGUF file", "cut short"}},
		"GGUF, more":      {file: gguf(33), where: "model.gguf", says: []string{"not a sound GGUF file", "belong to no tensor"}},
		"GGUF, 2^63 entries": {file: gguf(4)[:16] + "\x00\x00\x00\x00\x00\x00\x00\x80" + gguf(4)[24:], where: "model.gguf",
			says: []string{"9223372036854775808 entries"}},
		"deep below":      {file: "rubbish!", where: "more/deep/model-1.safetensors", says: []string{"out/files/more/deep/model-1.safetensors"}},
		"behind a link":   {file: "rubbish!", where: "data", prepare: "ln -s data out/files/model.safetensors", says: []string{"model.safetensors"}},
		"unreadable":      {file: "rubbish!", prepare: "chmod 0 out/files/model.safetensors", says: []string{"model.safetensors"}},
		"optional output": {file: "rubbish!", where: "../maybe/x.safetensors", prepare: "echo x > out/files/x", says: []string{"out/maybe/x.safetensors"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if c.where == "" {
				c.where = "model.safetensors"
			}
			b := benchAt(t, dir, kinds{"good": {"", hello}, "bad": {badPorts,
				`mkdir -p out/files/more/deep; cp ` + dir + `/file out/files/` + c.where + "\n" + c.prepare + "\necho said >&2\n" + done}}, badRecipe)
			b.write("file", c.file)
			got := b.fails(run.ExitStage, append(c.says, "bad.x: ", "not a sound ")...)
			b.noRecord(got["bad.x"].Key)
			if log := b.log(got["bad.x"]); !strings.Contains(log, "said") || !strings.Contains(log, "not a sound") {
				t.Errorf("log %s", log)
			}
			// Not even its bytes are in the store.
			if _, err := b.cache.Stat(t.Context(), artifacts.Sum([]byte(c.file))); err == nil && c.file != "" {
				t.Error("the file is in the store")
			}
		})
	}
}

func TestSoundTensorsArePublished(t *testing.T) {
	dir := t.TempDir()
	away := filepath.Join(dir, "away.safetensors")
	b := benchAt(t, dir, kinds{"good": {"", hello}, "bad": {badPorts, `cp ` + dir + `/file out/files/model.safetensors
ln -s model.safetensors out/files/again.safetensors; mkdir out/files/folder.safetensors; echo x > out/files/folder.safetensors/x
echo rubbish > out/files/model.safetensors.index.json; cp ` + dir + `/gguf out/files/model.gguf
` + done}}, badRecipe)
	b.write("file", safetensors(oneTensor, 4))
	b.write("gguf", gguf(4))
	b.ok()

	// A link that leads out is refused for what it is.
	if err := os.WriteFile(away, []byte(safetensors(oneTensor, 4)), 0o600); err != nil {
		t.Fatal(err)
	}
	b.kinds["bad"] = kind{badPorts, `ln -s ` + away + ` out/files/model.safetensors` + "\n" + done}
	b.fails(run.ExitStage, "the symlink model.safetensors leads out of the output")
	b.kinds["bad"] = kind{badPorts, `mkfifo out/files/model.safetensors` + "\n" + done}
	b.fails(run.ExitStage, "a named pipe")
}

func TestTensorsOfADownloadAreCheckedBeforeItIsLocked(t *testing.T) {
	dir := t.TempDir()
	ks := fetching(dir)
	k := ks["fetch"]
	k.worker = strings.Replace(k.worker, "out/files/data", "out/files/model.safetensors", 1)
	ks["fetch"] = k
	b := benchAt(t, dir, ks, fetchRecipe)
	lock := &lockFile{entries: map[string]*recipe.Source{}}
	b.options.Lock = lock
	b.write("remote", safetensors(oneTensor, 2))
	b.fails(run.ExitStage, "out/files/model.safetensors", "cut short")
	if lock.added != 0 {
		t.Error("it was locked")
	}
}
