package env

import "path/filepath"

// Ready is what a worker needs of an environment that is there.
type Ready struct {
	Python    string   // the interpreter to start
	Path      []string // folders of packages that go before the interpreter's own
	Libraries []string // folders of shared libraries
	Own       bool     // the interpreter is the machine's: nothing was installed
	Compiled  string   // folder for what workers compile for the GPU at hand; it need not be there
}

// ready is a Ready with what all environments have in common.
func (s *Set) ready(python string) Ready {
	return Ready{Python: python, Compiled: filepath.Join(s.cache, "tools", "compiled")}
}
