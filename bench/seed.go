package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// seed fills a cache with what a build would have made, by the bytes that docs/format.md describes: a build of 100,000 stages
// takes minutes, this takes seconds. Nothing waits for the disk. What no page can know, the digest of the program, it reads
// from a build of one stage.
type seed struct {
	cache   string
	worker  string // of /bin/cp
	record  map[string]json.RawMessage
	ended   time.Time
	pointed bool // keys/ and runs/, which a build reads and lineage does not
}

var (
	blobTime = time.Unix(1_000_000_000, 0)
	emptyDoc = descriptor{Digest: digestOf([]byte("{}")), MediaType: "application/vnd.oci.empty.v1+json", Size: 2}
)

// members of these are in the order of the alphabet, as RFC 8785 wants it.
type (
	descriptor struct {
		Annotations map[string]string `json:"annotations,omitempty"`
		Digest      string            `json:"digest"`
		MediaType   string            `json:"mediaType"`
		Size        int               `json:"size"`
	}
	manifest struct {
		ArtifactType  string       `json:"artifactType"`
		Config        descriptor   `json:"config"`
		Layers        []descriptor `json:"layers"`
		MediaType     string       `json:"mediaType"`
		SchemaVersion int          `json:"schemaVersion"`
	}
	params struct {
		Command []string          `json:"command"`
		Env     map[string]string `json:"env"`
	}
	action struct {
		Format  int               `json:"format"`
		Inputs  map[string]string `json:"inputs,omitempty"`
		Kind    string            `json:"kind"`
		Outputs map[string]string `json:"outputs"`
		Params  params            `json:"params"`
		Worker  string            `json:"worker"`
	}
)

// newSeed begins a cache with a build of one stage.
func newSeed(ctx context.Context, m meter, program, dir string) (*seed, error) {
	s := &seed{cache: tinfraCache(dir), ended: time.Now().UTC().Add(-24 * time.Hour)}
	g := graph{1, 1}
	sample := filepath.Join(dir, "sample")
	if err := errors.Join(g.writeSources(sample), tinfra{}.describe(sample, g)); err != nil {
		return nil, err
	}
	if _, _, err := m.measure(ctx, sample, tinfra{program}.command(sample), tinfraEnviron(dir)); err != nil {
		return nil, err
	}
	defer remove(sample)
	return s, filepath.WalkDir(filepath.Join(s.cache, "blobs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return s.learn(raw)
	})
}

// learn takes from an object what all stages have in common.
func (s *seed) learn(raw []byte) error {
	members := map[string]json.RawMessage{}
	if json.Unmarshal(raw, &members) != nil {
		return nil // a recipe, a log, a file
	}
	switch {
	case members["builder"] != nil:
		s.record = members
	case members["kind"] != nil && members["worker"] != nil:
		return json.Unmarshal(members["worker"], &s.worker)
	}
	return nil
}

func digestOf(raw []byte) string {
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func (s *seed) write(name string, raw []byte) error {
	path := filepath.Join(s.cache, name)
	err := os.WriteFile(path, raw, 0o444)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, raw, 0o444)
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil // it is there
	}
	return err
}

func (s *seed) blob(raw []byte) (string, error) {
	digest := digestOf(raw)
	name := "blobs/sha256/" + hexOf(digest)
	if err := s.write(name, raw); err != nil {
		return "", err
	}
	return digest, os.Chtimes(filepath.Join(s.cache, name), blobTime, blobTime)
}

func (s *seed) object(v any) (string, error) {
	raw, err := encode(v)
	if err != nil {
		return "", err
	}
	return s.blob(raw)
}

func hexOf(digest string) string { return strings.TrimPrefix(digest, "sha256:") }

// tree stores a manifest of one file.
func (s *seed) tree(path string, content []byte) (string, error) {
	file, err := s.blob(content)
	if err != nil {
		return "", err
	}
	return s.object(manifest{
		ArtifactType: "application/vnd.tinfra.files.v1", Config: emptyDoc, MediaType: "application/vnd.oci.image.manifest.v1+json", SchemaVersion: 2,
		Layers: []descriptor{{map[string]string{"org.opencontainers.image.title": path}, file, "application/vnd.tinfra.file.v1", len(content)}},
	})
}

// run stores a run of a copy, and gives its output.
func (s *seed) run(command []string, inputs map[string]string, output string, content []byte) (string, error) {
	made, err := s.tree(output, content)
	if err != nil {
		return "", err
	}
	key, err := s.object(action{Format: 1, Inputs: inputs, Kind: "exec", Outputs: map[string]string{"files": "files"}, Params: params{command, map[string]string{}}, Worker: s.worker})
	if err != nil {
		return "", err
	}
	if s.pointed { // a stage's own log, as a build writes it
		said, err := s.blob(fmt.Appendf(nil, "{\"stage\":%q}\n", output))
		if err != nil {
			return "", err
		}
		if s.record["log"], err = encode(said); err != nil {
			return "", err
		}
	}
	s.ended = s.ended.Add(time.Millisecond)
	for member, v := range map[string]any{
		"key": key, "outputs": map[string]string{"files": made}, "started": s.ended.Add(-10 * time.Millisecond), "ended": s.ended,
	} {
		if s.record[member], err = encode(v); err != nil {
			return "", err
		}
	}
	record, err := s.object(s.record)
	if err != nil {
		return "", err
	}
	name := hexOf(record)
	err = s.write("records/"+s.ended.Format(time.DateOnly)+"/"+name, []byte(record))
	if s.pointed {
		err = errors.Join(err, s.write("runs/"+hexOf(key)+"/"+name, []byte(record)), s.write("keys/"+hexOf(key), []byte(record)))
	}
	return made, err
}

// graph stores what a build of the graph would have made, and gives the outputs by the names of stages.
func (s *seed) graph(g graph) (map[string]string, error) {
	s.pointed = true
	made, content := map[string]string{}, map[string][]byte{}
	for i, st := range g.stages() {
		in, input := st.From+".txt", made[st.From]
		content[st.Name] = content[st.From]
		if st.From == "" {
			in, content[st.Name] = st.Source, fmt.Appendf(nil, "source %d\n", i)
			var err error
			if input, err = s.tree(st.Source, content[st.Name]); err != nil {
				return nil, err
			}
		}
		var err error
		command := []string{"/bin/cp", "in/inputs/a/" + in, "out/files/" + st.Name + ".txt"}
		if made[st.Name], err = s.run(command, map[string]string{"inputs[a]": input}, st.Name+".txt", content[st.Name]); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// family is how many runs of a history are related, as those of one recipe over a year.
const family = 4000

// history stores runs that each read two earlier ones, and gives each one's output and its inputs.
func (s *seed) history(runs int) (outputs []string, inputs [][]string, err error) {
	content := []byte("the same in all\n")
	for n := range runs {
		at := n % family
		from, in := map[string]string{}, []string(nil)
		if at > 1 {
			in = []string{outputs[n-at+at/2], outputs[n-at+at/3]}
			from["inputs[a]"], from["inputs[b]"] = in[0], in[1]
		}
		name := fmt.Sprintf("r%d.txt", n)
		made, err := s.run([]string{"/bin/cp", "in/inputs/a/x", "out/files/" + name}, from, name, content)
		if err != nil {
			return nil, nil, err
		}
		outputs, inputs = append(outputs, made), append(inputs, in)
	}
	return outputs, inputs, nil
}
