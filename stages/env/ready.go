package env

import (
	"path/filepath"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Ready is what a worker needs of an environment that is there.
type Ready struct {
	Python    string   // the interpreter to start
	Path      []string // folders of packages that go before the interpreter's own
	Libraries []string // folders of shared libraries
	Own       bool     // the interpreter is the machine's: nothing was installed
	Compiled  string   // folder for what workers compile for the GPU at hand; it need not be there
}

// installed is the Ready of an environment in the cache, whose Blob was asked for.
func (s *Set) installed(name, dir string) Ready {
	s.mu.Lock()
	defer s.mu.Unlock()
	libraries := s.declared[name].libraries(filepath.Join(dir, nativeDir))
	return Ready{Python: pythonIn(dir), Libraries: libraries, Compiled: s.compiled(artifacts.Sum(s.blobs[name]))}
}

// compiled is below the folder of uv, which no collection of garbage looks at. Each environment has its own: of what another version of
// a package has compiled, some libraries look at the time of its sources only.
// What an environment compiled goes with it.
func (s *Set) compiled(of artifacts.Digest) string {
	return filepath.Join(s.cache, "tools", "compiled", of.Hex())
}
